"""What starts a retraining. `RetrainingTrigger` is the list: one more is one more file and one more line."""

from typing import Annotated

from pydantic import Field

from perennial.families.trigger import Ask, BrokenPromise, Known, Trigger
from perennial.families.triggers.slo import SloBroken
from perennial.terms.forms import PartName
from perennial.terms.part import OneOf

__all__ = ["Ask", "BrokenPromise", "Known", "RetrainingTrigger", "SloBroken", "Trigger"]


class RetrainingTrigger(OneOf):
    """What starts a retraining."""

    name: Annotated[PartName, Field(description="What the trigger is called in status and events.")]
    slo: Annotated[
        SloBroken | None, Field(description="An outcome SLO that the stable version breaks on matured cohorts.")
    ] = None

    def trigger(self) -> Trigger:
        """Return what is set."""
        found = self.member()
        assert isinstance(found, Trigger)
        return found
