"""Whoever waits with kstatus for a Dataset or a TrainingRun is never told too early that it is done.

The API server, its Job controller and the operator are real; the test plays the node: it says how pods ended. What the
watch then shows, from the creation on, is every state that anybody could have seen.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import yaml
from kstatus import Status, kstatus
from operator_process import Start
from waiting import until

from cluster.apiserver import ControlPlane

pytestmark = pytest.mark.api
DATASET = yaml.safe_load("""
apiVersion: perennial.dev/v1alpha1
kind: Dataset
metadata: {name: flights}
spec:
  source: {uri: pvc://lake/flights}
  schema: {target: late, columns: [{name: late, type: Boolean}]}
""")
RUN = yaml.safe_load("""
apiVersion: perennial.dev/v1alpha1
kind: TrainingRun
metadata: {name: flights-1}
spec:
  datasetRef: {name: flights}
  model: {name: flight-delay}
  trainer: {image: registry.test/trainer:1}
""")
REPORT = {"digest": "sha256:" + "1" * 64, "rows": 1000, "bytes": 5000, "files": 2}
CONDITIONS = {
    "datasets": {"Ready", "Fetched", "Valid", "Reconciling", "Stalled"},
    "trainingruns": {"Succeeded", "Running", "Evaluated", "Registered", "Reconciling", "Stalled"},
}


class Cluster:
    """The test's namespace, and the node that is not there."""

    def __init__(self, control_plane: ControlPlane, namespace: str) -> None:
        self._api = control_plane.api
        self._own = f"/apis/perennial.dev/v1alpha1/namespaces/{namespace}"
        self._pods = f"/api/v1/namespaces/{namespace}/pods"
        self._created: dict[str, str] = {}

    def create(self, plural: str, manifest: Mapping[str, Any]) -> None:
        made = self._api.call("POST", f"{self._own}/{plural}", manifest)
        self._created[plural] = made["metadata"]["resourceVersion"]
        assert kstatus(made)[0] is Status.IN_PROGRESS, "as it was created, before anybody looked at it"

    def get(self, plural: str, name: str) -> dict[str, Any]:
        return self._api.get(f"{self._own}/{plural}/{name}")

    def change(self, plural: str, name: str, **spec: Any) -> None:
        self._patch(f"{plural}/{name}", {"spec": spec})

    def say(self, plural: str, name: str, **status: Any) -> None:
        self._patch(f"{plural}/{name}/status", {"status": status})

    def _patch(self, path: str, change: Mapping[str, Any]) -> None:
        status, text = self._api._request("PATCH", f"{self._own}/{path}", change, "application/merge-patch+json")
        assert status == 200, text

    def end_pod(self, of: str, said: object = None, *, exit_code: int = 0) -> None:
        """Wait for the pod of a Job whose name begins with `of`, and end it."""

        def found() -> list[dict[str, Any]]:
            pods = self._api.get(self._pods)["items"]
            waits = (pod for pod in pods if pod["status"]["phase"] == "Pending")
            return [pod for pod in waits if pod["metadata"]["name"].startswith(of)]

        pod = until(f"the Job {of} has a pod", found)[0]
        ended = {"exitCode": exit_code, "message": json.dumps(said) if said else "", "reason": "Ended"}
        container = pod["spec"]["containers"][0]
        status = {
            "phase": "Failed" if exit_code else "Succeeded",
            "containerStatuses": [
                {
                    "name": container["name"],
                    "image": container["image"],
                    "imageID": "",
                    "ready": False,
                    "restartCount": 0,
                    "state": {"terminated": ended},
                }
            ],
        }
        self._api.call("PUT", f"{self._pods}/{pod['metadata']['name']}/status", {**pod, "status": status})

    def until(self, what: str, plural: str, name: str, wanted: Status, reason: str = "") -> None:
        def arrived() -> bool:
            seen = self.get(plural, name)
            reasons = {item["reason"] for item in seen["status"].get("conditions", ()) if item["status"] == "True"}
            return kstatus(seen)[0] is wanted and (not reason or reason in reasons)

        until(what, arrived)

    def history(self, plural: str) -> list[dict[str, Any]]:
        """Return every state of the plural's only object since its creation, as a watch shows them."""
        query = f"?watch=1&timeoutSeconds=1&resourceVersion={self._created[plural]}"
        status, text = self._api._request("GET", f"{self._own}/{plural}{query}", None, "application/json")
        assert status == 200, text
        return [json.loads(line)["object"] for line in text.splitlines()]


@pytest.fixture
def cluster(control_plane: ControlPlane, namespace: str) -> Cluster:
    return Cluster(control_plane, namespace)


def check(history: list[dict[str, Any]], plural: str, done: Callable[[Mapping[str, Any]], bool]) -> list[str]:
    """Check that kstatus says Current only of what is done; return what it says, one after the other."""
    first = next(seen for seen in history if seen["status"]["observedGeneration"] != -1)
    assert {item["type"] for item in first["status"]["conditions"]} == CONDITIONS[plural]
    said: list[str] = []
    for seen in history:
        status, _ = kstatus(seen)
        assert status is not Status.CURRENT or done(seen), seen
        said += [status.value] if said[-1:] != [status.value] else []
    return said


def test_a_dataset(cluster: Cluster, start_operator: Start) -> None:
    cluster.create("datasets", DATASET)
    start_operator()
    cluster.end_pod("flights-check", REPORT)
    cluster.until("the version is recorded", "datasets", "flights", Status.CURRENT)
    cluster.change("datasets", "flights", expectations=[{"name": "some", "rowCount": {"min": 1}}])
    cluster.end_pod("flights-check", {"error": "no Parquet file"}, exit_code=65)
    cluster.until("it is tried again", "datasets", "flights", Status.IN_PROGRESS, "SourceUnreadable")
    cluster.change("datasets", "flights", suspend=True)
    cluster.until("it is suspended", "datasets", "flights", Status.FAILED, "Suspended")
    cluster.change("datasets", "flights", suspend=False)
    cluster.end_pod("flights-check", REPORT)
    cluster.until("it is as its spec wants it", "datasets", "flights", Status.CURRENT)

    def done(seen: Mapping[str, Any]) -> bool:
        status, spec = seen["status"], seen["spec"]
        looked = status.get("checkedGeneration") == seen["metadata"]["generation"]
        return looked and "version" in status and not spec["suspend"]

    said = check(cluster.history("datasets"), "datasets", done)
    assert said == ["InProgress", "Current", "InProgress", "Failed", "InProgress", "Current"]


def test_a_training_run(cluster: Cluster, start_operator: Start) -> None:
    cluster.create("trainingruns", RUN)
    start_operator()
    cluster.until("it waits for its Dataset", "trainingruns", "flights-1", Status.IN_PROGRESS, "DatasetNotFound")
    cluster.create("datasets", DATASET)
    cluster.end_pod("flights-check", REPORT)
    cluster.until("there is no MLflow", "trainingruns", "flights-1", Status.IN_PROGRESS, "RegistryUnavailable")
    cluster.say("trainingruns", "flights-1", mlflow={"experimentId": "1", "runId": "abc", "state": "RUNNING"})
    cluster.until("it trains", "trainingruns", "flights-1", Status.IN_PROGRESS, "Training")
    cluster.change("trainingruns", "flights-1", suspend=True)
    cluster.until("it is suspended", "trainingruns", "flights-1", Status.FAILED, "Suspended")
    cluster.change("trainingruns", "flights-1", suspend=False)
    cluster.end_pod("flights-1-train")
    cluster.until("it waits for the champion", "trainingruns", "flights-1", Status.IN_PROGRESS, "Evaluating")
    cluster.end_pod("flights-1-evaluate", {"error": "no model was logged"}, exit_code=64)
    cluster.until("it has failed", "trainingruns", "flights-1", Status.FAILED, "SpecFailure")
    said = check(cluster.history("trainingruns"), "trainingruns", lambda seen: "modelVersion" in seen["status"])
    assert said == ["InProgress", "Failed", "InProgress", "Failed"]
