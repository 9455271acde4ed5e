"""Records objects at the moments of their lives, as testdata of the health checks and actions: `make gitops-record`.

The objects are the operator's own work: a real API server with its controllers, the operator as a process, a real
MLflow, and for the ModelDeployment a real collector and real routers. Played is what no node is there for: what became
of pods.
No test of `make test`: it writes the files that those tests read.
"""

import json
import re
import urllib.request
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import time
from typing import Any

import aiohttp
import pytest
import yaml
from canary_cluster import DEPLOYED, NAME
from canary_stage import CanaryStage, canary_stage
from operator_process import Start
from waiting import until

from cluster.apiserver import ControlPlane
from perennial.api.messages.evaluation import Measured
from perennial.manifests.resources import POD, Resource
from perennial.plan.kinds import DATASET, MODEL_DEPLOYMENT, TRAINING_RUN
from perennial.runtime.connection import Connection
from perennial.stats.days import Days
from perennial.stats.sums import Sums

pytestmark = pytest.mark.api

REPOSITORY = Path(__file__).parents[2]
CUSTOMIZATIONS = REPOSITORY / "gitops" / "argocd" / "resource_customizations"
EXAMPLE = REPOSITORY / "examples" / "flights"
KINDS = {each.kind: each for each in (DATASET.resource, TRAINING_RUN.resource, MODEL_DEPLOYMENT.resource)}
MERGE = "application/merge-patch+json"
DIGEST = "sha256:" + 64 * "5"
CHECKED = {
    "digest": DIGEST,
    "rows": 41_224,
    "bytes": 1_310_720,
    "files": 9,
    "from": "2013-01-01T05:00:00Z",
    "to": "2013-02-25T23:00:00Z",
}
GOOD, BAD = 400, 1200

_VOLATILE = {
    re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"): "2026-01-05T08:00:00Z",
    re.compile(r"\d\d:\d\d:\d\d UTC"): "08:00:00 UTC",
    re.compile(r"http://127\.0\.0\.1:\d+"): "http://service.test",
    re.compile(r"test-\d+-\d+"): "flights",
}
"""When, where a service was, and the namespace: (pattern, what is written for it)."""
_FIXED = {
    "uid": "00000000-0000-4000-8000-000000000000",
    "resourceVersion": "1",
    "namespace": "flights",
    "runId": "0" * 32,
}


def recorded(seen: Any) -> Any:
    """Return an object without what differs from one recording to the next: times, ids, who wrote which field."""
    match seen:
        case dict():
            return {
                key: _FIXED[key] if key in _FIXED else recorded(value)
                for key, value in seen.items()
                if key != "managedFields"
            }
        case list():
            return [recorded(item) for item in seen]
        case str():
            for pattern, written in _VOLATILE.items():
                seen = pattern.sub(written, seen)
            return seen
        case _:
            return seen


def save(moment: str, seen: dict[str, Any]) -> dict[str, Any]:
    """Write an object to the testdata of its kind; a file in `actions` is what an action makes of it."""
    group, _, _ = seen["apiVersion"].partition("/")
    folder, _, name = moment.rpartition("/")
    target = CUSTOMIZATIONS / group / seen["kind"] / folder / "testdata" / f"{name}.yaml"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(yaml.safe_dump(recorded(seen), sort_keys=True, width=120, allow_unicode=True))
    return seen


def save_suspended(before: dict[str, Any], suspended: dict[str, Any]) -> None:
    """Write an object that is suspended, and what the two actions make: they change `spec.suspend` alone."""
    save("suspended", suspended)
    for moment, seen, suspend in (("suspended", before, True), ("resumed", suspended, False)):
        save(f"actions/{moment}", {**seen, "spec": {**seen["spec"], "suspend": suspend}})


def conditions(seen: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Return status and reason of each condition of the newest generation."""
    status = seen.get("status", {})
    if status.get("observedGeneration") != seen["metadata"]["generation"]:
        return {}
    return {each["type"]: (each["status"], each["reason"]) for each in status["conditions"]}


class Scene:
    """A namespace, its users, and a node that is played."""

    def __init__(self, control_plane: ControlPlane, namespace: str) -> None:
        self.api, self.namespace = control_plane.api, namespace

    def apply(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Apply what a user wrote."""
        path = KINDS[manifest["kind"]].path(self.namespace, manifest["metadata"]["name"])
        metadata = {**manifest["metadata"], "namespace": self.namespace}
        return self.api.apply(path, {**manifest, "metadata": metadata}, manager="somebody")

    def get(self, resource: Resource, name: str) -> dict[str, Any]:
        return self.api.get(resource.path(self.namespace, name))

    def change(self, resource: Resource, name: str, **spec: Any) -> dict[str, Any]:
        """Change a spec."""
        path = resource.path(self.namespace, name)
        return self.api.call("PATCH", path, {"spec": spec}, content_type=MERGE)

    def delete(self, resource: Resource, name: str) -> dict[str, Any]:
        """Delete an object after its children, and return it as it is meanwhile."""
        path = f"{resource.path(self.namespace, name)}?propagationPolicy=Foreground"
        return self.api.call("DELETE", path)

    def when(self, resource: Resource, name: str, **wanted: tuple[str, str]) -> dict[str, Any]:
        """Return an object once its conditions are such (type = (status, reason))."""

        def look() -> dict[str, Any] | None:
            seen = self.get(resource, name)
            return seen if wanted.items() <= conditions(seen).items() else None

        return until(f"{name} is {wanted}", look, seconds=120)

    def pod(self, job: str) -> dict[str, Any]:
        """Return the pod of the newest Job whose name begins so, which nothing was said of yet."""

        def look() -> dict[str, Any] | None:
            for pod in self.api.get(POD.path(self.namespace))["items"]:
                if pod["metadata"]["name"].startswith(job) and "containerStatuses" not in pod.get("status", {}):
                    return dict(pod)
            return None

        return until(f"{job} has a pod", look)

    def play(self, pod: dict[str, Any], phase: str, state: dict[str, Any], **more: Any) -> None:
        """Say what became of a pod's main container."""
        container = pod["spec"]["containers"][0]
        told = {
            "name": container["name"],
            "image": container["image"],
            "imageID": "",
            "ready": phase == "Running",
            "restartCount": 0,
            "state": state,
        }
        path = POD.path(self.namespace, pod["metadata"]["name"], "status")
        status = {"phase": phase, "containerStatuses": [told], **more}
        self.api.call("PATCH", path, {"status": status}, content_type=MERGE)

    def run(self, pod: dict[str, Any]) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.play(pod, "Running", {"running": {"startedAt": now}})

    def end(self, pod: dict[str, Any], message: Any, exit_code: int = 0, reason: str = "") -> None:
        text = message if isinstance(message, str) else json.dumps(message)
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        ended = {"exitCode": exit_code, "message": text, "reason": reason or ("Error" if exit_code else "Completed")}
        ended |= {"startedAt": now, "finishedAt": now}
        self.play(pod, "Failed" if exit_code else "Succeeded", {"terminated": ended})

    def unschedulable(self, pod: dict[str, Any], why: str) -> None:
        path = POD.path(self.namespace, pod["metadata"]["name"], "status")
        told = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why}
        self.api.call("PATCH", path, {"status": {"conditions": [told]}}, content_type=MERGE)


@pytest.fixture
def scene(control_plane: ControlPlane, namespace: str) -> Scene:
    return Scene(control_plane, namespace)


def example(name: str, **spec: Any) -> dict[str, Any]:
    """Return a manifest of the flights, with some fields of its spec changed."""
    manifest: dict[str, Any] = yaml.safe_load((EXAMPLE / f"{name}.yaml").read_text())
    return {**manifest, "spec": {**manifest["spec"], **spec}}


def missed(name: str, reason: str, message: str) -> dict[str, Any]:
    return {"name": name, "verdict": "Fail", "reason": reason, "message": message}


def test_a_dataset(scene: Scene, start_operator: Start) -> None:
    check, name = "flights-check-", "flights"
    save("new", scene.apply(example("dataset", refresh={"intervalSeconds": 5})))
    operator = start_operator()
    pod = scene.pod(check)
    save(
        "checking",
        scene.when(DATASET.resource, name, Reconciling=("True", "Checking"), Fetched=("Unknown", "NotChecked")),
    )
    scene.unschedulable(pod, '0/1 nodes are available: persistentvolumeclaim "lake" not found.')
    save("claim-missing", scene.when(DATASET.resource, name, Fetched=("False", "ClaimNotFound")))
    scene.end(pod, {"error": "the folder weeks is not there"}, exit_code=65)
    save("source-unreadable", scene.when(DATASET.resource, name, Fetched=("False", "SourceUnreadable")))

    few = missed("enough", "OutOfRange", "rows must number at least 10000, but there are 812")
    scene.end(scene.pod(check), {**CHECKED, "rows": 812, "passed": 4, "failed": 1, "unmet": [few]})
    save("expectation-failed", scene.when(DATASET.resource, name, Valid=("False", "ExpectationFailed")))
    message = "column late must be there, of type Boolean, but week-03.parquet has none"
    gone = missed("schema/late", "SchemaViolated", message)
    scene.end(scene.pod(check), {**CHECKED, "violated": 1, "violations": [gone]})
    save("schema-violated", scene.when(DATASET.resource, name, Valid=("False", "SchemaViolated")))
    scene.end(scene.pod(check), CHECKED)
    ready = save("ready", scene.when(DATASET.resource, name, Ready=("True", "VersionReady")))
    scene.end(scene.pod(check), {"error": "week-10.parquet is cut off"}, exit_code=65)
    still = {"Ready": ("True", "VersionReady"), "Fetched": ("False", "SourceUnreadable")}
    save("ready-but-newest-unreadable", scene.when(DATASET.resource, name, **still))

    scene.end(scene.pod(check), CHECKED)
    scene.when(DATASET.resource, name, Fetched=("True", "Fetched"))
    scene.change(DATASET.resource, name, suspend=True)
    save_suspended(ready, scene.when(DATASET.resource, name, Stalled=("True", "Suspended")))
    assert operator.stop() == 0
    save("generation-behind", scene.change(DATASET.resource, name, suspend=False))
    scene.change(DATASET.resource, name, suspend=True)
    start_operator()
    scene.when(DATASET.resource, name, Stalled=("True", "Suspended"))
    save("deleted", scene.delete(DATASET.resource, name))


class Registry:
    """A real MLflow server."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self.url: str = server.url

    def start(self) -> None:
        self._server.start()

    def log_model(self, run: dict[str, Any]) -> str:
        """Log a model as a training script does; return where it is."""
        body = {"experiment_id": run["experimentId"], "name": "model", "source_run_id": run["runId"]}
        request = urllib.request.Request(
            f"{self.url}/api/2.0/mlflow/logged-models",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            return f"models:/{json.load(response)['model']['info']['model_id']}"


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """One that is not started yet."""
    monkeypatch.syspath_prepend(REPOSITORY / "tests" / "unit" / "facts")
    from real_mlflow import MLflowServer

    server = MLflowServer(tmp_path)
    yield Registry(server)
    server.stop()


def evaluation(source: str, missed_late: int) -> dict[str, Any]:
    counts = {"misses": (2000, missed_late), "false-alarms": (6000, 900)}
    results = [
        Measured.made(name, Days.of([Sums.count(total // 2, bad // 2)] * 2)).json_data()
        for name, (total, bad) in sorted(counts.items())
    ]
    return {"source": source, "digest": DIGEST, "results": results}


def test_a_training_run(scene: Scene, start_operator: Start, registry: Registry) -> None:
    name = "flight-delay-first"
    save("new", scene.apply(example("trainingrun")))
    operator = start_operator(PERENNIAL_MLFLOW_URL=registry.url)
    save("dataset-not-found", scene.when(TRAINING_RUN.resource, name, Succeeded=("Unknown", "DatasetNotFound")))
    scene.apply(example("dataset"))
    pod = scene.pod("flights-check-")
    save("dataset-not-ready", scene.when(TRAINING_RUN.resource, name, Succeeded=("Unknown", "DatasetNotReady")))
    scene.end(pod, CHECKED)
    save("registry-unavailable", scene.when(TRAINING_RUN.resource, name, Succeeded=("Unknown", "RegistryUnavailable")))
    registry.start()

    pod = scene.pod(f"{name}-train-")
    waiting = {"reason": "ImagePullBackOff", "message": "Back-off pulling image: not found"}
    scene.play(pod, "Pending", {"waiting": waiting})
    save("image-not-pulled", scene.when(TRAINING_RUN.resource, name, Succeeded=("Unknown", "ImageNotPulled")))
    scene.run(pod)
    training = save("training", scene.when(TRAINING_RUN.resource, name, Running=("True", "Started")))
    scene.change(TRAINING_RUN.resource, name, suspend=True)
    save_suspended(training, scene.when(TRAINING_RUN.resource, name, Stalled=("True", "Suspended")))
    scene.change(TRAINING_RUN.resource, name, suspend=False)
    pod = scene.pod(f"{name}-train-")
    scene.run(pod)
    scene.end(pod, "")
    pod = scene.pod(f"{name}-evaluate-")
    scene.run(pod)
    seen = save("evaluating", scene.when(TRAINING_RUN.resource, name, Succeeded=("Unknown", "Evaluating")))
    scene.end(pod, evaluation(registry.log_model(seen["status"]["mlflow"]), GOOD))
    save("succeeded", scene.when(TRAINING_RUN.resource, name, Succeeded=("True", "Succeeded")))

    failures = {
        "app-failed": (1, "AppFailure", "ValueError: Input contains NaN", ""),
        "data-failed": (65, "DataFailure", json.dumps({"error": "distances are in miles, not in kilometres"}), ""),
        "out-of-memory": (137, "OutOfMemoryFailure", "", "OOMKilled"),
    }
    for moment, (code, reason, message, why) in failures.items():
        run = example("trainingrun", retryLimit=0)
        scene.apply({**run, "metadata": {"name": moment}})
        scene.end(scene.pod(f"{moment}-train-"), message, code, why)
        save(moment, scene.when(TRAINING_RUN.resource, moment, Succeeded=("False", reason)))

    scene.apply({**example("trainingrun"), "metadata": {"name": "gate-rejected"}})
    scene.end(scene.pod("gate-rejected-train-"), "")
    pod = scene.pod("gate-rejected-evaluate-")
    seen = scene.get(TRAINING_RUN.resource, "gate-rejected")
    scene.end(pod, evaluation(registry.log_model(seen["status"]["mlflow"]), 1900))
    save("gate-rejected", scene.when(TRAINING_RUN.resource, "gate-rejected", Succeeded=("False", "GateRejected")))

    scene.apply({**example("trainingrun"), "metadata": {"name": "deleted"}})
    scene.run(scene.pod("deleted-train-"))
    scene.when(TRAINING_RUN.resource, "deleted", Running=("True", "Started"))
    assert operator.stop() == 0
    save("generation-behind", scene.change(TRAINING_RUN.resource, "deleted", suspend=True))
    save("deleted", scene.delete(TRAINING_RUN.resource, "deleted"))


@pytest.fixture
async def stage(
    control_plane: ControlPlane,
    namespace: str,
    start_operator: Start,
    tmp_path: Path,
    connection: Connection,
    session: aiohttp.ClientSession,
) -> AsyncIterator[CanaryStage]:
    async with canary_stage(control_plane, namespace, start_operator, tmp_path, session, connection.server) as set_up:
        yield set_up


PROMISE = {"name": "missed-late", "outcome": {"falseNegativeRate": {}, "max": "0.3", "minSamples": 50}}
PERIOD = 3600
MONITORED = {
    "slos": [*DEPLOYED["spec"]["slos"], PROMISE],
    "monitoring": {"cohortSeconds": PERIOD, "maturity": {"maxLabelDelaySeconds": 60, "minCoverage": "0.9"}},
}


async def test_a_model_deployment(stage: CanaryStage, scene: Scene) -> None:
    async def when(**wanted: tuple[str, str]) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            seen = stage.cluster.get()
            return seen if wanted.items() <= conditions(seen).items() else None

        return await stage.until(f"the conditions are {wanted}", look)

    save("new", stage.cluster.apply({**DEPLOYED, "spec": {**DEPLOYED["spec"], **MONITORED}}))
    stage.node.held = {"a"}
    await stage.operate()
    save("no-model-version", await when(Ready=("False", "NoModelVersion")))
    stage.cluster.offer("1")
    save("starting", await when(Ready=("False", "Starting")))
    stage.node.held = {"b"}
    save("serving", await when(Ready=("True", "Serving"), Reconciling=("False", "Settled")))

    stage.cluster.offer("2")
    save("canary-preparing", await when(Progressing=("True", "Starting")))
    stage.node.held = set()
    await stage.until_step(1)
    await stage.data.until_weight(20)
    await stage.begin_evidence()
    trial = save("canary-step", await when(Progressing=("True", "CanaryStep")))
    scene.change(MODEL_DEPLOYMENT.resource, NAME, suspend=True)
    save_suspended(trial, await when(Progressing=("False", "Suspended")))
    scene.change(MODEL_DEPLOYMENT.resource, NAME, suspend=False)
    await when(Stalled=("False", "Free"))
    await stage.data.kill_collector()
    save("canary-holds", await when(Progressing=("True", "CollectorUnavailable")))
    await stage.data.start_collector()
    stage.data.models["b"].failing = 1.0
    async with stage.data.requests():
        save("rolled-back", await when(Stalled=("True", "RolledBack")))
    stage.data.models["b"].failing = 0.0

    stage.cluster.offer("3")
    async with stage.data.requests():
        save("promoted", await when(Progressing=("False", "Promoted"), Reconciling=("False", "Settled")))
    await promise(stage, kept=True)
    save("slos-met", await when(SLOsMet=("True", "SLOsMet")))
    await promise(stage, kept=False)
    save("slo-broken", await when(SLOsMet=("False", "SLOBroken")))
    crash(scene)
    save("unavailable", await when(Available=("False", "ContainerFailed")))
    stage.stop()
    save("generation-behind", scene.change(MODEL_DEPLOYMENT.resource, NAME, server={"replicas": 2}))
    save("deleted", scene.delete(MODEL_DEPLOYMENT.resource, NAME))


async def promise(stage: CanaryStage, *, kept: bool) -> None:
    """Let one cohort come true: every late flight was announced, or none was."""
    stable = stage.cluster.status().stable
    assert stable is not None
    periods = 3 if kept else 2
    begin = datetime.fromtimestamp((time() // PERIOD - periods) * PERIOD, UTC)
    ids = [f"{periods}-{number}" for number in range(400)]
    score = 0.9 if kept else 0.1
    predictions = [{"id": each, "time": (begin + timedelta(seconds=1)).isoformat(), "score": score} for each in ids]
    body = {"version": stable.version, "modelVersion": stable.model_version, "predictions": predictions}
    assert (await stage.data.collector.post("/v1/predictions", body))[0] == 200
    labels = {"labels": [{"id": each, "label": True} for each in ids]}
    assert (await stage.data.collector.post("/v1/labels", labels))[0] == 200


def crash(scene: Scene) -> None:
    """Let the pods of the stable version fail."""
    ended = {"exitCode": 1, "reason": "Error", "message": "OSError: /models/model.pkl is cut off"}
    for pod in scene.api.get(POD.path(scene.namespace))["items"]:
        if pod["metadata"]["labels"].get("perennial.dev/slot"):
            unready = {"type": "Ready", "status": "False", "reason": "ContainersNotReady"}
            scene.play(pod, "Running", {"terminated": ended}, conditions=[unready])
