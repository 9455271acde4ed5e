"""What happens to a Dataset's status: each transition has a name, and takes what it records."""

from collections.abc import Iterable
from datetime import datetime

from perennial.api.dataset import DatasetStatus, DatasetVersion, Expectations
from perennial.api.messages.check import CheckReport
from perennial.plan.conditions import Mark, settle

KEPT_VERSIONS = 10
KEPT_FINDINGS = 32


def check_recorded(
    status: DatasetStatus, *, generation: int, now: datetime, next_check: datetime | None
) -> DatasetStatus:
    """Record that a check of a generation has ended, and when the next one is due (None: none is foreseen)."""
    return status.but(
        checks_recorded=status.checks_recorded + 1,
        checked_generation=generation,
        last_checked_time=now,
        next_check_time=next_check,
    )


def source_read(status: DatasetStatus, report: CheckReport, *, generation: int) -> DatasetStatus:
    """Record how the data did that was read for a generation; findings that block the version come first."""
    return status.but(
        fetched_generation=generation,
        expectations=Expectations(
            passed=report.passed,
            warned=report.warned,
            findings=(*report.violations, *report.unmet)[:KEPT_FINDINGS],
        ),
    )


def version_recorded(
    status: DatasetStatus, report: CheckReport, *, now: datetime
) -> tuple[DatasetStatus, DatasetVersion]:
    """Record new content as the next version; the last ten are kept."""
    version = DatasetVersion(
        digest=report.digest,
        ordinal=status.version.ordinal + 1 if status.version else 1,
        rows=report.rows,
        bytes=report.bytes,
        files=report.files,
        recorded_time=now,
        from_=report.from_,
        to=report.to,
    )
    return status.but(version=version, versions=(version, *status.versions)[:KEPT_VERSIONS]), version


def conditions_said(
    status: DatasetStatus, marks: Iterable[Mark], *, before: DatasetStatus, generation: int, now: datetime
) -> DatasetStatus:
    """Record what is said of a generation; a condition whose status is as before keeps its time."""
    return status.but(
        observed_generation=generation,
        conditions=settle(before.conditions, marks, now=now, generation=generation),
    )
