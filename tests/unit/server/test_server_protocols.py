"""Requests as JSON: what is understood, and what is refused with which sentence."""

import json
from typing import Any

import numpy as np
import pytest

from perennial.models.columns import BadRowsError, Column, Signature
from perennial.server.protocols import inference_answer, read_inference, read_invocation

SIGNATURE = Signature((Column("distance", "double"), Column("hour", "long"), Column("carrier", "string", False)))


def tensor(name: str, shape: list[int], data: list[Any], datatype: str = "FP64") -> dict[str, Any]:
    return {"name": name, "shape": shape, "datatype": datatype, "data": data}


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"columns": ["distance", "hour"], "data": [[1.5, 7], [2.5, 8]]}},
        {"dataframe_records": [{"distance": 1.5, "hour": 7}, {"distance": 2.5, "hour": 8}]},
        {"instances": [{"distance": 1.5, "hour": 7}, {"hour": 8, "distance": 2.5}]},
        {"inputs": {"distance": [1.5, 2.5], "hour": [7, 8]}},
        {"inputs": {"distance": [[1.5], [2.5]], "hour": [[7], [8]]}},
    ],
)
def test_every_format_of_mlflow_gives_the_same_rows(body: dict[str, Any]) -> None:
    rows = read_invocation(json.dumps(body).encode(), SIGNATURE)
    typed = SIGNATURE.read(rows.columns, rows.number)
    assert rows.number == 2
    assert {name: values.tolist() for name, values in typed.items()} == {"distance": [1.5, 2.5], "hour": [7, 8]}
    assert (typed["distance"].dtype, typed["hour"].dtype) == (np.float64, np.int64)


def test_rows_without_names_take_the_signatures() -> None:
    rows = read_invocation(b'{"inputs": [[1.5, 7, "AA"], [2.5, 8, "UA"]]}', SIGNATURE)
    assert SIGNATURE.read(rows.columns, 2)["carrier"].tolist() == ["AA", "UA"]


@pytest.mark.parametrize(
    "inputs",
    [
        [tensor("distance", [2], [1.5, 2.5]), tensor("hour", [2, 1], [7, 8], "INT64")],
        [tensor("distance", [2, 1], [[1.5], [2.5]]), tensor("hour", [2], [7, 8], "INT32")],
    ],
)
def test_oip_takes_a_tensor_a_column(inputs: list[dict[str, Any]]) -> None:
    rows = read_inference(json.dumps({"id": "r-1", "inputs": inputs}).encode(), SIGNATURE)
    assert rows.id == "r-1"
    typed = SIGNATURE.read(rows.columns, rows.number)
    assert {name: values.tolist() for name, values in typed.items()} == {"distance": [1.5, 2.5], "hour": [7, 8]}


def test_oip_takes_one_tensor_with_all_columns() -> None:
    body = {"inputs": [tensor("rows", [2, 3], [1, 7, 0, 2, 8, 0])]}
    numbers = Signature((Column("distance", "double"), Column("hour", "long"), Column("carrier", "long")))
    rows = read_inference(json.dumps(body).encode(), numbers)
    assert numbers.read(rows.columns, 2)["hour"].tolist() == [7, 8]


def test_oip_answers_in_its_own_terms() -> None:
    assert inference_answer(np.array([0.25]), "flights", "3", "r-1") == {
        "model_name": "flights",
        "model_version": "3",
        "id": "r-1",
        "outputs": [{"name": "score", "shape": [1], "datatype": "FP64", "data": [0.25]}],
    }


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("{", "the body: must be JSON"),
        ("[1]", "the body: must be a JSON object"),
        ("[" * 100_000, "the body: must be JSON"),
        ('{"rows": []}', "the body: must have exactly one of dataframe_split, dataframe_records, instances, inputs"),
        ('{"inputs": []}', "inputs: must be an object of columns, a list of objects, or a list of rows"),
        ('{"inputs": {}}', "the body: must have columns"),
        ('{"dataframe_records": []}', "the body: must have columns"),
        ('{"dataframe_records": [1]}', "dataframe_records: must be a list of objects"),
        ('{"inputs": {"a": [1], "b": [1, 2]}}', "inputs: all columns must have as many values"),
        ('{"inputs": [[1, 2]]}', "inputs: rows must have the model's 3 columns, not 2"),
        ('{"inputs": [[1, 2, 3], [1]]}', "inputs[1]: must have 3 values, as the first row"),
        (
            '{"dataframe_split": {"columns": ["a"], "data": [[1], [1, 2]]}}',
            "dataframe_split.data[1]: must be a list of 1 values",
        ),
        (
            '{"dataframe_split": {"columns": ["a", "a"], "data": []}}',
            "dataframe_split.columns: must be a list of distinct names",
        ),
    ],
)
def test_bad_invocations_are_told_what_must_hold(body: str, message: str) -> None:
    with pytest.raises(BadRowsError) as error:
        read_invocation(body.encode(), SIGNATURE)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([], "inputs: must be a list of at least one tensor"),
        ([{"shape": [1]}], "inputs[0].name: must be a string"),
        ([tensor("a", [-1], [1])], "inputs[0].shape: must be a list of 1 to 8 whole numbers below 2147483648"),
        ([tensor("a", [2], [1])], "inputs[0].data: must have 2 values for the shape [2], has 1"),
        ([tensor("a", [1], ["x"])], "column 'a': must be numbers (row 0 has 'x')"),
        ([tensor("a", [1], [1], "BYTES")], "column 'a': must be strings (row 0 has 1)"),
        ([tensor("a", [1], [300], "UINT8")], "column 'a': must be from 0 to 255 (row 0 has 300)"),
        ([tensor("a", [1], [3.7], "INT64")], "column 'a': must be whole numbers, none missing (row 0 has 3.7)"),
        ([tensor("a", [1], [{}])], "column 'a': must be numbers (row 0 has an object)"),
        ([tensor("a", [2], [1, 2]), tensor("b", [1], [1])], "the body: all columns must have as many rows"),
        (
            [tensor("a", [1, 2], [1, 2]), tensor("b", [1], [1])],
            "input 'a': must have the shape [rows] or [rows, 1] beside other inputs",
        ),
    ],
)
def test_bad_tensors_are_told_what_must_hold(inputs: list[Any], message: str) -> None:
    with pytest.raises(BadRowsError) as error:
        read_inference(json.dumps({"inputs": inputs}).encode(), None)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        ("double", ["1"], "must be numbers (row 0 has '1')"),
        ("double", [1, "2"], "must be numbers (row 1 has '2')"),
        ("double", [{"a": 1}], "must be numbers (row 0 has an object)"),
        ("long", [1.5], "must be whole numbers, none missing (row 0 has 1.5)"),
        ("long", [None], "must be whole numbers, none missing (row 0 has null)"),
        ("boolean", [2], "must be booleans, none missing"),
        ("boolean", [None], "must be booleans, none missing"),
        ("string", [1], "must be strings (row 0 has 1)"),
    ],
)
def test_values_of_another_type_are_refused(kind: str, values: list[Any], message: str) -> None:
    with pytest.raises(BadRowsError) as error:
        Column("x", kind).read(values)
    assert str(error.value) == f"column 'x': {message}"


@pytest.mark.parametrize(
    ("kind", "values", "read"),
    [
        ("double", [1, 2.5, True], [1.0, 2.5, 1.0]),
        ("double", [2**70], [2.0**70]),
        ("float", [1], [1.0]),
        ("long", [2.0], [2]),
        ("boolean", [0, 1], [False, True]),
        ("string", ["a", None], ["a", None]),
    ],
)
def test_values_that_mean_the_type_are_taken(kind: str, values: list[Any], read: list[Any]) -> None:
    assert Column("x", kind).read(values).tolist() == read


def test_a_missing_number_is_not_a_number() -> None:
    assert np.isnan(Column("x", "double").read([None, 1.0])).tolist() == [True, False]


def test_an_optional_column_may_be_left_out() -> None:
    signature = Signature((Column("x", "double"), Column("y", "double", required=False)))
    assert np.isnan(signature.read({"x": [1.0]}, 1)["y"]).all()
