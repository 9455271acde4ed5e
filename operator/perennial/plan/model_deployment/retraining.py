"""When the stable version is trained anew: on a broken promise, within the guardrails, with a reason on record."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from perennial.api.model_deployment import Retraining, RetrainingDecision, RetrainingOutcome, RetrainingStatus
from perennial.api.training_run import TerminalState
from perennial.families.guardrails import Evidence, Past, Refusal
from perennial.families.triggers import Ask, BrokenPromise, Known
from perennial.manifests.build import hashed
from perennial.manifests.jobs import sentence
from perennial.plan.actions import Emit
from perennial.plan.model_deployment.canary import heard
from perennial.plan.model_deployment.observe import ModelDeploymentSeen
from perennial.plan.model_deployment.wanted import Wanted
from perennial.terms import reasons
from perennial.terms.text import clip
from perennial.terms.words import Verdict

KEPT = 10
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What was decided: the status of retraining after it, the run to create, the story."""

    status: RetrainingStatus
    event: Emit | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The first trigger that asks for a retraining: its name, why, and on what evidence."""

    trigger: str
    ask: Ask
    evidence: Evidence


def retrain(seen: ModelDeploymentSeen, want: Wanted | None, now: datetime) -> Turn | None:
    """Decide.

    In this order:

    1. The current run has ended: record how. It still runs: wait, one at a time.
    2. No trigger asks, or the ModelDeployment is suspended: nothing.
    3. A candidate is on trial or about to be: it is the answer; wait for its verdict.
    4. A guardrail refuses: the same alarm on the same data, the cooldown, the day's limit: record that, once.
    5. Start one.
    """
    if seen.spec.retraining is None:
        return None
    known = seen.status.retraining or RetrainingStatus()
    if known.current_run is not None:
        return _ended(seen, known, known.current_run, now)
    asked = _asked(seen, seen.spec.retraining, now)
    if asked is None or seen.spec.suspend:
        return None
    stable = seen.status.stable
    if (
        seen.status.canary is not None
        or stable is None
        or want is None
        or (want.version != stable.version and want.version not in seen.status.rejected)
    ):
        return None
    refusal = seen.spec.retraining.guardrails.refuses(past(known, asked.evidence), now)
    if refusal is not None:
        return _refused(known, asked.trigger, refusal, now)
    return _start(seen, known, seen.spec.retraining, asked, now)


def eligible_in(seen: ModelDeploymentSeen, now: datetime) -> float | None:
    """Return the seconds until time alone lifts the guardrail that refuses now; None: none does, or time won't."""
    known, retraining = seen.status.retraining, seen.spec.retraining
    if known is None or retraining is None or known.current_run is not None:
        return None
    asked = _asked(seen, retraining, now)
    refusal = retraining.guardrails.refuses(past(known, asked.evidence), now) if asked is not None else None
    return (refusal.until - now).total_seconds() if refusal is not None and refusal.until is not None else None


def past(known: RetrainingStatus, asked: Evidence) -> Past:
    """Return what the guardrails look at."""
    starts = {*known.started_times, *((known.last_started_time,) if known.last_started_time else ())}
    last = Evidence(cohort=known.last_cohort, dataset=known.last_dataset) if known.started else None
    return Past(starts=tuple(sorted(starts)), asked=asked, last=last)


def _asked(seen: ModelDeploymentSeen, retraining: Retraining, now: datetime) -> Asked | None:
    """The first trigger that asks because of what the version that answers now does."""
    state, stable = heard(seen), seen.status.stable
    if state is None or stable is None:
        return None
    broken = {
        item.slo: BrokenPromise(message=item.message, cohort=item.cohort)
        for item in state.monitoring
        if item.verdict is Verdict.FAIL and item.version == stable.version
    }
    for trigger in retraining.triggers:
        ask = trigger.trigger().asks(Known(broken=broken), now)
        if ask is not None:
            return Asked(trigger=trigger.name, ask=ask, evidence=Evidence(cohort=ask.cohort, dataset=seen.dataset))
    return None


def _refused(known: RetrainingStatus, trigger: str, refusal: Refusal, now: datetime) -> Turn | None:
    latest = known.decisions[0] if known.decisions else None
    said = (trigger, RetrainingOutcome.REFUSED, refusal.reason)
    if latest is not None and (latest.trigger, latest.decision, latest.reason) == said:
        return None
    decision = RetrainingDecision(
        time=now, trigger=trigger, decision=RetrainingOutcome.REFUSED, reason=refusal.reason, message=refusal.message
    )
    return Turn(
        status=known.model_copy(update={"decisions": (decision, *known.decisions)[:KEPT]}),
        event=Emit(
            type="Normal", reason="RetrainingRefused", message=f"{trigger}: {refusal.message}", action="Retrain"
        ),
    )


def _start(
    seen: ModelDeploymentSeen, known: RetrainingStatus, retraining: Retraining, asked: Asked, now: datetime
) -> Turn:
    number = known.started + 1
    name = f"{seen.owner.name[:36].rstrip('-')}-{hashed(seen.owner.uid, asked.trigger, number, length=8)}"
    message = f"{sentence(asked.ask.message)} TrainingRun {name} is started on the newest data."
    decision = RetrainingDecision(
        time=now,
        trigger=asked.trigger,
        decision=RetrainingOutcome.STARTED,
        reason=asked.ask.reason,
        message=clip(message, 1024),
        run=name,
    )
    next_one = retraining.guardrails.refuses(Past(starts=(now,)), now)
    status = known.model_copy(
        update={
            "started": number,
            "current_run": name,
            "last_started_time": now,
            "started_times": (*(started for started in known.started_times if now - started < DAY), now),
            "last_cohort": asked.evidence.cohort,
            "last_dataset": asked.evidence.dataset,
            "next_eligible_time": next_one.until if next_one else now,
            "decisions": (decision, *known.decisions)[:KEPT],
        }
    )
    return Turn(
        status=status,
        event=Emit(type="Normal", reason="RetrainingStarted", message=clip(message, 1000), action="Retrain"),
    )


def _ended(seen: ModelDeploymentSeen, known: RetrainingStatus, name: str, now: datetime) -> Turn | None:
    run = next((run for run in seen.runs if run.name == name), None)
    if run is None or run.status.terminal_state is None:
        return None
    trigger = known.decisions[0].trigger if known.decisions else "unknown"
    if run.status.terminal_state is TerminalState.SUCCEEDED:
        how, reason = RetrainingOutcome.PASSED, str(reasons.GATE_PASSED)
        message = f"TrainingRun {name} passed its gate: model version {run.status.model_version} is put on trial."
    else:
        how = RetrainingOutcome.REJECTED
        reason = f"{run.status.failure.class_.value}Failure" if run.status.failure else "Failed"
        message = (
            f"TrainingRun {name} brought nothing: {run.status.failure.message if run.status.failure else 'it failed.'}"
        )
    decision = RetrainingDecision(
        time=now, trigger=trigger, decision=how, reason=reason, message=clip(message, 1024), run=name
    )
    return Turn(
        status=known.model_copy(update={"current_run": None, "decisions": (decision, *known.decisions)[:KEPT]}),
        event=Emit(
            type="Normal" if how is RetrainingOutcome.PASSED else "Warning",
            reason=f"Retraining{how.value}",
            message=clip(message, 1000),
            action="Retrain",
        ),
    )
