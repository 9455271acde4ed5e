"""Admission is in the way of everybody's pods: it is named in the API server's words, and blamed on nobody.

Admission is the real one, and so are the controllers: the ReplicaSet's refusal stands in its Deployment, the Job's in
its Events. What Perennial makes passes Pod Security `restricted`, so that can't refuse it; its words are known to unit
tests.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml
from operator_process import Start
from waiting import until

from cluster.apiserver import ControlPlane

pytestmark = pytest.mark.api
DATASET, RUN, DEPLOYMENT = yaml.safe_load_all("""
apiVersion: perennial.dev/v1alpha1
kind: Dataset
metadata: {name: flights}
spec:
  source: {uri: "pvc://lake/flights"}
  schema: {target: late, columns: [{name: late, type: Boolean}]}
---
apiVersion: perennial.dev/v1alpha1
kind: TrainingRun
metadata: {name: flights-1}
spec:
  datasetRef: {name: flights}
  model: {name: flight-delay}
  trainer: {image: registry.test/trainer:1}
---
apiVersion: perennial.dev/v1alpha1
kind: ModelDeployment
metadata: {name: delay}
spec:
  model: {name: flight-delay, version: "2"}
  slos: [{name: errors, requests: {max: "0.01"}}]
""")
PLURALS = {"Dataset": "datasets", "TrainingRun": "trainingruns", "ModelDeployment": "modeldeployments"}
MLFLOW = {"experimentId": "1", "runId": "abc", "state": "RUNNING"}
PINNED = {"dataset": {"digest": "sha256:" + "1" * 64, "target": "late"}, "mlflow": MLFLOW}
SERVED_BY = {"image": "registry.test/server:1", "fetchImage": "registry.test/server:1"}
BEGUN = "2026-01-01T00:00:00Z"
"""Long ago: all the time since then, nobody operated."""
ON_TRIAL = {
    "stable": {"version": "s", "modelVersion": "1", "slot": "a", "server": SERVED_BY, "since": BEGUN},
    "champion": "1",
    "canary": {
        "id": "1-c",
        "version": "c",
        "modelVersion": "2",
        "slot": "b",
        "server": SERVED_BY,
        "step": 0,
        "weight": {"desired": 0},
        "startedTime": BEGUN,
        "stepStartedTime": BEGUN,
    },
}
"""Another version is on trial; its pods are about to be made."""


@dataclass(frozen=True)
class Obstacle:
    """What stands in the way of pods: where it is made, what of, and how its refusal is told."""

    path: str
    manifest: dict[str, Any]
    reason: str
    words: str


QUOTA = Obstacle(
    path="/api/v1/namespaces/{namespace}/resourcequotas",
    manifest={"apiVersion": "v1", "kind": "ResourceQuota", "spec": {"hard": {"pods": "0"}}},
    reason="QuotaExceeded",
    words="exceeded quota: in-the-way, requested: pods=1, used: pods=0, limited: pods=0",
)
LIMITS = Obstacle(
    path="/api/v1/namespaces/{namespace}/limitranges",
    manifest={
        "apiVersion": "v1",
        "kind": "LimitRange",
        "spec": {"limits": [{"type": "Container", "max": {"memory": "64Mi"}}]},
    },
    reason="PodsRefused",
    words="maximum memory usage per Container is 64Mi, but limit is 2Gi",
)
WEBHOOK = Obstacle(
    path="/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
    manifest={
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "webhooks": [
            {
                "name": "policy.example.test",
                "clientConfig": {"url": "https://127.0.0.1:1/"},
                "failurePolicy": "Fail",
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
                "timeoutSeconds": 1,
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "{namespace}"}},
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
            }
        ],
    },
    reason="PodsRefused",
    words='failed calling webhook "policy.example.test"',
)


class Blocked:
    """A namespace with an obstacle in it, and whether it works already."""

    def __init__(self, api: Any, namespace: str, obstacle: Obstacle) -> None:
        self.api, self.namespace, self.obstacle = api, namespace, obstacle
        self.ours = f"/apis/perennial.dev/v1alpha1/namespaces/{namespace}"
        self._path = obstacle.path.format(namespace=namespace)
        self._name = "in-the-way" if "{namespace}" in obstacle.path else f"in-the-way-of-{namespace}"

    def stand(self) -> None:
        """Put it up, and wait until it refuses."""
        text = json.dumps({**self.obstacle.manifest, "metadata": {"name": self._name}})
        self.api.call("POST", self._path, json.loads(text.replace("{namespace}", self.namespace)))
        until("the obstacle is in force", self._refuses)

    def clear(self) -> None:
        """Take it away, if it is there still."""
        self.api._request("DELETE", f"{self._path}/{self._name}", None, "application/json")

    def _refuses(self) -> bool:
        container = {"name": "probe", "image": "registry.test/probe:1", "resources": {"limits": {"memory": "2Gi"}}}
        probe = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe"}, "spec": {"containers": [container]}}
        status, text = self.api._request(
            "POST", f"/api/v1/namespaces/{self.namespace}/pods?dryRun=All", probe, "application/json"
        )
        return bool(status >= 400) and self.obstacle.words in json.loads(text)["message"]

    def create(self, manifest: dict[str, Any], status: dict[str, Any] | None = None) -> None:
        """Create an object of ours, in the middle of its life if a status is given."""
        path = f"{self.ours}/{PLURALS[manifest['kind']]}"
        created = self.api.call("POST", path, manifest)
        if status is not None:
            self.api.call("PUT", f"{path}/{manifest['metadata']['name']}/status", {**created, "status": status})

    def says(self, path: str, type_: str) -> Callable[[], bool]:
        """Tell whether a condition names the obstacle by now, in the API server's words."""

        def asked() -> bool:
            found = _condition(self.api.get(f"{self.ours}/{path}"), type_)
            return found.get("reason") == self.obstacle.reason and self.obstacle.words in found.get("message", "")

        return asked

    def candidate(self) -> dict[str, Any]:
        found: dict[str, Any] = self.api.get(f"{self.ours}/modeldeployments/delay")["status"]["canary"]
        return found


@pytest.fixture(params=[QUOTA, LIMITS, WEBHOOK], ids=["quota", "limits", "webhook"])
def blocked(control_plane: ControlPlane, namespace: str, request: pytest.FixtureRequest) -> Iterator[Blocked]:
    """Yield a namespace in which no pod can be created."""
    found = Blocked(control_plane.api, namespace, request.param)
    found.stand()
    yield found
    found.clear()


def test_what_refuses_pods_is_named_and_blamed_on_nobody(blocked: Blocked, start_operator: Start) -> None:
    for manifest, status in ((DATASET, None), (RUN, PINNED), (DEPLOYMENT, ON_TRIAL)):
        blocked.create(manifest, status)
    start_operator()
    until("the run names it", blocked.says("trainingruns/flights-1", "Running"))
    until("the Dataset names it", blocked.says("datasets/flights", "Fetched"))
    until("the candidate's condition names it", blocked.says("modeldeployments/delay", "Progressing"))
    until("the candidate's clock stands still", lambda: "blockedTime" in blocked.candidate())

    # Room is made: everybody goes on, and the candidate's time begins anew.
    blocked.clear()
    until("the candidate may start", lambda: "blockedTime" not in blocked.candidate(), seconds=60)
    status = blocked.api.get(f"{blocked.ours}/modeldeployments/delay")["status"]
    assert status["canary"]["startedTime"] > BEGUN
    assert status.get("rejected", []) == []
    assert status.get("history", []) == []
    assert (status.get("attempts", 0), status["canary"]["attempt"]) == (0, 1)
    assert "terminalState" not in blocked.api.get(f"{blocked.ours}/trainingruns/flights-1")["status"]


VOLUMES = Obstacle(
    path=QUOTA.path,
    manifest={**QUOTA.manifest, "spec": {"hard": {"persistentvolumeclaims": "0"}}},
    reason="QuotaExceeded",
    words="exceeded quota: in-the-way, requested: persistentvolumeclaims=1",
)


def test_a_quota_of_volumes_is_named_by_who_needs_one(
    control_plane: ControlPlane, namespace: str, start_operator: Start
) -> None:
    """The operator itself is refused then: no controller is there to tell it."""
    full = Blocked(control_plane.api, namespace, VOLUMES)
    quota = {**VOLUMES.manifest, "metadata": {"name": "in-the-way"}}
    quotas = VOLUMES.path.format(namespace=namespace)
    control_plane.api.call("POST", quotas, quota)
    until("the quota is in force", lambda: "hard" in control_plane.api.get(f"{quotas}/in-the-way").get("status", {}))
    full.create(DATASET)
    full.create(DEPLOYMENT, {"stable": ON_TRIAL["stable"], "champion": "1"})
    start_operator()
    until("the Dataset names it", full.says("datasets/flights", "Stalled"))
    until("the ModelDeployment names it", full.says("modeldeployments/delay", "Stalled"))
    full.clear()
    for what in ("datasets/flights", "modeldeployments/delay"):
        until(f"{what} goes on", lambda what=what: not full.says(what, "Stalled")(), seconds=90)


def _condition(seen: dict[str, Any], type_: str) -> dict[str, Any]:
    conditions = seen.get("status", {}).get("conditions", [])
    return next((item for item in conditions if item["type"] == type_), {})
