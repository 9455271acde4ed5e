"""The least time between two retrainings."""

from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar

from pydantic import Field

from perennial.families.guardrail import Past, Refusal
from perennial.terms import reasons
from perennial.terms.part import Scalar
from perennial.terms.reasons import Reason


class Cooldown(Scalar[Annotated[int, Field(ge=0, le=31_536_000)]]):
    """The least number of seconds from one retraining's start to the next."""

    example: ClassVar[Any] = 21_600
    reason: ClassVar[Reason] = reasons.COOLDOWN

    def refuses(self, past: Past, now: datetime) -> Refusal | None:
        """Refuse until the last start is long enough ago."""
        if not past.starts:
            return None
        until = max(past.starts) + timedelta(seconds=self.root)
        if now >= until:
            return None
        message = f"After the last one, the next may start at {until:%Y-%m-%d %H:%M:%S} UTC."
        return Refusal(reason=self.reason, message=message, until=until)
