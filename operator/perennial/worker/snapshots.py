"""The volume that keeps versions: content-addressed objects, and manifests that name them.

    objects/<hh>/<sha256>     a file's content, by its own SHA-256; never changed
    manifests/<hex digest>    a version; written last, so one that exists is complete
    staging/                  what a check is still looking at; removed by the next check after a crash
    .lock                     held by the one check that may write

Every file appears by rename after fsync, so a crash leaves no half of anything.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from perennial.worker.errors import BadData, StorageFailed, Unavailable
from perennial.worker.manifest import Entry, Manifest, hash_stream, hex_digits


class Snapshots:
    """A snapshot volume mounted at `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def object_path(self, sha256: str) -> Path:
        """Return where the content with this SHA-256 is, or would be."""
        return self.root / "objects" / sha256[:2] / sha256

    def manifest_path(self, digest: str) -> Path:
        """Return where the manifest of a version is, or would be."""
        return self.root / "manifests" / hex_digits(digest)

    def holds(self, sha256: str, size: int) -> bool:
        """Whether the content is here. An object of another size was damaged and counts as absent."""
        path = self.object_path(sha256)
        return path.is_file() and path.stat().st_size == size

    def manifest(self, digest: str) -> Manifest:
        """Read a version's manifest.

        Raises:
            BadData: the version is not here, or its manifest was altered.
        """
        try:
            text = self.manifest_path(digest).read_bytes()
        except FileNotFoundError:
            raise BadData(f"version {digest} is not on the snapshot volume") from None
        return Manifest.parse(text, digest)

    @contextmanager
    def verified(self, entry: Entry) -> Iterator[BinaryIO]:
        """Open the content of an entry, read from beginning to end and found to be what its name says.

        Raises:
            BadData: it is missing, or its bytes are others.
        """
        try:
            stream = self.object_path(entry.sha256).open("rb")
        except FileNotFoundError:
            raise BadData(f"the content of {entry.path} is missing on the snapshot volume") from None
        with stream:
            if hash_stream(stream) != (entry.size, entry.sha256):
                raise BadData(f"the content of {entry.path} was altered on the snapshot volume: its SHA-256 differs")
            stream.seek(0)
            yield stream

    @contextmanager
    def writing(self) -> Iterator["Staging"]:
        """Become the one check that may write, with a fresh staging folder.

        Raises:
            Unavailable: another check is writing.
            StorageFailed: the volume cannot be written.
        """
        with storage_errors(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            lock = (self.root / ".lock").open("w")
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Unavailable(
                    "another check is writing to the snapshot volume; this one must wait for it"
                ) from None
            staging = self.root / "staging"
            with storage_errors(self.root):
                shutil.rmtree(staging, ignore_errors=True)
                staging.mkdir()
            try:
                yield Staging(self, staging)
            finally:
                shutil.rmtree(staging, ignore_errors=True)


class Staging:
    """New content that is not yet part of a version. Content that turns out to be bad never gets further."""

    def __init__(self, snapshots: Snapshots, folder: Path) -> None:
        self._snapshots, self._folder = snapshots, folder

    def take(self, source: Path, path: str, progress: Callable[[int], None] | None = None) -> Entry:
        """Copy a file in, unless its content is here already, and return its entry as `path`.

        The entry describes the bytes that were copied, also when the source is being rewritten.
        """
        with source.open("rb") as stream:
            size, sha256 = hash_stream(stream, progress=progress)
            if self._snapshots.holds(sha256, size) or self._staged(sha256).exists():
                return Entry(path, size, sha256)
            stream.seek(0)
            with storage_errors(self._folder), tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as copy:
                size, sha256 = hash_stream(stream, copy_to=copy)  # type: ignore[arg-type]  # a wrapper of a BinaryIO
                copy.flush()
                os.fchmod(copy.fileno(), 0o444)
                os.fsync(copy.fileno())
            Path(copy.name).rename(self._staged(sha256))
        return Entry(path, size, sha256)

    def content(self, entry: Entry) -> Path:
        """Return the file with an entry's content."""
        staged = self._staged(entry.sha256)
        return staged if staged.exists() else self._snapshots.object_path(entry.sha256)

    def commit(self, manifest: Manifest) -> None:
        """Make a version of content that was taken: first every object, then, when all are durable, the manifest."""
        with storage_errors(self._folder):
            for entry in manifest.entries:
                staged = self._staged(entry.sha256)
                if staged.exists():
                    _move(staged, self._snapshots.object_path(entry.sha256))
            target = self._snapshots.manifest_path(manifest.digest)
            if not target.exists():
                draft = self._folder / "manifest"
                with draft.open("wb") as stream:
                    stream.write(manifest.text)
                    stream.flush()
                    os.fsync(stream.fileno())
                _move(draft, target)

    def _staged(self, sha256: str) -> Path:
        return self._folder / f"content-{sha256}"


@contextmanager
def storage_errors(place: Path) -> Iterator[None]:
    """Tell people what a volume refused, instead of a stack trace.

    Raises:
        StorageFailed: an operation inside failed.
    """
    try:
        yield
    except OSError as error:
        raise StorageFailed(
            f"the volume at {place} must be writable and have room: {error.strerror or error}"
        ) from error


def _move(source: Path, target: Path) -> None:
    """Rename durably: the new name survives a crash of the node."""
    new = [parent for parent in target.parents if not parent.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    source.rename(target)
    for folder in {target.parent, *(parent.parent for parent in new)}:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
