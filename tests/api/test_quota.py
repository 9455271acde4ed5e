"""A real ResourceQuota is in the way of everybody's pods: it is named in the API server's words, and blamed on nobody.

The controllers are Kubernetes' own: the ReplicaSet's refusal stands in its Deployment, the Job's in its Events.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
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
MLFLOW = {"experimentId": "1", "runId": "abc", "state": "RUNNING"}
PINNED = {"dataset": {"digest": "sha256:" + "1" * 64, "target": "late"}, "mlflow": MLFLOW}
SERVED_BY = {"image": "registry.test/server:1", "fetchImage": "registry.test/server:1"}
BEGUN = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
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
QUOTA = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "nothing"}, "spec": {"hard": {"pods": "0"}}}
EXCEEDED = "exceeded quota: nothing, requested: pods=1, used: pods=0, limited: pods=0"


@pytest.fixture
def full(control_plane: ControlPlane, namespace: str) -> Iterator[str]:
    """Yield a namespace whose quota lets no pod be."""
    quotas = f"/api/v1/namespaces/{namespace}/resourcequotas"
    control_plane.api.call("POST", quotas, QUOTA)
    until("the quota is in force", lambda: "hard" in control_plane.api.get(f"{quotas}/nothing").get("status", {}))
    yield namespace
    control_plane.api._request("DELETE", f"{quotas}/nothing", None, "application/json")


def test_a_quota_is_named_and_blamed_on_nobody(control_plane: ControlPlane, full: str, start_operator: Start) -> None:
    api, ours = control_plane.api, f"/apis/perennial.dev/v1alpha1/namespaces/{full}"
    plurals = {"Dataset": "datasets", "TrainingRun": "trainingruns", "ModelDeployment": "modeldeployments"}
    for manifest, status in ((DATASET, None), (RUN, PINNED), (DEPLOYMENT, ON_TRIAL)):
        path = f"{ours}/{plurals[manifest['kind']]}"
        created = api.call("POST", path, manifest)
        if status is not None:
            api.call("PUT", f"{path}/{manifest['metadata']['name']}/status", {**created, "status": status})
    start_operator()

    def says(path: str, type_: str) -> Callable[[], bool]:
        def asked() -> bool:
            found = _condition(api.get(f"{ours}/{path}"), type_)
            return found.get("reason") == "QuotaExceeded" and EXCEEDED in found.get("message", "")

        return asked

    until("the run names the quota", says("trainingruns/flights-1", "Running"))
    until("the Dataset names the quota", says("datasets/flights", "Fetched"))
    until("the candidate's condition names the quota", says("modeldeployments/delay", "Progressing"))
    until("the candidate's clock stands still", lambda: "blockedTime" in _candidate(api, ours))

    # Room is made: everybody goes on, and the candidate's time begins anew.
    api.call("DELETE", f"/api/v1/namespaces/{full}/resourcequotas/nothing")
    until("the candidate may start", lambda: "blockedTime" not in _candidate(api, ours))
    status = api.get(f"{ours}/modeldeployments/delay")["status"]
    assert status["canary"]["startedTime"] > BEGUN
    assert status.get("rejected", []) == []
    assert status.get("history", []) == []
    assert "terminalState" not in api.get(f"{ours}/trainingruns/flights-1")["status"]


def _candidate(api: Any, ours: str) -> dict[str, Any]:
    found: dict[str, Any] = api.get(f"{ours}/modeldeployments/delay")["status"]["canary"]
    return found


def _condition(seen: dict[str, Any], type_: str) -> dict[str, Any]:
    conditions = seen.get("status", {}).get("conditions", [])
    return next((item for item in conditions if item["type"] == type_), {})
