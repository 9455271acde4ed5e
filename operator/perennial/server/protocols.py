"""Requests and answers as JSON: MLflow's `/invocations` and the Open Inference Protocol (OIP, also KServe v2).

Sources: MLflow, "Deploy MLflow Model as a Local Inference Server"; KServe, open-inference-protocol, inference_rest.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from json import JSONDecodeError, loads
from math import prod
from typing import Any

import numpy as np

from perennial.models.columns import BadRowsError, Column, Signature, Values, plain, real, whole
from perennial.models.loading import Scores

MOST_ROWS = 100_000
_MOST_DIMENSIONS = 8
_OIP_TYPES: Mapping[str, type[Any]] = {
    "BOOL": np.bool_, "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32, "UINT64": np.uint64,
    "INT8": np.int8, "INT16": np.int16, "INT32": np.int32, "INT64": np.int64, "FP32": np.float32, "FP64": np.float64,
    "BYTES": np.object_,
}  # fmt: skip
_FORMATS = ("dataframe_split", "dataframe_records", "instances", "inputs")


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a request as columns of equal length; `id` is the request's own, where the protocol has one."""

    columns: Mapping[str, Values]
    number: int
    id: str | None = None


def read_invocation(body: bytes, signature: Signature | None) -> Rows:
    """Read a body for `/invocations`. Raises BadRowsError."""
    data = _json_object(body)
    given = [name for name in _FORMATS if name in data]
    if len(given) != 1:
        raise BadRowsError(f"the body: must have exactly one of {', '.join(_FORMATS)}")
    content = data[given[0]]
    match given[0]:
        case "dataframe_split":
            return _split(content)
        case "dataframe_records":
            return _records(content, given[0])
        case _ if isinstance(content, dict):
            return _columns(content, given[0])
        case _ if isinstance(content, list) and content and isinstance(content[0], dict):
            return _records(content, given[0])
        case _:
            return _matrix(content, given[0], signature)


def read_inference(body: bytes, signature: Signature | None) -> Rows:
    """Read an OIP inference request: one tensor a column, or one tensor with all columns. Raises BadRowsError."""
    data = _json_object(body)
    inputs = data.get("inputs")
    if not isinstance(inputs, list) or not inputs:
        raise BadRowsError("inputs: must be a list of at least one tensor")
    request = data.get("id")
    if request is not None and not isinstance(request, str):
        raise BadRowsError("id: must be a string")
    tensors = [_tensor(tensor, f"inputs[{i}]") for i, tensor in enumerate(inputs)]
    if len(tensors) == 1 and tensors[0][1].ndim == 2 and tensors[0][1].shape[1] > 1:  # noqa: PLR2004 - rows, columns
        matrix = tensors[0][1]
        names = _names(matrix.shape[1], signature, "inputs[0]")
        return _rows(dict(zip(names, matrix.T, strict=True)), request)
    for name, tensor in tensors:
        if tensor.ndim > 2 or (tensor.ndim == 2 and tensor.shape[1] != 1):  # noqa: PLR2004
            raise BadRowsError(f"input {name!r}: must have the shape [rows] or [rows, 1] beside other inputs")
    return _rows({name: tensor.reshape(-1) for name, tensor in tensors}, request)


def invocation_answer(scores: Scores) -> dict[str, Any]:
    """Return the body that answers an invocation."""
    return {"predictions": scores.tolist()}


def inference_answer(scores: Scores, model: str, version: str, request: str) -> dict[str, Any]:
    """Return the body that answers an OIP request."""
    output = {"name": "score", "shape": [len(scores)], "datatype": "FP64", "data": scores.tolist()}
    return {"model_name": model, "model_version": version, "id": request, "outputs": [output]}


def tensor_type(column_type: str) -> str:
    """Return OIP's name of a signature's type."""
    names = {"double": "FP64", "float": "FP32", "long": "INT64", "integer": "INT32", "boolean": "BOOL"}
    return names.get(column_type, "BYTES")


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        data = loads(body)
    except (JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRowsError("the body: must be JSON") from error
    except ValueError as error:
        raise BadRowsError("the body: must have numbers of at most 4,300 digits") from error
    if not isinstance(data, dict):
        raise BadRowsError("the body: must be a JSON object")
    return data


def _split(content: Any) -> Rows:
    if not isinstance(content, dict) or not isinstance(content.get("data"), list):
        raise BadRowsError("dataframe_split: must be an object with columns and data")
    names, data = content.get("columns"), content["data"]
    if not isinstance(names, list) or not names or not all(type(name) in {str, int} for name in names):
        raise BadRowsError("dataframe_split.columns: must be a list of distinct names")
    if len(set(map(str, names))) < len(names):
        raise BadRowsError("dataframe_split.columns: must be a list of distinct names")
    for i, row in enumerate(data):
        if not isinstance(row, list) or len(row) != len(names):
            raise BadRowsError(f"dataframe_split.data[{i}]: must be a list of {len(names)} values")
    return _rows({str(name): [row[i] for row in data] for i, name in enumerate(names)}, None)


def _records(content: Any, where: str) -> Rows:
    if not isinstance(content, list) or not all(isinstance(record, dict) for record in content):
        raise BadRowsError(f"{where}: must be a list of objects")
    names = list(dict.fromkeys(name for record in content for name in record))
    return _rows({name: [record.get(name) for record in content] for name in names}, None)


def _columns(content: dict[str, Any], where: str) -> Rows:
    columns = {name: values if isinstance(values, list) else [values] for name, values in content.items()}
    if len({len(values) for values in columns.values()}) > 1:
        raise BadRowsError(f"{where}: all columns must have as many values")
    # MLflow also takes columns of one-element rows: {"x": [[1], [2]]}.
    flat = {
        name: [v[0] for v in values] if values and all(isinstance(v, list) and len(v) == 1 for v in values) else values
        for name, values in columns.items()
    }
    return _rows(flat, None)


def _matrix(content: Any, where: str, signature: Signature | None) -> Rows:
    if not isinstance(content, list) or not content or not all(isinstance(row, list) and row for row in content):
        raise BadRowsError(f"{where}: must be an object of columns, a list of objects, or a list of rows")
    width = len(content[0])
    for i, row in enumerate(content):
        if len(row) != width:
            raise BadRowsError(f"{where}[{i}]: must have {width} values, as the first row")
    names = _names(width, signature, where)
    return _rows({name: [row[i] for row in content] for i, name in enumerate(names)}, None)


def _names(width: int, signature: Signature | None, where: str) -> list[str]:
    if signature is None:
        return [str(i) for i in range(width)]
    if len(signature.columns) != width:
        raise BadRowsError(f"{where}: rows must have the model's {len(signature.columns)} columns, not {width}")
    return [column.name for column in signature.columns]


def _tensor(tensor: Any, where: str) -> tuple[str, np.ndarray[Any, Any]]:
    if not isinstance(tensor, dict) or not isinstance(tensor.get("name"), str):
        raise BadRowsError(f"{where}.name: must be a string")
    shape, datatype, data = tensor.get("shape"), tensor.get("datatype"), tensor.get("data")
    if (
        not isinstance(shape, list)
        or not 0 < len(shape) <= _MOST_DIMENSIONS
        or not all(type(n) is int and 0 <= n < 2**31 for n in shape)
    ):
        raise BadRowsError(f"{where}.shape: must be a list of 1 to {_MOST_DIMENSIONS} whole numbers below 2147483648")
    if not isinstance(datatype, str) or datatype not in _OIP_TYPES:
        raise BadRowsError(f"{where}.datatype: must be one of {', '.join(_OIP_TYPES)}")
    if not isinstance(data, list):
        raise BadRowsError(f"{where}.data: must be a list")
    flat = _flat(data)
    if len(flat) != prod(shape):
        raise BadRowsError(f"{where}.data: must have {prod(shape)} values for the shape {shape}, has {len(flat)}")
    return tensor["name"], _typed(flat, tensor["name"], datatype).reshape(shape)


def _typed(flat: list[Any], name: str, datatype: str) -> np.ndarray[Any, Any]:
    """Return values as an array of OIP's type; raise BadRowsError for what it can't hold."""
    kind = _OIP_TYPES[datatype]
    if datatype == "BYTES":
        return Column(name, "string").read(flat)
    if datatype == "BOOL":
        return Column(name, "boolean").read(flat)
    array = plain(flat, name)
    return real(array, name, kind) if issubclass(kind, np.floating) else whole(array, name, kind)


def _flat(data: Sequence[Any]) -> list[Any]:
    """Return nested lists as one list, in row-major order; OIP allows both."""
    flat = list(data)
    while any(isinstance(value, list) for value in flat):
        flat = [inner for value in flat for inner in (value if isinstance(value, list) else [value])]
    return flat


def _rows(columns: Mapping[str, Values], request: str | None) -> Rows:
    lengths = {len(values) for values in columns.values()}
    if len(lengths) != 1:
        raise BadRowsError("the body: all columns must have as many rows" if lengths else "the body: must have columns")
    (number,) = lengths
    if not 0 < number <= MOST_ROWS:
        raise BadRowsError(f"the body: must have 1 to {MOST_ROWS:,} rows, has {number:,}")
    return Rows(columns, number, request)
