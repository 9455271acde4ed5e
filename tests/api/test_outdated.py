"""Objects stored under the last release's CRDs, under this release's CRDs and operator: told, left alone."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from operator_process import Start
from waiting import until

from cluster.apiserver import ControlPlane
from cluster.last_release import Release, unpack
from perennial.manifests.resources import DEPLOYMENT, JOB, SERVICE

pytestmark = pytest.mark.api
REPOSITORY = Path(__file__).parents[2]
BEFORE = Release(version="0.2.0", commit="59799317920b94b3630c583c0dfdd1b330cf1c7d")
"""The release whose shapes these are."""
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
THEN = "2026-11-01T00:00:00Z"
PLURALS = {"TrainingRun": "trainingruns", "ModelDeployment": "modeldeployments"}
OLD = {
    each["metadata"]["name"]: each
    for each in yaml.safe_load_all("""
apiVersion: perennial.dev/v1alpha1
kind: TrainingRun
metadata: {name: ended}
spec: &run
  datasetRef: {name: delays}
  model: {name: delay}
  trainer: {image: registry.test/trainer:1}
  gate: {metrics: [{name: falseNegativeRate, threshold: "0.4", max: "0.3"}]}
---
apiVersion: perennial.dev/v1alpha1
kind: TrainingRun
metadata: {name: waiting}
spec:
  datasetRef: {name: delays}
  model: {name: delay}
  trainer: {image: registry.test/trainer:1}
  gate: {metrics: [{name: errorRate, max: "0.3"}]}
---
apiVersion: perennial.dev/v1alpha1
kind: ModelDeployment
metadata: {name: delay}
spec:
  model: {name: delay, fromRetraining: {}}
  slos:
    - {name: errors, errorRate: {max: "0.01"}}
    - {name: misses, outcome: {metric: falseNegativeRate, threshold: "0.4", max: "0.3"}}
  retraining:
    template:
      datasetRef: {name: delays}
      model: {name: delay}
      trainer: {image: registry.test/trainer:1}
    triggers: [{slo: misses}]
""")
}
STATUS = {
    "ended": {
        "terminalState": "Succeeded",
        "modelVersion": "3",
        "gate": {
            "verdict": "Pass",
            "results": [{"metric": "falseNegativeRate", "verdict": "Pass", "message": "x", "samples": 9}],
        },
    },
    "delay": {
        "stable": {
            "version": "v3",
            "modelVersion": "3",
            "slot": "a",
            "since": THEN,
            "server": {"image": "registry.test/server:0.2", "fetchImage": "registry.test/server:0.2", "replicas": 2},
        },
        "champion": "3",
        "slos": [{"name": "misses", "verdict": "Pass", "modelVersion": "3", "cohort": THEN}],
    },
}
NEW = {
    "slos": [
        {"name": "errors", "requests": {"max": "0.01"}},
        {"name": "misses", "outcome": {"falseNegativeRate": {"threshold": "0.4"}, "max": "0.3"}},
    ],
    "retraining": {**OLD["delay"]["spec"]["retraining"], "triggers": [{"name": "wrong", "slo": "misses"}]},
}


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """One of these tests' own, for its CRDs are changed; it begins with the last release's."""
    here = tmp_path_factory.mktemp("outdated")
    unpack(BEFORE, ["crds"], here / "before")
    with ControlPlane(here / "control-plane", controller_manager=True) as server:
        define(server, here / "before" / "crds")
        until("old shapes are served", lambda: kept(server, "errorRate"))
        yield server


def define(server: ControlPlane, folder: Path) -> None:
    for path in sorted(folder.glob("*.yaml")):
        definition = yaml.safe_load(path.read_text())
        server.api.apply(f"{DEFINITIONS}/{definition['metadata']['name']}", definition)


def kept(server: ControlPlane, field: str) -> bool:
    """Say whether the API server serves the kinds, and knows this field of an SLO."""
    both = {"name": "errors", "errorRate": {"max": "0.01"}, "requests": {"max": "0.01"}}
    probe = {
        "apiVersion": "perennial.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "probe"},
        "spec": {"model": {"name": "delay", "fromRetraining": {}}, "slos": [both]},
    }
    path = "/apis/perennial.dev/v1alpha1/namespaces/default/modeldeployments?dryRun=All"
    code, text = server.api._request("POST", path, probe, "application/json")
    return code == 201 and field in json.loads(text)["spec"]["slos"][0]


def test_stored_objects_are_told_what_to_change_and_nothing_else_happens(
    control_plane: ControlPlane, namespace: str, start_operator: Start
) -> None:
    api, ours = control_plane.api, f"/apis/perennial.dev/v1alpha1/namespaces/{namespace}"

    def path(name: str) -> str:
        return f"{ours}/{PLURALS[OLD[name]['kind']]}/{name}"

    for name, manifest in OLD.items():
        made = api.call("POST", path(name).removesuffix(f"/{name}"), manifest)
        if name in STATUS:
            api.call("PUT", f"{path(name)}/status", {**made, "status": STATUS[name]})
    define(control_plane, REPOSITORY / "crds")
    until("new shapes are served", lambda: kept(control_plane, "requests"))
    ended, serving = api.get(path("ended")), api.get(path("delay"))["status"]["stable"]
    operator = start_operator()

    def condition(name: str, type_: str) -> dict[str, Any]:
        conditions = api.get(path(name)).get("status", {}).get("conditions", [])
        return next((each for each in conditions if each["type"] == type_), {})

    for name in ("waiting", "delay"):
        until(f"{name} is told", lambda name=name: condition(name, "Stalled").get("reason") == "SpecOutdated")
    assert 'write, for example, `requests: {max: "0.01"}`' in condition("delay", "Stalled")["message"]
    assert "`name: wrong`" in condition("delay", "Stalled")["message"]
    assert (condition("delay", "Ready")["status"], condition("delay", "Ready")["reason"]) == ("False", "SpecOutdated")
    assert condition("waiting", "Succeeded")["status"] == "Unknown", "a run that waits has not failed"
    assert api.get(path("delay"))["status"]["stable"] == serving
    for resource in (DEPLOYMENT, SERVICE, JOB):
        assert api.get(resource.path(namespace))["items"] == [], "something was made of what can't be read"
    assert api.get(path("ended")) == ended

    spec = {**OLD["delay"]["spec"], **NEW}
    api.call("PUT", path("delay"), {**api.get(path("delay")), "spec": spec})
    until("it goes on", lambda: condition("delay", "Stalled").get("status") == "False")
    until("its router is there", lambda: "delay-router" in _names(api.get(DEPLOYMENT.path(namespace))))
    assert api.get(path("delay"))["status"]["stable"]["version"] == "v3"
    assert "Traceback" not in operator.text()


def _names(listed: dict[str, Any]) -> set[str]:
    return {each["metadata"]["name"] for each in listed["items"]}
