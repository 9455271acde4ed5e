"""What a guardrail of retraining may look at, and what it may say."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Protocol, runtime_checkable

from perennial.terms.reasons import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a retraining is asked for on: the last cohort of the alarm, the newest version of the data, the template.

    `template` is a hash of it; None where that was not recorded yet.
    """

    cohort: datetime | None = None
    dataset: str | None = None
    template: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """All that a guardrail may look at: when retrainings were started, in order, and what on, now and the last time."""

    starts: tuple[datetime, ...] = ()
    asked: Evidence = Evidence()
    last: Evidence | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why no retraining may start now, and from when on time alone would allow one; None: time alone never will."""

    reason: Reason
    message: str
    until: datetime | None


@runtime_checkable
class Guardrail(Protocol):
    """What keeps retraining from running away."""

    example: ClassVar[Any]
    """What somebody may write, for the reference and for tests."""
    reason: ClassVar[Reason]
    """Why a retraining is not started where it refuses one."""

    def refuses(self, past: Past, now: datetime) -> Refusal | None:
        """Return why another retraining may not start now, or None."""
        ...
