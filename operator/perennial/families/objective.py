"""What an SLO of any kind must say: where it is judged."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from perennial.stats.evidence import Promise
from perennial.stats.judge import Judgement
from perennial.terms.part import Member
from perennial.terms.reasons import Reason

Judged = Literal["trial", "stable", "cohorts"]
"""Where a promise is judged: on the candidate's requests, beside stable's; on the requests of the version that answers,
by themselves; on the matured cohorts of that version's predictions."""


class Objective(Member):
    """What is promised: the member of an `SLO` that is set."""

    judges: ClassVar[frozenset[Judged]]
    """Where it is judged. A Critical one that judges trials must pass before anything is promoted."""
    example: ClassVar[Mapping[str, Any]]
    """What somebody may write, for the reference and for tests."""


class Counted(Objective):
    """A promise about what is counted in ticks: it can be judged on a canary and on the version that answers."""

    @abstractmethod
    def promise(self) -> Promise:
        """Return what is counted, and which tests harm and safety are."""

    @abstractmethod
    def tell(self, found: Judgement) -> str:
        """Return what was found of it on a canary, as a sentence for people."""

    @abstractmethod
    def tell_watched(self, reason: Reason, total: int, bad: int) -> str:
        """Return what was found of it on the version that answers, by itself, as a sentence for people."""
