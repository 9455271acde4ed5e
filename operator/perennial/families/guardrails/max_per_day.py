"""The most retrainings within 24 hours."""

from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar

from pydantic import Field

from perennial.families.guardrail import Past, Refusal
from perennial.terms import reasons
from perennial.terms.part import Scalar
from perennial.terms.reasons import Reason

DAY = timedelta(days=1)


class MaxPerDay(Scalar[Annotated[int, Field(ge=1, le=1000)]]):
    """How many retrainings may start within any 24 hours."""

    example: ClassVar[Any] = 2
    reason: ClassVar[Reason] = reasons.DAILY_LIMIT

    def refuses(self, past: Past, now: datetime) -> Refusal | None:
        """Refuse while as many as may be were started within the last 24 hours."""
        today = sorted(started for started in past.starts if now - started < DAY)
        if len(today) < self.root:
            return None
        message = f"{len(today)} were started within 24 hours, {self.root} may be."
        return Refusal(reason=self.reason, message=message, until=today[-self.root] + DAY)
