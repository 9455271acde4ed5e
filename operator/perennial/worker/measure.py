"""The figures of a column that expectations ask for, made with Arrow, a piece at a time."""

from collections.abc import Mapping
from typing import Any

from perennial.families.expectations import Aggregate
from perennial.terms.words import ColumnType

UNITS_A_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
NANOSECONDS = UNITS_A_SECOND["ns"]
INT96_UNIT = "us"
"""What moments are read in that are stored as INT96, which has no unit: as nanoseconds, the year 9999 would be 1815."""

Needs = Mapping[Aggregate, frozenset[ColumnType]]
"""The figures that are asked for, and the types of column in which each makes sense."""


def type_of(kind: Any) -> ColumnType | None:
    """Return the column type of an Arrow type, or None if it is not one of ours."""
    import pyarrow.types as t  # noqa: PLC0415 - heavy

    if t.is_dictionary(kind):
        kind = kind.value_type
    tests = (
        (ColumnType.BOOLEAN, t.is_boolean),
        (ColumnType.INTEGER, t.is_integer),
        # Readers have no arithmetic for floats of 16 bits: Arrow not, databases not, most models not.
        (ColumnType.FLOAT, lambda k: t.is_float32(k) or t.is_float64(k)),
        (ColumnType.TIMESTAMP, t.is_timestamp),
        (ColumnType.STRING, lambda k: t.is_string(k) or t.is_large_string(k) or t.is_string_view(k)),
    )
    return next((name for name, holds in tests if holds(kind)), None)


def measure(values: Any, needs: Needs) -> dict[Aggregate, Any]:
    """Return the figures of an Arrow array; those that make no sense in a column of its type are left out."""
    import pyarrow as pa  # noqa: PLC0415 - heavy
    import pyarrow.compute as pc  # noqa: PLC0415

    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    type_ = type_of(values.type)
    untyped = pa.types.is_null(values.type)
    plain, unit = _plain(values, type_), _nanoseconds(values.type)
    figures = {}
    for each, types in needs.items():
        if type_ in types or untyped:
            array = plain.cast(_arrow_type(min(types))) if untyped else plain
            found = getattr(pc, each.kernel)(array, **dict(each.options))
            figure = found.as_py() if isinstance(found, pa.Scalar) else found.to_pylist()
            figures[each] = figure if unit is None or each.counts else _times(figure, unit)
    return figures


def _plain(values: Any, type_: ColumnType | None) -> Any:
    """Return values as figures are made of: NaN missing, moments as counts of their unit."""
    import pyarrow as pa  # noqa: PLC0415 - heavy
    import pyarrow.compute as pc  # noqa: PLC0415

    if type_ is ColumnType.FLOAT:
        return pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
    return values.cast(pa.int64()) if type_ is ColumnType.TIMESTAMP else values


def _nanoseconds(kind: Any) -> int | None:
    """Return how many nanoseconds the unit of a column of moments has; None for another column."""
    return NANOSECONDS // UNITS_A_SECOND[kind.unit] if type_of(kind) is ColumnType.TIMESTAMP else None


def _times(figure: Any, factor: int) -> Any:
    """Return moments in nanoseconds: Python's whole numbers hold what 64 bits do not."""
    if isinstance(figure, list):
        return [_times(each, factor) for each in figure]
    return None if figure is None else figure * factor


def _arrow_type(type_: ColumnType) -> Any:
    import pyarrow as pa  # noqa: PLC0415 - heavy

    return {
        ColumnType.BOOLEAN: pa.bool_(),
        ColumnType.INTEGER: pa.int64(),
        ColumnType.FLOAT: pa.float64(),
        ColumnType.TIMESTAMP: pa.int64(),
        ColumnType.STRING: pa.string(),
    }[type_]
