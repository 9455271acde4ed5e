"""`range`: every value lies between two bounds."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field

from perennial.families.expectation import (
    GREATEST,
    LEAST,
    NUMBERS,
    Content,
    Expect,
    Judgement,
    as_decimal,
    between,
    verdict,
)
from perennial.terms import forms, reasons
from perennial.terms.part import rules


class Range(Expect):
    """Every value of the column must lie between min and max, both included. Missing values are passed over."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("has(self.min) || has(self.max)", "range needs min, max or both"),
            ("!has(self.min) || !has(self.max) || double(self.min) <= double(self.max)", "min must not exceed max"),
        )
    )

    types = NUMBERS
    needs = frozenset({LEAST, GREATEST})
    reason = reasons.OUT_OF_RANGE
    example: ClassVar[Mapping[str, Any]] = {"min": "0", "max": "2500.5"}

    min: Annotated[forms.Decimal | None, Field(description="The least value allowed.")] = None
    max: Annotated[forms.Decimal | None, Field(description="The greatest value allowed.")] = None

    def judge(self, content: Content) -> Judgement:
        """Compare the least and the greatest value with the bounds, exactly."""
        least, greatest = content.figures[LEAST], content.figures[GREATEST]
        if least is None:
            return Judgement(verdict=verdict(holds=True), message=f"{content.column} has no values")
        too_small = self.min is not None and Decimal(least) < Decimal(self.min)
        too_great = self.max is not None and Decimal(greatest) > Decimal(self.max)
        limits = between(self.min, self.max)
        return Judgement(
            verdict=verdict(holds=not too_small and not too_great),
            message=f"{content.column} must be {limits}, but goes from {_short(least)} to {_short(greatest)}",
            value=as_decimal(greatest if too_great and not too_small else least),
        )


def _short(value: float) -> str:
    """Return a whole number with all its digits, another with as many as tell it from its neighbours."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)  # noqa: PLR2004 - 15 digits
