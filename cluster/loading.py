"""Brings images from our store into a cluster, sending only the layers that it has not."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO, Protocol

from cluster import docker, internal_images
from cluster.errors import ClusterError
from cluster.oci import Image
from cluster.paths import REPOSITORY
from cluster.progress import say, step

BUILT = REPOSITORY / "build" / "images.json"


class Provider(Protocol):
    """A cluster, however it is made."""

    provider: str

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""

    def up(self) -> None:
        """Start the cluster, unless it runs, and wait until it is ready."""

    def down(self) -> None:
        """Stop the cluster and remove it; nothing to do when there is none."""

    def status(self) -> str:
        """Return one line on whether the cluster runs."""

    def references(self) -> set[str]:
        """Return the names of the images that its nodes have."""

    def load(self, write: Callable[[IO[bytes]], None]) -> None:
        """Import the OCI archive that ``write`` writes."""


def load_image(cluster: Provider, image: Image) -> bool:
    """Bring an image of our store into a cluster, and return whether that was necessary.

    Raises:
        ClusterError: The cluster refused it.
    """
    references = cluster.references()
    if image.reference in references:
        return False
    store = internal_images.store()
    present = frozenset(digest for reference in references for digest in store.layers_of(reference))
    common = present.intersection(store.layers(image))
    if common:
        try:
            cluster.load(lambda file: store.write_archive(image, file, without=common))
        except ClusterError:
            pass  # it had collected some of them; the whole archive goes in
        else:
            return True
    cluster.load(lambda file: store.write_archive(image, file))
    return True


def load_built(cluster: Provider, names: Path = BUILT) -> None:
    """Bring the images that were built last into a cluster.

    Args:
        cluster: Where they are to be.
        names: The file that the build wrote; that of another checkout, too.

    Raises:
        ClusterError: None were built, or the cluster refused one.
    """
    if cluster.provider == "current":
        say("Your cluster pulls the images from your registry.")
        return
    if not names.exists():
        raise ClusterError(f"{names} must name the images to load: build them with `make images`.")
    for reference in json.loads(names.read_text()).values():
        if reference not in cluster.references():
            with step(f"Cluster: loading {reference}"):
                _load_reference(cluster, reference)


def _load_reference(cluster: Provider, reference: str) -> None:
    image = internal_images.store().image(reference)
    if image is not None:
        load_image(cluster, image)
    elif docker.has(reference):
        cluster.load(lambda file: docker.save(reference, file))
    else:
        raise ClusterError(f"{reference} was not built on this machine: build it with `make images`.")


def load_archive(cluster: Provider, archive: Path) -> None:
    """Bring an OCI archive into a cluster.

    Raises:
        ClusterError: It is not there, or the cluster refused it.
    """
    if not archive.is_file():
        raise ClusterError(f"{archive} must be a file: an OCI archive.")
    with archive.open("rb") as file:
        cluster.load(lambda target: shutil.copyfileobj(file, target, 1 << 20))
