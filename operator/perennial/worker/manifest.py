"""The identity of a folder of files is its content: SHA-256 over one line for each file, sorted by path.

A line is `<path> <size> <sha256>` and a newline, the path relative to the folder with `/` between its parts. Both the
versions of a Dataset and the files of a model are named so; equal files have equal digests on every machine.
"""

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Self

from perennial.worker.errors import BadArguments, BadData

PREFIX = "sha256:"
_HEX_DIGITS = 64
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """One file: its path below the folder, its size in bytes, its SHA-256 in hexadecimal."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """All files of a folder, sorted by path."""

    entries: tuple[Entry, ...]

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Self:
        """Return the manifest of some files in any order."""
        return cls(tuple(sorted(entries)))

    @classmethod
    def parse(cls, text: bytes, digest: str) -> Self:
        """Read a manifest back.

        Raises:
            BadData: the text is not the one that `digest` names, or names a path outside the folder.
        """
        if PREFIX + hashlib.sha256(text).hexdigest() != digest:
            raise BadData(f"the manifest of version {digest} has been altered: its own SHA-256 differs")
        entries = []
        for line in text.decode().splitlines():
            path, size, sha256 = line.rsplit(" ", 2)
            entries.append(Entry(checked_path(path), int(size), sha256))
        return cls.of(entries)

    @property
    def text(self) -> bytes:
        """The lines that are hashed."""
        return "".join(f"{entry.path} {entry.size} {entry.sha256}\n" for entry in self.entries).encode()

    @property
    def digest(self) -> str:
        """`sha256:` and 64 hexadecimal digits."""
        return PREFIX + hashlib.sha256(self.text).hexdigest()

    @property
    def size(self) -> int:
        """Bytes in all files."""
        return sum(entry.size for entry in self.entries)


def checked_path(path: str) -> str:
    """Return `path` if it can be a line's path: relative, inside the folder, UTF-8 and without line breaks.

    Raises:
        BadData: it cannot.
    """
    parts = PurePosixPath(path).parts
    plain = bool(parts) and not path.startswith("/") and ".." not in parts and path == "/".join(parts)
    if not plain or len(path.splitlines()) != 1:
        raise BadData(f"the file name {path!r} must be a relative path without '..' and without line breaks")
    try:
        path.encode()
    except UnicodeEncodeError:
        raise BadData(f"the file name {path!r} must be UTF-8") from None
    return path


def hex_digits(digest: str) -> str:
    """Return the 64 digits of `sha256:…`.

    Raises:
        BadArguments: it is not of that form.
    """
    digits = digest.removeprefix(PREFIX)
    if not digest.startswith(PREFIX) or len(digits) != _HEX_DIGITS or set(digits) - set("0123456789abcdef"):
        raise BadArguments(f"a digest must be 'sha256:' and 64 hexadecimal digits, not {digest!r}")
    return digits


def hash_stream(
    stream: BinaryIO, copy_to: BinaryIO | None = None, progress: Callable[[int], None] | None = None
) -> tuple[int, str]:
    """Read a stream to its end and return (bytes, SHA-256 in hexadecimal), writing what was read to `copy_to`."""
    digest, size = hashlib.sha256(), 0
    while chunk := stream.read(_CHUNK):
        digest.update(chunk)
        size += len(chunk)
        if copy_to is not None:
            copy_to.write(chunk)
        if progress is not None:
            progress(len(chunk))
    return size, digest.hexdigest()


def manifest_of_folder(folder: Path) -> Manifest:
    """Return the manifest of every file below `folder`, links not followed.

    Raises:
        BadData: there is something below it that is neither a file nor a folder.
    """
    entries = []
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in names:
            path = Path(parent, name)
            if path.is_symlink() or not path.is_file():
                raise BadData(f"{path.relative_to(folder)} must be a plain file")
            with path.open("rb") as stream:
                size, sha256 = hash_stream(stream)
            entries.append(Entry(checked_path(path.relative_to(folder).as_posix()), size, sha256))
    return Manifest.of(entries)
