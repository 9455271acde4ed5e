"""Judges a value by a structural schema, as the API server does, as far as the CRDs' schemas go (no CEL)."""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

TYPES: Mapping[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "boolean": bool,
    "number": (int, float),
}


def violations(value: Any, schema: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Yield what is wrong with a value: the path and what must hold there. Unknown fields are wrong, too."""
    if schema.get("x-kubernetes-int-or-string"):
        if isinstance(value, bool) or not isinstance(value, int | str):
            yield f"{path} must be an integer or a string"
        elif isinstance(value, str):
            yield from _string(value, schema, path)
        return
    expected = schema["type"]
    if not isinstance(value, TYPES[expected]) or (isinstance(value, bool) and expected != "boolean"):
        yield f"{path} must be of type {expected}, not {value!r}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path} must be one of {schema['enum']}, not {value!r}"
    match expected:
        case "object":
            yield from _object(value, schema, path)
        case "array":
            yield from _array(value, schema, path)
        case "string":
            yield from _string(value, schema, path)
        case "integer" | "number":
            yield from _number(value, schema, path)


def _object(value: Mapping[str, Any], schema: Mapping[str, Any], path: str) -> Iterator[str]:
    properties, others = schema.get("properties", {}), schema.get("additionalProperties")
    yield from (f"{path}.{name} is required" for name in schema.get("required", ()) if name not in value)
    if len(value) > schema.get("maxProperties", len(value)):
        yield f"{path} has too many members"
    for name, item in value.items():
        if name in properties:
            yield from violations(item, properties[name], f"{path}.{name}")
        elif others is not None:
            yield from violations(item, others, f"{path}.{name}")
        elif not schema.get("x-kubernetes-preserve-unknown-fields"):
            yield f"{path}.{name} is unknown"


def _array(value: list[Any], schema: Mapping[str, Any], path: str) -> Iterator[str]:
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        yield f"{path} has {len(value)} items"
    if keys := schema.get("x-kubernetes-list-map-keys"):
        found = [tuple(item.get(key) for key in keys) for item in value]
        yield from (f"{path} has {key} twice" for key in set(found) if found.count(key) > 1)
    for number, item in enumerate(value):
        yield from violations(item, schema["items"], f"{path}[{number}]")


def _string(value: str, schema: Mapping[str, Any], path: str) -> Iterator[str]:
    if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
        yield f"{path} has {len(value)} characters"
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{path} must match {schema['pattern']}, not {value!r}"
    if schema.get("format") == "date-time":
        try:
            datetime.fromisoformat(value)
        except ValueError:
            yield f"{path} must be a moment, not {value!r}"


def _number(value: float, schema: Mapping[str, Any], path: str) -> Iterator[str]:
    low, high = schema.get("minimum", value), schema.get("maximum", value)
    if value < low or (value == low and schema.get("exclusiveMinimum")):
        yield f"{path} must be at least {low}, not {value}"
    if value > high or (value == high and schema.get("exclusiveMaximum")):
        yield f"{path} must be at most {high}, not {value}"
