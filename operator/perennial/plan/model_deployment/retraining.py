"""When the stable version is trained anew: on a broken promise, within the guardrails, with a reason on record."""

from dataclasses import dataclass
from datetime import datetime

from perennial.api.model_deployment import Retraining, RetrainingDecision, RetrainingOutcome, RetrainingStatus
from perennial.api.training_run import TerminalState, TrainingRunStatus
from perennial.families.guardrails import Evidence, Past, Refusal
from perennial.families.triggers import Ask, BrokenPromise, Known
from perennial.manifests.build import hashed
from perennial.manifests.jobs import sentence
from perennial.plan.model_deployment import record
from perennial.plan.model_deployment.record import MESSAGE, Transition
from perennial.plan.model_deployment.situation import Situation
from perennial.plan.model_deployment.wanted import Wanted
from perennial.terms import reasons
from perennial.terms.text import clip
from perennial.terms.words import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Requested:
    """A trigger that asks for a retraining now: its name, why, on what evidence, and who refuses."""

    trigger: str
    ask: Ask
    evidence: Evidence
    refusal: Refusal | None


def ends(situation: Situation, now: datetime) -> Transition | None:
    """Record how the current run has ended. While it runs no other is started."""
    known = situation.status.retraining
    if situation.spec.retraining is None or known is None or known.current_run is None:
        return None
    run = next((run for run in situation.seen.runs if run.name == known.current_run), None)
    if run is None or run.status.terminal_state is None:
        return None
    passed = run.status.terminal_state is TerminalState.SUCCEEDED
    reason, message = _end_of(run.name, run.status, passed=passed)
    decision = RetrainingDecision(
        time=now,
        trigger=known.decisions[0].trigger if known.decisions else "unknown",
        decision=RetrainingOutcome.PASSED if passed else RetrainingOutcome.REJECTED,
        reason=reason,
        message=clip(message, MESSAGE),
        run=run.name,
    )
    return record.retraining_ended(situation.status, known, decision, passed=passed)


def is_refused(situation: Situation, now: datetime) -> Transition | None:
    """Record, once, that a guardrail refuses what is asked for."""
    known, found = _known(situation), asked(situation, now)
    if found is None or found.refusal is None:
        return None
    latest = known.decisions[0] if known.decisions else None
    said = (found.trigger, RetrainingOutcome.REFUSED, found.refusal.reason)
    if latest is not None and (latest.trigger, latest.decision, latest.reason) == said:
        return None
    decision = RetrainingDecision(
        time=now,
        trigger=found.trigger,
        decision=RetrainingOutcome.REFUSED,
        reason=found.refusal.reason,
        message=clip(found.refusal.message, MESSAGE),
    )
    return record.retraining_refused(situation.status, known, decision)


def starts(situation: Situation, now: datetime) -> Transition | None:
    """Start a run that nobody refuses."""
    retraining, known, found = situation.spec.retraining, _known(situation), asked(situation, now)
    if retraining is None or found is None or found.refusal is not None:
        return None
    owner, number = situation.seen.owner, known.started + 1
    name = f"{owner.name[:36].rstrip('-')}-{hashed(owner.uid, found.trigger, number, length=8)}"
    message = f"{sentence(found.ask.message)} TrainingRun {name} is started on the newest data."
    decision = RetrainingDecision(
        time=now,
        trigger=found.trigger,
        decision=RetrainingOutcome.STARTED,
        reason=found.ask.reason,
        message=clip(message, MESSAGE),
        run=name,
    )
    next_one = retraining.guardrails.refuses(Past(starts=(now,)), now)
    return record.retraining_started(
        situation.status,
        known,
        decision,
        evidence=found.evidence,
        eligible=next_one.until if next_one is not None and next_one.until is not None else now,
        now=now,
    )


def asked(situation: Situation, now: datetime) -> Requested | None:
    """Return the first trigger that asks because of what the version that answers now does, and that nobody refuses.

    Where all are refused, the first that time alone will let, or else the first: one that has nothing new must not keep
    another from being heard. None where a run is on, the ModelDeployment is suspended, or a candidate is on trial or
    about to be: that is the answer, and its verdict is waited for.
    """
    retraining, known, stable = situation.spec.retraining, _known(situation), situation.status.stable
    if retraining is None or known.current_run is not None or situation.spec.suspend or stable is None:
        return None
    if not _is_settled(situation):
        return None
    template, dataset = hashed(retraining.template.json_data()), situation.seen.dataset
    facts = Known(broken=_broken(situation, stable.version), dataset=dataset, learnt_from=known.last_dataset)
    found = []
    for trigger in retraining.triggers:
        ask = trigger.trigger().asks(facts, now)
        if ask is not None:
            evidence = Evidence(cohort=ask.cohort, dataset=dataset, template=template)
            refusal = _refusal(retraining, known, evidence, now)
            found.append(Requested(trigger=trigger.name, ask=ask, evidence=evidence, refusal=refusal))
    return min(found, key=_how_far, default=None)


def _how_far(requested: Requested) -> int:
    """Return what a request lacks: nothing, time alone, or something new."""
    if requested.refusal is None:
        return 0
    return 1 if requested.refusal.until is not None else 2


def eligible_in(situation: Situation, now: datetime) -> float | None:
    """Return the seconds until time alone lifts the guardrail that refuses now; None: none does, or time won't."""
    found = asked(situation, now)
    if found is None or found.refusal is None or found.refusal.until is None:
        return None
    return (found.refusal.until - now).total_seconds()


def _is_settled(situation: Situation) -> bool:
    """Whether no other version is on its way."""
    status, want = situation.status, situation.want
    if status.canary is not None or status.restoring is not None or status.stable is None:
        return False
    return isinstance(want, Wanted) and (want.version == status.stable.version or want.version in status.rejected)


def _broken(situation: Situation, version: str) -> dict[str, BrokenPromise]:
    verdicts = situation.report.monitoring if situation.report is not None else ()
    return {
        item.finding.name: BrokenPromise(message=item.finding.message, cohort=item.cohort)
        for item in verdicts
        if item.finding.verdict is Verdict.FAIL and item.version == version
    }


def _refusal(retraining: Retraining, known: RetrainingStatus, evidence: Evidence, now: datetime) -> Refusal | None:
    starts_ = {*known.started_times, *((known.last_started_time,) if known.last_started_time else ())}
    last = Evidence(cohort=known.last_cohort, dataset=known.last_dataset, template=known.last_template)
    return retraining.guardrails.refuses(
        Past(starts=tuple(sorted(starts_)), asked=evidence, last=last if known.started else None), now
    )


def _known(situation: Situation) -> RetrainingStatus:
    return situation.status.retraining or RetrainingStatus()


def _end_of(name: str, status: TrainingRunStatus, *, passed: bool) -> tuple[str, str]:
    if passed:
        message = f"TrainingRun {name} passed its gate: model version {status.model_version} is put on trial."
        return reasons.GATE_PASSED, message
    if status.failure is None:
        return reasons.FAILED, f"TrainingRun {name} brought nothing: it failed."
    return reasons.ALL[
        f"{status.failure.class_.value}Failure"
    ], f"TrainingRun {name} brought nothing: {status.failure.message}"
