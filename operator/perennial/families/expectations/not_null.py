"""`notNull`: every row has a value."""

from collections.abc import Mapping
from typing import Any, ClassVar

from perennial.families.expectation import ALL_TYPES, MISSING, Content, Expect, Judgement, verdict
from perennial.terms import reasons


class NotNull(Expect):
    """No value of the column may be missing. NaN in a column of floats is a missing value, too."""

    types = ALL_TYPES
    needs = frozenset({MISSING})
    reason = reasons.VALUES_MISSING
    example: ClassVar[Mapping[str, Any]] = {}

    def judge(self, content: Content) -> Judgement:
        """Count the missing values."""
        missing = content.figures[MISSING] or 0
        return Judgement(
            verdict=verdict(holds=missing == 0),
            message=f"{content.column} must not have missing values, but {missing:,} of {content.rows:,} are missing",
            value=str(missing),
        )
