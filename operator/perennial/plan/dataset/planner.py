"""Decides what a Dataset needs next."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from perennial.api.dataset import DatasetStatus, DatasetVersion, Expectations, FailedExpectation, Severity
from perennial.api.messages.check import Check
from perennial.manifests.jobs import ENDED, JobOutcome, JobPhase, job_outcome
from perennial.manifests.manifest import name_of
from perennial.manifests.pods import STUCK
from perennial.plan.actions import Apply, Create, Delete, Emit, Plan
from perennial.plan.conditions import Mark, condition, mark, progress, repeat, settle
from perennial.plan.dataset.observe import DatasetSeen
from perennial.plan.dataset.resources import desired_check, desired_snapshots
from perennial.plan.observed import delete_of

RETRY_SECONDS = 60
"""How long after a source could not be read it is tried again, at the latest."""
RECHECK_SECONDS = 300
"""How long after data was found invalid it is looked at again, where no refresh says so."""
KEPT_VERSIONS = 10
"""What keeps a check from starting: no news any more once it has started."""
UNREADABLE = 65
"""The exit code of a check whose source cannot be read as data."""


def plan(seen: DatasetSeen, now: datetime) -> Plan:
    """Make the plan.

    In this order:

    1. The snapshot volume is there.
    2. A check of an older spec, or one already recorded, is deleted; no other begins while it still runs.
    3. Nothing is due, or the Dataset is suspended: say so, wait.
    4. A check is due and has no Job: start it. It waits or runs: say so. A Job that exists is never changed: its pods
       can't be, and another operator's version may have made it.
    5. It ended: record what it found, and only then delete it.
    """
    others = sorted((job for job in seen.jobs if name_of(job) != seen.check_name), key=name_of)
    stale = tuple(delete_of(job) for job in others)
    volume = Apply(manifest=desired_snapshots(seen))
    job = next((job for job in seen.jobs if name_of(job) == seen.check_name), None)
    due = _due_in(seen, now)
    if job is None and (seen.spec.suspend or due is None or due > 0):
        return Plan(
            applies=(volume,),
            status=_status(seen, now, seen.status, _settled_marks(seen)),
            deletes=stale,
            requeue_after=None if seen.spec.suspend else due,
        )
    outcome = job_outcome(job, seen.pods, seen.refused)
    if outcome.phase in {JobPhase.ABSENT, JobPhase.WAITING, JobPhase.RUNNING}:
        free = job is None and all(job_outcome(other, seen.pods, seen.refused).phase in ENDED for other in others)
        start = (Create(manifest=desired_check(seen)),) if free else ()
        return Plan(
            applies=(volume, *start),
            status=_status(seen, now, seen.status, _checking_marks(seen, outcome)),
            deletes=stale,
        )
    if outcome.awaits_words(now):
        return Plan(applies=(volume,), deletes=stale, requeue_after=1)
    return _record(seen, outcome, now, applies=(volume,), deletes=(*stale, *((delete_of(job),) if job else ())))


def _due_in(seen: DatasetSeen, now: datetime) -> float | None:
    """Seconds until the next check; None: none is foreseen."""
    if seen.status.checked_generation != seen.generation:
        return 0
    if seen.status.next_check_time is None:
        return None
    return max(0.0, (seen.status.next_check_time - now).total_seconds())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What a check brought: the status it leads to, whether the data was fetched and valid, and the story."""

    status: DatasetStatus
    fetched: Mark
    valid: Mark
    event: Emit | None = None
    retry_seconds: int | None


def _record(
    seen: DatasetSeen, outcome: JobOutcome, now: datetime, *, applies: Sequence[Apply], deletes: Sequence[Delete]
) -> Plan:
    report = outcome.report(Check)
    found = _found_nothing(seen, outcome) if report is None else _found(seen, report, now)
    interval = seen.spec.refresh.interval_seconds if seen.spec.refresh else None
    wait = interval if found.retry_seconds is None else min(interval or found.retry_seconds, found.retry_seconds)
    status = found.status.model_copy(
        update={
            "checks": seen.status.checks + 1,
            "checked_generation": seen.generation,
            "last_checked_time": now,
            "next_check_time": now + timedelta(seconds=wait) if wait else None,
        }
    )
    marks = (_ready(status, found.valid), found.fetched, found.valid, *_moving(seen, status, found.fetched))
    return Plan(
        applies=tuple(applies),
        status=_status(seen, now, status, marks),
        events=(found.event,) if found.event else (),
        deletes=tuple(deletes),
        requeue_after=None if seen.spec.suspend else wait,
    )


def _found_nothing(seen: DatasetSeen, outcome: JobOutcome) -> _Found:
    reason = "SourceUnreadable" if outcome.exit_code == UNREADABLE else "CheckFailed"
    why = outcome.error() or "the check left no result"
    message = f"The source {seen.spec.source.uri} could not be checked: {why}. It is tried again."
    known = condition(seen.status.conditions, "Valid")
    valid = repeat(known) if known and known.status != "Unknown" else mark("Valid", "Unknown", reason, message)
    before = condition(seen.status.conditions, "Fetched")
    news = before is None or before.message != message
    return _Found(
        status=seen.status,
        fetched=mark("Fetched", False, reason, message),
        valid=valid,
        event=Emit(type="Warning", reason=reason, message=message, action="Check") if news else None,
        retry_seconds=RETRY_SECONDS,
    )


def _found(seen: DatasetSeen, report: Check, now: datetime) -> _Found:
    expectations = _expectations(report)
    blocking = [failed for failed in expectations.failed if failed.severity is Severity.ERROR]
    fetched = mark("Fetched", True, "Fetched", f"{report.files} files, {report.rows:,} rows.")
    checked = seen.status.model_copy(update={"expectations": expectations, "fetched_generation": seen.generation})
    if blocking:
        message = "The data is not fit: " + "; ".join(f"{failed.name}: {failed.message}" for failed in blocking[:4])
        before = condition(seen.status.conditions, "Valid")
        reason = "SchemaViolated" if blocking[0].name.startswith("schema/") else "ExpectationFailed"
        return _Found(
            status=checked,
            fetched=fetched,
            valid=mark("Valid", False, reason, message),
            event=Emit(type="Warning", reason=reason, message=message, action="Check")
            if before is None or before.message != message
            else None,
            retry_seconds=RECHECK_SECONDS,
        )
    valid = mark(
        "Valid", True, "ExpectationsMet", f"{expectations.passed} expectations hold, {expectations.warned} warn."
    )
    if seen.status.version and seen.status.version.digest == report.digest:
        return _Found(status=checked, fetched=fetched, valid=valid, retry_seconds=None)
    version = DatasetVersion(
        digest=report.digest,
        ordinal=(seen.status.version.ordinal if seen.status.version else 0) + 1,
        rows=report.rows,
        bytes=report.bytes,
        files=report.files,
        recorded_time=now,
        from_=report.from_,
        to=report.to,
    )
    return _Found(
        status=checked.model_copy(
            update={"version": version, "versions": (version, *seen.status.versions)[:KEPT_VERSIONS]}
        ),
        fetched=fetched,
        valid=valid,
        event=Emit(
            type="Normal",
            reason="VersionRecorded",
            message=(
                f"Version {version.ordinal} is {version.digest[:19]}…: {version.rows:,} rows in {version.files} files."
            ),
            action="Check",
        ),
        retry_seconds=None,
    )


def _expectations(report: Check) -> Expectations:
    """Violations of the schema count as failed expectations of severity Error."""
    broken = [
        FailedExpectation(
            name=f"schema/{item.column or '*'}"[:256],
            severity=Severity.ERROR,
            observed=item.file[:256],
            message=item.message[:512],
        )
        for item in report.violations
    ]
    missed = [
        FailedExpectation(
            name=item.name[:256],
            severity=item.severity,
            observed=item.observed[:256],
            message=item.message[:512],
        )
        for item in report.expectations
        if not item.passed
    ]
    return Expectations(
        passed=sum(1 for item in report.expectations if item.passed),
        warned=sum(1 for failed in missed if failed.severity is Severity.WARN),
        failed=tuple([*broken, *missed][:32]),
    )


def _ready(status: DatasetStatus, valid: Mark) -> Mark:
    if valid.status == "False":
        return mark("Ready", False, valid.reason, valid.message)
    if status.version is None:
        return mark("Ready", False, "NoVersion", "No version is recorded yet; see the condition Fetched.")
    version = status.version
    return mark(
        "Ready",
        True,
        "VersionReady",
        f"Version {version.ordinal} ({version.digest[:19]}…, {version.rows:,} rows) may be used.",
    )


def _known(seen: DatasetSeen, type_: str) -> Mark:
    known = condition(seen.status.conditions, type_)
    if known is None:
        return mark(type_, "Unknown", "NotChecked", "The source has not been looked at yet.")
    return repeat(known)


def _settled_marks(seen: DatasetSeen) -> tuple[Mark, ...]:
    valid, fetched = _known(seen, "Valid"), _known(seen, "Fetched")
    return (_ready(seen.status, valid), fetched, valid, *_moving(seen, seen.status, fetched))


def _checking_marks(seen: DatasetSeen, outcome: JobOutcome) -> tuple[Mark, ...]:
    """While a check is under way, what is known stays known; only a check that can't start is news."""
    valid, fetched = _known(seen, "Valid"), _known(seen, "Fetched")
    stuck = outcome.phase is JobPhase.WAITING and outcome.reason != "PodPending"
    if not stuck and fetched.reason in STUCK:
        fetched = mark("Fetched", "Unknown", "Checking", "The source is being looked at.")
    if stuck:
        fetched = mark("Fetched", False, outcome.reason, outcome.message)
    return (_ready(seen.status, valid), fetched, valid, *_moving(seen, seen.status, fetched, stuck=stuck))


def _moving(seen: DatasetSeen, status: DatasetStatus, fetched: Mark, *, stuck: bool = False) -> tuple[Mark, Mark]:
    """Each spec is read once before it counts as done, also where an older one's version may be used meanwhile."""
    if seen.spec.suspend:
        return progress(stalled=("Suspended", "spec.suspend is true: set it to false to check again."))
    if status.checked_generation != seen.generation and not stuck:
        return progress(reconciling=("Checking", "The source is being looked at."))
    if fetched.status == "False" and (stuck or (status.version and status.fetched_generation != seen.generation)):
        return progress(reconciling=(fetched.reason, fetched.message))
    return progress()


def _status(seen: DatasetSeen, now: datetime, status: DatasetStatus, marks: Sequence[Mark]) -> dict[str, Any]:
    conditions = settle(seen.status.conditions, marks, now=now, generation=seen.generation)
    return status.model_copy(update={"observed_generation": seen.generation, "conditions": conditions}).json_data()
