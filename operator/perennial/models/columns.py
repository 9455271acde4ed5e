"""What a model wants to be fed: the columns of its MLflow signature, and how values become arrays of their types."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from json import dumps
from math import isinf
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Values = Sequence[Any] | Array

_FLOATS: Mapping[str, type[np.floating[Any]]] = {"double": np.float64, "float": np.float32}
_INTEGERS: Mapping[str, type[np.integer[Any]]] = {"long": np.int64, "integer": np.int32}
_NUMBERS = (int, float, np.number, np.bool_)
_TOO_FINE = re.compile(r"[.,]\d{6}\d*[1-9]")
"""A fraction of a second that microseconds can't hold: `fromisoformat` would cut it off."""
_SHOWN = 40
"""Characters of a value that a message shows."""


class BadRowsError(Exception):
    """The rows are not what the model wants. The message tells which column, and what must hold."""

    status = 400


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the signature; `type` is MLflow's name of it (double, long, string, …)."""

    name: str
    type: str
    required: bool = True

    def read(self, values: Values) -> Array:
        """Return the values as an array of the column's type, one element a row.

        No value becomes another one: what the type can't hold is refused. Only a 32-bit float is rounded.

        Raises:
            BadRowsError: the values are not of the type; it tells the column, what must hold, and the first row.
        """
        array = values if isinstance(values, np.ndarray) else plain(values, self.name)
        if self.type in _FLOATS:
            return real(array, self.name, _FLOATS[self.type])
        if self.type in _INTEGERS:
            return whole(array, self.name, _INTEGERS[self.type])
        if self.type == "boolean":
            return booleans(array, self.name)
        if self.type == "string":
            return self._strings(array)
        if self.type == "datetime" and array.dtype.kind != "M":
            return self._moments(array)
        return array

    def _strings(self, array: Array) -> Array:
        if array.dtype.kind == "U":
            return array.astype(object)
        _refuse(array, [v is not None and not isinstance(v, str) for v in array], self.name, "must be strings")
        broken = [v is not None and not _encodable(v) for v in array]
        _refuse(array, broken, self.name, "must be valid Unicode")
        return array.astype(object)

    def _moments(self, array: Array) -> Array:
        found = [_moment(v) for v in array]
        _refuse(
            array,
            [moment is None for moment in found],
            self.name,
            "must be times in microseconds, as 2026-01-31T12:00:00Z",
        )
        return np.array(found, "datetime64[us]")


def real(array: Array, name: str, kind: type[np.floating[Any]]) -> Array:
    """Return numbers as floats of a kind; missing ones are NaN. Raises BadRowsError."""
    if array.dtype.kind == "O":
        _refuse(array, [not (v is None or isinstance(v, _NUMBERS)) for v in array], name, "must be numbers")
    elif array.dtype.kind not in "biuf":
        raise BadRowsError(f"column {name!r}: must be numbers")
    limit, bits = float(np.finfo(kind).max), np.dtype(kind).itemsize * 8
    bound = f"must be from {-limit:.8g} to {limit:.8g}"
    if array.dtype.kind == "O":
        _refuse(array, [isinstance(v, int) and abs(v) > limit for v in array], name, bound)
        numbers = np.array([np.nan if v is None else v for v in array], np.float64)
    else:
        numbers = array.astype(np.float64, copy=False)
    _refuse(array, np.isfinite(numbers) & (np.abs(numbers) > limit), name, bound)
    made = numbers.astype(kind, copy=False)
    _refuse(array, ~_exact(array, made), name, f"must be numbers that a {bits}-bit float holds exactly")
    return made


def whole(array: Array, name: str, kind: type[np.integer[Any]]) -> Array:
    """Return whole numbers as integers of a kind; none may be missing. Raises BadRowsError."""
    must = "must be whole numbers, none missing"
    if array.dtype.kind == "O":
        _refuse(array, [not isinstance(v, _NUMBERS) or not _is_whole(v) for v in array], name, must)
        array = np.array([int(v) for v in array], dtype=object)
    elif array.dtype.kind == "f":
        _refuse(array, ~np.isfinite(array) | (array != np.floor(array)), name, must)
    elif array.dtype.kind not in "biu":
        raise BadRowsError(f"column {name!r}: {must}")
    low, high = int(np.iinfo(kind).min), int(np.iinfo(kind).max)
    # In floats, the upper end of 64 bits is rounded up to the first number that is beyond it.
    beyond = array >= float(high) if array.dtype.kind == "f" and float(high) > high else array > high
    _refuse(array, (array < low) | beyond, name, f"must be from {low} to {high}")
    return array.astype(kind, copy=False)


def booleans(array: Array, name: str) -> Array:
    """Return truth values, also those that are given as 0 and 1; none may be missing. Raises BadRowsError."""
    if array.dtype.kind == "b":
        return array
    if array.dtype.kind in "iuf" and np.isin(array, (0, 1)).all():
        return array.astype(np.bool_)
    raise BadRowsError(f"column {name!r}: must be booleans, none missing")


def _exact(array: Array, numbers: Array) -> Any:
    """Return which integers are the same as floats; what is no integer is as near as floats are."""
    if array.dtype.kind not in "iuO" or array.dtype.itemsize * 8 <= np.finfo(numbers.dtype).nmant:
        return np.ones(len(array), bool)
    pairs = zip(array, numbers, strict=True)
    return np.array([not isinstance(v, int | np.integer) or int(n) == int(v) for v, n in pairs], bool)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer | np.bool_) or float(value).is_integer()


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _moment(value: Any) -> datetime | None:
    """Return a time in UTC without its zone, which numpy does not know; None if it is none that can be kept."""
    try:
        if _TOO_FINE.search(value):
            return None
        moment = datetime.fromisoformat(value)
        return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)
    except (TypeError, ValueError, OverflowError):
        return None


def _refuse(array: Array, wrong: Any, name: str, must: str) -> None:
    """Raise BadRowsError if any of the rows is wrong, with the first of them."""
    rows = np.flatnonzero(wrong)
    if rows.size:
        row = int(rows[0])
        value = array[row].item() if isinstance(array[row], np.generic) else array[row]
        raise BadRowsError(f"column {name!r}: {must} (row {row} has {_shown(value)})")


def _shown(value: Any) -> str:
    """Return a value as JSON has it, cut to what a sentence can bear."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = dumps(value) if value is None or isinstance(value, bool) else ascii(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


@dataclass(frozen=True, slots=True)
class Signature:
    """The columns that a model was logged with, in order."""

    columns: tuple[Column, ...]

    @classmethod
    def of(cls, schema: Any) -> Self | None:
        """Read an `mlflow.types.Schema`; None if it has no named columns (or there is none)."""
        if schema is None or schema.is_tensor_spec() or not schema.has_input_names():
            return None
        return cls(tuple(Column(spec.name, _type_name(spec.type), spec.required) for spec in schema.inputs))

    def read(self, columns: Mapping[str, Values], rows: int) -> dict[str, Array]:
        """Return the model's columns as typed arrays, in its order; columns it does not know are left out.

        Raises:
            BadRowsError: a required column is missing, or has values of another type.
        """
        known: dict[str, Array] = {}
        for column in self.columns:
            if column.name in columns:
                known[column.name] = column.read(columns[column.name])
            elif column.required:
                raise BadRowsError(f"column {column.name!r}: must be given ({column.type})")
            elif column.type in _FLOATS:
                known[column.name] = np.full(rows, np.nan, _FLOATS[column.type])
        return known

    def zeros(self) -> dict[str, Array]:
        """Return one row of plausible nothing, for warming up."""
        empty: dict[str, Any] = {"string": "", "boolean": False, "datetime": np.datetime64(0, "s")}
        return {column.name: np.array([empty.get(column.type, 0)]) for column in self.columns}


def plain(values: Sequence[Any], name: str) -> Array:
    """Return JSON values as an array that holds each as it is; raise BadRowsError for what is no column."""
    kinds = {type(value) for value in values}
    if kinds <= {float} or kinds <= {bool}:
        array = np.asarray(values)
        if kinds <= {float}:
            _refuse(array, np.isinf(array), name, "must be finite numbers")
        return array
    if kinds == {int} and all(-(2**63) <= value < 2**63 for value in values):
        return np.asarray(values, np.int64)
    if not kinds <= {int, float, bool, str, dict, list, type(None)}:
        raise BadRowsError(f"column {name!r}: must be plain JSON values")
    array = np.fromiter(values, dtype=object, count=len(values))
    _refuse(array, [isinstance(v, float) and isinf(v) for v in values], name, "must be finite numbers")
    return array


def _type_name(kind: Any) -> str:
    return str(getattr(kind, "name", kind))
