"""How a candidate is put on trial: prepared, given steps, promoted or rolled back.

Whether it may step or be promoted is one list: `HOLDS`, each of which may hold it and says why.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import exp

from perennial.api.messages.state import Brake, SloVerdict, State
from perennial.api.model_deployment import CanaryOnUndecided, Candidate, Step
from perennial.manifests.build import hashed
from perennial.manifests.jobs import sentence
from perennial.manifests.pods import SHORTAGES
from perennial.plan.model_deployment import record
from perennial.plan.model_deployment.findings import on_trial
from perennial.plan.model_deployment.record import Transition
from perennial.plan.model_deployment.situation import Situation
from perennial.plan.model_deployment.wanted import Wanted
from perennial.terms import reasons
from perennial.terms.finding import Finding
from perennial.terms.words import Role, Slot, Verdict

PRINTABLE_LOG = 600
"""e^600 is still a float; beyond, an e-value is written as a power of ten."""


# --- it loses ---


def braked(situation: Situation, now: datetime) -> Transition | None:
    """Record why the collector has taken the candidate's traffic away: whatever else it says, and of which policy."""
    candidate, said = situation.status.canary, situation.seen.collector.value
    if candidate is None or said is None or said.brake is None or said.brake.canary_id != candidate.id:
        return None
    shown = on_trial(said.brake.verdict)
    findings = (shown, *(item for item in _findings(situation) if item.name != shown.name))
    return _rolled_back(situation, candidate, reasons.HARMFUL, _evidence(said.brake), now, findings=findings)


def harmed(situation: Situation, now: datetime) -> Transition | None:
    """Roll back what fails a Critical SLO, even where the collector has not braked it."""
    candidate, report = situation.status.canary, situation.report
    if candidate is None or candidate.step == 0 or report is None:
        return None
    critical = (item for item in report.verdicts if item.role is Role.CRITICAL)
    failed = next((item for item in critical if item.verdict is Verdict.FAIL), None)
    if failed is None:
        return None
    return _rolled_back(situation, candidate, reasons.HARMFUL, f"{failed.slo}: {failed.message}", now)


def supersedes(situation: Situation, now: datetime) -> Transition | None:
    """End a trial without a verdict where another version is wanted."""
    candidate, want = situation.status.canary, situation.want
    if candidate is None or situation.spec.suspend or not isinstance(want, Wanted) or want.version == candidate.version:
        return None
    message = f"{_named(candidate)} is taken off trial: Version {want.version} is wanted instead."
    return record.superseded(
        situation.status, candidate, message=message, findings=_findings(situation), keep=_warm(situation), now=now
    )


# --- it begins ---


def begins(situation: Situation, now: datetime) -> Transition | None:
    """Put a version on trial that is neither stable nor rolled back before, in the slot that does not answer."""
    status, want = situation.status, situation.want
    stable = status.stable
    if (
        not isinstance(want, Wanted)
        or situation.spec.suspend
        or status.canary is not None
        or status.restoring is not None
        or stable is None
        or stable.since is None
        or want.version == stable.version
        or want.version in status.rejected
        or not situation.slot_is_free()
    ):
        return None
    count = status.canaries + 1
    against = f"{stable.model_version} ({stable.version})"
    message = f"Model version {want.model_version} ({want.version}) is put on trial against {against}."
    trial = f"{count}-{hashed(situation.seen.owner.uid, count, want.version)}"
    return record.trial_began(status, want, slot=_other(stable.slot), trial=trial, message=message, now=now)


def is_blocked(situation: Situation, now: datetime) -> Transition | None:
    """Stop the clock of a candidate whose pods find no room, or no MLflow: a shortage outside says nothing of it."""
    candidate = situation.status.canary
    if candidate is None or candidate.step > 0 or candidate.blocked_time is not None:
        return None
    found = situation.rollout(candidate)
    if found.ready or found.reason not in SHORTAGES:
        return None
    message = f"{_named(candidate)} waits, and is not judged meanwhile: {found.message}"
    return record.blocked(situation.status, candidate, found.reason, message, now)


def is_unblocked(situation: Situation, now: datetime) -> Transition | None:
    """Start the clock anew once the shortage is over."""
    candidate = situation.status.canary
    if candidate is None or candidate.blocked_time is None or situation.rollout(candidate).reason in SHORTAGES:
        return None
    return record.unblocked(situation.status, candidate, now)


def is_late(situation: Situation, now: datetime) -> Transition | None:
    """Roll back a candidate whose pods do not get ready in time: in which somebody could have made them."""
    candidate = situation.status.canary
    if candidate is None or candidate.step > 0 or candidate.blocked_time is not None:
        return None
    found, seconds = situation.rollout(candidate), situation.spec.canary.progress_deadline_seconds
    if found.ready or found.since is None:
        return None
    if now < max(candidate.started_time, found.since) + timedelta(seconds=seconds):
        return None
    why = f"The pods were not ready within {seconds} s: {found.message}"
    return _rolled_back(situation, candidate, reasons.PROGRESS_DEADLINE_EXCEEDED, why, now)


def takes_traffic(situation: Situation, now: datetime) -> Transition | None:
    """Give the candidate its first step once its pods are ready and every router means exactly them."""
    candidate = situation.status.canary
    if candidate is None or candidate.step > 0 or situation.spec.suspend:
        return None
    if not situation.rollout(candidate).ready or not situation.routed(candidate):
        return None
    return _stepped(situation, candidate, 1, now)


# --- it grows ---


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Why a candidate may neither step nor be promoted now. `waived`: `onUndecided: Promote` may pass it by in the end.

    `message` is empty where the verdicts say it already.
    """

    reason: str
    message: str = ""
    waived: bool = False


Check = Callable[[Situation, Candidate, State, datetime], Hold | None]


def suspended(situation: Situation, candidate: Candidate, report: State, now: datetime) -> Hold | None:
    """Hold what is suspended."""
    del candidate, report, now
    return Hold(reason=reasons.SUSPENDED) if situation.spec.suspend else None


def misrouted(situation: Situation, candidate: Candidate, report: State, now: datetime) -> Hold | None:
    """Hold while the traffic is not split as it was told to be: a comparison means nothing then."""
    del situation, candidate, now
    found = next((item for item in report.verdicts if item.reason == reasons.SAMPLE_RATIO_MISMATCH), None)
    return None if found is None else Hold(reason=reasons.SAMPLE_RATIO_MISMATCH, message=sentence(found.message))


def not_in_force(situation: Situation, candidate: Candidate, report: State, now: datetime) -> Hold | None:
    """Hold until every router has confirmed the candidate's share."""
    del report, now
    if situation.share(candidate.slot) == candidate.weight.desired * 10:
        return None
    return Hold(reason=reasons.WEIGHT_NOT_CONFIRMED, message="Not every router has confirmed the weights yet.")


def unmeasured(situation: Situation, candidate: Candidate, report: State, now: datetime) -> Hold | None:
    """Hold while a Critical SLO that judges trials has no verdict, no data or an error."""
    del candidate, now
    by_name = _by_name(report)
    for name in _promised(situation):
        measured = [item for item in by_name.get(name, ()) if item.candidate.total > 0]
        if not measured or any(item.verdict not in {Verdict.PASS, Verdict.UNDECIDED} for item in by_name[name]):
            return Hold(reason=reasons.NO_MEASUREMENT)
    return None


def unproven(situation: Situation, candidate: Candidate, report: State, now: datetime) -> Hold | None:
    """Hold until every Critical SLO that judges trials passes; one of a kind that nobody judges never does."""
    del candidate, now
    promised, by_name = _promised(situation), _by_name(report)
    passed = [name for name in promised if by_name.get(name) and _all_pass(by_name[name])]
    return None if promised and passed == promised else Hold(reason=reasons.UNDECIDED, waived=True)


def too_early(situation: Situation, candidate: Candidate, report: State, now: datetime) -> Hold | None:
    """Hold until the step has lasted as long as it must."""
    del report
    lasted = candidate.step_started_time + timedelta(seconds=_current(situation, candidate).min_seconds)
    return None if now >= lasted else Hold(reason=reasons.STEP_NOT_OVER, waived=True)


HOLDS: tuple[Check, ...] = (
    suspended,  # spec.suspend is true.
    misrouted,  # The traffic is not split as told, so that no comparison means anything.
    unmeasured,  # A Critical SLO that judges trials has no measurement.
    not_in_force,  # A router has not confirmed the step's weight.
    unproven,  # A Critical SLO that judges trials is not shown to be kept.
    too_early,  # The step has not lasted for its minSeconds.
)
"""What keeps a candidate from its next step, or from being promoted after the last one: nothing else does."""


def hold(situation: Situation, now: datetime, *, waive: bool = False) -> Hold | None:
    """Return the first of `HOLDS` that holds the candidate; None: it may go on.

    Args:
        situation: with a candidate that gets traffic.
        now: the time.
        waive: pass by those that `onUndecided: Promote` may pass by.
    """
    candidate, report = situation.status.canary, situation.report
    if candidate is None or candidate.step == 0 or report is None:
        return Hold(reason=reasons.COLLECTOR_UNAVAILABLE)
    held = (found for check in HOLDS if (found := check(situation, candidate, report, now)) is not None)
    return next((found for found in held if not (waive and found.waived)), None)


def steps(situation: Situation, now: datetime) -> Transition | None:
    """Give the next step to a candidate that nothing holds."""
    candidate = situation.status.canary
    last = candidate is None or candidate.step >= len(situation.spec.canary.steps)
    if candidate is None or last or candidate.step == 0 or hold(situation, now) is not None:
        return None
    return _stepped(situation, candidate, candidate.step + 1, now)


def is_promoted(situation: Situation, now: datetime) -> Transition | None:
    """Promote a candidate that nothing holds at its last step."""
    candidate = situation.status.canary
    last = candidate is not None and 0 < candidate.step >= len(situation.spec.canary.steps)
    if candidate is None or not last or hold(situation, now) is not None:
        return None
    return _promoted(situation, candidate, reasons.SAFE, now)


def is_undecided(situation: Situation, now: datetime) -> Transition | None:
    """Decide at the deadline as `onUndecided` says. A promotion still needs sound measurements, at weights in force."""
    candidate, seconds = situation.status.canary, situation.spec.canary.max_seconds
    if candidate is None or candidate.step == 0 or situation.spec.suspend:
        return None
    if now < candidate.started_time + timedelta(seconds=seconds):
        return None
    match situation.spec.canary.on_undecided:
        case CanaryOnUndecided.ROLLBACK:
            return _rolled_back(situation, candidate, reasons.UNDECIDED, f"Undecided after {seconds} s.", now)
        case CanaryOnUndecided.PROMOTE if hold(situation, now, waive=True) is None:
            return _promoted(situation, candidate, reasons.UNDECIDED, now)
        case _:
            return None


def _promised(situation: Situation) -> list[str]:
    return [slo.name for slo in situation.spec.slos if slo.decides("trial")]


def _by_name(report: State) -> dict[str, list[SloVerdict]]:
    found: dict[str, list[SloVerdict]] = {}
    for item in report.verdicts:
        found.setdefault(item.slo, []).append(item)
    return found


def _all_pass(verdicts: list[SloVerdict]) -> bool:
    return all(item.verdict is Verdict.PASS for item in verdicts)


def _current(situation: Situation, candidate: Candidate) -> Step:
    steps_ = situation.spec.canary.steps
    return steps_[min(candidate.step, len(steps_)) - 1]


def _stepped(situation: Situation, candidate: Candidate, number: int, now: datetime) -> Transition:
    weight = situation.spec.canary.steps[number - 1].weight
    share = f"model version {candidate.model_version} gets {weight} % of the requests"
    message = f"Step {number} of {len(situation.spec.canary.steps)}: {share}."
    return record.stepped(situation.status, candidate, step=number, weight=weight, message=message, now=now)


def _promoted(situation: Situation, candidate: Candidate, reason: str, now: datetime) -> Transition:
    verdicts = situation.report.verdicts if situation.report is not None else ()
    told = "; ".join(f"{item.slo}: {item.message}" for item in verdicts)
    return record.promoted(
        situation.status,
        candidate,
        reason=reason,
        message=f"Model version {candidate.model_version} is promoted: {told}",
        findings=_findings(situation),
        broken_alike=[item.slo for item in verdicts if item.reason == reasons.SHARED_INCIDENT],
        keep=_warm(situation),
        window=timedelta(seconds=situation.spec.canary.rollback_window_seconds),
        now=now,
    )


def _rolled_back(
    situation: Situation,
    candidate: Candidate,
    reason: str,
    why: str,
    now: datetime,
    *,
    findings: tuple[Finding, ...] | None = None,
) -> Transition:
    return record.rolled_back(
        situation.status,
        candidate,
        reason=reason,
        message=f"{_named(candidate)} is rolled back: {why}",
        findings=_findings(situation) if findings is None else findings,
        keep=_warm(situation),
        now=now,
    )


def _named(candidate: Candidate) -> str:
    return f"Model version {candidate.model_version} ({candidate.version})"


def _findings(situation: Situation) -> tuple[Finding, ...]:
    """What is found of the candidate by now; where the collector is silent, what it said last."""
    if situation.report is not None:
        return tuple(on_trial(item) for item in situation.report.verdicts)
    return situation.status.canary.slos if situation.status.canary is not None else ()


def _warm(situation: Situation) -> timedelta:
    return timedelta(seconds=situation.spec.canary.scale_down_delay_seconds)


def _other(slot: Slot) -> Slot:
    return "b" if slot == "a" else "a"


def _evidence(brake: Brake) -> str:
    verdict = brake.verdict
    e_value = f"e-value {e_value_text(verdict.log_e_harm)} (needed {exp(verdict.log_threshold_harm):.0f})"
    return (
        f"SLO {verdict.slo} failed after {verdict.candidate.total} requests on the candidate, "
        f"{verdict.candidate.bad} of them bad (stable: {verdict.stable.bad} of {verdict.stable.total}), {e_value}. "
        f"{sentence(verdict.message)} The collector set its weight to 0 at {brake.time:%H:%M:%S} UTC."
    )


def e_value_text(log_e: float | None) -> str:
    """Return an e-value for people: three digits, however large."""
    if log_e is None:
        return "unknown"
    return f"{exp(log_e):.3g}" if log_e < PRINTABLE_LOG else f"10^{log_e / 2.302585:.0f}"
