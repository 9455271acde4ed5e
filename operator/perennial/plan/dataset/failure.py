"""Why a check left no report, in a sentence for people."""

from pydantic import ValidationError

from perennial.api.messages.check import CheckReport
from perennial.manifests.jobs import JobOutcome, JobPhase
from perennial.terms import reasons
from perennial.terms.reasons import Reason
from perennial.terms.text import complaint

REFUSED, UNREADABLE = 64, 65
"""The exit codes of a check that does not know what it is asked for, and of one whose source is no data."""

_REASONS = {REFUSED: reasons.CHECK_REFUSED, UNREADABLE: reasons.SOURCE_UNREADABLE}


def why_no_report(outcome: JobOutcome) -> tuple[Reason, str]:
    """Return why a check that has ended left no report that can be read: a reason, and words to go into a sentence."""
    reason = _REASONS.get(outcome.exit_code or 0, reasons.CHECK_FAILED)
    said = outcome.stated_error()
    if said is not None:
        return reason, said.removesuffix(".")
    if outcome.phase is JobPhase.COMPLETE:
        return reason, _unread(outcome.output)
    if outcome.reason == reasons.OUT_OF_MEMORY:
        return reason, "it was killed at its memory limit"
    end = outcome.message.removesuffix(".") or "its pod is gone"
    code = "" if outcome.exit_code is None else f", exit code {outcome.exit_code}"
    words = outcome.last_line()
    return reason, f"it left no report ({end}{code})" + (f"; its log ends with “{words}”" if words else "")


def _unread(output: str | None) -> str:
    if not output:
        return "it left no report"
    try:
        CheckReport.model_validate_json(output)
    except ValidationError as error:
        return f"its report can't be read by this release of the operator ({complaint(error.errors()[:3])})"
    raise AssertionError("a report that can be read is one")
