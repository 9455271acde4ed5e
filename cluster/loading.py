"""Brings images from our store into a cluster, sending only the layers that it has not."""

from collections.abc import Callable
from pathlib import Path
from typing import IO, Protocol

from cluster import internal_images
from cluster.errors import ClusterError
from cluster.oci import Image


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
