"""The objects of one team, as the API server has them: made by hand in the shape that the CRDs take."""

from collections.abc import Mapping
from typing import Any

NAMESPACE = "team"
DIGEST = "sha256:" + "ab" * 32
TIME = "2026-11-23T12:00:00Z"
Object = dict[str, Any]


def condition(type_: str, status: str, reason: str, message: str = "") -> Object:
    return {
        "type": type_,
        "status": status,
        "reason": reason,
        "message": message or f"{reason}.",
        "lastTransitionTime": TIME,
        "observedGeneration": 1,
    }


def made(
    kind: str, name: str, spec: Mapping[str, Any], status: Mapping[str, Any] | None = None, *, created: str = TIME
) -> Object:
    metadata = {"name": name, "namespace": NAMESPACE, "uid": f"{kind}-{name}", "creationTimestamp": created}
    obj: Object = {"apiVersion": "perennial.dev/v1alpha1", "kind": kind, "metadata": {**metadata, "generation": 1}}
    obj["spec"] = dict(spec)
    if status is not None:
        obj["status"] = {"observedGeneration": 1, **status}
    return obj


def dataset(*conditions: Object, **status: Any) -> Object:
    spec = {
        "source": {"uri": "pvc://lake/flights"},
        "schema": {"target": "late", "columns": [{"name": "late", "type": "Boolean"}]},
    }
    return made("Dataset", "flights", spec, {"conditions": list(conditions), **status})


def ready_dataset() -> Object:
    version = {"digest": DIGEST, "ordinal": 3, "rows": 50009, "bytes": 9, "files": 8, "recordedTime": TIME, "to": TIME}
    return dataset(condition("Ready", "True", "VersionReady"), version=version)


def run(name: str, *conditions: Object, created: str = TIME, **status: Any) -> Object:
    spec = {
        "datasetRef": {"name": "flights"},
        "model": {"name": "flight-delay"},
        "trainer": {"image": "registry.example/train:1"},
    }
    return made("TrainingRun", name, spec, {"conditions": list(conditions), **status}, created=created)


def passed_run(name: str = "january", version: str = "1", *, created: str = TIME) -> Object:
    result = {"name": "misses", "verdict": "Pass", "message": "m", "samples": 1300}
    gate = {"verdict": "Pass", "results": [{**result, "value": "0.61", "baseline": "0.8"}]}
    succeeded = condition("Succeeded", "True", "Succeeded")
    dataset_ = {"digest": DIGEST, "target": "late"}
    return run(name, succeeded, created=created, modelVersion=version, gate=gate, dataset=dataset_)


def deployment(*conditions: Object, name: str = "flight-delay", **status: Any) -> Object:
    spec = {
        "model": {"name": "flight-delay", "fromRetraining": {}},
        "slos": [{"name": "errors", "requests": {"max": "0.01"}}],
        "canary": {"steps": [{"weight": 10}, {"weight": 50}]},
    }
    return made("ModelDeployment", name, spec, {"conditions": list(conditions), **status})


SERVED_BY = {"replicas": 1, "image": "registry.test/server:1", "fetchImage": "registry.test/server:1"}
STABLE = {"version": "abc", "modelVersion": "1", "slot": "a", "server": SERVED_BY, "readyReplicas": 1}
CANARY = {
    "id": "1-x",
    "version": "def",
    "modelVersion": "2",
    "slot": "b",
    "server": SERVED_BY,
    "step": 1,
    "weight": {"desired": 10, "verified": 10},
    "startedTime": TIME,
    "stepStartedTime": TIME,
    "slos": [
        {
            "name": "errors",
            "verdict": "Undecided",
            "value": "0.003",
            "samples": 4000,
            "needed": 1900,
            "etaSeconds": 720,
        }
    ],
}
SLO = {
    "name": "missed-late",
    "verdict": "Pass",
    "message": "kept (model version 1, cohort of 2026-11-23 12:00 UTC)",
    "value": "0.61",
    "low": "0.58",
    "high": "0.64",
}


def on_trial() -> Object:
    return deployment(
        condition("Ready", "True", "Serving"),
        condition("SLOsMet", "True", "SLOsMet"),
        condition("Stalled", "False", "Free"),
        stable=STABLE,
        canary=CANARY,
        slos=[SLO],
    )


def job(owner: Object, name: str, *conditions: Object) -> Object:
    reference = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"]}
    metadata = {"name": name, "namespace": NAMESPACE, "uid": f"Job-{name}", "creationTimestamp": TIME}
    references = [{**reference, "uid": owner["metadata"]["uid"], "controller": True}]
    return {
        "kind": "Job",
        "metadata": {**metadata, "ownerReferences": references},
        "status": {"conditions": list(conditions)},
    }


def pod(owner: Object, name: str, component: str, status: Mapping[str, Any]) -> Object:
    labels = {
        "perennial.dev/kind": owner["kind"],
        "perennial.dev/name": owner["metadata"]["name"],
        "app.kubernetes.io/component": component,
    }
    metadata = {"name": name, "namespace": NAMESPACE, "uid": f"Pod-{name}", "creationTimestamp": TIME, "labels": labels}
    return {"kind": "Pod", "metadata": metadata, "status": dict(status)}


def ended(container: str, exit_code: int, message: str) -> Object:
    terminated = {"exitCode": exit_code, "reason": "Error", "message": message}
    return {"phase": "Failed", "containerStatuses": [{"name": container, "state": {"terminated": terminated}}]}
