"""What one Parquet file holds, as far as a schema and expectations ask. Gathers; `judgement` judges."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from perennial.families.expectations import Aggregate, ColumnFacts, FileFacts
from perennial.worker.errors import BadData
from perennial.worker.measure import INT96_UNIT, Needs, measure, type_of

_BATCH_ROWS = 65_536


def survey(path: str, file: Path, wanted: Mapping[str, Needs]) -> FileFacts:
    """Read the wanted columns of a Parquet file, in pieces, and return what was found.

    Raises:
        BadData: it cannot be read as Parquet.
    """
    import pyarrow as pa  # noqa: PLC0415 - heavy
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        with pq.ParquetFile(file, coerce_int96_timestamp_unit=INT96_UNIT) as parquet:
            schema = parquet.schema_arrow
            repeated = {name for name in schema.names if schema.names.count(name) > 1}
            present = [name for name in wanted if name in schema.names and name not in repeated]
            pieces: dict[str, list[dict[Aggregate, Any]]] = {name: [] for name in present}
            for batch in parquet.iter_batches(batch_size=_BATCH_ROWS, columns=present) if present else ():
                for name in present:
                    values = batch.column(batch.schema.names.index(name))
                    pieces[name].append(measure(values, wanted[name]))
            rows = parquet.metadata.num_rows
    except (pa.ArrowException, OSError, ValueError) as error:
        raise BadData(f"{path} must be a Parquet file, but cannot be read as one: {error}") from error
    columns = {
        name: ColumnFacts(
            stored=str(schema.field(name).type),
            type=type_of(schema.field(name).type),
            figures={each: each.merged(piece.get(each) for piece in pieces[name]) for each in wanted[name]},
        )
        for name in present
    }
    return FileFacts(path=path, rows=rows, columns=columns, repeated=tuple(sorted(repeated)))
