"""What makes the generated schemas structural, bounded and self-explaining."""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml
from openapi import violations
from pydantic import BaseModel, Field

from perennial.plan.kind import Kind
from perennial.plan.kinds import KINDS
from perennial.schema.__main__ import generated
from perennial.schema.crd import definition
from perennial.schema.structural import structural, without_rules

REPOSITORY = Path(__file__).parents[3]
KEYWORDS = {
    *("type", "description", "default", "enum", "format", "pattern"),
    *("properties", "required", "additionalProperties", "maxProperties", "items", "minItems", "maxItems"),
    *("minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    *("x-kubernetes-validations", "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type"),
    *("x-kubernetes-int-or-string", "anyOf", "x-kubernetes-preserve-unknown-fields"),
}
kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


@cache
def schema_of(kind: Kind[Any]) -> Mapping[str, Any]:
    (version,) = definition(kind)["spec"]["versions"]
    schema: Mapping[str, Any] = version["schema"]["openAPIV3Schema"]
    return schema


def nodes(schema: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every schema within a schema, with its path. Metadata, which is the server's own, is left out."""
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        if path or name in {"spec", "status"}:
            yield from nodes(inner, f"{path}.{name}")
    if isinstance(schema.get("additionalProperties"), Mapping):
        yield from nodes(schema["additionalProperties"], f"{path}.*")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")


def where(kind: Kind[Any], wrong: Any) -> list[str]:
    return [path for path, node in nodes(schema_of(kind)) if wrong(path, node)]


@kinds
def test_only_keywords_that_a_structural_schema_may_have(kind: Kind[Any]) -> None:
    assert {key for _, node in nodes(schema_of(kind)) for key in node} <= KEYWORDS


@kinds
def test_every_node_has_one_type(kind: Kind[Any]) -> None:
    assert where(kind, lambda _, node: ("type" in node) == bool(node.get("x-kubernetes-int-or-string"))) == []
    assert where(kind, lambda _, node: "anyOf" in node and not node.get("x-kubernetes-int-or-string")) == []
    unions = [node["anyOf"] for _, node in nodes(schema_of(kind)) if "anyOf" in node]
    assert all(union == [{"type": "integer"}, {"type": "string"}] for union in unions)


@kinds
def test_no_floats(kind: Kind[Any]) -> None:
    """They do not survive every JSON tool: numbers with a fraction are decimal strings."""
    assert where(kind, lambda _, node: node.get("type") == "number") == []


@kinds
def test_every_string_list_and_map_has_a_bound(kind: Kind[Any]) -> None:
    def bounded(node: Mapping[str, Any]) -> bool:
        if node.get("x-kubernetes-int-or-string"):
            return "maxLength" in node
        match node["type"]:
            case "string":
                return bool({"maxLength", "enum"} & node.keys()) or node.get("format") == "date-time"
            case "array":
                return "maxItems" in node
            case "object" if "additionalProperties" in node:
                return "maxProperties" in node
        return True

    assert where(kind, lambda _, node: not bounded(node)) == []


@kinds
def test_every_number_of_a_spec_has_bounds(kind: Kind[Any]) -> None:
    def unbounded(path: str, node: Mapping[str, Any]) -> bool:
        return path.startswith(".spec") and node.get("type") == "integer" and not {"minimum", "maximum"} <= node.keys()

    assert where(kind, unbounded) == []


@kinds
def test_every_field_explains_itself(kind: Kind[Any]) -> None:
    def silent(path: str, node: Mapping[str, Any]) -> bool:
        item_or_value = path.endswith(("[]", "*")) and node.get("type") != "object"
        return not item_or_value and not node.get("description")

    assert where(kind, silent) == []
    texts = [node["description"] for _, node in nodes(schema_of(kind)) if "description" in node]
    assert [text for text in texts if "\n\n\n" in text or text != text.strip() or not text[0].isprintable()] == []


WHOLE = {"ModelDeployment": [".spec.retraining.triggers"]}
"""Lists of named things that are applied as a whole: release 0.2 keyed them otherwise, and keys can't change."""


@kinds
def test_lists_of_named_things_are_merged_by_name(kind: Kind[Any]) -> None:
    """Else two appliers could not own an item each, and a name could be there twice."""

    def unkeyed(path: str, node: Mapping[str, Any]) -> bool:
        named = path.startswith(".spec") and "name" in node.get("items", {}).get("properties", {})
        return named and node.get("x-kubernetes-list-map-keys") != ["name"]

    assert where(kind, unkeyed) == WHOLE.get(kind.name, [])
    for path, node in nodes(schema_of(kind)):
        if path in WHOLE.get(kind.name, []):
            assert node["x-kubernetes-list-type"] == "atomic"
            assert any("exists_one" in rule["rule"] for rule in node["x-kubernetes-validations"]), "no name twice"
    keys = {
        (path, key)
        for path, node in nodes(schema_of(kind))
        for key in node.get("x-kubernetes-list-map-keys", ())
        if key not in node["items"].get("required", ())
    }
    assert keys == set()


@kinds
def test_required_fields_exist_and_have_no_default(kind: Kind[Any]) -> None:
    def wrong(_: str, node: Mapping[str, Any]) -> bool:
        properties = node.get("properties", {})
        return any(name not in properties or "default" in properties[name] for name in node.get("required", ()))

    assert where(kind, wrong) == []


@kinds
def test_defaults_fit_their_schemas(kind: Kind[Any]) -> None:
    wrong = [
        problem
        for path, node in nodes(schema_of(kind))
        if "default" in node
        for problem in violations(node["default"], node, path)
    ]
    assert wrong == []


@kinds
def test_names_are_camel_case(kind: Kind[Any]) -> None:
    names = {name for _, node in nodes(schema_of(kind)) for name in node.get("properties", {})}
    assert {name for name in names if not re.fullmatch(r"[a-z][a-zA-Z0-9]*", name)} == set()


@kinds
def test_every_rule_says_what_must_hold(kind: Kind[Any]) -> None:
    rules = [rule for _, node in nodes(schema_of(kind)) for rule in node.get("x-kubernetes-validations", ())]
    assert rules
    assert [rule for rule in rules if set(rule) != {"rule", "message"} or not rule["message"]] == []
    assert [rule["message"] for rule in rules if rule["message"].endswith(".") or "\n" in rule["message"]] == []


@kinds
def test_patterns_cover_the_whole_text(kind: Kind[Any]) -> None:
    patterns = {node["pattern"] for _, node in nodes(schema_of(kind)) if "pattern" in node}
    assert {pattern for pattern in patterns if not (pattern.startswith("^") and pattern.endswith("$"))} == set()


@kinds
def test_columns_show_fields_that_exist(kind: Kind[Any]) -> None:
    (version,) = definition(kind)["spec"]["versions"]
    for column in version["additionalPrinterColumns"]:
        node = schema_of(kind)
        if column["jsonPath"].startswith(".metadata"):
            continue
        for part in re.findall(r"\.(\w+)|(\[[^]]*\])", column["jsonPath"]):
            node = node["properties"][part[0]] if part[0] else node["items"]
        assert node["type"] == column["type"], column["name"]
        assert column["description"]


@kinds
def test_the_kind_can_be_found(kind: Kind[Any]) -> None:
    made = definition(kind)
    assert made["metadata"]["name"] == f"{kind.names.plural}.perennial.dev"
    assert made["spec"]["names"]["categories"] == ["perennial", "ml"]
    assert made["spec"]["versions"][0]["subresources"] == {"status": {}}
    assert len(made["spec"]["names"]["shortNames"]) == 1


def test_the_generated_files_are_fresh() -> None:
    stale = [path.name for path, text in generated(REPOSITORY).items() if path.read_text() != text]
    assert stale == []


def test_the_definitions_fit_into_an_annotation() -> None:
    """`kubectl apply` keeps what it applied in one, of 256 KiB at most."""
    for kind in KINDS:
        assert len(json.dumps(definition(kind))) < 200_000


def test_examples_of_valid_objects_are_read_and_written_back_unchanged() -> None:
    """What the API server would store of them is what the operator's models read, defaults included."""
    by_name = {kind.name: kind for kind in KINDS}
    folder = REPOSITORY / "tests" / "api" / "manifests" / "valid"
    documents = [item for path in sorted(folder.glob("*.yaml")) for item in yaml.safe_load_all(path.read_text())]
    assert len(documents) >= 13
    for document in documents:
        kind = by_name[document["kind"]]
        written = kind.spec.model_validate(document["spec"]).model_dump(mode="json", exclude_none=True)
        assert list(violations(written, schema_of(kind)["properties"]["spec"])) == []
        assert kind.spec.model_validate(written) == kind.spec.model_validate(document["spec"])


class Inner(BaseModel):
    """Within."""

    share: Annotated[float, Field(gt=0, lt=1)]


class Outer(BaseModel):
    """Around."""

    only: Literal["a"] = "a"
    inner: Inner | None = None
    many: tuple[Inner, ...] = ()


class United(BaseModel):
    """No structural schema has this."""

    either: int | bool


def test_the_translation_of_what_json_schema_and_openapi_disagree_on() -> None:
    inner = {
        "type": "object",
        "description": "Within.",
        "required": ["share"],
        "properties": {
            "share": {
                "type": "number",
                "minimum": 0,
                "exclusiveMinimum": True,
                "maximum": 1,
                "exclusiveMaximum": True,
            }
        },
    }
    assert structural(Outer) == {
        "type": "object",
        "description": "Around.",
        "properties": {
            "only": {"type": "string", "enum": ["a"], "default": "a"},
            "inner": inner,
            "many": {"type": "array", "items": inner, "default": []},
        },
    }


def test_a_union_is_refused() -> None:
    with pytest.raises(ValueError, match="a union has no structural schema"):
        structural(United)


def test_what_is_recorded_is_held_by_bounds_alone() -> None:
    """Not by what users may not write: a version that was made before such a rule must still be recorded."""
    rule = {"x-kubernetes-validations": [{"rule": "self.a != ''", "message": "a must be something"}]}
    inner = {"type": "object", "properties": {"a": {"type": "string", "maxLength": 3, **rule}}, **rule}
    bare = {"type": "object", "properties": {"a": {"type": "string", "maxLength": 3}}}
    schema = {"properties": {"one": inner, "many": {"type": "array", "items": inner}}, "additionalProperties": inner}
    assert without_rules(schema) == {
        "properties": {"one": bare, "many": {"type": "array", "items": bare}},
        "additionalProperties": bare,
    }
