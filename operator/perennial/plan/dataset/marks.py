"""The conditions of a Dataset."""

from perennial.api.dataset import DatasetStatus
from perennial.api.messages.check import CheckReport
from perennial.manifests.jobs import JobOutcome, JobPhase
from perennial.manifests.pods import STUCK
from perennial.plan.conditions import Mark, condition, mark, progress, repeat
from perennial.plan.dataset.observe import DatasetSeen
from perennial.terms import reasons

TOLD_FINDINGS = 4
"""So many findings are told in a condition; the others are in status.expectations."""


def settled(seen: DatasetSeen) -> tuple[Mark, ...]:
    """Say what is known while no check is under way."""
    valid, fetched = known(seen, "Valid"), known(seen, "Fetched")
    return summed_up(seen, seen.status, fetched, valid)


def checking(seen: DatasetSeen, outcome: JobOutcome) -> tuple[Mark, ...]:
    """While a check is under way, what is known stays known; only a check that can't start is news."""
    valid, fetched = known(seen, "Valid"), known(seen, "Fetched")
    stuck = outcome.phase is JobPhase.WAITING and outcome.reason != reasons.POD_PENDING
    if stuck:
        fetched = mark("Fetched", False, outcome.reason, outcome.message)
    elif fetched.reason in STUCK:
        fetched = mark("Fetched", "Unknown", reasons.CHECKING, "The source is being looked at.")
    return summed_up(seen, seen.status, fetched, valid, stuck=stuck)


def summed_up(
    seen: DatasetSeen, status: DatasetStatus, fetched: Mark, valid: Mark, *, stuck: bool = False
) -> tuple[Mark, ...]:
    """Return all conditions that follow from what was fetched, and from whether that is valid."""
    return (_ready(status, valid), fetched, valid, *_progress(seen, status, fetched, stuck=stuck))


def known(seen: DatasetSeen, type_: str) -> Mark:
    """Say again what a condition says."""
    before = condition(seen.status.conditions, type_)
    if before is None:
        return mark(type_, "Unknown", reasons.NOT_CHECKED, "The source has not been looked at yet.")
    return repeat(before)


def fetched(report: CheckReport) -> Mark:
    """Say what could be read."""
    return mark("Fetched", True, reasons.FETCHED, f"{report.files} files, {report.rows:,} rows.")


def valid(report: CheckReport) -> Mark:
    """Say that the data is fit."""
    message = f"{report.passed} expectations hold, {report.warned} warn."
    return mark("Valid", True, reasons.EXPECTATIONS_MET, message)


def unfit(report: CheckReport) -> Mark:
    """Say why the data may not be used: what the schema forbids, or else the expectations that failed."""
    blocking = (*report.violations, *report.unmet[: report.failed])
    reason = report.violations[0].reason if report.violations else reasons.EXPECTATION_FAILED
    told = [f"{finding.name}: {finding.message}" for finding in blocking[:TOLD_FINDINGS]]
    more = report.violated + report.failed - len(told)
    rest = f"; and {more} more" if more else ""
    return mark("Valid", False, reason, f"The data is not fit: {'; '.join(told)}{rest}")


def _ready(status: DatasetStatus, valid: Mark) -> Mark:
    if valid.status == "False":
        return mark("Ready", False, valid.reason, valid.message)
    version = status.version
    if version is None:
        return mark("Ready", False, reasons.NO_VERSION, "No version is recorded yet; see the condition Fetched.")
    message = f"Version {version.ordinal} ({version.digest[:19]}…, {version.rows:,} rows) may be used."
    return mark("Ready", True, reasons.VERSION_READY, message)


def _progress(seen: DatasetSeen, status: DatasetStatus, fetched: Mark, *, stuck: bool) -> tuple[Mark, Mark]:
    """Each spec is read once before it counts as done, also where an older one's version may be used meanwhile."""
    if seen.spec.suspend:
        return progress(stalled=(reasons.SUSPENDED, "spec.suspend is true: set it to false to check again."))
    if status.checked_generation != seen.generation and not stuck:
        return progress(reconciling=(reasons.CHECKING, "The source is being looked at."))
    if fetched.status == "False" and (stuck or (status.version and status.fetched_generation != seen.generation)):
        return progress(reconciling=(fetched.reason, fetched.message))
    return progress()
