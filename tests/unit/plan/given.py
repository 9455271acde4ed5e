"""What a planner is given: a small world of objects, call results and facts, built from a few words.

A `World` implements the planners' three windows (`Cache`, `Results`, `Facts`), so every test goes through the real
`observe`. It is immutable: `world.but(…)` is another world.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from perennial.api.messages.evaluation import Measured
from perennial.api.messages.state import State
from perennial.manifests.manifest import Manifest
from perennial.plan.actions import Apply, Call, Change, Create, Delete, Plan
from perennial.plan.kinds import KINDS
from perennial.plan.observed import CallResult, Fact, Issuer, ModelVersion, PlanSettings, RegisteredModel
from perennial.plan.view import View
from perennial.stats.days import Days
from perennial.stats.sums import Sums
from perennial.terms import reasons
from perennial.terms.names import API_VERSION

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NAMESPACE = "ml"
SETTINGS = PlanSettings(
    operator_image="registry.test/operator:1",
    server_image="registry.test/server:1",
    router_image="registry.test/router:1",
    mlflow_url="http://mlflow.perennial.svc:5000",
    operator_user="system:serviceaccount:perennial-system:perennial",
)
ISSUER = Issuer(url="https://issuer.test", keys=({"kty": "RSA", "kid": "key-1", "n": "AQ", "e": "AQAB"},))
KIND = {kind.name: kind for kind in KINDS}


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def rfc3339(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Objects by kind and name, what calls brought, what the registry and the collector said."""

    objects: tuple[Manifest, ...] = ()
    results: tuple[tuple[type, CallResult], ...] = ()
    registry: Fact[RegisteredModel] = field(default_factory=Fact)
    state: Fact[State] = field(default_factory=Fact)
    cluster: Fact[Issuer] = field(default_factory=lambda: Fact(value=ISSUER))
    refused: Mapping[str, str] = field(default_factory=dict)
    """Why no pods may be created for Jobs, by name."""
    settings: PlanSettings = SETTINGS

    def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        return next((item for item in self.list(kind, namespace) if item["metadata"]["name"] == name), None)

    def list(self, kind: str, namespace: str) -> Sequence[Manifest]:
        found = (item for item in self.objects if item["kind"] == kind and item["metadata"]["namespace"] == namespace)
        return sorted(found, key=lambda item: item["metadata"]["name"])

    def children(self, uid: str, kind: str) -> Sequence[Manifest]:
        return [
            item
            for item in self.list(kind, NAMESPACE)
            if any(owner["uid"] == uid for owner in item["metadata"].get("ownerReferences", ()))
        ]

    def result(self, call: Call) -> CallResult | None:
        return next((result for kind, result in self.results if isinstance(call, kind)), None)

    def collector(self, namespace: str, name: str) -> Fact[State]:
        assert self.get("ModelDeployment", namespace, name) is not None
        return self.state

    def refusal(self, job: Manifest) -> Fact[str]:
        return Fact(value=self.refused.get(job["metadata"]["name"]))

    def issuer(self) -> Fact[Issuer]:
        return self.cluster

    def model(self, _name: str, _version: str | None = None) -> Fact[RegisteredModel]:
        return self.registry

    def view(self) -> View:
        return View(cache=self, results=self, facts=self, settings=self.settings)

    def but(self, *objects: Manifest, **changes: Any) -> "World":
        """Return the world with some objects added or replaced, and other parts changed."""
        kept = [item for item in self.objects if identity(item) not in {identity(new) for new in objects}]
        return replace(self, objects=(*kept, *objects), **changes)

    def without(self, kind: str, name: str) -> "World":
        return replace(self, objects=tuple(item for item in self.objects if identity(item) != (kind, NAMESPACE, name)))

    def subject(self, kind: str) -> Manifest:
        """Return the only object of a kind."""
        (found,) = (item for item in self.objects if item["kind"] == kind)
        return found

    def subject_of(self, kind: str, name: str) -> Manifest:
        """Return an object that must be there."""
        found = self.get(kind, NAMESPACE, name)
        assert found is not None
        return found


def identity(manifest: Manifest) -> tuple[str, str, str]:
    return manifest["kind"], manifest["metadata"]["namespace"], manifest["metadata"]["name"]


def given(*objects: Manifest, **parts: Any) -> World:
    """Return a world. `parts` are the fields of `World` beside its objects."""
    return World(objects=objects, **parts)


def planned(world: World, kind: str, name: str, now: datetime = NOW) -> Plan:
    """Observe an object and plan for it, as the runtime does; every reason that it gives is documented."""
    seen = KIND[kind].observe(world.view(), NAMESPACE, name)
    assert seen is not None
    plan = KIND[kind].plan(seen, now)
    said = {condition["reason"] for condition in (plan.status or {}).get("conditions", ())}
    assert said | {event.reason for event in plan.events} <= reasons.ALL.keys()
    return plan


def recorded(world: World, kind: str, name: str, plan: Plan) -> World:
    """Return the world after a plan's status was written, through JSON, as the API server would have it."""
    if plan.status is None:
        return world
    subject = world.get(kind, NAMESPACE, name)
    assert subject is not None
    return world.but({**subject, "status": json.loads(json.dumps(plan.status))})


def applied(plan: Plan, kind: str) -> dict[str, Manifest]:
    """Return the children of a kind that a plan applies, by name."""
    return {
        apply.manifest["metadata"]["name"]: apply.manifest for apply in plan.applies if apply.manifest["kind"] == kind
    }


def conditions(plan: Plan) -> dict[str, str]:
    """Return each condition as "Status Reason", by type."""
    assert plan.status is not None
    return {item["type"]: f"{item['status']} {item['reason']}" for item in plan.status["conditions"]}


def message(plan: Plan, condition: str) -> str:
    assert plan.status is not None
    return next(str(item["message"]) for item in plan.status["conditions"] if item["type"] == condition)


def effects(plan: Plan) -> list[str]:
    """Return what a plan does beside writing status, a line each: a verb and a name."""
    lines = [f"apply {item.manifest['kind']} {item.manifest['metadata']['name']}" for item in plan.applies]
    lines += [f"call {type(call).__name__}" for call in plan.calls]
    lines += [f"tell {event.type} {event.reason}" for event in plan.events]
    return lines + [f"delete {item.kind} {item.name}" for item in plan.deletes]


# --- objects ---


def custom(kind: str, name: str, spec: Mapping[str, Any], status: Mapping[str, Any], generation: int) -> Manifest:
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "uid": f"uid-{kind.lower()}-{name}",
            "generation": generation,
            "resourceVersion": "7",
            "labels": {"app.kubernetes.io/instance": "somebody-elses", "team": "data"},
            "annotations": {"argocd.argoproj.io/tracking-id": "app:perennial.dev/thing:ml/it"},
        },
        "spec": dict(spec),
        **({"status": dict(status)} if status else {}),
    }


def child_of(
    owner: Manifest, api_version: str, kind: str, name: str, *, labels: Mapping[str, str] | None = None, **parts: Any
) -> Manifest:
    """Return an object that the API server would show: with a uid, a resourceVersion and its controller."""
    reference = {"kind": owner["kind"], "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"]}
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "uid": f"uid-{kind.lower()}-{name}",
            "resourceVersion": "3",
            "generation": 1,
            "creationTimestamp": rfc3339(NOW - timedelta(seconds=30)),
            "labels": dict(labels or {}),
            "ownerReferences": [{"apiVersion": owner["apiVersion"], "controller": True, **reference}],
        },
        **parts,
    }


def job(
    owner: Manifest,
    name: str,
    *,
    ended: str = "",
    reason: str = "",
    ended_seconds_ago: float = 5,
    suspend: bool = False,
) -> Manifest:
    """Return a Job that runs since a minute, is suspended, or has ended with the condition `ended`."""
    moment = rfc3339(NOW - timedelta(seconds=ended_seconds_ago))
    status: dict[str, Any] = {"startTime": rfc3339(NOW - timedelta(seconds=60)), "active": 0 if ended else 1}
    if ended:
        status["conditions"] = [
            {"type": ended, "status": "True", "reason": reason, "message": reason, "lastTransitionTime": moment}
        ]
    if ended == "Complete":
        status["completionTime"] = moment
    if suspend:
        status = {"conditions": [{"type": "Suspended", "status": "True"}]}
    return child_of(owner, "batch/v1", "Job", name, spec={"suspend": suspend, "backoffLimit": 2}, status=status)


def pod(
    owner: Manifest,
    name: str = "pod-1",
    *,
    said: object = None,
    exit_code: int | None = None,
    killed: bool = False,
    waiting: str = "",
    unschedulable: str = "",
    init: bool = False,
    container: str = "main",
    seconds_old: float = 20,
    labels: Mapping[str, str] | None = None,
) -> Manifest:
    """Return a pod that runs, waits, or has ended with an exit code and a termination message (an object: its JSON)."""
    words = said if isinstance(said, str) else json.dumps(said) if said is not None else ""
    state: dict[str, Any] = {"running": {}}
    phase = "Running"
    if waiting:
        state, phase = {"waiting": {"reason": waiting, "message": f"{waiting}: no such image"}}, "Pending"
    if exit_code is not None:
        reason = "OOMKilled" if killed else "Completed" if exit_code == 0 else "Error"
        state = {"terminated": {"exitCode": exit_code, "message": words, "reason": reason}}
        phase = "Succeeded" if exit_code == 0 else "Failed"
    its = {"name": container, "image": "registry.test/any:1", "state": state}
    status: dict[str, Any] = {"phase": phase, "initContainerStatuses" if init else "containerStatuses": [its]}
    if unschedulable:
        status = {
            "phase": "Pending",
            "conditions": [{"type": "PodScheduled", "status": "False", "message": unschedulable}],
        }
    made = child_of(owner, "v1", "Pod", name, labels=labels, status=status)
    made["metadata"]["creationTimestamp"] = rfc3339(NOW - timedelta(seconds=seconds_old))
    return made


# --- Dataset ---

DIGEST = "sha256:" + "1" * 64
OTHER_DIGEST = "sha256:" + "2" * 64
DATASET_SPEC: Mapping[str, Any] = {
    "source": {"uri": "pvc://lake/flights"},
    "refresh": {"intervalSeconds": 600},
    "schema": {
        "target": "late",
        "time": "scheduled",
        "columns": [
            {"name": "late", "type": "Boolean", "nullable": True},
            {"name": "scheduled", "type": "Timestamp"},
            {"name": "distance", "type": "Float"},
        ],
    },
    "expectations": [
        {"name": "labelled", "column": "late", "notNull": {}},
        {"name": "far", "column": "distance", "range": {"min": "0"}, "severity": "Warn"},
    ],
    "split": {"byTime": {"lastSeconds": 3600}},
}
VERSION: Mapping[str, Any] = {
    "digest": DIGEST,
    "ordinal": 1,
    "rows": 1000,
    "bytes": 5000,
    "files": 2,
    "recordedTime": "2026-03-01T11:00:00Z",
    "from": "2026-02-01T00:00:00Z",
    "to": "2026-02-28T23:59:59Z",
}


def condition(type_: str, status: str, reason: str, text: str = "It was said before.") -> dict[str, Any]:
    return {
        "type": type_,
        "status": status,
        "reason": reason,
        "message": text,
        "lastTransitionTime": "2026-03-01T11:00:00Z",
        "observedGeneration": 1,
    }


READY_STATUS: Mapping[str, Any] = {
    "observedGeneration": 1,
    "checksRecorded": 1,
    "checkedGeneration": 1,
    "fetchedGeneration": 1,
    "lastCheckedTime": "2026-03-01T11:50:00Z",
    "nextCheckTime": "2026-03-01T12:00:00Z",
    "version": VERSION,
    "versions": [VERSION],
    "conditions": [
        condition("Ready", "True", "VersionReady"),
        condition("Fetched", "True", "Fetched"),
        condition("Valid", "True", "ExpectationsMet"),
    ],
}


def dataset(
    status: Mapping[str, Any] | None = None, *, name: str = "flights", generation: int = 1, **spec: Any
) -> Manifest:
    """Return a Dataset; `spec` replaces parts of the usual one (None takes a part away)."""
    parts = {key: value for key, value in {**DATASET_SPEC, **spec}.items() if value is not None}
    return custom("Dataset", name, parts, status or {}, generation)


def check_result(
    *,
    digest: str = DIGEST,
    rows: int = 1000,
    violations: Sequence[Mapping[str, str]] = (),
    failed: Sequence[str] = (),
    warned: Sequence[str] = (),
) -> dict[str, Any]:
    """Return what a check reports: violations of the schema, names of expectations of each severity that don't hold."""
    return {
        "digest": digest,
        "rows": rows,
        "bytes": rows * 5,
        "files": 2,
        "from": "2026-02-01T00:00:00Z",
        "to": "2026-02-28T23:59:59Z",
        "violated": len(violations),
        "passed": 1,
        "warned": len(warned),
        "failed": len(failed),
        "violations": [{"verdict": "Fail", "reason": "SchemaViolated", **each} for each in violations],
        "unmet": [
            {"name": name, "verdict": "Fail", "reason": "ValuesMissing", "message": "must be set", "samples": rows}
            for name in (*failed, *warned)
        ],
    }


# --- TrainingRun ---

RUN_SPEC: Mapping[str, Any] = {
    "datasetRef": {"name": "flights"},
    "window": {"lastSeconds": 86400},
    "model": {"name": "flight-delay"},
    "trainer": {"image": "registry.test/trainer:1", "command": ["python3", "train.py"]},
    "parameters": {"numLeaves": "31"},
    "seed": 7,
    "gate": {"metrics": [{"name": "misses", "falseNegativeRate": {}, "max": "0.5", "maxRegression": "0.02"}]},
}
PINNED: Mapping[str, Any] = {
    "digest": DIGEST,
    "target": "late",
    "time": "scheduled",
    "trainFrom": "2026-02-28T00:00:00Z",
    "trainUntil": "2026-02-28T23:00:00Z",
    "testFrom": "2026-02-28T23:00:00Z",
    "testUntil": "2026-03-01T00:00:00Z",
}
MLFLOW: Mapping[str, Any] = {"experimentId": "4", "runId": "abc123", "state": "RUNNING"}
TRAINED: Mapping[str, Any] = {"name": "run-1-train", "finishedTime": "2026-03-01T11:30:00Z"}
EVALUATED: Mapping[str, Any] = {"name": "run-1-evaluate", "finishedTime": "2026-03-01T11:40:00Z"}
MODEL: Mapping[str, Any] = {"source": "models:/m-1", "digest": OTHER_DIGEST}


def training_run(
    status: Mapping[str, Any] | None = None, *, name: str = "run-1", generation: int = 1, **spec: Any
) -> Manifest:
    """Return a TrainingRun; `spec` replaces parts of the usual one (None takes a part away)."""
    parts = {key: value for key, value in {**RUN_SPEC, **spec}.items() if value is not None}
    return custom("TrainingRun", name, parts, status or {}, generation)


def evaluation(total: int, candidate: int, baseline: int | None = None) -> dict[str, Any]:
    """Return what an evaluation reports of one day: the better model's mistakes are among the other's."""
    days = Days.of([Sums.count(total, candidate)])
    if baseline is None:
        return {**MODEL, "results": [Measured.made("misses", days).json_data()]}
    apart = Days.of([Sums(total, candidate - baseline, abs(candidate - baseline))])
    counted = Measured.made("misses", days, Days.of([Sums.count(total, baseline)]), apart)
    return {**MODEL, "results": [counted.json_data()]}


def registry(
    aliases: Mapping[str, str] | None = None,
    *,
    exists: bool = True,
    versions: Sequence[str] = (),
    digest: str | None = None,
    error: str | None = None,
) -> Fact[RegisteredModel]:
    """Return what MLflow says of flight-delay; the versions behind aliases exist."""
    aliases = aliases or {}
    known = sorted({*aliases.values(), *versions})
    return Fact(
        value=RegisteredModel(
            name="flight-delay",
            exists=exists,
            aliases=dict(aliases),
            versions={version: ModelVersion(version=version, digest=digest, tags={}) for version in known},
        ),
        error=error,
    )


# --- effects carried out, for journeys ---


def carried_out(world: World, plan: Plan) -> World:
    """Return the world after a plan's children were made (existing ones take the new spec) and its deletions done."""
    for apply in plan.applies:
        world = _with_child(world, apply)
    for delete in plan.deletes:
        world = _without_deleted(world, delete)
    return world


def _with_child(world: World, apply: Apply | Create | Change) -> World:
    manifest = json.loads(json.dumps(apply.manifest))
    kind, namespace, name = identity(manifest)
    live = world.get(kind, namespace, name)
    if isinstance(apply, Change):
        assert live is not None, f"{kind} {name} was changed but is not there"
        assert live["metadata"]["uid"] == manifest["metadata"]["uid"]
        return world.but({**live, "spec": {**live["spec"], **manifest["spec"]}})
    if live is None:
        made = {"uid": f"uid-{kind.lower()}-{name}", "resourceVersion": "1", "generation": 1}
        moment = {"creationTimestamp": rfc3339(NOW)}
        return world.but({**manifest, "metadata": {**manifest["metadata"], **made, **moment}})
    changed = live.get("spec") != manifest.get("spec")
    metadata = {**live["metadata"], **manifest["metadata"]}
    if changed:
        metadata["generation"] = live["metadata"]["generation"] + 1
    return world.but({**live, **manifest, "metadata": metadata})


def _without_deleted(world: World, delete: Delete) -> World:
    live = world.get(delete.kind, delete.namespace, delete.name)
    assert live is not None, f"{delete.kind} {delete.name} was deleted but is not there"
    assert live["metadata"]["uid"] == delete.uid
    assert live["metadata"]["resourceVersion"] == delete.resource_version
    return world.without(delete.kind, delete.name)
