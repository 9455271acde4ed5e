"""What in a source folder is data."""

import os
from pathlib import Path

from perennial.worker.errors import BadData
from perennial.worker.manifest import checked_path


def data_files(source: Path) -> dict[str, Path]:
    """Return the Parquet files below a folder: path relative to it → file, sorted by path.

    Names that begin with `.` or `_` (folders too) or end in `.tmp` are unfinished or internal, as for Spark and Hive.
    Links are followed as long as they stay below the folder.

    Raises:
        BadData: there is no such folder, no Parquet file in it, or a link leads out of it.
    """
    if not source.is_dir():
        raise BadData(f"the source must have a folder {source.name!r}, but there is none")
    root, found = source.resolve(), {}
    for parent, folders, names in os.walk(source):
        folders[:] = sorted(name for name in folders if not _internal(name))
        for name in names:
            if _internal(name) or not name.endswith(".parquet"):
                continue
            file = Path(parent, name)
            path = checked_path(file.relative_to(source).as_posix())
            if not file.resolve().is_relative_to(root):
                raise BadData(f"{path} must not be a link to something outside the source")
            found[path] = file
    if not found:
        raise BadData(f"the source folder {source.name!r} must contain at least one *.parquet file, but has none")
    return dict(sorted(found.items()))


def _internal(name: str) -> bool:
    return name.startswith((".", "_")) or name.endswith(".tmp")
