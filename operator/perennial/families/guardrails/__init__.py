"""What keeps retraining from running away. `Guardrails` is the list: one more is one more file and one more line."""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from perennial.families.guardrail import Evidence, Guardrail, Past, Refusal
from perennial.families.guardrails.cooldown import Cooldown
from perennial.families.guardrails.max_per_day import MaxPerDay
from perennial.families.guardrails.new_evidence import NewEvidence
from perennial.terms.part import Part

__all__ = ["ALWAYS", "Cooldown", "Evidence", "Guardrail", "Guardrails", "MaxPerDay", "NewEvidence", "Past", "Refusal"]

ALWAYS: tuple[Guardrail, ...] = (NewEvidence(),)
"""Those that nobody has to write."""


class Guardrails(Part):
    """What keeps retraining from running away. Only one runs at a time."""

    cooldown_seconds: Annotated[
        Cooldown, Field(description="The least time from one retraining's start to the next.")
    ] = Cooldown(21_600)
    max_per_day: Annotated[MaxPerDay, Field(description="Retrainings started within any 24 hours.")] = MaxPerDay(2)

    def members(self) -> tuple[Guardrail, ...]:
        """Return all that hold: those that are always there, then those of the spec in the order of the fields."""
        return (*ALWAYS, *(found for name in type(self).model_fields if (found := getattr(self, name)) is not None))

    def refuses(self, past: Past, now: datetime) -> Refusal | None:
        """Return why another retraining may not start now, as the first guardrail that refuses says it; or None."""
        return next((said for each in self.members() if (said := each.refuses(past, now)) is not None), None)
