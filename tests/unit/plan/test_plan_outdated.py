"""What docs/upgrading.md says of fields: the old form is called outdated, with what to write; the new one is taken."""

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from given import custom
from given_deployment import SPEC, TEMPLATE

from perennial.plan.kind import unreadable
from perennial.plan.kinds import DATASET, KINDS, MODEL_DEPLOYMENT, TRAINING_RUN
from perennial.schema.crd import definition
from perennial.terms import reasons

PAGE = (Path(__file__).parents[3] / "docs" / "upgrading.md").read_text()
SECTIONS = {
    "Dataset": [(DATASET, ())],
    "ModelDeployment": [(MODEL_DEPLOYMENT, ())],
    "TrainingRun, and templates of it": [(TRAINING_RUN, ()), (MODEL_DEPLOYMENT, ("retraining", "template"))],
}
"""The page's tables: of which kinds' specs, and where in them, their fields are."""
USUAL: Mapping[str, Mapping[str, Any]] = {
    "Dataset": {"source": {"uri": "pvc://lake/flights"}, "schema": {"columns": [{"name": "late", "type": "Boolean"}]}},
    "TrainingRun": TEMPLATE,
    "ModelDeployment": {
        **SPEC,
        "slos": [*SPEC["slos"], {"name": "misses", "outcome": {"falseNegativeRate": {}, "max": "0.3"}}],
        "retraining": {"template": TEMPLATE, "triggers": [{"name": "wrong", "slo": "missed"}]},
    },
}
NO_FIELD = {"`mlflow.*.log_model` several times in a script: the last was taken"}
"""Rows that are about something else than what a spec says."""


def rows(section: str) -> list[tuple[str, str]]:
    """Return the left and the right cell of each row of a section's table."""
    _, _, rest = PAGE.partition(f"\n### {section}\n")
    text = rest.partition("\n### ")[0]
    lines = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| 0.2 |")]
    found = [tuple(cell.strip() for cell in line.strip("|").split(" | ")) for line in lines]
    return [(old, new) for old, new in found if old not in NO_FIELD]


def snippets(cell: str) -> list[str]:
    return [each for each in re.findall(r"`([^`]+)`", cell) if ":" in each]


def written(spec: Mapping[str, Any], where: tuple[str, ...], snippet: str) -> dict[str, Any]:
    """Return a spec with what a snippet says in place of what stood there."""
    changed = deepcopy(dict(spec))
    part = changed
    for name in where:
        part = part[name]
    ((path, value),) = yaml.safe_load(snippet).items()
    if path == "outcome":
        part["slos"][-1]["outcome"] = value
        return changed
    *above, last = path.split(".")
    for name in above:
        part = part.setdefault(name, {})
    part[last] = value
    return changed


def stored(kind: Any, spec: Any) -> Any:
    """Return what the API server shows of a spec that it stored under another definition: without unknown fields."""
    (version,) = definition(kind)["spec"]["versions"]
    return _pruned(version["schema"]["openAPIV3Schema"]["properties"]["spec"], spec)


def _pruned(schema: Mapping[str, Any], value: Any) -> Any:
    if isinstance(value, Mapping) and "properties" in schema:
        known = schema["properties"]
        return {name: _pruned(known[name], each) for name, each in value.items() if name in known}
    if isinstance(value, list) and "items" in schema:
        return [_pruned(schema["items"], each) for each in value]
    return value


def cases() -> Iterator[Any]:
    for section, places in SECTIONS.items():
        for old, new in rows(section):
            for kind, where in places:
                yield pytest.param(kind, where, old, new, id=f"{kind.name}: {old[:40]}")


@pytest.mark.parametrize(("kind", "where", "old", "new"), list(cases()))
def test_a_field_of_the_last_release_is_called_outdated_and_its_successor_is_taken(
    kind: Any, where: tuple[str, ...], old: str, new: str
) -> None:
    spec = USUAL[kind.name]
    befores = snippets(old) or [_so_many_metrics(old)]
    for before in befores:
        found = unreadable(kind, custom(kind.name, "x", stored(kind, written(spec, where, before)), {}, 1))
        assert found is not None
        assert found.reason is reasons.SPEC_OUTDATED, found.message
        assert "docs/upgrading.md" in found.message
        assert "elease 0.2" in found.message
    for after in snippets(new) or [_so_many_metrics(new)]:
        assert unreadable(kind, custom(kind.name, "x", written(spec, where, after), {}, 1)) is None


def _so_many_metrics(cell: str) -> str:
    """Return the snippet for "up to 16 metrics"."""
    (number,) = re.findall(r"up to (\d+)", cell)
    each = [f'{{name: m{n}, errorRate: {{}}, max: "0.3"}}' for n in range(int(number))]
    return f"gate: {{metrics: [{', '.join(each)}]}}"


def test_the_page_has_a_table_of_every_kind() -> None:
    assert {kind for places in SECTIONS.values() for kind, _ in places} == set(KINDS)
    assert [len(rows(section)) for section in SECTIONS] == [1, 3, 2]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_what_is_usual_is_right(kind: Any) -> None:
    assert unreadable(kind, custom(kind.name, "x", USUAL[kind.name], {}, 1)) is None
    assert stored(kind, USUAL[kind.name]) == USUAL[kind.name]
