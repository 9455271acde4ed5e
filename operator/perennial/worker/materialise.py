"""`materialise`: put the rows of a version that a run may see into a folder."""

import json
import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

from perennial.terms.text import rfc3339
from perennial.worker import report
from perennial.worker.errors import BadArguments, BadData
from perennial.worker.manifest import Entry, Manifest
from perennial.worker.measure import INT96_UNIT, UNITS_A_SECOND
from perennial.worker.moments import EPOCH
from perennial.worker.snapshots import Snapshots, storage_errors

DESCRIPTION = "_dataset.json"
_MARKER = ".materialising"
_BATCH_ROWS = 65_536


@dataclass(frozen=True, slots=True)
class Rows:
    """Which rows are wanted: those with from ≤ time < until, an absent bound being none; all when `time` is absent."""

    time: str | None = None
    from_: datetime | None = None
    until: datetime | None = None

    def __post_init__(self) -> None:
        if self.time is None and (self.from_ or self.until):
            raise BadArguments("--from and --until need --time, the column they go by")
        if self.from_ and self.until and self.from_ >= self.until:
            raise BadArguments("--from must be before --until")


@dataclass(frozen=True, slots=True)
class Purpose:
    """What the rows are for, as `_dataset.json` tells the script that reads them."""

    part: str
    dataset: str | None = None
    target: str | None = None


def materialise(snapshots: Path, digest: str, folder: Path, rows: Rows, purpose: Purpose) -> dict[str, Any]:
    """Write the wanted rows of a version to `folder`, as files of the version's names, and describe them.

    Every file's content is verified first. Files without a wanted row are left out; `_dataset.json` is written last.

    Raises:
        BadData: the version is not there, was altered, has no wanted row, or lacks the time column.
        BadArguments: the folder has files that are not ours.
        StorageFailed: the folder cannot be written.
    """
    store = Snapshots(snapshots)
    manifest = store.manifest(digest)
    _make_empty(folder)
    progress = report.Progress("materialising", manifest.size, (1e6, "MB"))
    total = files = 0
    for entry in manifest.entries:
        kept = _materialise_file(store, entry, folder, rows)
        total, files = total + kept, files + (kept > 0)
        progress.add(entry.size)
    if not total:
        raise BadData(_nothing_left(manifest, rows))
    description = {
        "dataset": purpose.dataset,
        "digest": digest,
        "from": rfc3339(rows.from_) if rows.from_ else None,
        "until": rfc3339(rows.until) if rows.until else None,
        "part": purpose.part,
        "rows": total,
        "files": files,
        "target": purpose.target,
        "time": rows.time,
    }
    with storage_errors(folder):
        (folder / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n")
        (folder / _MARKER).unlink()
    return description


def _make_empty(folder: Path) -> None:
    """Remove what an earlier attempt left. A folder that holds something else is not touched."""
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        ours = (folder / _MARKER).exists() or (folder / DESCRIPTION).exists()
        content = [path for path in folder.iterdir() if path.name != "lost+found"]
        if content and not ours:
            raise BadArguments(f"--to must be an empty folder, but {folder} has {content[0].name!r} in it")
        (folder / _MARKER).touch()
        for path in content:
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != _MARKER:
                path.unlink()


def _materialise_file(store: Snapshots, entry: Entry, folder: Path, rows: Rows) -> int:
    """Write the wanted rows of one file and return how many they are."""
    import pyarrow as pa  # noqa: PLC0415 - heavy
    import pyarrow.parquet as pq  # noqa: PLC0415

    target = folder / entry.path
    with store.verified(entry) as stream:
        try:
            with pq.ParquetFile(stream, coerce_int96_timestamp_unit=INT96_UNIT) as parquet:
                if rows.from_ is not None or rows.until is not None:
                    return _write_wanted(parquet, entry.path, target, rows)
                count = int(parquet.metadata.num_rows)
        except (pa.ArrowException, ValueError) as error:
            raise BadData(f"{entry.path} must be a Parquet file, but cannot be read as one: {error}") from error
        if count:
            _copy(stream, target)
    return count


def _copy(stream: BinaryIO, target: Path) -> None:
    stream.seek(0)
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as copy:
            shutil.copyfileobj(stream, copy, 1 << 20)


def _write_wanted(parquet: Any, path: str, target: Path, rows: Rows) -> int:
    import pyarrow.parquet as pq  # noqa: PLC0415

    if parquet.schema_arrow.names.count(rows.time) != 1:
        raise BadData(f"{path} must have the time column {rows.time!r} once")
    kept, writer = 0, None
    try:
        for batch in parquet.iter_batches(batch_size=_BATCH_ROWS):
            wanted = batch.filter(_mask(batch, path, rows))
            if not wanted.num_rows:
                continue
            with storage_errors(target):
                if writer is None:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    writer = pq.ParquetWriter(target, wanted.schema, compression="zstd")
                writer.write_batch(wanted)
            kept += wanted.num_rows
    finally:
        if writer is not None:
            writer.close()
    return kept


def _mask(batch: Any, path: str, rows: Rows) -> Any:
    """Return which rows of a batch are wanted. Rows without a time are not; a time without a zone is UTC."""
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.compute as pc  # noqa: PLC0415

    times = batch.column(batch.schema.names.index(rows.time))
    if not pa.types.is_timestamp(times.type):
        raise BadData(f"the time column {rows.time!r} of {path} must be of type Timestamp, but holds {times.type}")
    unit, counts = times.type.unit, times.cast(pa.int64())
    mask = pc.is_valid(counts)
    if rows.from_ is not None:
        mask = pc.and_(mask, pc.fill_null(pc.greater_equal(counts, _units(rows.from_, unit)), fill_value=False))
    if rows.until is not None:
        mask = pc.and_(mask, pc.fill_null(pc.less(counts, _units(rows.until, unit)), fill_value=False))
    return mask


def _units(moment: datetime, unit: str) -> int:
    """Return the units from the epoch to a moment, rounded up: then `≥` and `<` hold for coarser columns too."""
    microseconds = (moment - EPOCH) // timedelta(microseconds=1)
    return -(-microseconds * UNITS_A_SECOND[unit] // 10**6)


def _nothing_left(manifest: Manifest, rows: Rows) -> str:
    if rows.time is None:
        return f"version {manifest.digest} must have rows, but has none"
    bounds = [
        f"from {rfc3339(rows.from_)}" if rows.from_ else "",
        f"before {rfc3339(rows.until)}" if rows.until else "",
    ]
    return (
        f"version {manifest.digest} must have rows with {rows.time} {' and '.join(filter(None, bounds))}, but has none"
    )
