"""The reference for people leaves nothing out."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from perennial.plan.kind import Kind
from perennial.plan.kinds import KINDS
from perennial.schema.crd import definition
from perennial.schema.reference import CONDITIONS, reference

((PATH, PAGE),) = reference()
kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def section(title: str) -> str:
    """Return the text below a heading, to the next one."""
    found = re.search(rf"^#+ {title}\n(.*?)(?=^#|\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert found, title
    return found[1]


def schema_of(kind: Kind[Any]) -> Mapping[str, Any]:
    (version,) = definition(kind)["spec"]["versions"]
    properties: Mapping[str, Any] = version["schema"]["openAPIV3Schema"]["properties"]
    return properties


def paths(node: Mapping[str, Any], path: str) -> Iterator[str]:
    for name, inner in node.get("properties", {}).items():
        below = f"{path}.{name}".removeprefix(".")
        yield below
        if name != "template":  # a TrainingRun's spec, which has a section of its own
            yield from paths(inner, below)
            yield from paths(inner.get("items", {}), f"{below}[]")


@kinds
def test_every_field_is_there(kind: Kind[Any]) -> None:
    for part in ("spec", "status"):
        told = section(f"{kind.name} {part}")
        missing = [path for path in paths(schema_of(kind)[part], "") if f"| `{path}` |" not in told]
        assert [path for path in missing if not path.startswith("conditions[].")] == []


def messages(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        yield from (rule["message"] for rule in node.get("x-kubernetes-validations", ()))
        node = list(node.values())
    for inner in node if isinstance(node, list) else ():
        yield from messages(inner)


@kinds
def test_every_rule_is_there(kind: Kind[Any]) -> None:
    rules = set(messages(definition(kind)))
    assert rules
    assert {rule for rule in rules if f"Rule: {rule}." not in PAGE} == set()


@kinds
def test_conditions_and_columns(kind: Kind[Any]) -> None:
    promised = schema_of(kind)["status"]["properties"]["conditions"]["description"].removesuffix(".").split(", ")
    assert re.findall(r"^\| `(\w+)` \|", section(f"{kind.name} conditions"), re.MULTILINE) == promised
    shown = re.findall(r"^\| (\w+)(?: \(`-o wide`\))? \| `", section(f"{kind.name} columns"), re.MULTILINE)
    assert shown == [column.name for column in kind.columns]


def test_no_condition_is_explained_that_nobody_has() -> None:
    assert {type_ for type_ in CONDITIONS if f"| `{type_}` | {CONDITIONS[type_]} |" not in PAGE} == set()


def test_every_table_has_as_many_cells_in_each_row() -> None:
    """A pipe in a pattern would end a cell."""
    tables = re.findall(r"(?:^\|.*\n)+", PAGE, re.MULTILINE)
    assert len(tables) == 13
    for table in tables:
        cells = {len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}
        assert len(cells) == 1, table.splitlines()[0]


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ("| `refresh.intervalSeconds` | integer |  | Seconds from the end of a check", "Dataset"),
        ("| `snapshots.size` | quantity | `1Gi` | How much the volume holds. |", "Dataset"),
        ("| `datasetRef.name` | name | required | The Dataset's name. |", "TrainingRun"),
        ("| `parameters` | map to string |  | ", "TrainingRun"),
        ("| `canary.steps` | list of object | `[{weight: 10, minSeconds: 0}, {weight: 50", "ModelDeployment"),
        ("| `retraining.template` | [TrainingRun spec](#trainingrun-spec) | required |", "ModelDeployment"),
        ("| `slos[].role` | `Critical` \\| `Advisory` \\| `DryRun` |  | Critical decides", "ModelDeployment"),
    ],
)
def test_how_a_field_is_told(row: str, kind: str) -> None:
    assert row in section(f"{kind} spec")
