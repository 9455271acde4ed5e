"""What a trigger of a retraining may look at, and what it may say."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Protocol, runtime_checkable

from perennial.terms.reasons import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenPromise:
    """An SLO that the version which answers is shown to break: why, and on which cohort last (its beginning)."""

    message: str
    cohort: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """All that a trigger may look at.

    `broken`: the SLOs that the version which answers breaks, by name. `dataset`: the digest of the newest version of
    the data; `learnt_from`: of the one that was that when a retraining was started last; None where there is none.
    """

    broken: Mapping[str, BrokenPromise]
    dataset: str | None = None
    learnt_from: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """That a retraining is asked for: why, and the last cohort that it is asked for on, where it is on cohorts."""

    reason: Reason
    message: str
    cohort: datetime | None = None


@runtime_checkable
class Trigger(Protocol):
    """What starts a retraining."""

    example: ClassVar[Any]
    """What somebody may write, for the reference and for tests."""
    reason: ClassVar[Reason]
    """Why a retraining is started where it asks for one."""

    def asks(self, known: Known, now: datetime) -> Ask | None:
        """Return why a retraining should start, or None."""
        ...
