"""What an SLO of any kind must say: on whom it is judged."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from perennial.terms.part import Member

Judged = Literal["trial", "stable"]
"""On whom a promise is judged: the candidate on trial, beside stable; or the version that answers, by itself."""


class Objective(Member):
    """What is promised: the member of an `SLO` that is set."""

    judges: ClassVar[frozenset[Judged]]
    """On whom it is judged. A Critical one that judges trials must pass before anything is promoted."""
    example: ClassVar[Mapping[str, Any]]
    """What somebody may write, for the reference and for tests."""
