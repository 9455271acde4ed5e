"""What one Parquet file holds, as far as a schema and expectations ask. Gathers; `judgement` judges."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from perennial.api.dataset import ColumnType
from perennial.worker.errors import BadData

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
UNITS_A_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_BATCH_ROWS = 65_536


@dataclass(slots=True)
class ColumnFacts:
    """A column of a file.

    `type` is None when it is none of ours; `stored` is what Parquet calls it. `missing` counts nulls and NaNs. `low`
    and `high` bound the values that are there: numbers, or moments in UTC.
    """

    stored: str
    type: ColumnType | None
    missing: int = 0
    low: Any = None
    high: Any = None

    def widen(self, low: Any, high: Any) -> None:
        """Take in the bounds of some more values."""
        self.low = low if self.low is None else min(self.low, low)
        self.high = high if self.high is None else max(self.high, high)


@dataclass(slots=True)
class FileFacts:
    """A file: its path, its rows, and those of its columns that were asked for and are there."""

    path: str
    rows: int
    columns: dict[str, ColumnFacts] = field(default_factory=dict)
    repeated: tuple[str, ...] = ()


def survey(path: str, file: Path, wanted: Iterable[str]) -> FileFacts:
    """Read the wanted columns of a Parquet file, in pieces, and return what was found.

    Raises:
        BadData: it cannot be read as Parquet.
    """
    import pyarrow as pa  # noqa: PLC0415 - heavy
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        with pq.ParquetFile(file) as parquet:
            names = parquet.schema_arrow.names
            facts = FileFacts(path, parquet.metadata.num_rows)
            facts.repeated = tuple(sorted({name for name in names if names.count(name) > 1}))
            present = [name for name in dict.fromkeys(wanted) if names.count(name) == 1]
            for name in present:
                kind = parquet.schema_arrow.field(name).type
                facts.columns[name] = ColumnFacts(str(kind), type_of(kind))
            for batch in parquet.iter_batches(batch_size=_BATCH_ROWS, columns=present) if present else ():
                for name in present:
                    _take_in(facts.columns[name], batch.column(batch.schema.names.index(name)))
            return facts
    except (pa.ArrowException, OSError, ValueError) as error:
        raise BadData(f"{path} must be a Parquet file, but cannot be read as one: {error}") from error


def type_of(kind: Any) -> ColumnType | None:
    """Return the column type of an Arrow type, or None if it is not one of ours."""
    import pyarrow.types as t  # noqa: PLC0415

    if t.is_dictionary(kind):
        kind = kind.value_type
    tests = (
        (ColumnType.BOOLEAN, t.is_boolean),
        (ColumnType.INTEGER, t.is_integer),
        (ColumnType.FLOAT, t.is_floating),
        (ColumnType.TIMESTAMP, t.is_timestamp),
        (ColumnType.STRING, lambda k: t.is_string(k) or t.is_large_string(k) or t.is_string_view(k)),
    )
    return next((name for name, holds in tests if holds(kind)), None)


def moment(count: int, unit: str) -> datetime:
    """Return the moment that lies `count` units after the epoch, cut to microseconds."""
    return EPOCH + timedelta(microseconds=count * 10**6 // UNITS_A_SECOND[unit])


def _take_in(facts: ColumnFacts, values: Any) -> None:
    """Count the missing values of an array and widen the bounds by the others."""
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.compute as pc  # noqa: PLC0415

    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if facts.type is ColumnType.FLOAT:
        values = pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
    facts.missing += values.null_count
    if len(values) == values.null_count or facts.type not in (
        ColumnType.INTEGER,
        ColumnType.FLOAT,
        ColumnType.TIMESTAMP,
    ):
        return
    stamp = facts.type is ColumnType.TIMESTAMP
    bounds = pc.min_max(values.cast(pa.int64()) if stamp else values).as_py()
    if stamp:
        facts.widen(moment(bounds["min"], values.type.unit), moment(bounds["max"], values.type.unit))
    else:
        facts.widen(Decimal(bounds["min"]), Decimal(bounds["max"]))
