"""When the stable version is trained anew: on a broken promise, within the guardrails, with a reason on record."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from perennial.api.messages.state import MonitorVerdict
from perennial.api.model_deployment import Guardrails, RetrainingDecision, RetrainingStatus
from perennial.api.training_run import TerminalState
from perennial.manifests.build import hashed
from perennial.manifests.jobs import sentence
from perennial.plan.actions import Emit
from perennial.plan.model_deployment.canary import heard
from perennial.plan.model_deployment.observe import ModelDeploymentSeen
from perennial.plan.model_deployment.wanted import Wanted
from perennial.terms.words import Verdict

KEPT = 10
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What was decided: the status of retraining after it, the run to create, the story."""

    status: RetrainingStatus
    event: Emit | None = None


def retrain(seen: ModelDeploymentSeen, want: Wanted | None, now: datetime) -> Turn | None:
    """Decide.

    In this order:

    1. The current run has ended: record how. It still runs: wait, one at a time.
    2. No trigger asks, or the ModelDeployment is suspended: nothing.
    3. A candidate is on trial or about to be: it is the answer; wait for its verdict.
    4. The cooldown or the day's limit refuses: record that, once.
    5. Start one.
    """
    if seen.spec.retraining is None:
        return None
    known = seen.status.retraining or RetrainingStatus()
    if known.current_run is not None:
        return _ended(seen, known, known.current_run, now)
    verdict = _asked(seen)
    if verdict is None or seen.spec.suspend:
        return None
    stable = seen.status.stable
    if (
        seen.status.canary is not None
        or stable is None
        or want is None
        or (want.version != stable.version and want.version not in seen.status.rejected)
    ):
        return None
    refusal = _refusal(known, seen.spec.retraining.guardrails, now)
    trigger = f"slo/{verdict.slo}"
    if refusal is not None:
        return _refused(known, trigger, refusal, now)
    return _start(seen, known, verdict, trigger, now)


def eligible_in(seen: ModelDeploymentSeen, now: datetime) -> float | None:
    """Return the seconds until time alone lifts a guardrail: the cooldown, or the day's limit; None: none holds."""
    known, retraining = seen.status.retraining, seen.spec.retraining
    if known is None or retraining is None:
        return None
    limit = retraining.guardrails.max_per_day
    counted = sorted(known.started_times)[-limit] + DAY if len(known.started_times) >= limit else None
    ends = [end for end in (known.next_eligible_time, counted) if end is not None and end > now]
    return (min(ends) - now).total_seconds() if ends else None


def _asked(seen: ModelDeploymentSeen) -> MonitorVerdict | None:
    """The first trigger whose SLO fails for the version that answers now."""
    state, stable, retraining = heard(seen), seen.status.stable, seen.spec.retraining
    if state is None or stable is None or retraining is None:
        return None
    failed = {
        item.slo: item for item in state.monitoring if item.verdict is Verdict.FAIL and item.version == stable.version
    }
    return next((failed[trigger.slo] for trigger in retraining.triggers if trigger.slo in failed), None)


def _refusal(known: RetrainingStatus, guardrails: Guardrails, now: datetime) -> tuple[str, str] | None:
    if known.next_eligible_time is not None and now < known.next_eligible_time:
        return (
            "Cooldown",
            f"After the last one, the next may start at {known.next_eligible_time:%Y-%m-%d %H:%M:%S} UTC.",
        )
    today = [started for started in known.started_times if now - started < DAY]
    if len(today) >= guardrails.max_per_day:
        return "DailyLimit", f"{len(today)} were started within 24 hours, {guardrails.max_per_day} may be."
    return None


def _refused(known: RetrainingStatus, trigger: str, refusal: tuple[str, str], now: datetime) -> Turn | None:
    reason, message = refusal
    latest = known.decisions[0] if known.decisions else None
    if latest is not None and (latest.trigger, latest.decision, latest.reason) == (trigger, "Refused", reason):
        return None
    decision = RetrainingDecision(time=now, trigger=trigger, decision="Refused", reason=reason, message=message)
    return Turn(
        status=known.model_copy(update={"decisions": (decision, *known.decisions)[:KEPT]}),
        event=Emit(type="Normal", reason="RetrainingRefused", message=f"{trigger}: {message}", action="Retrain"),
    )


def _start(
    seen: ModelDeploymentSeen, known: RetrainingStatus, verdict: MonitorVerdict, trigger: str, now: datetime
) -> Turn:
    number = known.started + 1
    name = f"{seen.owner.name[:36].rstrip('-')}-{hashed(seen.owner.uid, trigger, number, length=8)}"
    message = f"{sentence(verdict.message)} TrainingRun {name} is started on the newest data."
    decision = RetrainingDecision(
        time=now, trigger=trigger, decision="Started", reason="SLOBroken", message=message[:1024], run=name
    )
    guardrails = seen.spec.retraining.guardrails if seen.spec.retraining else Guardrails()
    status = known.model_copy(
        update={
            "started": number,
            "current_run": name,
            "last_started_time": now,
            "started_times": (*(started for started in known.started_times if now - started < DAY), now),
            "next_eligible_time": now + timedelta(seconds=guardrails.cooldown_seconds),
            "decisions": (decision, *known.decisions)[:KEPT],
        }
    )
    return Turn(
        status=status, event=Emit(type="Normal", reason="RetrainingStarted", message=message[:1000], action="Retrain")
    )


def _ended(seen: ModelDeploymentSeen, known: RetrainingStatus, name: str, now: datetime) -> Turn | None:
    run = next((run for run in seen.runs if run.name == name), None)
    if run is None or run.status.terminal_state is None:
        return None
    trigger = known.decisions[0].trigger if known.decisions else "unknown"
    if run.status.terminal_state is TerminalState.SUCCEEDED:
        how, reason = "Passed", "GatePassed"
        message = f"TrainingRun {name} passed its gate: model version {run.status.model_version} is put on trial."
    else:
        how, reason = "Rejected", f"{run.status.failure.class_.value}Failure" if run.status.failure else "Failed"
        message = (
            f"TrainingRun {name} brought nothing: {run.status.failure.message if run.status.failure else 'it failed.'}"
        )
    decision = RetrainingDecision(
        time=now, trigger=trigger, decision=how, reason=reason, message=message[:1024], run=name
    )
    return Turn(
        status=known.model_copy(update={"current_run": None, "decisions": (decision, *known.decisions)[:KEPT]}),
        event=Emit(
            type="Normal" if how == "Passed" else "Warning",
            reason=f"Retraining{how}",
            message=message[:1000],
            action="Retrain",
        ),
    )
