"""What breaks those who use a CRD, and what does not."""

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.last_release import last_release, unpack
from perennial.plan.kinds import KINDS
from perennial.schema.__main__ import broken
from perennial.schema.argued import ARGUED
from perennial.schema.compatibility import breaks
from perennial.schema.crd import definition

Field = dict[str, Any]
RULE = {"rule": "self.count > 1", "message": "count must be above 1"}


def crd(**names: Any) -> Field:
    """Return a definition of Things, with one field of each sort."""
    fields: dict[str, Field] = {
        "count": {"type": "integer", "minimum": 1, "maximum": 10, "default": 3},
        "free": {"type": "integer"},
        "name": {"type": "string", "minLength": 1, "maxLength": 63, "pattern": "^[a-z]*$"},
        "role": {"type": "string", "enum": ["A", "B"]},
        "size": {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]},
        "labels": {"type": "object", "maxProperties": 4, "additionalProperties": {"type": "string", "maxLength": 9}},
        "kept": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "parts": {
            "type": "array",
            "minItems": 1,
            "maxItems": 4,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}},
        },
    }
    spec = {"type": "object", "required": ["name"], "properties": fields, "x-kubernetes-validations": [dict(RULE)]}
    version = {
        "name": "v1",
        "served": True,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}},
        "subresources": {"status": {}},
    }
    known = {"kind": "Thing", "plural": "things", "shortNames": ["th"], "categories": ["all"]}
    return {"spec": {"group": "g", "scope": "Namespaced", "names": {**known, **names}, "versions": [version]}}


def spec_of(definition: Field) -> Field:
    found: Field = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return found


def after(change: Callable[[Field], object]) -> list[str]:
    """Return the breaks of a definition whose spec's schema was changed."""
    new = crd()
    change(spec_of(new))
    return [str(item) for item in breaks(crd(), new)]


def field(name: str, **change: Any) -> Callable[[Field], object]:
    """Change a field's schema; None takes a part of it away."""

    def changed(spec: Field) -> None:
        known = {**spec["properties"][name], **change}
        spec["properties"][name] = {key: value for key, value in known.items() if value is not None}

    return changed


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param(lambda spec: spec["properties"].pop("free"), "free: is gone", id="a field is gone"),
        pytest.param(lambda spec: spec["required"].append("free"), "free: is required, and was not", id="required"),
        pytest.param(
            lambda spec: spec["required"].append("new") or spec["properties"].update(new={"type": "string"}),
            "new: is required, and was not",
            id="a new field is required",
        ),
        pytest.param(field("free", type="string"), "free: type was integer, is string", id="another type"),
        pytest.param(
            field("size", **{"x-kubernetes-int-or-string": None, "anyOf": None}, type="string"),
            "size: type was int-or-string, is string",
            id="a type of two",
        ),
        pytest.param(field("count", minimum=2), "count: minimum was 1, is 2", id="a higher minimum"),
        pytest.param(field("count", maximum=9), "count: maximum was 10, is 9", id="a lower maximum"),
        pytest.param(field("free", minimum=0), "free: minimum was free, is 0", id="a new minimum"),
        pytest.param(
            field("count", exclusiveMinimum=True), "count: exclusiveMinimum is set, and was not", id="an exclusive one"
        ),
        pytest.param(field("name", maxLength=20), "name: maxLength was 63, is 20", id="shorter"),
        pytest.param(field("name", minLength=3), "name: minLength was 1, is 3", id="longer"),
        pytest.param(field("name", pattern="^[a-y]*$"), "name: pattern was ^[a-z]*$, is ^[a-y]*$", id="a pattern"),
        pytest.param(field("role", pattern="^A"), "role: pattern was free, is ^A", id="a new pattern"),
        pytest.param(field("name", format="date"), "name: format was free, is date", id="a format"),
        pytest.param(field("role", enum=["B", "C"]), "role: does not take A any more", id="a value is gone"),
        pytest.param(field("name", enum=["a"]), "name: takes only a, and took anything", id="values are listed"),
        pytest.param(field("count", default=4), "count: default was 3, is 4", id="another default"),
        pytest.param(field("count", default=None), "count: default was 3, is none", id="no default"),
        pytest.param(field("labels", maxProperties=3), "labels: maxProperties was 4, is 3", id="fewer members"),
        pytest.param(
            field("labels", additionalProperties={"type": "string", "maxLength": 8}),
            "labels.*: maxLength was 9, is 8",
            id="within a map",
        ),
        pytest.param(
            field("labels", additionalProperties=None), "labels: takes no other members any more", id="no map any more"
        ),
        pytest.param(
            field("kept", **{"x-kubernetes-preserve-unknown-fields": None}),
            "kept: unknown fields are no longer kept",
            id="pruned",
        ),
        pytest.param(field("parts", maxItems=3), "parts: maxItems was 4, is 3", id="fewer items"),
        pytest.param(
            field("parts", **{"x-kubernetes-list-type": "atomic", "x-kubernetes-list-map-keys": None}),
            "parts: list-map-keys was ['name'], is none; parts: list-type was map, is atomic",
            id="another sort of list",
        ),
        pytest.param(
            field("parts", items={"type": "object", "required": ["name"], "properties": {}}),
            "parts[].name: is gone",
            id="within a list",
        ),
        pytest.param(
            lambda spec: spec["x-kubernetes-validations"].append(
                {"rule": "self.free > 1", "message": "free is above 1"}
            ),
            ": must hold, and need not: free is above 1",
            id="a new rule",
        ),
        pytest.param(
            lambda spec: spec["x-kubernetes-validations"][0].update(rule="self.count > 2"),
            ": must hold, and need not: count must be above 1",
            id="another rule",
        ),
    ],
)
def test_what_breaks_users(change: Callable[[Field], object], says: str) -> None:
    wanted = "; ".join(f"Thing spec{'' if each.startswith(':') else '.'}{each}" for each in says.split("; "))
    assert "; ".join(after(change)) == wanted


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(dict, id="nothing"),
        pytest.param(
            lambda spec: spec["properties"].update(
                new={"type": "object", "required": ["a"], "properties": {"a": {"type": "string", "maxLength": 1}}}
            ),
            id="a new field, whatever its schema",
        ),
        pytest.param(lambda spec: spec["required"].clear(), id="no longer required"),
        pytest.param(field("count", minimum=0, maximum=11), id="wider bounds"),
        pytest.param(field("count", minimum=None, maximum=None), id="no bounds"),
        pytest.param(field("name", minLength=0, maxLength=99, pattern=None), id="freer text"),
        pytest.param(field("role", minLength=0), id="a bound that bounds nothing"),
        pytest.param(field("role", enum=["C", "B", "A"]), id="more values"),
        pytest.param(field("role", enum=None), id="any value"),
        pytest.param(field("free", default=1), id="a first default"),
        pytest.param(
            field("free", type=None, **{"x-kubernetes-int-or-string": True}), id="a number or a text, not just a number"
        ),
        pytest.param(field("name", description="Another text."), id="another description"),
        pytest.param(lambda spec: spec["x-kubernetes-validations"].clear(), id="no rule"),
        pytest.param(
            lambda spec: spec["x-kubernetes-validations"][0].update(message="in other words"), id="another message"
        ),
    ],
)
def test_what_breaks_nobody(change: Callable[[Field], object]) -> None:
    assert after(change) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"scope": "Cluster"}, "Thing: scope was Namespaced, is Cluster"),
        ({"group": "h"}, "Thing: group was g, is h"),
        ({"names": {**crd()["spec"]["names"], "plural": "thingies"}}, "Thing: names.plural was things, is thingies"),
        ({"names": {**crd()["spec"]["names"], "shortNames": []}}, "Thing: names.shortNames has no th any more"),
        ({"versions": []}, "Thing: version v1 is no longer served"),
        ({"versions": [{**crd()["spec"]["versions"][0], "served": False}]}, "Thing: version v1 is no longer served"),
        ({"versions": [{**crd()["spec"]["versions"][0], "subresources": {}}]}, "Thing: a subresource is gone"),
    ],
)
def test_how_the_kind_is_reached(change: Mapping[str, Any], says: str) -> None:
    new = crd()
    new["spec"].update(change)
    assert [str(item) for item in breaks(crd(), new)] == [says]


def test_a_new_version_beside_the_old_one_breaks_nobody() -> None:
    new = crd()
    new["spec"]["versions"].append({"name": "v2", "served": True, "schema": {"openAPIV3Schema": {"type": "object"}}})
    assert breaks(crd(), new) == ()


def test_a_version_that_was_not_served_may_go() -> None:
    old = crd()
    old["spec"]["versions"].append({"name": "v0", "served": False, "schema": {"openAPIV3Schema": {"type": "object"}}})
    assert breaks(old, crd()) == ()


# --- the command ---


def one_of(*members: str) -> Field:
    """Return a choice with a rule of each of its members, as those of families are."""
    count = " + ".join(f"(has(self.{name}) ? 1 : 0)" for name in members)
    rules = [{"rule": f"{count} == 1", "message": f"exactly one of {', '.join(members)} must be set"}]
    rules += [
        {"rule": f"!has(self.{name}) || has(self.column)", "message": f"{name} needs a column"} for name in members
    ]
    properties = {"column": {"type": "string"}, **{name: {"type": "object"} for name in members}}
    return {"type": "object", "properties": properties, "x-kubernetes-validations": rules}


def grown(old: Field, new: Field, *rules: str) -> list[str]:
    """Return the breaks where a choice became another one, with these rules of its parent before and now."""
    made = []
    for field, rule in zip((old, new), rules or ("", ""), strict=True):
        made.append(crd())
        spec = spec_of(made[-1])
        spec["properties"]["choices"] = {"type": "array", "items": field}
        if rule:
            spec["x-kubernetes-validations"].append({"rule": rule, "message": "the parent's"})
    return [str(item) for item in breaks(*made)]


def test_one_more_member_breaks_nobody() -> None:
    assert grown(one_of("first", "second"), one_of("first", "second", "third")) == []
    lists = [
        f"self.choices.exists(s, ({' || '.join(f'has(s.{name})' for name in names)}) && true)"
        for names in (("first",), ("first", "third"))
    ]
    assert grown(one_of("first"), one_of("first", "third"), *lists) == []
    typed = "!has(self.choices) || self.choices.all(e, !has(e.third) || e.column == 'x')"
    assert grown(one_of("first"), one_of("first", "third"), "", typed) == []


def test_a_rule_that_asks_more_of_what_there_was_is_a_break() -> None:
    assert grown(one_of("first"), one_of("second")) == [
        "Thing spec.choices[]: must hold, and need not: exactly one of second must be set",
        "Thing spec.choices[].first: is gone",
    ]
    more = one_of("first", "third")
    more["x-kubernetes-validations"].append({"rule": "has(self.first) || has(self.third)", "message": "M"})
    assert grown(one_of("first"), more) == ["Thing spec.choices[]: must hold, and need not: M"]
    narrower = "self.choices.all(e, has(e.column) && (!has(e.third) || e.column == 'x'))"
    assert grown(one_of("first"), one_of("first", "third"), "", narrower) == [
        "Thing spec: must hold, and need not: the parent's"
    ]


def test_the_last_releases_users_are_not_broken(tmp_path: Path) -> None:
    unpack(last_release(), ["crds"], tmp_path / "release")
    assert broken(tmp_path / "release" / "crds") == []
    found = {
        each
        for kind in KINDS
        for each in breaks(
            yaml.safe_load((tmp_path / "release" / "crds" / f"{kind.names.plural}.yaml").read_text()), definition(kind)
        )
    }
    assert ARGUED.keys() - found == set(), "what breaks nobody needs no argument"


def test_breaks_are_told(tmp_path: Path) -> None:
    was = copy.deepcopy(definition(KINDS[0]))
    (version,) = was["spec"]["versions"]
    version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["colour"] = {"type": "string"}
    other = copy.deepcopy(was)
    other["spec"]["names"]["kind"] = "Colour"
    for name, made in (("one", was), ("two", other)):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(made))
    assert broken(tmp_path) == [
        "the kind Colour is gone",
        "breaks users of the last release: Dataset spec.colour: is gone",
    ]


def test_nothing_to_compare_with_is_told(tmp_path: Path) -> None:
    assert broken(tmp_path) == [f"there is no CRD in {tmp_path} to compare with"]
