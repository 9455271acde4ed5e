"""The conditions of a ModelDeployment."""

from perennial.api.model_deployment import Decision, ModelDeploymentStatus
from perennial.manifests.deployments import Rollout, rollout
from perennial.plan.conditions import Mark, mark, progress
from perennial.plan.model_deployment.observe import ModelDeploymentSeen
from perennial.plan.model_deployment.wanted import Waiting, Wanted
from perennial.terms.words import Role, Verdict

SUSPENDED = "spec.suspend is true: set it to false to go on."


def marks(seen: ModelDeploymentSeen, status: ModelDeploymentStatus, want: Wanted | Waiting) -> tuple[Mark, ...]:
    """Return every condition: Ready, Available, Progressing, SLOsMet, Reconciling, Stalled.

    Ready: requests are answered by a version that was meant to. Reconciling: something is on its way without a hand.
    Stalled: what the spec asks for was tried and refused, or the ModelDeployment is suspended.
    """
    available = _available(seen, status, want)
    return (
        _ready(status, available, want),
        available,
        _progressing(seen, status),
        _slos_met(seen, status),
        *_moving(seen, status, available, want),
    )


def _available(seen: ModelDeploymentSeen, status: ModelDeploymentStatus, want: Wanted | Waiting) -> Mark:
    stable = status.stable
    if stable is None and seen.spec.suspend:
        return mark("Available", False, "Suspended", f"No version was started yet; {SUSPENDED}")
    if stable is None:
        why = (
            want
            if isinstance(want, Waiting)
            else Waiting(reason="Starting", message="The first version is being started.")
        )
        return mark("Available", False, why.reason, why.message)
    pods = rollout(seen.slots.get(stable.slot), seen.pods, version=stable.version)
    router, collector = rollout(seen.router, seen.pods), rollout(seen.collector_pods, seen.pods)
    if pods.ready_replicas == 0:
        return mark(
            "Available", False, pods.reason, f"No pod of model version {stable.model_version} is ready: {pods.message}"
        )
    if router.ready_replicas == 0:
        return mark("Available", False, "RouterNotReady", f"No router is ready: {router.message}")
    serving = mark("Available", True, "Serving", f"Model version {stable.model_version} answers.")
    return _unjudged(seen, collector) or serving


def _unjudged(seen: ModelDeploymentSeen, collector: Rollout) -> Mark | None:
    """Return what to say of a collector that can't be asked. Traffic flows without it; only judging waits."""
    waits = "Requests are answered; nothing is judged until the collector"
    if collector.ready_replicas == 0 and seen.issuer.value is None and seen.issuer.error is not None:
        why = f"{waits} can be told who signs the cluster's tokens: {seen.issuer.error}"
        return mark("Available", True, "IssuerUnknown", why)
    if collector.ready_replicas == 0:
        return mark("Available", True, "CollectorNotReady", f"{waits} is ready: {collector.message}")
    if seen.collector.error is not None:
        return mark("Available", True, "CollectorUnavailable", f"{waits} answers: {seen.collector.error}")
    return None


def _ready(status: ModelDeploymentStatus, available: Mark, want: Wanted | Waiting) -> Mark:
    if available.status != "True" or status.stable is None:
        return mark("Ready", False, available.reason, available.message)
    if status.stable.since is None:
        if available.reason != "Serving":
            return mark("Ready", False, available.reason, available.message)
        return mark("Ready", False, "Routing", "The routers are learning the addresses of the first version's pods.")
    if isinstance(want, Waiting):
        return mark(
            "Ready", True, want.reason, f"Model version {status.stable.model_version} goes on answering. {want.message}"
        )
    return mark("Ready", True, available.reason, available.message)


def _progressing(seen: ModelDeploymentSeen, status: ModelDeploymentStatus) -> Mark:
    canary = status.canary
    if canary is None:
        last = status.history[0] if status.history else None
        return mark(
            "Progressing",
            False,
            last.decision.value if last else "NoCanary",
            last.message if last else "No version is on trial.",
        )
    if seen.spec.suspend:
        held = f"Model version {canary.model_version} stays at {canary.weight.desired} % of the requests"
        return mark("Progressing", False, "Suspended", f"{held}, under the brake; {SUSPENDED}")
    if canary.step == 0:
        pods = rollout(seen.slots.get(canary.slot), seen.pods, version=canary.version)
        waits = pods.message if not pods.ready else "the routers are learning the addresses of its pods."
        return mark("Progressing", True, pods.reason, f"Model version {canary.model_version} gets ready: {waits}")
    steps = len(seen.spec.canary.steps)
    if seen.collector.error is not None:
        return mark(
            "Progressing",
            True,
            "CollectorUnavailable",
            f"Step {canary.step} of {steps} holds, nothing is decided meanwhile: {seen.collector.error}",
        )
    said = "; ".join(f"{item.name}: {item.verdict.value}" for item in canary.slos) or "nothing is measured yet"
    return mark(
        "Progressing", True, "CanaryStep", f"Step {canary.step} of {steps} at {canary.weight.desired} %: {said}."
    )


def _slos_met(seen: ModelDeploymentSeen, status: ModelDeploymentStatus) -> Mark:
    critical = {slo.name for slo in seen.spec.slos if slo.role is Role.CRITICAL and slo.judges("cohorts")}
    judged = [item for item in status.slos if item.name in critical]
    broken = [item for item in judged if item.verdict is Verdict.FAIL]
    if broken:
        return mark("SLOsMet", False, "SLOBroken", " ".join(f"{item.name}: {item.message}" for item in broken)[:2048])
    if critical and all(item.verdict is Verdict.PASS for item in judged) and len(judged) == len(critical):
        return mark("SLOsMet", True, "SLOsMet", "The matured cohorts keep every critical promise.")
    if not critical:
        return mark("SLOsMet", True, "NoOutcomeSLO", "No critical SLO goes by outcomes.")
    return mark("SLOsMet", "Unknown", "NoMaturedCohort", "No matured cohort has enough labelled rows yet.")


def _moving(  # noqa: PLR0911 - a table of cases, the first that applies
    seen: ModelDeploymentSeen, status: ModelDeploymentStatus, available: Mark, want: Wanted | Waiting
) -> tuple[Mark, Mark]:
    if seen.spec.suspend:
        return progress(stalled=("Suspended", SUSPENDED))
    if status.canary is not None:
        return progress(reconciling=("Canary", f"Model version {status.canary.model_version} is on trial."))
    if status.stable is None or status.stable.since is None or available.status != "True":
        return progress(reconciling=(available.reason, available.message))
    if isinstance(want, Waiting):
        return progress(reconciling=(want.reason, want.message))
    if want.version != status.stable.version and want.version in status.rejected:
        last = next(
            (item for item in status.history if item.version == want.version and item.decision is Decision.ROLLED_BACK),
            None,
        )
        return progress(
            stalled=(
                "RolledBack",
                f"{last.message if last else 'The version was rolled back.'} Change spec to try another one.",
            )
        )
    if want.version != status.stable.version:
        return progress(reconciling=("Starting", f"Model version {want.model_version} is about to be put on trial."))
    parts: tuple[Rollout, ...] = (
        rollout(seen.slots.get(status.stable.slot), seen.pods, version=status.stable.version),
        rollout(seen.router, seen.pods),
        rollout(seen.collector_pods, seen.pods),
    )
    behind = next((part for part in parts if not part.ready), None)
    return progress(reconciling=(behind.reason, behind.message)) if behind else progress()
