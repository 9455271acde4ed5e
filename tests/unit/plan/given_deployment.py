"""What a ModelDeployment's planner is given: versions in slots, and what the collector says of them."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from given import (
    NOW,
    SETTINGS,
    World,
    child_of,
    custom,
    given,
    planned,
    pod,
    registry,
    rfc3339,
    training_run,
)

from perennial.api.messages.state import Brake, Count, MonitorVerdict, SloVerdict, State, Weights
from perennial.api.model_deployment import ModelDeploymentSpec, ModelDeploymentStatus
from perennial.manifests.build import hashed
from perennial.manifests.manifest import Manifest
from perennial.plan.actions import Plan
from perennial.plan.model_deployment.policy import policy
from perennial.plan.observed import Fact
from perennial.terms import reasons
from perennial.terms.finding import Evidence, Finding
from perennial.terms.words import Role, Slot, Verdict

NAME = "delay"
ADDRESSES: Mapping[Slot, tuple[str, str]] = {"a": ("10.0.0.1", "10.0.0.2"), "b": ("10.0.1.1", "10.0.1.2")}
TEMPLATE: Mapping[str, Any] = {
    "datasetRef": {"name": "flights"},
    "model": {"name": "flight-delay"},
    "trainer": {"image": "registry.test/trainer:1"},
}
SPEC: Mapping[str, Any] = {
    "model": {"name": "flight-delay", "version": "4"},
    "server": {"replicas": 2},
    "canary": {"steps": [{"weight": 10}, {"weight": 50, "minSeconds": 300}], "maxSeconds": 3600},
    "slos": [
        {"name": "errors", "requests": {"max": "0.01", "maxRatio": "1.25"}},
        {"name": "flaky", "requests": {"max": "0.001"}, "role": "Advisory"},
        {"name": "missed", "outcome": {"falseNegativeRate": {}, "max": "0.7"}},
    ],
}
RETRAINING: Mapping[str, Any] = {
    "model": {"name": "flight-delay", "fromRetraining": {}},
    "retraining": {
        "template": TEMPLATE,
        "triggers": [{"name": "wrong", "slo": "missed"}],
        "guardrails": {"cooldownSeconds": 3600, "maxPerDay": 2},
    },
}
SERVER = ModelDeploymentSpec.model_validate(SPEC).server.json_data()


def version(model_version: str) -> str:
    """Return the hash of a model's version with the usual server."""
    return hashed(model_version, {key: value for key, value in SERVER.items() if key != "replicas"})


def deployed(model_version: str, slot: Slot, *, since: float | None = 86400) -> dict[str, Any]:
    """Return a version in a slot, as status has it; `since`: how many seconds ago it became what it is."""
    made = {
        "version": version(model_version),
        "modelVersion": model_version,
        "slot": slot,
        "server": {
            **SERVER,
            "image": SETTINGS.server_image,
            "fetchImage": SETTINGS.server_image,
            "collectorToken": True,
            "registeredModel": "ml.flight-delay",
        },
    }
    return made if since is None else {**made, "since": rfc3339(NOW - timedelta(seconds=since))}


def canary(
    model_version: str = "4",
    slot: Slot = "b",
    *,
    step: int = 1,
    weight: int | None = None,
    begun: float = 900,
    stepped: float = 600,
) -> dict[str, Any]:
    """Return a version on trial; `begun` and `stepped`: how many seconds ago."""
    return {
        **deployed(model_version, slot, since=None),
        "id": "1-trial",
        "step": step,
        "weight": {"desired": (0, 10, 50)[step] if weight is None else weight},
        "startedTime": rfc3339(NOW - timedelta(seconds=begun)),
        "stepStartedTime": rfc3339(NOW - timedelta(seconds=stepped)),
    }


def previous(model_version: str, slot: Slot, *, leaves: float) -> dict[str, Any]:
    """Return a version that lost; `leaves`: in how many seconds its pods may end."""
    return {**deployed(model_version, slot), "scaleDownTime": rfc3339(NOW + timedelta(seconds=leaves))}


STABLE = {"stable": deployed("3", "a"), "champion": "3"}
ON_TRIAL = {**STABLE, "canary": canary(), "canaries": 1}


def deployment(status: Mapping[str, Any] | None = None, **spec: Any) -> Manifest:
    """Return a ModelDeployment; `spec` replaces parts of the usual one."""
    parts = {key: value for key, value in {**SPEC, **spec}.items() if value is not None}
    return custom("ModelDeployment", NAME, parts, status or {}, 1)


def workload(
    owner: Manifest,
    suffix: str,
    *,
    version: str | None = None,
    ready: int = 2,
    replicas: int = 2,
    refused: str = "",
    old: float = 3600,
) -> Manifest:
    """Return a Deployment of the ModelDeployment's: a slot's (with its version), the router's or the collector's.

    `refused`: why the API server lets no further pod of it be created. `old`: seconds since it was made.
    """
    match = {"perennial.dev/kind": "ModelDeployment", "perennial.dev/name": NAME, "part": suffix}
    labels = match | ({"perennial.dev/slot": suffix, "perennial.dev/version": version} if version else {})
    made = child_of(
        owner,
        "apps/v1",
        "Deployment",
        f"{NAME}-{suffix}",
        spec={
            "replicas": replicas,
            "selector": {"matchLabels": match},
            "template": {"metadata": {"labels": labels}},
        },
        status={
            "observedGeneration": 1,
            "replicas": replicas,
            "updatedReplicas": replicas,
            "readyReplicas": ready,
            "conditions": [
                {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": refused},
            ]
            if refused
            else [],
        },
    )
    made["metadata"]["creationTimestamp"] = rfc3339(NOW - timedelta(seconds=old))
    return made


def pod_of(work: Manifest, **how: Any) -> Manifest:
    """Return a pod of a Deployment."""
    return pod(work, labels=work["spec"]["template"]["metadata"]["labels"], **how)


def ready_pods(work: Manifest) -> list[Manifest]:
    """Return the two pods of a slot that take requests."""
    slot = work["metadata"]["name"][-1]
    pods = [pod_of(work, name=f"{NAME}-{slot}-{number}") for number in (1, 2)]
    for made, address in zip(pods, ADDRESSES[slot], strict=True):
        made["status"] |= {"podIP": address, "conditions": [{"type": "Ready", "status": "True"}]}
    return pods


def collector(
    subject: Manifest,
    verdicts: Mapping[str, Verdict] | None = None,
    *,
    because: str | None = None,
    weights: Mapping[Slot, int] | None = None,
    members: Mapping[Slot, tuple[str, ...]] | None = ADDRESSES,
    brake: Brake | None = None,
    monitoring: Sequence[MonitorVerdict] = (),
    behind: bool = False,
    error: str | None = None,
) -> Fact[State]:
    """Return what the collector says: of the policy that status records (unless it is behind), with these verdicts.

    `weights` are those that every router has confirmed, in thousandths; absent: not all have confirmed any. `members`
    are the pods that every router knows of; None: they disagree. `because` is the reason of all verdicts.
    """
    spec = ModelDeploymentSpec.model_validate(subject["spec"])
    told = policy(spec, ModelDeploymentStatus.model_validate(subject.get("status", {})))
    roles = {slo.name: slo.role for slo in spec.slos}
    state = State(
        revision="17",
        policy_revision="an older one" if behind or told is None else told.revision,
        time=NOW,
        weights=Weights(desired={"a": 900, "b": 100}, verified=dict(weights) if weights is not None else None),
        members=dict(members) if members is not None else None,
        brake=brake,
        verdicts=tuple(
            slo_verdict(name, verdict, roles[name], reason=because) for name, verdict in (verdicts or {}).items()
        ),
        monitoring=tuple(monitoring),
    )
    return Fact(value=state, error=error)


def slo_verdict(name: str, verdict: Verdict, role: Role = Role.CRITICAL, *, reason: str | None = None) -> SloVerdict:
    measured = verdict in {Verdict.PASS, Verdict.FAIL, Verdict.UNDECIDED}
    return SloVerdict(
        slo=name,
        role=role,
        verdict=verdict,
        reason=reason or verdict.value,
        message=f"{name} is {verdict.value}.",
        candidate=Count(total=1000 if measured else 0, bad=40 if measured else 0),
        stable=Count(total=9000, bad=90),
        log_e_harm=3.2,
        log_e_safe=-1.5,
        log_threshold_harm=2.995732,
        log_threshold_safe=2.995732,
        needed=None if verdict is Verdict.PASS else 1900,
        eta_seconds=None if verdict is Verdict.PASS else 720.5,
    )


def braked(canary_id: str = "1-trial") -> Brake:
    return Brake(canary_id=canary_id, time=NOW - timedelta(seconds=1), verdict=slo_verdict("errors", Verdict.FAIL))


REASONS = {
    Verdict.FAIL: reasons.ABOVE_LIMIT,
    Verdict.NO_DATA: reasons.LABELS_INCOMPLETE,
    Verdict.UNDECIDED: reasons.MORE_COHORTS_NEEDED,
}


def monitored(
    model_version: str,
    verdict: Verdict = Verdict.FAIL,
    *,
    slo: str = "missed",
    cohort: datetime = NOW - timedelta(days=2),
) -> MonitorVerdict:
    """Return what the collector says of an outcome SLO on a version's matured cohorts."""
    return MonitorVerdict(
        finding=Finding(
            name=slo,
            verdict=verdict,
            reason=REASONS.get(verdict, reasons.KEPT),
            message="75 % of 400 samples, the limit is 70 %: shown to be broken",
            value="0.75",
            low="0.72",
            high="0.78",
            samples=400,
            evidence=Evidence(harm="5", harm_threshold="4.828"),
        ),
        version=version(model_version),
        model_version=model_version,
        cohort=cohort,
    )


def running(
    status: Mapping[str, Any],
    verdicts: Mapping[str, Verdict] | None = None,
    *,
    wants: str | None = "4",
    spec: Mapping[str, Any] | None = None,
    not_ready: Sequence[str] = (),
    others: Sequence[Manifest] = (),
    **said: Any,
) -> World:
    """Return the world of a ModelDeployment whose recorded versions are in their slots, with ready pods.

    `wants` is the model version that the spec asks for; `not_ready` names Deployments without a ready pod; `said` is
    what `collector` takes.
    """
    model = {"model": {"name": "flight-delay", "version": wants}} if wants else {}
    subject = deployment(status, **{**model, **(spec or {})})
    slots = [
        workload(subject, item["slot"], version=item["version"], ready=0 if item["slot"] in not_ready else 2)
        for item in (status.get("stable"), status.get("canary"), status.get("previous"))
        if item is not None
    ]
    around = [
        workload(subject, suffix, ready=0 if suffix in not_ready else 1, replicas=1)
        for suffix in ("router", "collector")
    ]
    return given(
        subject,
        *slots,
        *(pod for work in slots if work["status"]["readyReplicas"] for pod in ready_pods(work)),
        *around,
        *others,
        registry=registry({"champion": "3"}, versions=["3", "4", "5"]),
        state=collector(subject, verdicts, **said),
    )


def passed_run(name: str, model_version: str) -> Manifest:
    """Return a TrainingRun whose model was registered."""
    model = {"source": "models:/m-1", "digest": "sha256:" + "5" * 64}
    return training_run({"terminalState": "Succeeded", "modelVersion": model_version, "model": model}, name=name)


def roles(plan: Plan) -> str:
    """Return who does what after a plan, as in "3@a answers, 4@b on trial at step 1 with 10 %"."""
    assert plan.status is not None
    parts = []
    if stable := plan.status.get("stable"):
        parts.append(f"{stable['modelVersion']}@{stable['slot']} {'answers' if 'since' in stable else 'starts'}")
    if trial := plan.status.get("canary"):
        at = f"at step {trial['step']} with {trial['weight']['desired']} %"
        parts.append(f"{trial['modelVersion']}@{trial['slot']} on trial {at}")
    if lost := plan.status.get("previous"):
        parts.append(f"{lost['modelVersion']}@{lost['slot']} is kept")
    return ", ".join(parts) or "nobody"


def told(plan: Plan) -> list[str]:
    return [event.reason for event in plan.events]


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


# --- the usual worlds ---

GOOD = {"errors": Verdict.PASS}
AT_10, AT_50 = {"a": 900, "b": 100}, {"a": 500, "b": 500}
STARTING = {"stable": deployed("4", "a", since=None)}
LAST_STEP = {**STABLE, "canary": canary(step=2, stepped=600), "canaries": 1}
PREPARING = {**STABLE, "canary": canary(step=0, begun=100, stepped=100), "canaries": 1}
LATE = {**STABLE, "canary": canary(begun=3600, stepped=600), "canaries": 1}
KEPT = {**STABLE, "previous": previous("2", "b", leaves=100)}
DUE_TO_LEAVE = {**STABLE, "previous": previous("2", "b", leaves=0)}
SUSPENDED = {"suspend": True}


def on_undecided(what: str) -> dict[str, Any]:
    return {"canary": {"steps": [{"weight": 10}, {"weight": 50}], "maxSeconds": 3600, "onUndecided": what}}


def plan_of(world: World) -> Plan:
    return planned(world, "ModelDeployment", NAME)


def trouble(**how: Any) -> World:
    """Return the world in which the first version's only pod has some trouble."""
    world = running(STARTING, not_ready=["a"])
    work = world.get("Deployment", "ml", f"{NAME}-a")
    assert work is not None
    return world.but(pod_of(work, **how))
