"""What became of a Job, read from the Job and its pods."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import ValidationError

from perennial.manifests.manifest import Manifest
from perennial.manifests.pods import refusal, waits
from perennial.terms import reasons
from perennial.terms.part import Part
from perennial.terms.text import clip

Report = TypeVar("Report", bound=Part)

LAST_WORDS = timedelta(seconds=60)
"""How long after a Job's end its pod's last words may still come: Jobs and pods are watched apart."""


class JobPhase(Enum):
    """Where a Job is. Only the Job's own terminal conditions end it."""

    ABSENT = auto()
    WAITING = auto()
    RUNNING = auto()
    COMPLETE = auto()
    FAILED = auto()


ENDED = frozenset({JobPhase.COMPLETE, JobPhase.FAILED})


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOutcome:
    """A Job's phase, why it waits or failed, and what its last container said."""

    phase: JobPhase
    reason: str = ""
    message: str = ""
    exit_code: int | None = None
    output: str | None = None
    """The termination message of the container that decided; None while the pod is not (or no longer) seen."""
    ended: datetime | None = None
    """When the Job ended, where it says so."""

    def awaits_words(self, now: datetime) -> bool:
        """Return whether the Job has ended while what its container said may still arrive.

        After a deadline there is nothing to wait for: the Job has deleted its pod.
        """
        silent = self.phase in ENDED and self.exit_code is None
        expected = self.reason != reasons.DEADLINE_EXCEEDED and self.ended is not None and now - self.ended < LAST_WORDS
        return silent and expected

    def report(self, form: type[Report]) -> Report | None:
        """Return the termination message of a Job that is complete, or None where it is not of the form agreed upon."""
        if self.phase is not JobPhase.COMPLETE:
            return None
        try:
            return form.model_validate_json(self.output or "")
        except ValidationError:
            return None

    def stated_error(self) -> str | None:
        """Return the sentence in which a program of Perennial's said why it failed; None: it said none."""
        try:
            said = json.loads(self.output or "")
        except ValueError:
            return None
        return str(said["error"]) if isinstance(said, dict) and said.get("error") else None

    def last_line(self) -> str:
        """Return the last line that the container said, clipped; empty: it said nothing."""
        lines = [line.strip() for line in (self.output or "").splitlines() if line.strip()]
        return clip(lines[-1], 1000) if lines else ""

    def error(self) -> str:
        """Return what the container said of its failure, or the Job's own message: one line for people."""
        return self.stated_error() or self.last_line() or self.message


def lacks_pods(job: Manifest, pods: Sequence[Manifest]) -> bool:
    """Return whether a Job should have a pod and has none."""
    ended = {item["type"] for item in job.get("status", {}).get("conditions", ()) if item.get("status") == "True"}
    suspended = job.get("spec", {}).get("suspend", False)
    return not suspended and not ended & {"Complete", "Failed"} and not any(_belongs(pod, job) for pod in pods)


def job_outcome(
    job: Manifest | None, pods: Sequence[Manifest], refused: Mapping[str, str] = MappingProxyType({})
) -> JobOutcome:
    """Judge a Job by its conditions and its pods (any order; those of other Jobs are passed over).

    `refused`: why no pods may be created for some Jobs, by uid.
    """
    if job is None:
        return JobOutcome(phase=JobPhase.ABSENT)
    own = sorted(
        (pod for pod in pods if _belongs(pod, job)),
        key=lambda pod: (pod["metadata"].get("creationTimestamp", ""), pod["metadata"]["name"]),
    )
    latest, why = own[-1] if own else None, refused.get(job["metadata"]["uid"])
    conditions = {
        item["type"]: item for item in job.get("status", {}).get("conditions", ()) if item.get("status") == "True"
    }
    if "Complete" in conditions:
        exit_code, output = _succeeded(own)
        ended = _moment(conditions["Complete"])
        return JobOutcome(phase=JobPhase.COMPLETE, exit_code=exit_code, output=output, ended=ended)
    if "Failed" in conditions:
        return _failed(conditions["Failed"], own, why)
    waiting = (refusal(why) if why and latest is None else None) or waits(latest)
    if waiting is not None:
        return JobOutcome(phase=JobPhase.WAITING, reason=waiting.reason, message=waiting.message)
    return JobOutcome(phase=JobPhase.RUNNING, reason=reasons.RUNNING, message="The pod is running.")


def sentence(text: str) -> str:
    """Return a text that another sentence may follow."""
    return text if not text or text.endswith((".", "!", "?", "…")) else f"{text}."


def _belongs(pod: Manifest, job: Manifest) -> bool:
    return any(
        reference.get("uid") == job["metadata"]["uid"] for reference in pod["metadata"].get("ownerReferences", ())
    )


def _failed(condition: Mapping[str, Any], pods: Sequence[Manifest], refused: str | None) -> JobOutcome:
    reason, message, ended = condition.get("reason", reasons.FAILED), condition.get("message", ""), _moment(condition)
    for pod in reversed(pods):
        exit_code, output, oom = _failure(pod)
        if exit_code is not None:
            return JobOutcome(
                phase=JobPhase.FAILED,
                reason=reasons.OUT_OF_MEMORY if oom else reason,
                message=message,
                exit_code=exit_code,
                output=output,
                ended=ended,
            )
    waiting = (refusal(refused) if refused and not pods else None) or waits(pods[-1] if pods else None)
    return JobOutcome(
        phase=JobPhase.FAILED,
        reason=reason,
        message=f"{sentence(message)} {waiting.message}" if waiting and waiting.message else message,
        ended=ended,
    )


def _moment(condition: Mapping[str, Any]) -> datetime | None:
    since = condition.get("lastTransitionTime")
    return datetime.fromisoformat(since) if since else None


def _statuses(pod: Manifest | None) -> list[Mapping[str, Any]]:
    status = (pod or {}).get("status", {})
    return [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]


def _succeeded(pods: Sequence[Manifest]) -> tuple[int | None, str | None]:
    """Return the exit code and words of the attempt that succeeded; an earlier one's say nothing of the result."""
    for pod in reversed(pods):
        for status in pod.get("status", {}).get("containerStatuses", ()):
            ended = status.get("state", {}).get("terminated")
            if ended and ended.get("exitCode") == 0:
                return 0, ended.get("message", "")
    return None, None


def _failure(pod: Manifest) -> tuple[int | None, str | None, bool]:
    for status in _statuses(pod):
        ended = status.get("state", {}).get("terminated")
        if ended and ended.get("exitCode"):
            return ended["exitCode"], ended.get("message", ""), ended.get("reason") == "OOMKilled"
    return None, None, False
