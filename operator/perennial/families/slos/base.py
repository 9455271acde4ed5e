"""What an SLO of any kind must say: where it is judged."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from perennial.terms.part import Member

Judged = Literal["trial", "stable", "cohorts"]
"""Where a promise is judged: on the candidate's requests, beside stable's; on the requests of the version that answers,
by themselves; on the matured cohorts of that version's predictions."""


class Objective(Member):
    """What is promised: the member of an `SLO` that is set."""

    judges: ClassVar[frozenset[Judged]]
    """Where it is judged. A Critical one that judges trials must pass before anything is promoted."""
    example: ClassVar[Mapping[str, Any]]
    """What somebody may write, for the reference and for tests."""
