"""What is recorded of each transition: the only place where a status is changed, each change under its name.

A transition is a status and, mostly, an Event. The status is written first; the collector and MLflow hear of it in the
next plan, so that a restart between the two finds it. Texts are cut to what the API takes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from perennial.api.model_deployment import (
    Candidate,
    Decision,
    Deployed,
    HistoryEntry,
    LastRequest,
    ModelDeploymentStatus,
    Previous,
    Restoring,
    RetrainingDecision,
    RetrainingStatus,
    Stable,
    WeightStatus,
)
from perennial.families.guardrails import Evidence
from perennial.plan.actions import Emit
from perennial.plan.model_deployment.wanted import Wanted
from perennial.terms import reasons
from perennial.terms.finding import Finding
from perennial.terms.kube import Condition
from perennial.terms.text import clip
from perennial.terms.words import Slot

KEPT = 10
"""How many trials, rejected versions and retraining decisions are remembered."""
FINDINGS = 16
MESSAGE, EVENT = 1024, 1000
"""How long a message in status, and one of an Event, may be."""
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """The status after something was decided, and what is told of it."""

    status: ModelDeploymentStatus
    event: Emit | None = None


# --- the version that answers ---


def started(status: ModelDeploymentStatus, want: Wanted) -> Transition:
    """The first version is started, in slot a; or another one in its place, while none has answered yet."""
    return Transition(status=status.but(stable=Stable(**_identity(want), slot="a")))


def serves(status: ModelDeploymentStatus, stable: Stable, message: str, now: datetime) -> Transition:
    """The first version answers."""
    return Transition(
        status=status.but(stable=stable.but(since=now)),
        event=_normal(reasons.FIRST_VERSION_SERVES, message, action="Promote"),
    )


# --- a trial ---


def trial_began(
    status: ModelDeploymentStatus, want: Wanted, *, slot: Slot, trial: str, message: str, now: datetime
) -> Transition:
    """A version is on trial; its pods are being started. The version that was kept gives up its slot."""
    candidate = Candidate(
        **_identity(want),
        slot=slot,
        id=trial,
        attempt=status.attempts + 1,
        step=0,
        weight=WeightStatus(desired=0),
        started_time=now,
        step_started_time=now,
    )
    return Transition(
        status=status.but(canary=candidate, canaries=status.canaries + 1, previous=None),
        event=_normal(reasons.CANARY_STARTED, message, action="Canary"),
    )


def blocked(
    status: ModelDeploymentStatus, candidate: Candidate, reason: str, message: str, now: datetime
) -> Transition:
    """The candidate's pods lack something that is no fault of its own: its time stands still."""
    return Transition(
        status=status.but(canary=candidate.but(blocked_time=now)),
        event=Emit(type="Warning", reason=reason, message=clip(message, EVENT), action="Canary"),
    )


def unblocked(status: ModelDeploymentStatus, candidate: Candidate, now: datetime) -> Transition:
    """The candidate's pods lack nothing any more: its time begins anew."""
    return Transition(status=status.but(canary=candidate.but(blocked_time=None, started_time=now)))


def stepped(
    status: ModelDeploymentStatus, candidate: Candidate, *, step: int, weight: int, message: str, now: datetime
) -> Transition:
    """The candidate gets more of the requests. What was found in the step before says nothing of this one."""
    further = candidate.but(step=step, step_started_time=now, weight=WeightStatus(desired=weight), slos=())
    return Transition(status=status.but(canary=further), event=_normal(reasons.CANARY_STEP, message, action="Canary"))


def promoted(
    status: ModelDeploymentStatus,
    candidate: Candidate,
    *,
    reason: str,
    message: str,
    findings: Sequence[Finding],
    broken_alike: Sequence[str],
    keep: timedelta,
    window: timedelta,
    now: datetime,
) -> Transition:
    """The candidate answers. The version before is kept warm, and can be gone back to for a while.

    Args:
        status: before.
        candidate: that is promoted.
        reason: why.
        message: why, for people.
        findings: what was found of it.
        broken_alike: the SLOs that the version before broke as well.
        keep: how long the pods of the version before stay.
        window: how long it can be gone back to.
        now: the time.
    """
    old = status.stable
    previous = None
    if old is not None:
        previous = Previous(
            **_as_deployed(old),
            scale_down_time=now + keep,
            rollback_until=now + window if window else None,
            broken_alike=tuple(broken_alike)[:FINDINGS],
        )
    entry = _entry(candidate.id, candidate, Decision.PROMOTED, reason, message, findings, now)
    return Transition(
        status=status.but(
            stable=Stable(**_as_deployed(candidate), since=now),
            previous=previous,
            canary=None,
            rejected=(),
            attempts=0,
            history=(entry, *status.history)[:KEPT],
        ),
        event=_normal(reasons.PROMOTED, message, action="Promote"),
    )


def rolled_back(
    status: ModelDeploymentStatus,
    candidate: Candidate,
    *,
    reason: str,
    message: str,
    findings: Sequence[Finding],
    keep: timedelta,
    now: datetime,
) -> Transition:
    """The candidate lost, and gets no second trial. Route first (the next policy has no trial), then scale."""
    after = _trial_ended(status, candidate, Decision.ROLLED_BACK, reason, message, findings, keep, now)
    event = Emit(type="Warning", reason=reasons.ROLLED_BACK, message=clip(message, EVENT), action="Rollback")
    return Transition(status=after.but(rejected=_rejected(status, candidate)), event=event)


def superseded(
    status: ModelDeploymentStatus,
    candidate: Candidate,
    *,
    message: str,
    findings: Sequence[Finding],
    keep: timedelta,
    now: datetime,
) -> Transition:
    """The trial ends without a verdict: another version is wanted."""
    after = _trial_ended(status, candidate, Decision.SUPERSEDED, reasons.SUPERSEDED, message, findings, keep, now)
    return Transition(status=after, event=_normal(reasons.SUPERSEDED, message, action="Rollback"))


def _trial_ended(  # noqa: PLR0917 - the parts of one entry
    status: ModelDeploymentStatus,
    candidate: Candidate,
    decision: Decision,
    reason: str,
    message: str,
    findings: Sequence[Finding],
    keep: timedelta,
    now: datetime,
) -> ModelDeploymentStatus:
    entry = _entry(candidate.id, candidate, decision, reason, message, findings, now)
    return status.but(
        canary=None,
        previous=Previous(**_as_deployed(candidate), scale_down_time=now + keep),
        # A trial that had no requests has used up nothing of what its lineage may be wrong.
        attempts=status.attempts + (candidate.step > 0),
        history=(entry, *status.history)[:KEPT],
    )


# --- the version before ---


def cooled(status: ModelDeploymentStatus, previous: Previous) -> Transition:
    """The pods of the version that is kept end; it can still be gone back to."""
    return Transition(status=status.but(previous=previous.but(scaled_down=True)))


def let_go(status: ModelDeploymentStatus) -> Transition:
    """The version that was kept is forgotten."""
    return Transition(status=status.but(previous=None))


def going_back(
    status: ModelDeploymentStatus,
    previous: Previous,
    *,
    reason: str,
    message: str,
    findings: Sequence[Finding],
    now: datetime,
) -> Transition:
    """The way back to the version before begins: its pods are started where they have ended."""
    way = Restoring(
        reason=reason, message=clip(message, MESSAGE), started_time=now, findings=tuple(findings)[:FINDINGS]
    )
    return Transition(
        status=status.but(restoring=way, previous=previous.but(scaled_down=False)),
        event=Emit(type="Warning", reason=reasons.ROLLING_BACK, message=clip(message, EVENT), action="Rollback"),
    )


def gone_back(
    status: ModelDeploymentStatus, way: Restoring, stable: Stable, previous: Previous, *, keep: timedelta, now: datetime
) -> Transition:
    """The version before answers again; the one that lost is kept for a while, and gets no trial."""
    trial = next((item.id for item in status.history if item.version == stable.version), stable.version)
    message = (
        f"Model version {stable.model_version} ({stable.version}) is rolled back to {previous.model_version}: "
        f"{way.message}"
    )
    entry = _entry(trial, stable, Decision.ROLLED_BACK, way.reason, message, way.findings, now)
    return Transition(
        status=status.but(
            stable=Stable(**_as_deployed(previous), since=now),
            previous=Previous(**_as_deployed(stable), scale_down_time=now + keep),
            restoring=None,
            rejected=_rejected(status, stable),
            history=(entry, *status.history)[:KEPT],
        ),
        event=Emit(type="Warning", reason=reasons.ROLLED_BACK, message=clip(message, EVENT), action="Rollback"),
    )


def request_key(verb: str, token: str) -> tuple[str, str]:
    """Return what tells two requests apart, as it is recorded."""
    return clip(verb, 64), clip(token, 128)


def answered(status: ModelDeploymentStatus, *, verb: str, token: str, answer: str, now: datetime) -> Transition:
    """What somebody asked for by annotation has its answer."""
    kept = request_key(verb, token)
    said = LastRequest(verb=kept[0], token=kept[1], answer=clip(answer, MESSAGE), time=now)
    return Transition(
        status=status.but(last_request=said), event=_normal(reasons.REQUEST_ANSWERED, answer, action="Answer")
    )


# --- retraining ---


def retraining_started(
    status: ModelDeploymentStatus,
    known: RetrainingStatus,
    decision: RetrainingDecision,
    *,
    evidence: Evidence,
    eligible: datetime,
    now: datetime,
) -> Transition:
    """A run is started, on this evidence; the next may start at `eligible` if that is new."""
    after = known.but(
        started=known.started + 1,
        current_run=decision.run,
        last_started_time=now,
        started_times=(*(time for time in known.started_times if now - time < DAY), now),
        last_cohort=evidence.cohort,
        last_dataset=evidence.dataset,
        last_template=evidence.template,
        next_eligible_time=eligible,
        decisions=(decision, *known.decisions)[:KEPT],
    )
    return Transition(
        status=status.but(retraining=after),
        event=_normal(reasons.RETRAINING_STARTED, decision.message, action="Retrain"),
    )


def retraining_refused(
    status: ModelDeploymentStatus, known: RetrainingStatus, decision: RetrainingDecision
) -> Transition:
    """A guardrail refuses what a trigger asks for."""
    after = known.but(decisions=(decision, *known.decisions)[:KEPT])
    message = f"{decision.trigger}: {decision.message}"
    return Transition(
        status=status.but(retraining=after), event=_normal(reasons.RETRAINING_REFUSED, message, action="Retrain")
    )


def retraining_ended(
    status: ModelDeploymentStatus, known: RetrainingStatus, decision: RetrainingDecision, *, passed: bool
) -> Transition:
    """The run has ended: it passed its gate, or brought nothing."""
    after = known.but(current_run=None, decisions=(decision, *known.decisions)[:KEPT])
    event = Emit(
        type="Normal" if passed else "Warning",
        reason=reasons.RETRAINING_PASSED if passed else reasons.RETRAINING_REJECTED,
        message=clip(decision.message, EVENT),
        action="Retrain",
    )
    return Transition(status=status.but(retraining=after), event=event)


# --- what is merely shown ---


def trial_shown(
    status: ModelDeploymentStatus, candidate: Candidate, *, verified: int | None, findings: Sequence[Finding]
) -> ModelDeploymentStatus:
    """Record the candidate's confirmed share, in per cent, and what is found of it so far."""
    weight = candidate.weight.but(verified=verified)
    return status.but(canary=candidate.but(weight=weight, slos=tuple(findings)[:FINDINGS]))


def ready_shown(status: ModelDeploymentStatus, stable: Stable, ready: int) -> ModelDeploymentStatus:
    """Record how many pods of the version that answers are ready."""
    return status.but(stable=stable.but(ready_replicas=ready))


def champion_shown(status: ModelDeploymentStatus, model_version: str) -> ModelDeploymentStatus:
    """Record the version that MLflow's alias points at."""
    return status.but(champion=model_version)


def promises_shown(status: ModelDeploymentStatus, findings: Sequence[Finding]) -> ModelDeploymentStatus:
    """Record what is found of the version that answers."""
    return status.but(slos=tuple(findings)[:FINDINGS])


def concluded(
    status: ModelDeploymentStatus, conditions: tuple[Condition, ...], generation: int
) -> ModelDeploymentStatus:
    """Record the conditions, and which generation all this speaks of."""
    return status.but(conditions=conditions, observed_generation=generation)


def _identity(want: Wanted) -> dict[str, object]:
    return {name: getattr(want, name) for name in ("version", "model_version", "digest", "server")}


def _as_deployed(version: Deployed) -> dict[str, object]:
    return {name: getattr(version, name) for name in ("version", "model_version", "slot", "digest", "server")}


def _rejected(status: ModelDeploymentStatus, version: Deployed) -> tuple[str, ...]:
    return (version.version, *(item for item in status.rejected if item != version.version))[:KEPT]


def _entry(  # noqa: PLR0917 - the parts of one entry
    trial: str,
    version: Deployed,
    decision: Decision,
    reason: str,
    message: str,
    findings: Sequence[Finding],
    now: datetime,
) -> HistoryEntry:
    return HistoryEntry(
        id=trial,
        version=version.version,
        model_version=version.model_version,
        decision=decision,
        reason=reason,
        message=clip(message, MESSAGE),
        findings=tuple(findings)[:FINDINGS],
        time=now,
    )


def _normal(reason: str, message: str, *, action: str) -> Emit:
    return Emit(type="Normal", reason=reason, message=clip(message, EVENT), action=action)
