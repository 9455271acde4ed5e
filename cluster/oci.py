"""OCI images without Docker and without a registry: deterministic layers, a store of blobs, archives for containerd.

Layers are uncompressed: they never cross a network, and a layer's digest is then its content's own.
The same content gives the same digest on every machine: times are zero, owners are root, entries are sorted.
"""

import hashlib
import io
import json
import os
import stat
import tarfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

_CHUNK = 1 << 20
_INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_EPOCH = "1970-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Blob:
    """Content in a store. ``digest`` is ``sha256:`` and 64 hexadecimal digits, ``size`` is in bytes."""

    digest: str
    size: int

    def descriptor(self, media_type: str) -> dict[str, Any]:
        """Return the OCI descriptor."""
        return {"mediaType": media_type, "digest": self.digest, "size": self.size}


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, directory or link of a layer.

    Attributes:
        path: Its path in the image, without a leading slash.
        source: The file on this machine that it is a copy of; or
        content: what it contains; neither for a directory.
        mode: Its permissions.
    """

    path: str
    source: Path | None = None
    content: bytes | None = None
    mode: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """How an image's containers start."""

    user: str = "10001:10001"
    environment: Mapping[str, str] = field(default_factory=dict)
    entrypoint: Sequence[str] = ()
    command: Sequence[str] = ()
    directory: str = "/"


@dataclass(frozen=True, slots=True)
class Image:
    """An image in a store.

    Attributes:
        reference: Its name and tag; the tag is a hash of its content.
        manifest: The manifest's blob.
    """

    reference: str
    manifest: Blob


@dataclass(frozen=True, slots=True)
class Store:
    """Blobs in a directory, one file a digest, and the images made of them."""

    directory: Path

    def path(self, digest: str) -> Path:
        """Return the file of a blob."""
        return self.directory / "blobs" / "sha256" / digest.removeprefix("sha256:")

    def add(self, content: bytes) -> Blob:
        """Keep some bytes."""
        blob = Blob(f"sha256:{hashlib.sha256(content).hexdigest()}", len(content))
        path = self.path(blob.digest)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_then_rename(path, content)
        return blob

    def read(self, digest: str) -> dict[str, Any]:
        """Return a JSON blob, parsed."""
        parsed: dict[str, Any] = json.loads(self.path(digest).read_bytes())
        return parsed

    def add_layer(self, entries: Iterable[Entry]) -> Blob:
        """Write a layer of these entries, in order of their paths, with the directories above them."""
        self.path("").mkdir(parents=True, exist_ok=True)
        unfinished = self.path("") / f".layer-{os.getpid()}"
        with unfinished.open("wb") as file:
            hashing = _HashingWriter(file)
            with tarfile.open(fileobj=hashing, mode="w|", format=tarfile.PAX_FORMAT) as archive:
                for entry in _with_parents(entries):
                    _write_entry(archive, entry)
        blob = Blob(f"sha256:{hashing.hash.hexdigest()}", hashing.size)
        unfinished.rename(self.path(blob.digest))
        return blob

    def add_image(self, name: str, layers: Sequence[tuple[Blob, str]], config: RunConfig) -> Image:
        """Make an image of layers.

        Args:
            name: The name without a tag, for example ``perennial.dev/operator``.
            layers: Each layer with what made it, for the image's history; the lowest first.
            config: How its containers start.
        """
        content = {
            "architecture": _architecture(),
            "os": "linux",
            "created": _EPOCH,
            "config": _run_config(config),
            "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer, _ in layers]},
            "history": [{"created": _EPOCH, "created_by": made_by} for _, made_by in layers],
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": self.add(_json(content)).descriptor(_CONFIG),
            "layers": [layer.descriptor(_LAYER) for layer, _ in layers],
        }
        blob = self.add(_json(manifest))
        image = Image(f"{name}:{blob.digest.removeprefix('sha256:')[:12]}", blob)
        record = self._record(image.reference)
        record.parent.mkdir(parents=True, exist_ok=True)
        _write_then_rename(record, _json(blob.descriptor(_MANIFEST)))
        return image

    def image(self, reference: str) -> Image | None:
        """Return the image with this name and tag, or nothing when it was not made here."""
        record = self._record(reference)
        if not record.exists():
            return None
        manifest = json.loads(record.read_bytes())
        return Image(reference, Blob(manifest["digest"], manifest["size"]))

    def layers_of(self, reference: str) -> list[str]:
        """Return the digests of the layers of an image by its name and tag; none when it was not made here."""
        image = self.image(reference)
        return [] if image is None else self.layers(image)

    def layers(self, image: Image) -> list[str]:
        """Return the digests of an image's layers, the lowest first."""
        return [layer["digest"] for layer in self.read(image.manifest.digest)["layers"]]

    def _record(self, reference: str) -> Path:
        return self.directory / "references" / reference.replace("/", "_")

    def prune(self, seconds: float) -> None:
        """Forget images that were not made again for some time, and remove what only they were made of.

        Args:
            seconds: How long ago the oldest image to keep was made. Younger blobs stay in any case: somebody may be
                making an image of them right now.
        """
        oldest = time.time() - seconds
        kept: set[str] = set()
        for record in (self.directory / "references").iterdir():
            if record.stat().st_mtime < oldest:
                record.unlink()
                continue
            manifest = json.loads(record.read_bytes())["digest"]
            content = self.read(manifest)
            kept |= {manifest, content["config"]["digest"], *(layer["digest"] for layer in content["layers"])}
        for blob in self.path("").iterdir():
            if f"sha256:{blob.name}" not in kept and blob.stat().st_mtime < oldest:
                blob.unlink()

    def write_archive(self, image: Image, file: IO[bytes], *, without: frozenset[str] = frozenset()) -> None:
        """Write an image as an archive that containerd, kind and Docker can import.

        Args:
            image: The image.
            file: Where to; need not be seekable.
            without: Digests of layers to leave out, because the reader has them (a *thin* archive).
        """
        manifest = self.read(image.manifest.digest)
        names = {"io.containerd.image.name": image.reference, "org.opencontainers.image.ref.name": image.reference}
        index = {
            "schemaVersion": 2,
            "mediaType": _INDEX,
            "manifests": [image.manifest.descriptor(_MANIFEST) | {"annotations": names}],
        }
        layers = self.layers(image)
        docker = [
            {
                "Config": _blob_path(manifest["config"]["digest"]),
                "RepoTags": [image.reference],
                "Layers": [_blob_path(digest) for digest in layers],
            }
        ]
        with tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT) as archive:
            _write_entry(archive, Entry("oci-layout", content=_json({"imageLayoutVersion": "1.0.0"})))
            _write_entry(archive, Entry("index.json", content=_json(index)))
            _write_entry(archive, Entry("manifest.json", content=_json(docker)))
            for digest in [image.manifest.digest, manifest["config"]["digest"], *layers]:
                if digest not in without:
                    _write_entry(archive, Entry(_blob_path(digest), source=self.path(digest), mode=0o644))


def tree(root: Path, prefix: str, *, skip: Sequence[str] = ()) -> Iterator[Entry]:
    """Yield the entries of a directory tree.

    Args:
        root: The directory.
        prefix: Its path in the image, without slashes at the ends; empty for the image's root.
        skip: Paths below ``root`` that are left out, with all that is in them.
    """
    for name in sorted(path.name for path in root.iterdir()):
        if name in skip:
            continue
        source, path = root / name, f"{prefix}/{name}".lstrip("/")
        yield Entry(path, source=source)
        if source.is_dir() and not source.is_symlink():
            below = [entry.removeprefix(f"{name}/") for entry in skip if entry.startswith(f"{name}/")]
            yield from tree(source, path, skip=below)


def _with_parents(entries: Iterable[Entry]) -> list[Entry]:
    found = {entry.path: entry for entry in entries}
    for path in list(found):
        parts = path.split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            found.setdefault("/".join(parts[:depth]), Entry("/".join(parts[:depth])))
    return [found[path] for path in sorted(found)]


def _write_entry(archive: tarfile.TarFile, entry: Entry) -> None:
    info = tarfile.TarInfo(entry.path)
    if entry.content is not None:
        info.size, info.mode = len(entry.content), 0o644 if entry.mode is None else entry.mode
        archive.addfile(info, io.BytesIO(entry.content))
        return
    if entry.source is None:
        info.type, info.mode = tarfile.DIRTYPE, 0o755 if entry.mode is None else entry.mode
        archive.addfile(info)
        return
    status = entry.source.lstat()
    info.mode = stat.S_IMODE(status.st_mode) if entry.mode is None else entry.mode
    if stat.S_ISLNK(status.st_mode):
        info.type, info.linkname = tarfile.SYMTYPE, str(entry.source.readlink())
        archive.addfile(info)
    elif stat.S_ISDIR(status.st_mode):
        info.type = tarfile.DIRTYPE
        archive.addfile(info)
    elif stat.S_ISREG(status.st_mode):
        info.size = status.st_size
        with entry.source.open("rb") as file:
            archive.addfile(info, file)


def _run_config(config: RunConfig) -> dict[str, Any]:
    content: dict[str, Any] = {
        "User": config.user,
        "Env": [f"{name}={value}" for name, value in sorted(config.environment.items())],
        "WorkingDir": config.directory,
    }
    if config.entrypoint:
        content["Entrypoint"] = list(config.entrypoint)
    if config.command:
        content["Cmd"] = list(config.command)
    return content


def _architecture() -> str:
    machine = os.uname().machine
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def _blob_path(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def _json(content: object) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def _write_then_rename(path: Path, content: bytes) -> None:
    unfinished = path.with_name(f".{path.name}-{os.getpid()}")
    unfinished.write_bytes(content)
    unfinished.rename(path)


class _HashingWriter(io.RawIOBase):
    """Passes everything on to a file, and knows its hash and size."""

    def __init__(self, file: IO[bytes]) -> None:
        self.hash = hashlib.sha256()
        self.size = 0
        self._file = file

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self.hash.update(data)
        self.size += len(data)
        return self._file.write(data)
