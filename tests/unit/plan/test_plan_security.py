"""docs/security.md against the planners: which fields of a spec reach a pod, found by changing each and looking."""

import copy
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from given import DIGEST, TRAINED, World, custom, given, planned, recorded, registry
from pydantic import ValidationError
from restricted import refusals
from samples import DUE, WITH_RUN

from perennial.plan.actions import EnsureRun
from perennial.plan.observed import CallResult

REPOSITORY = Path(__file__).parents[3]
MANIFESTS = REPOSITORY / "tests" / "api" / "manifests" / "valid"
NAMES = {"Dataset": "flights", "TrainingRun": "run-1", "ModelDeployment": "delay"}
Path_ = tuple[str | int, ...]


def everything(kind: str) -> dict[str, Any]:
    """Return a spec that sets every field that can be set beside the others."""
    spec: dict[str, Any] = yaml.safe_load((MANIFESTS / f"{kind.lower()}-everything.yaml").read_text())["spec"]
    spec["suspend"] = False
    if kind == "Dataset":
        spec["schema"]["columns"][1]["nullable"] = True
    if kind == "TrainingRun":
        spec["gate"]["baseline"] = "Champion"
        spec["datasetRef"]["digest"] = DIGEST
        spec["window"] = {"from": "2026-02-10T00:00:00Z", "to": "2026-02-20T00:00:00Z"}
    if kind == "ModelDeployment":
        spec["model"] = {"name": "flight-delay", "version": "4"}
        spec["labels"] = {"from": [{"namespace": "elsewhere", "serviceAccount": "etl"}]}
        del spec["retraining"]
    return spec


def worlds(kind: str, spec: Mapping[str, Any]) -> Iterator[World]:
    """Yield worlds in which, taken together, every pod of a kind is made from a spec."""
    statuses: Mapping[str, Sequence[Mapping[str, Any]]] = {
        "Dataset": [{}],
        "TrainingRun": [{}, {**WITH_RUN, "training": TRAINED}],
        "ModelDeployment": [{}],
    }
    made = {"experimentId": "4", "runId": "abc123"}
    for status in statuses[kind]:
        subject = custom(kind, NAMES[kind], spec, status, 1)
        yield given(
            *([subject] if kind == "Dataset" else [subject, DUE]),
            registry=registry({"champion": "3"}, versions=["4", "5", "41"]),
            results=((EnsureRun, CallResult(value=made)),),
        )


def pods(kind: str, spec: Mapping[str, Any]) -> list[str]:
    """Return what is made of a spec for the kubelet: pods and, of what controls them, how many and for how long."""
    found: list[Mapping[str, Any]] = []
    for first in worlds(kind, spec):
        world = first
        for _ in range(3):  # pin, make the run, make the pods
            plan = planned(world, kind, NAMES[kind])
            world = recorded(world, kind, NAMES[kind], plan)
            found += [item.manifest["spec"] for item in plan.applies if item.manifest["kind"] in {"Job", "Deployment"}]
    return [json.dumps(made, sort_keys=True) for made in found]


def leaves(value: Any, path: Path_ = ()) -> Iterator[Path_]:
    match value:
        case dict():
            for key, inner in value.items():
                yield from leaves(inner, (*path, key)) if inner not in ({}, []) else iter([(*path, key)])
        case list():
            for i, inner in enumerate(value):
                yield from leaves(inner, (*path, i))
        case _:
            yield path


def changed(spec: Mapping[str, Any], path: Path_) -> Iterator[dict[str, Any]]:
    """Yield specs with another value at a path; some of them may be refused."""
    old: Any = spec
    for part in path:
        old = old[part]
    others: list[Any] = [f"{old}1", f"{old}x", "0.123", "123Mi", "2026-01-15T00:00:00Z", "Never", "CSV", "ReadOnlyMany"]
    others += ["String", "sha256:" + "9" * 64, "errorRate", "Advisory", "Hold", "None", "Error"]
    if isinstance(old, int):
        others = [old + 1, old - 1, 7]
    for new in others:
        made = copy.deepcopy(dict(spec))
        at: Any = made
        for part in path[:-1]:
            at = at[part]
        at[path[-1]] = new
        yield made


def field(path: Path_) -> str:
    """Return a path as docs/security.md writes it: without positions, and without the names in free maps."""
    names = [str(part) for part in path if not isinstance(part, int)]
    text = ".".join(names)
    text = re.sub(r"(\.resources)\..*", r"\1", text)
    return re.sub(r"^(parameters|spec\.parameters)\..*|(.*\.env)\..*", lambda m: m[1] or m[2], text)


def reaching(kind: str) -> set[str]:
    spec = everything(kind)
    before = pods(kind, spec)
    assert before
    found = set()
    for path in leaves(spec):
        for other in changed(spec, path):
            try:
                after = pods(kind, other)
            except (ValidationError, ValueError, LookupError, ArithmeticError):
                continue  # no value for this field
            if after != before:
                found.add(field(path))
                break
    return found


def documented(kind: str) -> set[str]:
    rows = re.findall(r"^\| (\w+) \| ([^|]+) \|", (REPOSITORY / "docs" / "security.md").read_text(), re.MULTILINE)
    return {name for row, cell in rows if row == kind for name in re.findall(r"`([^`]+)`", cell)}


@pytest.mark.parametrize("kind", NAMES)
def test_the_fields_that_reach_a_pod_are_those_that_are_written_down(kind: str) -> None:
    assert reaching(kind) == documented(kind)


ALLOWED_VOLUMES = {"configMap", "emptyDir", "persistentVolumeClaim", "projected"}


@pytest.mark.parametrize("kind", NAMES)
def test_what_no_field_decides(kind: str) -> None:
    """What the page says beyond Pod Security, which every child of every sample is held to elsewhere."""
    for text in pods(kind, everything(kind)):
        pod = json.loads(text)["template"]["spec"]
        assert refusals(pod) == []
        assert pod["automountServiceAccountToken"] is False
        assert not {"serviceAccountName", "nodeName", "hostAliases", "runtimeClassName", "priorityClassName"} & set(pod)
        for volume in pod["volumes"]:
            assert set(volume) - {"name"} <= ALLOWED_VOLUMES
        projected = [volume["projected"]["sources"] for volume in pod["volumes"] if "projected" in volume]
        assert all(source["serviceAccountToken"]["audience"] == "perennial.dev/ml/delay" for (source,) in projected)
        for container in (*pod.get("initContainers", ()), *pod["containers"]):
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["resources"]["requests"]
            assert "memory" in container["resources"]["limits"]
            assert "envFrom" not in container
            assert all("valueFrom" not in item or "fieldRef" in item["valueFrom"] for item in container["env"])


@pytest.mark.parametrize("kind", NAMES)
def test_no_field_of_a_reference_names_a_namespace(kind: str) -> None:
    """Who may send labels is no reference: nothing is looked up there."""
    schema = (REPOSITORY / "crds" / f"{kind.lower()}s.yaml").read_text()
    (version,) = yaml.safe_load(schema)["spec"]["versions"]
    spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert set(named("namespace", spec, ())) <= {("labels", "from")}


def named(name: str, schema: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield where a property of this name is in a schema."""
    for key, inner in schema.get("properties", {}).items():
        if key.lower().startswith(name):
            yield path
        yield from named(name, inner, (*path, key))
    if "items" in schema:
        yield from named(name, schema["items"], path)
