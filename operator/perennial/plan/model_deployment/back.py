"""The version before: kept warm, then kept in mind, and gone back to when the new one breaks its promise after all."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from perennial.api.model_deployment import Decision, Previous
from perennial.plan.model_deployment import record
from perennial.plan.model_deployment.findings import on_stable
from perennial.plan.model_deployment.record import Transition
from perennial.plan.model_deployment.situation import Situation
from perennial.terms import reasons
from perennial.terms.words import Verdict


def is_back(situation: Situation, now: datetime) -> Transition | None:
    """Let the version before answer again once its pods are ready and every router knows them. Scale after that."""
    status = situation.status
    way, stable, previous = status.restoring, status.stable, status.previous
    if way is None or stable is None or previous is None:
        return None
    if not situation.rollout(previous).ready or not situation.routed(previous):
        return None
    keep = timedelta(seconds=situation.spec.canary.scale_down_delay_seconds)
    return record.gone_back(status, way, stable, previous, keep=keep, now=now)


def breaks(situation: Situation, now: datetime) -> Transition | None:
    """Go back where the version that answers is shown to break a Critical promise about requests, inside the window.

    What the version before broke just as well when this one was promoted is no reason: it would be broken again.
    """
    status, report = situation.status, situation.report
    previous = target(situation, now)
    if previous is None or report is None or status.canary is not None or status.restoring is not None:
        return None
    critical = {slo.name for slo in situation.spec.slos if slo.decides("stable")} - {*previous.broken_alike}
    failed = next((item for item in report.watch if item.slo in critical and item.verdict is Verdict.FAIL), None)
    if failed is None:
        return None
    return record.going_back(
        status,
        previous,
        reason=reasons.BROKEN_AFTER_PROMOTION,
        message=f"{failed.slo}: {failed.message}",
        findings=[on_stable(item) for item in report.watch],
        now=now,
    )


def is_asked(situation: Situation, now: datetime) -> Transition | None:
    """Do once what the annotation asks for, and answer what can't be done."""
    asked, last = situation.seen.request, situation.status.last_request
    if asked is None:
        return None
    verb, _, token = asked.partition("@")
    if last is not None and (last.verb, last.token) == record.request_key(verb, token):
        return None
    handle = VERBS.get(verb)
    if handle is None or not token:
        known = ", ".join(f"{name}@<token>" for name in VERBS)
        answer = f"{asked!r} must be one of {known}, where the token tells two requests apart."
        return record.answered(situation.status, verb=verb, token=token, answer=answer, now=now)
    return handle(situation, token, now)


def _roll_back(situation: Situation, token: str, now: datetime) -> Transition:
    status, previous = situation.status, target(situation, now)
    if status.restoring is None and previous is not None:
        began = record.going_back(
            status, previous, reason=reasons.REQUESTED, message=f"It was asked for ({token}).", findings=(), now=now
        )
        answer = f"Model version {previous.model_version} answers again as soon as its pods are ready."
        return record.answered(began.status, verb="rollback", token=token, answer=answer, now=now)
    return record.answered(status, verb="rollback", token=token, answer=_refusal(situation), now=now)


VERBS: Mapping[str, Callable[[Situation, str, datetime], Transition]] = {"rollback": _roll_back}
"""What may be asked for, and what does it: a request is handled once, and answered in any case."""


def target(situation: Situation, now: datetime) -> Previous | None:
    """Return the version that can be gone back to now."""
    previous, stable = situation.status.previous, situation.status.stable
    if previous is None or previous.rollback_until is None or now >= previous.rollback_until:
        return None
    return previous if stable is not None and stable.since is not None else None


def _refusal(situation: Situation) -> str:
    """Why there is nothing to go back to."""
    status = situation.status
    if status.restoring is not None:
        return "The way back has begun already: see status.restoring."
    if status.canary is not None:
        return (
            f"Model version {status.canary.model_version} is on trial in the place of the version before: there is "
            "nothing else to go back to. Its trial ends when spec asks for another version."
        )
    if status.stable is None or status.stable.since is None:
        return "No version answers yet: there is nothing to go back from."
    came = next((item for item in status.history if item.version == status.stable.version), None)
    if came is not None and came.decision is Decision.PROMOTED:
        seconds = situation.spec.canary.rollback_window_seconds
        return (
            f"The version before is gone: it could be gone back to for {seconds} s "
            f"(spec.canary.rollbackWindowSeconds) after {came.time:%Y-%m-%d %H:%M:%S} UTC, unless another trial began."
        )
    return (
        f"No version was promoted before model version {status.stable.model_version}: there is nothing to go back to."
    )


def cools(situation: Situation, now: datetime) -> Transition | None:
    """End the pods of the version that is kept when their time is over and no router sends it anything."""
    status, previous = situation.status, situation.status.previous
    if previous is None or previous.scaled_down or status.restoring is not None or now < previous.scale_down_time:
        return None
    if not situation.slot_is_free():
        return None
    return record.cooled(status, previous) if target(situation, now) is not None else record.let_go(status)


def is_let_go(situation: Situation, now: datetime) -> Transition | None:
    """Forget a version whose pods have ended when it can't be gone back to any more."""
    status, previous = situation.status, situation.status.previous
    if previous is None or not previous.scaled_down or status.restoring is not None:
        return None
    return record.let_go(status) if target(situation, now) is None else None
