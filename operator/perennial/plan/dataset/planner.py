"""Decides what a Dataset needs next."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from perennial.api.dataset import DatasetStatus
from perennial.api.messages.check import CheckReport
from perennial.manifests.jobs import JobPhase
from perennial.plan.actions import Apply, Create, Emit, Plan
from perennial.plan.conditions import Mark, condition, mark, repeat
from perennial.plan.dataset import marks, record
from perennial.plan.dataset.failure import why_no_report
from perennial.plan.dataset.observe import DatasetSeen
from perennial.plan.dataset.resources import desired_check, desired_snapshots
from perennial.plan.observed import delete_of
from perennial.terms import reasons

RETRY = timedelta(seconds=60)
"""How long after a source could not be read it is tried again, at the latest."""
RECHECK = timedelta(seconds=300)
"""How long after data was found unfit it is looked at again, at the latest."""

Decision = Callable[[DatasetSeen, datetime], Plan | None]


def plan(seen: DatasetSeen, now: datetime) -> Plan:
    """Make the plan: the first of `DECISIONS` that has one.

    Whatever is decided, the snapshot volume is there, and checks of an older spec, or recorded already, are deleted.
    """
    made = next(made for decide in DECISIONS if (made := decide(seen, now)) is not None)
    stale = tuple(delete_of(job) for job in seen.others)
    return replace(
        made, applies=(Apply(manifest=desired_snapshots(seen)), *made.applies), deletes=(*stale, *made.deletes)
    )


def rest(seen: DatasetSeen, now: datetime) -> Plan | None:
    """Say what is known while nothing is due and no check is there."""
    wait = _due_in(seen, now)
    if seen.check is not None or not (seen.spec.suspend or wait is None or wait > 0):
        return None
    return _say(seen, now, marks.settled(seen), requeue_after=None if seen.spec.suspend else wait)


def begin(seen: DatasetSeen, now: datetime) -> Plan | None:
    """Start the check that is due. A Job is never changed: its pods can't be, and another release may have made it."""
    if seen.check is not None or not seen.others_ended:
        return None
    return replace(_say(seen, now, marks.checking(seen, seen.outcome)), applies=(Create(manifest=desired_check(seen)),))


def follow(seen: DatasetSeen, now: datetime) -> Plan | None:
    """Say where the check is that waits or runs, or that an older one is waited for."""
    if seen.outcome.phase not in {JobPhase.ABSENT, JobPhase.WAITING, JobPhase.RUNNING}:
        return None
    return _say(seen, now, marks.checking(seen, seen.outcome))


def await_report(seen: DatasetSeen, now: datetime) -> Plan | None:
    """Wait for what a check said that has ended: its pod is not seen yet."""
    return Plan(requeue_after=1) if seen.outcome.awaits_words(now) else None


def record_failure(seen: DatasetSeen, now: datetime) -> Plan | None:
    """Record that the source could not be checked; what is known of the data stays known."""
    if seen.outcome.report(CheckReport) is not None:
        return None
    reason, why = why_no_report(seen.outcome)
    message = f"The source {seen.spec.source.uri} could not be checked: {why}. It is tried again."
    before = condition(seen.status.conditions, "Valid")
    certain = before is not None and before.status != "Unknown"
    valid = repeat(before) if before and certain else mark("Valid", "Unknown", reason, message)
    fetched = mark("Fetched", False, reason, message)
    return _recorded(seen, now, seen.status, fetched, valid, again=RETRY, event=_news(seen, fetched))


def record_unfit(seen: DatasetSeen, now: datetime) -> Plan | None:
    """Record that the data may not be used; the version that there is stays on record."""
    report = _report(seen)
    if report.fit:
        return None
    status, valid = record.source_read(seen.status, report, generation=seen.generation), marks.unfit(report)
    return _recorded(seen, now, status, marks.fetched(report), valid, again=RECHECK, event=_news(seen, valid))


def record_same(seen: DatasetSeen, now: datetime) -> Plan | None:
    """Record that the data is the newest version's still."""
    report = _report(seen)
    if seen.status.version is None or seen.status.version.digest != report.digest:
        return None
    status = record.source_read(seen.status, report, generation=seen.generation)
    return _recorded(seen, now, status, marks.fetched(report), marks.valid(report))


def record_version(seen: DatasetSeen, now: datetime) -> Plan | None:
    """Record the data as a new version."""
    report = _report(seen)
    read = record.source_read(seen.status, report, generation=seen.generation)
    status, version = record.version_recorded(read, report, now=now)
    event = Emit(
        type="Normal",
        reason=reasons.VERSION_RECORDED,
        message=f"Version {version.ordinal} is {version.digest[:19]}…: {version.rows:,} rows in {version.files} files.",
        action="Check",
    )
    return _recorded(seen, now, status, marks.fetched(report), marks.valid(report), event=event)


DECISIONS: tuple[Decision, ...] = (
    rest,  # nothing is due, or the Dataset is suspended, and no check is there
    begin,  # a check is due, and no other runs
    follow,  # the check waits or runs, or waits for an older one to end
    await_report,  # it has ended, and its report may still come
    record_failure,  # it has ended without a report that can be read
    record_unfit,  # the data violates the schema, or an expectation of severity Error
    record_same,  # the data is what the newest version is
    record_version,  # the data is new
)
"""In this order: the first that has a plan decides. A check's Job is deleted only once its result is recorded."""


def _due_in(seen: DatasetSeen, now: datetime) -> float | None:
    """Seconds until the next check; None: none is foreseen."""
    if seen.status.checked_generation != seen.generation:
        return 0
    if seen.status.next_check_time is None:
        return None
    return max(0.0, (seen.status.next_check_time - now).total_seconds())


def _report(seen: DatasetSeen) -> CheckReport:
    report = seen.outcome.report(CheckReport)
    assert report is not None, "a check without a report was decided on before"
    return report


def _news(seen: DatasetSeen, said: Mark) -> Emit | None:
    """Return the Event that tells of a condition, unless that said the same before."""
    before = condition(seen.status.conditions, said.type)
    if before is not None and before.message == said.message:
        return None
    return Emit(type="Warning", reason=said.reason, message=said.message, action="Check")


def _say(seen: DatasetSeen, now: datetime, said: tuple[Mark, ...], *, requeue_after: float | None = None) -> Plan:
    status = record.conditions_said(seen.status, said, before=seen.status, generation=seen.generation, now=now)
    return Plan(status=status.json_data(), requeue_after=requeue_after)


def _recorded(
    seen: DatasetSeen,
    now: datetime,
    status: DatasetStatus,
    fetched: Mark,
    valid: Mark,
    *,
    again: timedelta | None = None,
    event: Emit | None = None,
) -> Plan:
    """Record a check's end: when the next one is due, at the latest `again` from now, and the check's Job may go."""
    due = [seen.spec.refresh.next_after(now)] if seen.spec.refresh is not None else []
    next_check = min([*due, now + again] if again is not None else due, default=None)
    status = record.check_recorded(status, generation=seen.generation, now=now, next_check=next_check)
    said = marks.summed_up(seen, status, fetched, valid)
    status = record.conditions_said(status, said, before=seen.status, generation=seen.generation, now=now)
    return Plan(
        status=status.json_data(),
        events=(event,) if event else (),
        deletes=(delete_of(seen.check),) if seen.check else (),
        requeue_after=None if seen.spec.suspend or next_check is None else (next_check - now).total_seconds(),
    )
