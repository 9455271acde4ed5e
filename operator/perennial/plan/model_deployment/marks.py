"""The conditions of a ModelDeployment."""

from perennial.api.model_deployment import Candidate, Decision, ModelDeploymentStatus
from perennial.manifests.deployments import Rollout
from perennial.plan.conditions import Mark, mark, progress
from perennial.plan.model_deployment.situation import Situation
from perennial.plan.model_deployment.wanted import Waiting
from perennial.terms import reasons
from perennial.terms.text import clip
from perennial.terms.words import Verdict

SUSPENDED = "spec.suspend is true: set it to false to go on."
MESSAGE = 2048


def marks(situation: Situation, status: ModelDeploymentStatus) -> tuple[Mark, ...]:
    """Return every condition: Ready, Available, Progressing, SLOsMet, Reconciling, Stalled.

    Ready: requests are answered by a version that was meant to. Reconciling: something is on its way without a hand.
    Stalled: what the spec asks for was tried and refused, or the ModelDeployment is suspended.

    Args:
        situation: before the plan.
        status: that the plan writes.
    """
    available = _available(situation, status)
    return (
        _ready(situation, status, available),
        available,
        _progressing(situation, status),
        _slos_met(situation, status),
        *_moving(situation, status, available),
    )


def _available(situation: Situation, status: ModelDeploymentStatus) -> Mark:
    stable, want = status.stable, situation.want
    if stable is None and situation.spec.suspend:
        return mark("Available", False, reasons.SUSPENDED, f"No version was started yet; {SUSPENDED}")
    if stable is None and isinstance(want, Waiting):
        return mark("Available", False, want.reason, want.message)
    if stable is None:
        return mark("Available", False, reasons.STARTING, "The first version is being started.")
    pods, router = situation.rollout(stable), situation.router
    if pods.ready_replicas == 0:
        why = f"No pod of model version {stable.model_version} is ready: {pods.message}"
        return mark("Available", False, pods.reason, why)
    if router.ready_replicas == 0:
        return mark("Available", False, reasons.ROUTER_NOT_READY, f"No router is ready: {router.message}")
    serving = mark("Available", True, reasons.SERVING, f"Model version {stable.model_version} answers.")
    return _unjudged(situation) or serving


def _unjudged(situation: Situation) -> Mark | None:
    """Return what to say of a collector that can't be asked. Traffic flows without it; only judging waits."""
    waits = "Requests are answered; nothing is judged until the collector"
    collector, issuer, said = situation.collector, situation.seen.issuer, situation.seen.collector
    if collector.ready_replicas == 0 and issuer.value is None and issuer.error is not None:
        why = f"{waits} can be told who signs the cluster's tokens: {issuer.error}"
        return mark("Available", True, reasons.ISSUER_UNKNOWN, why)
    if collector.ready_replicas == 0:
        return mark("Available", True, reasons.COLLECTOR_NOT_READY, f"{waits} is ready: {collector.message}")
    if said.error is not None:
        return mark("Available", True, reasons.COLLECTOR_UNAVAILABLE, f"{waits} answers: {said.error}")
    return None


def _ready(situation: Situation, status: ModelDeploymentStatus, available: Mark) -> Mark:
    stable, want = status.stable, situation.want
    if available.status != "True" or stable is None:
        return mark("Ready", False, available.reason, available.message)
    if stable.since is None:
        if available.reason != reasons.SERVING:
            return mark("Ready", False, available.reason, available.message)
        why = "The routers are learning the addresses of the first version's pods."
        return mark("Ready", False, reasons.ROUTING, why)
    if isinstance(want, Waiting):
        return mark(
            "Ready", True, want.reason, f"Model version {stable.model_version} goes on answering. {want.message}"
        )
    return mark("Ready", True, available.reason, available.message)


def _progressing(situation: Situation, status: ModelDeploymentStatus) -> Mark:
    if status.restoring is not None and status.previous is not None:
        pods = situation.rollout(status.previous)
        waits = pods.message if not pods.ready else "the routers are learning the addresses of its pods."
        told = f"It is gone back to model version {status.previous.model_version}: {waits} {status.restoring.message}"
        return mark("Progressing", True, reasons.ROLLING_BACK, clip(told, MESSAGE))
    if status.canary is not None:
        return _trial(situation, status.canary)
    last = status.history[0] if status.history else None
    if last is None:
        return mark("Progressing", False, reasons.NO_CANARY, "No version is on trial.")
    return mark("Progressing", False, last.decision.value, last.message)


def _trial(situation: Situation, candidate: Candidate) -> Mark:
    if situation.spec.suspend:
        held = f"Model version {candidate.model_version} stays at {candidate.weight.desired} % of the requests"
        return mark("Progressing", False, reasons.SUSPENDED, f"{held}, under the brake; {SUSPENDED}")
    if candidate.step == 0:
        pods = situation.rollout(candidate)
        waits = pods.message if not pods.ready else "the routers are learning the addresses of its pods."
        return mark("Progressing", True, pods.reason, f"Model version {candidate.model_version} gets ready: {waits}")
    step = f"Step {candidate.step} of {len(situation.spec.canary.steps)}"
    silent = situation.seen.collector.error
    if silent is not None:
        why = f"{step} holds, nothing is decided meanwhile: {silent}"
        return mark("Progressing", True, reasons.COLLECTOR_UNAVAILABLE, why)
    mismatch = next((item for item in candidate.slos if item.reason == reasons.SAMPLE_RATIO_MISMATCH), None)
    if mismatch is not None:
        why = f"{step} holds, nothing is promoted meanwhile: {mismatch.message}"
        return mark("Progressing", True, reasons.SAMPLE_RATIO_MISMATCH, why)
    said = "; ".join(f"{item.name}: {item.verdict.value}" for item in candidate.slos) or "nothing is measured yet"
    return mark("Progressing", True, reasons.CANARY_STEP, f"{step} at {candidate.weight.desired} %: {said}.")


def _slos_met(situation: Situation, status: ModelDeploymentStatus) -> Mark:
    critical = {slo.name for slo in situation.spec.slos if slo.decides("cohorts") or slo.decides("stable")}
    by_cohorts = {slo.name for slo in situation.spec.slos if slo.decides("cohorts")}
    broken = [item for item in status.slos if item.name in critical and item.verdict is Verdict.FAIL]
    if broken:
        why = " ".join(f"{item.name}: {item.message}" for item in broken)
        return mark("SLOsMet", False, reasons.SLO_BROKEN, clip(why, MESSAGE))
    kept = {item.name for item in status.slos if item.name in by_cohorts and item.verdict is Verdict.PASS}
    if not by_cohorts:
        return mark("SLOsMet", True, reasons.NO_OUTCOME_SLO, "No critical SLO goes by outcomes.")
    if kept == by_cohorts:
        return mark("SLOsMet", True, reasons.SLOS_MET, "The matured cohorts keep every critical promise.")
    known = {item.name: item for item in status.slos if item.name in by_cohorts}
    for name in sorted(by_cohorts - kept):
        if name in known and known[name].reason:
            return mark("SLOsMet", "Unknown", known[name].reason, clip(f"{name}: {known[name].message}", MESSAGE))
    return mark("SLOsMet", "Unknown", reasons.NO_MATURED_COHORT, "No matured cohort has enough labelled rows yet.")


def _moving(  # noqa: PLR0911 - a table of cases, the first that applies
    situation: Situation, status: ModelDeploymentStatus, available: Mark
) -> tuple[Mark, Mark]:
    want, stable = situation.want, status.stable
    if situation.spec.suspend:
        return progress(stalled=(reasons.SUSPENDED, SUSPENDED))
    if status.restoring is not None:
        return progress(reconciling=(reasons.ROLLING_BACK, "The version before is being gone back to."))
    if status.canary is not None:
        on_trial = f"Model version {status.canary.model_version} is on trial."
        return progress(reconciling=(reasons.CANARY, on_trial))
    if stable is None or stable.since is None or available.status != "True":
        return progress(reconciling=(available.reason, available.message))
    if isinstance(want, Waiting):
        return progress(reconciling=(want.reason, want.message))
    if want.version != stable.version and want.version in status.rejected:
        ended = (item for item in status.history if item.version == want.version)
        last = next((item for item in ended if item.decision is Decision.ROLLED_BACK), None)
        why = last.message if last is not None else "The version was rolled back."
        return progress(stalled=(reasons.ROLLED_BACK, f"{why} Change spec to try another one."))
    if want.version != stable.version:
        about_to = f"Model version {want.model_version} is about to be put on trial."
        return progress(reconciling=(reasons.STARTING, about_to))
    parts: tuple[Rollout, ...] = (situation.rollout(stable), situation.router, situation.collector)
    behind = next((part for part in parts if not part.ready), None)
    return progress(reconciling=(behind.reason, behind.message)) if behind else progress()
