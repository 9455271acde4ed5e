"""`rowCount`: a version has neither too few nor too many rows."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field

from perennial.families.expectation import Content, Expect, Judgement, between, verdict
from perennial.terms import reasons
from perennial.terms.part import rules


class RowCount(Expect):
    """How many rows a version must have, over all its files."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("has(self.min) || has(self.max)", "rowCount needs min, max or both"),
            ("!has(self.min) || !has(self.max) || self.min <= self.max", "min must not exceed max"),
        )
    )

    types = frozenset()
    needs = frozenset()
    reason = reasons.OUT_OF_RANGE
    example: ClassVar[Mapping[str, Any]] = {"min": 10000}

    min: Annotated[int | None, Field(ge=0, le=10**15, description="The least number of rows.")] = None
    max: Annotated[int | None, Field(ge=0, le=10**15, description="The greatest number of rows.")] = None

    def judge(self, content: Content) -> Judgement:
        """Compare the number of rows with the bounds."""
        rows = content.rows
        inside = (self.min is None or rows >= self.min) and (self.max is None or rows <= self.max)
        return Judgement(
            verdict=verdict(holds=inside),
            message=f"rows must number {between(self.min, self.max)}, but there are {rows:,}",
            value=str(rows),
        )
