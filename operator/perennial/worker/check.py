"""`check`: look at a source folder, make its content a version on the snapshot volume, and report on it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from perennial.api.dataset import Expectation, Schema, Severity
from perennial.worker import report
from perennial.worker.errors import BadArguments, BadData
from perennial.worker.judgement import Outcome, Violation, columns_needed, outcomes, violations
from perennial.worker.manifest import Manifest
from perennial.worker.snapshots import Snapshots, Staging
from perennial.worker.source import data_files
from perennial.worker.survey import FileFacts, survey

_ATTEMPTS = 3
_VIOLATIONS = 8
_MEGABYTES = (1e6, "MB")


@dataclass(frozen=True, slots=True)
class Rules:
    """What the data must fulfil: the part of a Dataset's spec that a check needs."""

    schema: Schema
    expectations: tuple[Expectation, ...]

    @classmethod
    def parse(cls, text: str) -> "Rules":
        """Read the JSON `{"schema": …, "expectations": […]}`.

        Raises:
            BadArguments: it is not of that form.
        """
        try:
            data = json.loads(text)
            items = data.get("expectations") or ()
            return cls(Schema.model_validate(data["schema"]), tuple(Expectation.model_validate(item) for item in items))
        except (ValueError, KeyError, TypeError, AttributeError, ValidationError) as error:
            raise BadArguments(f"the Dataset's spec must be JSON with schema and expectations: {error!r}") from error


def check(source: Path, snapshots: Path, rules: Rules) -> dict[str, Any]:
    """Copy a source's data into the snapshot volume, judge the copy, and return the report as the contract has it.

    Content that violates the schema, or fails an expectation of severity Error, is not kept.

    Raises:
        BadData: the source cannot be read as data.
        StorageFailed, Unavailable: the snapshot volume is full, or in use by another check.
    """
    with Snapshots(snapshots).writing() as staging:
        manifest = _settled(source, staging)
        facts = _surveyed(manifest, staging, rules)
        broken = violations(facts, rules.schema)
        judged = outcomes(facts, rules.expectations)
        if not broken and all(outcome.passed or outcome.severity is Severity.WARN for outcome in judged):
            staging.commit(manifest)
    return _report(manifest, facts, rules.schema, broken, judged)


def _settled(source: Path, staging: Staging) -> Manifest:
    """Take every data file in; begin again when one disappears meanwhile."""
    for _ in range(_ATTEMPTS):
        files = data_files(source)
        try:
            progress = report.Progress("reading", sum(file.stat().st_size for file in files.values()), _MEGABYTES)
            return Manifest.of(staging.take(file, path, progress.add) for path, file in files.items())
        except FileNotFoundError as error:
            report.say(f"{error.filename} disappeared while the source was read; beginning again")
        except OSError as error:
            raise BadData(f"the source must be readable, but {error.filename} is not: {error.strerror}") from error
    raise BadData("the source must keep still while it is read, but files disappeared each time")


def _surveyed(manifest: Manifest, staging: Staging, rules: Rules) -> tuple[FileFacts, ...]:
    wanted = columns_needed(rules.schema, rules.expectations)
    progress = report.Progress("checking", manifest.size, _MEGABYTES)
    found = []
    for entry in manifest.entries:
        found.append(survey(entry.path, staging.content(entry), wanted))
        progress.add(entry.size)
    return tuple(found)


def _report(
    manifest: Manifest,
    facts: Sequence[FileFacts],
    schema: Schema,
    broken: Sequence[Violation],
    judged: Sequence[Outcome],
) -> dict[str, Any]:
    times = [file.columns[schema.time] for file in facts if schema.time in file.columns] if schema.time else []
    lows = [column.low for column in times if isinstance(column.low, datetime)]
    highs = [column.high for column in times if isinstance(column.high, datetime)]
    return fitted(
        {
            "digest": manifest.digest,
            "rows": sum(file.rows for file in facts),
            "bytes": manifest.size,
            "files": len(manifest.entries),
            "from": rfc3339(min(lows)) if lows else None,
            "to": rfc3339(max(highs)) if highs else None,
            "violations": [
                {
                    "file": report.clip(v.file, 96),
                    "column": report.clip(v.column, 64),
                    "message": report.clip(v.message, 160),
                }
                for v in broken[:_VIOLATIONS]
            ],
            "expectations": [_expectation(outcome) for outcome in judged],
        }
    )


def _expectation(outcome: Outcome) -> dict[str, Any]:
    texts = {"observed": report.clip(outcome.observed, 96), "message": report.clip(outcome.message, 160)}
    return asdict(outcome) | {"severity": outcome.severity.value} | texts


def fitted(result: dict[str, Any]) -> dict[str, Any]:
    """Return the report so that it fits a termination message.

    What matters least goes first: texts of expectations that passed, those that passed, texts of those that failed, and
    at last failed ones of severity Warn and then Error, from the end of the list.
    """
    kept = list(result["expectations"])

    def attempt() -> dict[str, Any]:
        return result | {"expectations": kept}

    def shorten(*, passed: bool) -> None:
        kept[:] = [item | {"observed": "", "message": ""} if item["passed"] is passed else item for item in kept]

    if not report.fits(attempt()):
        shorten(passed=True)
    while not report.fits(attempt()) and any(item["passed"] for item in kept):
        del kept[max(index for index, item in enumerate(kept) if item["passed"])]
    if not report.fits(attempt()):
        shorten(passed=False)
    while not report.fits(attempt()) and kept:
        warnings = [index for index, item in enumerate(kept) if item["severity"] == Severity.WARN.value]
        del kept[warnings[-1] if warnings else -1]
    return attempt()


def rfc3339(moment: datetime) -> str:
    """Return a moment in UTC as RFC 3339, cut to whole seconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
