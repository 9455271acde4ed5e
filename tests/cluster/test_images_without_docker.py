"""Layers and archives: the same content gives the same digest, and only what is missing is sent."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from cluster.errors import ClusterError
from cluster.oci import Blob, Entry, RunConfig, Store, tree
from cluster.paths import REPOSITORY
from images import containerfiles, layers
from images.recipes import RECIPES


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    root = tmp_path / "content"
    (root / "below").mkdir(parents=True)
    (root / "below" / "file").write_text("text")
    (root / "below" / "link").symlink_to("file")
    (root / "left-out").write_text("no")
    return root


def made_of(store: Store, directory: Path) -> Blob:
    return store.add_layer(tree(directory, "usr/share", skip=["left-out"]))


def test_a_layer_has_the_same_digest_whenever_it_is_made(store: Store, directory: Path) -> None:
    first = made_of(store, directory)

    for path in directory.rglob("*"):
        os.utime(path, (1, 1), follow_symlinks=False)

    assert made_of(store, directory) == first


def test_a_layer_holds_the_directories_above_and_belongs_to_root(store: Store, directory: Path) -> None:
    with tarfile.open(store.path(made_of(store, directory).digest)) as layer:
        members = {member.name: member for member in layer}

    assert list(members) == ["usr", "usr/share", "usr/share/below", "usr/share/below/file", "usr/share/below/link"]
    assert {(member.uid, member.gid, member.mtime) for member in members.values()} == {(0, 0, 0)}
    assert members["usr"].mode == 0o755
    assert members["usr/share/below/link"].linkname == "file"


def test_an_archive_without_known_layers_holds_only_the_others(store: Store, directory: Path) -> None:
    below = made_of(store, directory)
    above = store.add_layer([Entry("app/main.py", content=b"print()")])
    image = store.add_image("perennial.dev/some", [(below, "below"), (above, "above")], RunConfig())

    archive = io.BytesIO()
    store.write_archive(image, archive, without=frozenset([below.digest]))

    archive.seek(0)
    with tarfile.open(fileobj=archive) as written:
        names = {name.rsplit("/", 1)[-1] for name in written.getnames()}
    assert above.digest.removeprefix("sha256:") in names
    assert below.digest.removeprefix("sha256:") not in names
    assert store.layers_of(image.reference) == [below.digest, above.digest]


def test_an_images_tag_is_its_contents(store: Store, directory: Path) -> None:
    layer = made_of(store, directory)

    one = store.add_image("perennial.dev/some", [(layer, "x")], RunConfig())
    same = store.add_image("perennial.dev/some", [(layer, "x")], RunConfig())
    other = store.add_image("perennial.dev/some", [(layer, "x")], RunConfig(command=["other"]))

    assert one.reference == same.reference != other.reference


def test_images_of_long_ago_are_forgotten_with_what_only_they_had(store: Store, directory: Path) -> None:
    shared, old_only = made_of(store, directory), store.add_layer([Entry("old", content=b"old")])
    old = store.add_image("perennial.dev/old", [(shared, "x"), (old_only, "x")], RunConfig())
    for path in store.directory.rglob("*"):
        os.utime(path, (1, 1))
    new = store.add_image("perennial.dev/new", [(shared, "x")], RunConfig())

    store.prune(3600)

    assert store.image(old.reference) is None
    assert store.image(new.reference) == new
    assert store.path(shared.digest).exists()
    assert not store.path(old_only.digest).exists()


@pytest.mark.parametrize("name", RECIPES)
def test_every_image_has_a_containerfile_with_the_same_lock_and_user(name: str) -> None:
    text = containerfiles.containerfile(name).read_text()
    locks = [made_by for made_by in RECIPES[name].layers if made_by.startswith("requirements/")]

    assert locks[-1] in text
    assert f"USER {RECIPES[name].config.user}" in text
    assert REPOSITORY / locks[-1] in containerfiles.sources(name)


@pytest.mark.parametrize("name", ["operator", "server", "mlflow", "flights"])
def test_all_locks_agree_with_the_one_that_the_tests_run_with(name: str) -> None:
    versions = dict(line.split("==") for line in pins(name))

    assert versions.items() <= dict(line.split("==") for line in pins("dev")).items()


def pins(lock: str) -> list[str]:
    lines = (REPOSITORY / "requirements" / f"{lock}.txt").read_text().splitlines()
    return [line.split()[0] for line in lines if "==" in line and not line.startswith((" ", "#"))]


def test_layers_of_one_image_must_pin_the_same_versions() -> None:
    with pytest.raises(ClusterError, match=r"operator.txt must pin what server.txt pins.*run `make lock`"):
        layers.packages("operator", above="server")
