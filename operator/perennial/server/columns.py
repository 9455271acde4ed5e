"""What a model wants to be fed: the columns of its MLflow signature, and how values become arrays of their types."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Values = Sequence[Any] | Array

_FLOATS = {"double": np.float64, "float": np.float32}
_INTEGERS = {"long": np.int64, "integer": np.int32}


class BadRowsError(Exception):
    """The rows are not what the model wants. The message tells which column, and what must hold."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the signature; `type` is MLflow's name of it (double, long, string, …)."""

    name: str
    type: str
    required: bool = True

    def read(self, values: Values) -> Array:
        """Return the values as an array of the column's type, one element a row. Raises BadRowsError."""
        array = values if isinstance(values, np.ndarray) else np.asarray(_plain(values, self.name))
        if self.type in _FLOATS:
            return self._numbers(array).astype(_FLOATS[self.type], copy=False)
        if self.type in _INTEGERS:
            return self._integers(array).astype(_INTEGERS[self.type], copy=False)
        if self.type == "boolean":
            return self._booleans(array)
        if self.type == "string":
            return self._strings(array)
        return array

    def _numbers(self, array: Array) -> Array:
        if array.dtype.kind == "O" and all(v is None or isinstance(v, int | float | np.number) for v in array):
            array = np.array([np.nan if v is None else v for v in array], np.float64)
        if array.dtype.kind not in "biuf":
            raise BadRowsError(f"column {self.name!r}: must be numbers")
        return array

    def _integers(self, array: Array) -> Array:
        if array.dtype.kind in "biu":
            return array
        numbers = self._numbers(array)
        if not np.isfinite(numbers).all() or (numbers != np.floor(numbers)).any():
            raise BadRowsError(f"column {self.name!r}: must be whole numbers, none missing")
        return numbers

    def _booleans(self, array: Array) -> Array:
        if array.dtype.kind == "b":
            return array
        if array.dtype.kind in "iuf" and np.isin(array, (0, 1)).all():
            return array.astype(np.bool_)
        raise BadRowsError(f"column {self.name!r}: must be booleans, none missing")

    def _strings(self, array: Array) -> Array:
        if array.dtype.kind == "U" or all(v is None or isinstance(v, str) for v in array):
            return array.astype(object)
        raise BadRowsError(f"column {self.name!r}: must be strings")


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


def _plain(values: Sequence[Any], name: str) -> Any:
    """Return JSON values as numpy reads them best; raise BadRowsError for what is no column."""
    kinds = {type(value) for value in values}
    if kinds & {dict, list}:
        return np.fromiter(values, dtype=object, count=len(values))
    if not kinds <= {int, float, bool, str, type(None)}:
        raise BadRowsError(f"column {name!r}: must be plain JSON values")
    mixed = type(None) in kinds or (str in kinds and len(kinds) > 1) or (bool in kinds and len(kinds) > 1)
    if mixed or (int in kinds and any(isinstance(v, int) and abs(v) >= 2**63 for v in values)):
        return np.array(values, dtype=object)
    return values


def _type_name(kind: Any) -> str:
    return str(getattr(kind, "name", kind))
