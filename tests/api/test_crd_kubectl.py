"""The three kinds as people meet them: kubectl, defaults, columns, explanations, the status subresource."""

import json
import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster import tools
from cluster.apiserver import ControlPlane
from perennial.plan.kind import Kind
from perennial.plan.kinds import KINDS

pytestmark = pytest.mark.api
MANIFESTS = Path(__file__).parent / "manifests" / "valid"
NAMESPACE = "crd-kubectl"
SMALLEST = {"Dataset": "dataset", "TrainingRun": "trainingrun", "ModelDeployment": "modeldeployment"}
Kubectl = Callable[..., subprocess.CompletedProcess[str]]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


@pytest.fixture(scope="module")
def server(control_plane: ControlPlane) -> ControlPlane:
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    control_plane.api.call("POST", "/api/v1/namespaces", manifest)
    return control_plane


@pytest.fixture(scope="module")
def kubectl(server: ControlPlane) -> Kubectl:
    def run(*arguments: str, given: Mapping[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
        command = [str(tools.kubectl()), "--kubeconfig", str(server.kubeconfig), "--namespace", NAMESPACE, *arguments]
        text = json.dumps(given) if given is not None else None
        return subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)

    return run


@pytest.fixture(scope="module")
def objects(server: ControlPlane) -> Mapping[str, dict[str, Any]]:
    """One object of each kind, as the server keeps it."""
    return {kind.name: server.api.call("POST", path(kind), smallest(kind)) for kind in KINDS}


def smallest(kind: Kind[Any], name: str = "kept") -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((MANIFESTS / f"{SMALLEST[kind.name]}-smallest.yaml").read_text())
    return {**document, "metadata": {"name": name}}


def path(kind: Kind[Any], name: str = "") -> str:
    return f"/apis/perennial.dev/v1alpha1/namespaces/{NAMESPACE}/{kind.names.plural}/{name}".rstrip("/")


@pytest.mark.parametrize(
    ("kind", "where", "unknown"),
    [
        pytest.param(KINDS[0], ("spec",), "spec.retries", id="Dataset"),
        pytest.param(KINDS[0], ("spec", "schema", "columns", 0), "spec.schema.columns[0].retries", id="a column"),
        pytest.param(KINDS[1], ("spec", "trainer"), "spec.trainer.retries", id="a trainer"),
        pytest.param(KINDS[2], ("spec", "slos", 0, "requests"), "spec.slos[0].requests.retries", id="an SLO"),
        pytest.param(KINDS[2], ("spec", "model"), "spec.model.retries", id="a model"),
    ],
)
def test_unknown_fields_are_refused_by_strict_clients(
    kubectl: Kubectl, kind: Kind[Any], where: tuple[str | int, ...], unknown: str
) -> None:
    manifest = smallest(kind, "unknown")
    inner: Any = manifest
    for step in where:
        inner = inner[step]
    inner["retries"] = 3
    refused = kubectl("apply", "--validate=strict", "-f", "-", given=manifest)
    assert refused.returncode != 0
    assert f'unknown field "{unknown}"' in refused.stderr
    accepted = kubectl("apply", "--validate=ignore", "--dry-run=server", "-o", "json", "-f", "-", given=manifest)
    assert "retries" not in json.dumps(json.loads(accepted.stdout)["spec"])


@every_kind
def test_defaults_are_those_of_the_operators_models(objects: Mapping[str, dict[str, Any]], kind: Kind[Any]) -> None:
    """What the server fills in is what the operator would assume: nothing depends on which of them did it."""
    given, kept = smallest(kind)["spec"], objects[kind.name]["spec"]
    assert kind.spec.model_validate(kept) == kind.spec.model_validate(given)
    filled = kind.spec.model_validate(given).model_dump(mode="json", exclude_none=True)
    assert kept.keys() == filled.keys()
    assert filled.keys() != given.keys()


SERVED_BY = {"replicas": 1, "image": "registry.test/server:1", "fetchImage": "registry.test/server:1"}
DOCUMENTED = {
    "Dataset": {
        "snapshots": {"size": "1Gi", "accessMode": "ReadWriteOnce"},
        "source": {"uri": "pvc://lake/flights", "format": {"parquet": {}}},
        "expectations": [],
        "suspend": False,
    },
    "TrainingRun": {"seed": 0, "retryLimit": 2, "activeDeadlineSeconds": 3600, "parameters": {}},
    "ModelDeployment": {
        "canary": {
            "steps": [{"weight": 10, "minSeconds": 0}, {"weight": 50, "minSeconds": 0}],
            "onUndecided": "Hold",
            "maxSeconds": 86400,
            "progressDeadlineSeconds": 600,
            "scaleDownDelaySeconds": 300,
            "risk": {"falseRollback": "0.05", "falsePromotion": "0.05"},
            "warmupSeconds": 0,
            "rollbackWindowSeconds": 86400,
        },
        "traffic": {"envoy": {}},
        "monitoring": {
            "cohortSeconds": 86400,
            "maturity": {"maxLabelDelaySeconds": 86400, "minCoverage": "0.9"},
            "falseAlarm": "0.01",
        },
        "storage": "1Gi",
        "suspend": False,
    },
}


@every_kind
def test_defaults_are_as_documented(objects: Mapping[str, dict[str, Any]], kind: Kind[Any]) -> None:
    spec = objects[kind.name]["spec"]
    assert {name: spec[name] for name in DOCUMENTED[kind.name]} == DOCUMENTED[kind.name]


@every_kind
def test_applying_the_same_again_changes_nothing(server: ControlPlane, kubectl: Kubectl, kind: Kind[Any]) -> None:
    """Defaults that the server writes must not look like a change (argo-cd#28724)."""
    manifest = smallest(kind, "again")
    assert kubectl("apply", "--server-side", "-f", "-", given=manifest).returncode == 0
    looked_at = {**server.api.get(path(kind, "again")), "status": {"observedGeneration": 1}}
    server.api.call("PUT", path(kind, "again/status"), looked_at)
    assert kubectl("diff", "--server-side", "-f", "-", given=manifest).stdout == ""
    before = json.loads(kubectl("get", kind.names.plural, "again", "-o", "json").stdout)
    assert kubectl("apply", "--server-side", "-f", "-", given=manifest).returncode == 0
    after = json.loads(kubectl("get", kind.names.plural, "again", "-o", "json").stdout)
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


CONDITION = {"reason": "Said", "message": "It is said.", "lastTransitionTime": "2026-03-01T12:00:00Z"}


def said(type_: str, status: str, reason: str) -> dict[str, Any]:
    return {**CONDITION, "type": type_, "status": status, "reason": reason, "observedGeneration": 1}


SHOWN: Mapping[str, tuple[dict[str, Any], str, str]] = {
    "Dataset": (
        {
            "version": {
                "digest": "sha256:" + "a" * 64,
                "ordinal": 3,
                "rows": 1000,
                "bytes": 1,
                "files": 1,
                "recordedTime": "2026-03-01T12:00:00Z",
                "to": "2026-02-28T12:00:00Z",
            },
            "conditions": [said("Ready", "True", "VersionReady")],
        },
        "NAME READY VERSION ROWS REASON TO DIGEST AGE",
        "kept True 3 1000 VersionReady 2026-02-28T12:00:00Z sha256:" + "a" * 64,
    ),
    "TrainingRun": (
        {
            "gate": {"verdict": "Pass"},
            "modelVersion": "7",
            "mlflow": {"experimentId": "1", "runId": "abc"},
            "dataset": {"digest": "sha256:" + "b" * 64, "target": "late"},
            "conditions": [said("Succeeded", "True", "Succeeded")],
        },
        "NAME SUCCEEDED REASON GATE MODEL VERSION RUN DATA AGE",
        "kept True Succeeded Pass flight-delay 7 abc sha256:" + "b" * 64,
    ),
    "ModelDeployment": (
        {
            "stable": {"version": "s", "modelVersion": "3", "slot": "a", "server": SERVED_BY},
            "canary": {
                "version": "c",
                "modelVersion": "4",
                "slot": "b",
                "server": SERVED_BY,
                "id": "1-c",
                "step": 1,
                "startedTime": "2026-03-01T12:00:00Z",
                "stepStartedTime": "2026-03-01T12:00:00Z",
                "weight": {"desired": 10, "verified": 10},
                "slos": [{"name": "errors", "verdict": "Undecided"}],
            },
            "conditions": [said("Ready", "True", "Serving"), said("SLOsMet", "Unknown", "NoMaturedCohort")],
        },
        "NAME READY MODEL STABLE CANARY WEIGHT VERDICT SLOS REASON AGE",
        "kept True flight-delay 3 4 10 Undecided Unknown Serving",
    ),
}


@every_kind
def test_what_kubectl_get_shows(
    server: ControlPlane, kubectl: Kubectl, objects: Mapping[str, dict[str, Any]], kind: Kind[Any]
) -> None:
    status, columns, row = SHOWN[kind.name]
    known = server.api.get(path(kind, "kept"))
    server.api.call("PUT", path(kind, "kept/status"), {**known, "status": status})
    wide = kubectl("get", kind.names.short, "kept", "-o", "wide").stdout.splitlines()
    assert wide[0].split() == columns.split()
    assert wide[1].split()[:-1] == row.split()
    narrow = kubectl("get", kind.names.short, "kept").stdout.splitlines()[0].split()
    hidden = {column.name.upper() for column in kind.columns if column.wide}
    assert narrow == [name for name in columns.split() if name not in hidden]
    waited = kubectl(
        "wait", f"--for=condition={'Succeeded' if kind.name == 'TrainingRun' else 'Ready'}", kind.names.short, "kept"
    )
    assert waited.returncode == 0, waited.stderr


@pytest.mark.parametrize("category", ["perennial", "ml"])
def test_all_kinds_are_found_by_category(
    kubectl: Kubectl, objects: Mapping[str, dict[str, Any]], category: str
) -> None:
    names = kubectl("get", category, "-o", "name").stdout.split()
    assert {f"{kind.name.lower()}.perennial.dev/kept" for kind in KINDS} <= set(names)


@every_kind
def test_spec_and_status_are_written_apart(server: ControlPlane, kind: Kind[Any]) -> None:
    conditions = [said("Ready", "True", "Said")]
    made = server.api.call("POST", path(kind), {**smallest(kind, "apart"), "status": {"conditions": conditions}})
    assert (made["status"]["observedGeneration"], made["status"]["conditions"]) == (-1, []), "given with the spec"
    told = server.api.call(
        "PUT", path(kind, "apart/status"), {**made, "status": {"conditions": conditions}, "spec": None}
    )
    assert told["status"]["conditions"] == conditions
    assert (told["spec"], told["metadata"]["generation"]) == (made["spec"], 1)
    labelled = {**told, "metadata": {**told["metadata"], "labels": {"a": "b"}}, "status": {"conditions": []}}
    kept = server.api.call("PUT", path(kind, "apart"), labelled)
    assert kept["status"]["conditions"] == conditions
    assert kept["metadata"]["generation"] == 1


def test_a_change_of_spec_is_a_new_generation(server: ControlPlane) -> None:
    kind = KINDS[0]
    made = server.api.call("POST", path(kind), smallest(kind, "generations"))
    changed = server.api.call("PUT", path(kind, "generations"), {**made, "spec": {**made["spec"], "suspend": True}})
    assert (made["metadata"]["generation"], changed["metadata"]["generation"]) == (1, 2)


@every_kind
def test_a_status_is_held_to_its_schema(server: ControlPlane, kind: Kind[Any]) -> None:
    made = server.api.call("POST", path(kind), smallest(kind, "held"))
    wrong = {**made, "status": {"conditions": [{**said("Ready", "Maybe", "Said")}]}}
    status, text = server.api._request("PUT", path(kind, "held/status"), wrong, "application/json")
    assert status == 422
    assert 'Unsupported value: "Maybe"' in json.loads(text)["message"]


@every_kind
def test_explain_has_a_text_for_every_field(server: ControlPlane, kind: Kind[Any]) -> None:
    """`kubectl explain` shows what is published here."""
    schemas = server.api.get("/openapi/v3/apis/perennial.dev/v1alpha1")["components"]["schemas"]
    (schema,) = (item for name, item in schemas.items() if name.endswith(f".{kind.name}"))
    assert undescribed(schema, kind.name) == []


def undescribed(schema: Mapping[str, Any], where: str) -> list[str]:
    missing = []
    for name, field in schema.get("properties", {}).items():
        if name == "metadata":
            continue  # described by the server, behind a reference
        inner = field.get("items", field)
        if not field.get("description"):
            missing.append(f"{where}.{name}")
        missing += undescribed(inner, f"{where}.{name}")
    return missing


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("mdep.spec.canary.steps.weight", "Per cent of the requests that the candidate gets."),
        ("trun.spec.gate.metrics.maxRegression", "must be shown to be at most this."),
        ("dset.spec.source.uri", "a folder on a PersistentVolumeClaim"),
        ("dset.status.conditions.reason", "Why, in one CamelCase word."),
    ],
)
def test_kubectl_explain(kubectl: Kubectl, field: str, text: str) -> None:
    explained = kubectl("explain", field)
    assert explained.returncode == 0, explained.stderr
    assert text in re.sub(r"\s+", " ", explained.stdout)
