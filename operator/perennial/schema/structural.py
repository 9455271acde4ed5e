"""pydantic models → structural OpenAPI v3 schemas, as apiextensions.k8s.io/v1 wants them.

pydantic writes JSON Schema 2020-12; a CRD allows a subset of OpenAPI v3 without references, unions or nulls. Rules of
translation: references are inlined, `anyOf [X, null]` becomes X (absent is how Kubernetes says none), `const` becomes
an enum, `additionalProperties: false` goes (strict clients refuse unknown fields, others have them pruned), exclusive
bounds become the boolean form, and quantities keep `x-kubernetes-int-or-string` with the two branches it requires.
"""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

DROPPED = {"title", "$defs", "default_factory", "examples"}


def structural(model: type[BaseModel]) -> dict[str, Any]:
    """Return the structural schema of a model, with descriptions, defaults, bounds and CEL rules."""
    schema = model.model_json_schema(by_alias=True, mode="validation")
    return _inline(schema, schema.get("$defs", {}))


def without_listed_defaults(schema: Mapping[str, Any], *, listed: bool = False) -> dict[str, Any]:
    """Return a structural schema whose lists stay as users write them.

    The API server writes defaults into objects. Beside what a user wrote they are one more field, but GitOps tools
    compare a list of a custom resource as a whole, and would see a difference for ever (argo-cd#28724). There a default
    is told in the description instead, and left to the operator's models.

    Args:
        schema: of what users write.
        listed: whether it is (part of) an item of a list.
    """
    out = dict(schema)
    default = out.pop("default", None) if listed else None
    if default not in (None, "", [], {}):
        out["description"] = f"{out.get('description', '')} Default: {json.dumps(default)}.".strip()
    if "properties" in out:
        properties = out["properties"].items()
        out["properties"] = {name: without_listed_defaults(value, listed=listed) for name, value in properties}
    if isinstance(out.get("additionalProperties"), Mapping):
        out["additionalProperties"] = without_listed_defaults(out["additionalProperties"], listed=listed)
    if "items" in out:
        out["items"] = without_listed_defaults(out["items"], listed=True)
    return out


def without_rules(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a structural schema without rules in CEL, for what the operator records.

    Rules are for what users write; a version that was made before one of them must still be recorded.
    """
    out = {key: value for key, value in schema.items() if key != "x-kubernetes-validations"}
    if "properties" in out:
        out["properties"] = {name: without_rules(value) for name, value in out["properties"].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(out.get(key), Mapping):
            out[key] = without_rules(out[key])
    return out


def _inline(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    merged = _without_null(_resolve(node, definitions), definitions)
    out: dict[str, Any] = {key: value for key, value in merged.items() if key not in DROPPED}
    if out.pop("x-kubernetes-int-or-string", False):
        return {
            "x-kubernetes-int-or-string": True,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            **{key: out[key] for key in ("description", "pattern", "maxLength", "default") if out.get(key) is not None},
        }
    if "const" in out:
        out["enum"] = [out.pop("const")]
    _bound(out)
    if "properties" in out:
        out.pop("additionalProperties", None)
        out["properties"] = {name: _inline(value, definitions) for name, value in out["properties"].items()}
    elif out.get("x-kubernetes-preserve-unknown-fields"):
        out.pop("additionalProperties", None)
    elif isinstance(out.get("additionalProperties"), Mapping):
        out["additionalProperties"] = _inline(out["additionalProperties"], definitions)
        out.pop("propertyNames", None)
    if "items" in out:
        out["items"] = _inline(out["items"], definitions)
    if "default" in out:
        out["default"] = _plain(out["default"])
        if out["default"] is None:
            del out["default"]
    return out


def _bound(out: dict[str, Any]) -> None:
    """Turn 2020-12's exclusive bounds, which are numbers, into OpenAPI v3's, which are flags beside the bound."""
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if exclusive in out:
            out[bound], out[exclusive] = out[exclusive], True


def _resolve(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    if "$ref" not in node:
        return dict(node)
    target = _resolve(definitions[node["$ref"].rsplit("/", 1)[1]], definitions)
    return target | {key: value for key, value in node.items() if key != "$ref"}


def _without_null(node: dict[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    if "anyOf" not in node:
        return node
    branches = [branch for branch in node["anyOf"] if branch.get("type") != "null"]
    if len(branches) != 1:
        message = f"a union has no structural schema: {node}"
        raise ValueError(message)
    rest = {key: value for key, value in node.items() if key != "anyOf"}
    return _without_null(_resolve(branches[0], definitions), definitions) | rest


def _plain(value: Any) -> Any:
    """Defaults of nested models, as JSON without what is merely absent."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
