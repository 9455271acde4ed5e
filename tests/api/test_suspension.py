"""A TrainingRun is suspended and goes on: the operator and Kubernetes' own Job controller, each as they are."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from operator_process import Start
from waiting import until

from cluster.apiserver import ControlPlane

pytestmark = pytest.mark.api
RUN = yaml.safe_load("""
apiVersion: perennial.dev/v1alpha1
kind: TrainingRun
metadata: {name: flights-1}
spec:
  datasetRef: {name: flights}
  model: {name: flight-delay}
  trainer: {image: registry.test/trainer:1}
  activeDeadlineSeconds: 3000
""")
MLFLOW = {"experimentId": "1", "runId": "abc", "state": "RUNNING"}
PINNED = {"dataset": {"digest": "sha256:" + "1" * 64, "target": "late"}, "mlflow": MLFLOW}


def test_a_running_job_is_suspended_and_goes_on(
    control_plane: ControlPlane, namespace: str, start_operator: Start
) -> None:
    api = control_plane.api
    runs = f"/apis/perennial.dev/v1alpha1/namespaces/{namespace}/trainingruns"
    job_path = f"/apis/batch/v1/namespaces/{namespace}/jobs/flights-1-train"

    def run() -> dict[str, Any]:
        return api.get(f"{runs}/flights-1")

    def job() -> dict[str, Any]:
        return api.get(job_path)

    def pods() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = api.get(f"/api/v1/namespaces/{namespace}/pods")["items"]
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def reason(type_: str) -> str:
        return next(item["reason"] for item in run()["status"]["conditions"] if item["type"] == type_)

    def said(type_: str, wanted: str) -> Callable[[], bool]:
        return lambda: reason(type_) == wanted and run()["status"]["observedGeneration"] == generation

    def patch(path: str, change: dict[str, Any]) -> int:
        status, text = api._request("PATCH", f"{runs}/{path}", change, "application/merge-patch+json")
        assert status == 200, text
        return int(json.loads(text)["metadata"]["generation"])

    def suspend(value: bool) -> int:
        return patch("flights-1", {"spec": {"suspend": value}})

    created = api.call("POST", runs, RUN)
    api.call("PUT", f"{runs}/flights-1/status", {**created, "status": PINNED})
    start_operator()
    until("the Job has a pod", lambda: any(item["reason"] == "Training" for item in _conditions(run())) and pods())
    before = job()

    generation = suspend(True)
    until("the Job controller has taken the pod away", lambda: job()["spec"]["suspend"] and not pods())
    until("the run says so", said("Stalled", "Suspended"))
    assert run()["status"]["suspendedTime"]
    assert "startTime" not in job()["status"]

    # As if it had run for long: the operator's own clock is in status alone.
    patch("flights-1/status", {"status": {"activeSeconds": 2000}})
    generation = suspend(False)
    until("the Job has a pod again", lambda: not job()["spec"]["suspend"] and pods())
    until("the run says so", said("Reconciling", "Training"))
    after = job()
    assert after["spec"] == {**before["spec"], "suspend": False, "activeDeadlineSeconds": 1000}
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert "suspendedTime" not in run()["status"]


def _conditions(run: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = run.get("status", {}).get("conditions", [])
    return found
