"""The judge that other tests rely on must itself refuse what is wrong."""

from typing import Any

import pytest
from openapi import violations

SCHEMA = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 3, "pattern": "^[a-z]*$"},
        "size": {"x-kubernetes-int-or-string": True, "anyOf": [], "pattern": "^[0-9]+Gi$"},
        "share": {"type": "number", "minimum": 0, "exclusiveMinimum": True, "maximum": 1},
        "count": {"type": "integer", "minimum": 0, "maximum": 9},
        "role": {"type": "string", "enum": ["A", "B"]},
        "time": {"type": "string", "format": "date-time"},
        "on": {"type": "boolean"},
        "labels": {"type": "object", "maxProperties": 1, "additionalProperties": {"type": "string"}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "items": {
            "type": "array",
            "maxItems": 2,
            "items": {"type": "object", "properties": {"name": {"type": "string"}}},
            "x-kubernetes-list-map-keys": ["name"],
        },
    },
}
GOOD: dict[str, Any] = {
    "name": "a",
    "size": "5Gi",
    "share": 1,
    "count": 9,
    "role": "A",
    "time": "2026-03-01T12:00:00Z",
    "on": True,
    "labels": {"a": "b"},
    "free": {"x": [1]},
    "items": [{"name": "a"}, {"name": "b"}],
}


def test_what_is_right_passes() -> None:
    assert list(violations(GOOD, SCHEMA)) == []
    assert list(violations({**GOOD, "size": 5}, SCHEMA)) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": ""}, ".name has 0 characters"),
        ({"name": "long"}, ".name has 4 characters"),
        ({"name": "A"}, ".name must match ^[a-z]*$, not 'A'"),
        ({"name": 1}, ".name must be of type string, not 1"),
        ({"size": "5"}, ".size must match ^[0-9]+Gi$, not '5'"),
        ({"size": True}, ".size must be an integer or a string"),
        ({"share": 0}, ".share must be at least 0, not 0"),
        ({"share": 1.5}, ".share must be at most 1, not 1.5"),
        ({"count": 10}, ".count must be at most 9, not 10"),
        ({"count": True}, ".count must be of type integer, not True"),
        ({"role": "C"}, ".role must be one of ['A', 'B'], not 'C'"),
        ({"time": "noon"}, ".time must be a moment, not 'noon'"),
        ({"on": 1}, ".on must be of type boolean, not 1"),
        ({"labels": {"a": 1}}, ".labels.a must be of type string, not 1"),
        ({"labels": {"a": "1", "b": "2"}}, ".labels has too many members"),
        ({"items": [{"name": "a"}, {"name": "a"}]}, ".items has ('a',) twice"),
        ({"items": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}, ".items has 3 items"),
        ({"items": [{"other": "a"}]}, ".items[0].other is unknown"),
        ({"other": 1}, ".other is unknown"),
    ],
)
def test_what_is_wrong_is_told(change: dict[str, Any], says: str) -> None:
    assert list(violations({**GOOD, **change}, SCHEMA)) == [says]


def test_what_is_missing_is_told() -> None:
    assert list(violations({}, SCHEMA)) == [".name is required"]
