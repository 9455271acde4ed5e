"""`check`: look at a source folder, make its content a version on the snapshot volume, and report on it."""

from collections.abc import Sequence
from pathlib import Path

from perennial.api.messages.check import CheckReport, CheckRequest
from perennial.families.expectations import FileFacts, Severity
from perennial.terms.finding import Finding
from perennial.terms.words import Verdict
from perennial.worker import moments, report
from perennial.worker.errors import BadArguments, BadData
from perennial.worker.judgement import event_times, needs, violations
from perennial.worker.manifest import Manifest
from perennial.worker.snapshots import Snapshots, Staging
from perennial.worker.source import data_files
from perennial.worker.survey import survey

_ATTEMPTS = 3
_VIOLATIONS = 8
_NAME_BYTES, _MESSAGE_BYTES = 80, 256
_MEGABYTES = (1e6, "MB")


def requested(text: str) -> CheckRequest:
    """Read what is asked for, JSON.

    Raises:
        BadArguments: this release does not know a part of it, or it is not of the form agreed upon.
    """
    try:
        return CheckRequest.read(text)
    except ValueError as error:
        raise BadArguments(f"what the check is asked for must be understood, but is not: {error}") from None


def check(source: Path, snapshots: Path, request: CheckRequest) -> CheckReport:
    """Copy a source's data into the snapshot volume, judge the copy, and report on it.

    Content that violates the schema, or fails an expectation of severity Error, is not kept.

    Raises:
        BadData: the source cannot be read as data.
        StorageFailed, Unavailable: the snapshot volume is full, or in use by another check.
    """
    with Snapshots(snapshots).writing() as staging:
        manifest = _settled(source, staging, request.format.suffix())
        facts = _surveyed(manifest, staging, request)
        made = _report(manifest, facts, request)
        if made.fit:
            staging.commit(manifest)
    return made


def _settled(source: Path, staging: Staging, suffix: str) -> Manifest:
    """Take every data file in; begin again when one disappears meanwhile."""
    for _ in range(_ATTEMPTS):
        try:
            files = data_files(source, suffix)
            progress = report.Progress("reading", sum(file.stat().st_size for file in files.values()), _MEGABYTES)
            return Manifest.of(staging.take(file, path, progress.add) for path, file in files.items())
        except FileNotFoundError as error:
            report.say(f"{error.filename} disappeared while the source was read; beginning again")
        except OSError as error:
            raise BadData(f"the source must be readable, but {error.filename} is not: {error.strerror}") from error
    raise BadData("the source must keep still while it is read, but files disappeared each time")


def _surveyed(manifest: Manifest, staging: Staging, request: CheckRequest) -> tuple[FileFacts, ...]:
    wanted = needs(request.schema_, request.expectations)
    progress = report.Progress("checking", manifest.size, _MEGABYTES)
    found = []
    for entry in manifest.entries:
        found.append(survey(entry.path, staging.content(entry), wanted))
        progress.add(entry.size)
    return tuple(found)


def _report(manifest: Manifest, facts: Sequence[FileFacts], request: CheckRequest) -> CheckReport:
    broken = violations(facts, request.schema_)
    judged = [(each, each.judge(facts)) for each in request.expectations]
    unmet = [(each.severity, finding) for each, finding in judged if finding.verdict is not Verdict.PASS]
    failed = [_clipped(finding) for severity, finding in unmet if severity is Severity.ERROR]
    warned = [_clipped(finding) for severity, finding in unmet if severity is not Severity.ERROR]
    times = event_times(facts, request.schema_.time) if request.schema_.time and not broken else None
    return fitted(
        CheckReport(
            digest=manifest.digest,
            rows=sum(file.rows for file in facts),
            bytes=manifest.size,
            files=len(manifest.entries),
            from_=moments.as_datetime(times[0]) if times else None,
            to=moments.as_datetime(times[1]) if times else None,
            violated=len(broken),
            passed=len(judged) - len(unmet),
            warned=len(warned),
            failed=len(failed),
            violations=tuple(_clipped(finding) for finding in broken[:_VIOLATIONS]),
            unmet=(*failed, *warned),
        )
    )


def _clipped(finding: Finding) -> Finding:
    """Return a finding whose texts take a bounded number of bytes, whatever characters they have."""
    return finding.but(
        name=report.clip(finding.name, _NAME_BYTES), message=report.clip(finding.message, _MESSAGE_BYTES)
    )


def fitted(made: CheckReport) -> CheckReport:
    """Return the report so that it fits a termination message: expectations that don't hold go, the last first."""
    while made.unmet and not report.fits(made.json_data()):
        made = made.but(unmet=made.unmet[:-1])
    return made
