"""Argo CD's health checks and actions, under LuaJIT in its sandbox, over recorded objects."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from customizations import KINDS, REPOSITORY, cases, folder, load
from kstatus import kstatus
from sandbox import LuaError, execute

from gitops.__main__ import generated
from perennial.api.dataset import DatasetSpec, DatasetStatus
from perennial.api.model_deployment import ModelDeploymentSpec, ModelDeploymentStatus
from perennial.api.training_run import TrainingRunSpec, TrainingRunStatus

MODELS = {
    "Dataset": (DatasetSpec, DatasetStatus),
    "TrainingRun": (TrainingRunSpec, TrainingRunStatus),
    "ModelDeployment": (ModelDeploymentSpec, ModelDeploymentStatus),
}
MOMENTS = [(kind, moment) for kind in KINDS for moment in cases(kind)]
ACTIONS = [
    pytest.param(kind, test, id=f"{kind}-{test['action']}")
    for kind in KINDS
    for test in load(folder(kind) / "actions" / "action_test.yaml")["actionTests"]
]
DISCOVERIES = [
    pytest.param(kind, test, id=f"{kind}-{Path(test['inputPath']).stem}")
    for kind in KINDS
    for test in load(folder(kind) / "actions" / "action_test.yaml")["discoveryTests"]
]


def health(kind: str, seen: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = execute((folder(kind) / "health.lua").read_text(), seen)
    return found


@pytest.mark.parametrize(("kind", "moment"), MOMENTS)
def test_health_is_what_the_moment_says(kind: str, moment: str) -> None:
    seen, expected = cases(kind)[moment]
    assert health(kind, seen) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_every_recorded_object_has_a_case_and_is_of_todays_api(kind: str) -> None:
    recorded = {path.stem for path in (folder(kind) / "testdata").glob("*.yaml")}
    assert recorded == cases(kind).keys()
    assert len(recorded) >= 8
    spec, status = MODELS[kind]
    for seen, _ in cases(kind).values():
        assert (seen["kind"], seen["apiVersion"]) == (kind, "perennial.dev/v1alpha1")
        spec.model_validate(seen["spec"])
        status.model_validate(seen.get("status", {}))


@pytest.mark.parametrize(("kind", "moment"), MOMENTS)
def test_health_agrees_with_kstatus(kind: str, moment: str) -> None:
    """What kstatus calls Current may still break a promise; what it can only call InProgress may have failed."""
    seen, expected = cases(kind)[moment]
    met = {each["type"]: each["status"] for each in seen.get("status", {}).get("conditions", [])}
    says = {
        "Terminating": {"Progressing"},
        "InProgress": {"Progressing"} if met.get("Reconciling") != "False" else {"Progressing", "Degraded"},
        "Failed": {"Suspended"} if seen["spec"].get("suspend") else {"Degraded"},
        "Current": {"Degraded"} if met.get("SLOsMet") == "False" else {"Healthy"},
    }
    assert expected["status"] in says[kstatus(seen)[0]]


@pytest.mark.parametrize(("kind", "test"), DISCOVERIES)
def test_actions_are_offered_where_they_do_something(kind: str, test: dict[str, Any]) -> None:
    actions = folder(kind) / "actions"
    found = execute((actions / "discovery.lua").read_text(), load(actions / test["inputPath"]))
    expected = {each["name"]: {key: value for key, value in each.items() if key != "name"} for each in test["result"]}
    assert found == expected
    for name in found:
        assert (actions / name / "action.lua").exists()


@pytest.mark.parametrize(("kind", "test"), ACTIONS)
def test_an_action_changes_what_it_says_and_nothing_else(kind: str, test: dict[str, Any]) -> None:
    actions = folder(kind) / "actions"
    before, expected = load(actions / test["inputPath"]), load(actions / test["expectedOutputPath"])
    after = execute((actions / test["action"] / "action.lua").read_text(), before)
    assert_same_but_for_empty_tables(after, expected)
    assert before["spec"].get("suspend", False) != after["spec"]["suspend"]


def assert_same_but_for_empty_tables(found: Any, expected: Any, path: str = "") -> None:
    """Lua does not tell an empty map from an empty list; Argo CD puts that right (`cleanReturnedObj`)."""
    match expected:
        case dict() if expected:
            assert found.keys() == expected.keys(), path
            for key, value in expected.items():
                assert_same_but_for_empty_tables(found[key], value, f"{path}.{key}")
        case list() if expected:
            assert len(found) == len(expected), path
            for number, value in enumerate(expected):
                assert_same_but_for_empty_tables(found[number], value, f"{path}[{number}]")
        case _:
            assert found == expected or (found == [] and expected == {}), path


@pytest.mark.parametrize("kind", KINDS)
def test_every_action_has_a_case(kind: str) -> None:
    tests = load(folder(kind) / "actions" / "action_test.yaml")["actionTests"]
    assert {test["action"] for test in tests} == {
        path.parent.name for path in folder(kind).glob("actions/*/action.lua")
    }


@pytest.mark.parametrize(
    "script",
    [
        'return string.format("%s", 1)',
        'return ("a"):upper()',
        "return math.max(1, 2)",
        'return io.open("/etc/passwd")',
        "return os.execute()",
        "return debug.getinfo(1)",
        "while true do end",
    ],
)
def test_the_sandbox_leaves_what_argo_cd_leaves(script: str) -> None:
    with pytest.raises(LuaError):
        execute(script, {})


def test_the_snippet_is_fresh_and_holds_the_scripts() -> None:
    for path, text in generated(REPOSITORY).items():
        assert path.read_text() == text, f"{path} is not fresh: run `python -m gitops`"
    data = load(REPOSITORY / "gitops" / "argocd" / "argocd-cm.yaml")["data"]
    for kind in KINDS:
        script = data[f"resource.customizations.health.perennial.dev_{kind}"]
        assert script == (folder(kind) / "health.lua").read_text()
        actions = yaml.safe_load(data[f"resource.customizations.actions.perennial.dev_{kind}"])
        assert actions["discovery.lua"] == (folder(kind) / "actions" / "discovery.lua").read_text()
        for definition in actions["definitions"]:
            file = folder(kind) / "actions" / definition["name"] / "action.lua"
            assert definition["action.lua"] == file.read_text()
    assert not [key for key in data if "ignore" in key.lower()], "nothing has to be ignored"
