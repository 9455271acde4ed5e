"""What in a source folder is data."""

import os
from pathlib import Path

from perennial.worker.errors import BadData
from perennial.worker.manifest import checked_path


def data_files(source: Path, suffix: str) -> dict[str, Path]:
    """Return the files below a folder whose names end in `suffix`: path relative to it → file, sorted by path.

    Names that begin with `.` or `_` (folders too) or end in `.tmp` are unfinished or internal, as for Spark and Hive.
    Links are followed as long as they stay below the folder.

    Raises:
        BadData: there is no such folder, no such file in it, or a link leads out of it or nowhere.
        OSError: a folder cannot be read, or is gone by now.
    """
    if not source.is_dir():
        raise BadData(f"the source must have a folder {source.name!r}, but there is none")
    root, found = source.resolve(), {}
    for parent, folders, names in os.walk(source, onerror=_refuse):
        folders[:] = sorted(name for name in folders if not _internal(name))
        for name in names:
            if _internal(name) or not name.endswith(suffix):
                continue
            file = Path(parent, name)
            path = checked_path(file.relative_to(source).as_posix())
            if file.is_symlink():
                _check_link(file, path, root)
            found[path] = file
    if not found:
        raise BadData(f"the source folder {source.name!r} must contain at least one *{suffix} file, but has none")
    return dict(sorted(found.items()))


def _check_link(file: Path, path: str, root: Path) -> None:
    aim = file.readlink()
    try:
        end = file.resolve(strict=True)
    except (FileNotFoundError, NotADirectoryError):
        raise BadData(f"{path} must lead to a file, but is a link to {aim}, which is not there") from None
    except (RuntimeError, OSError):
        raise BadData(f"{path} must lead to a file, but is a link to {aim}, which leads back to itself") from None
    if not end.is_relative_to(root):
        raise BadData(f"{path} must not be a link to something outside the source")


def _refuse(error: OSError) -> None:
    """Do not pass over a folder that cannot be read: its files would be missing without a word."""
    raise error


def _internal(name: str) -> bool:
    return name.startswith((".", "_")) or name.endswith(".tmp")
