"""A promise that the version which answers breaks."""

from datetime import datetime
from typing import Any, ClassVar

from perennial.families.trigger import Ask, Known
from perennial.terms import reasons
from perennial.terms.forms import PartName
from perennial.terms.part import Scalar
from perennial.terms.reasons import Reason


class SloBroken(Scalar[PartName]):
    """The name of an SLO that is judged on the stable version: it asks while that is shown to break it."""

    example: ClassVar[Any] = "misses"
    reason: ClassVar[Reason] = reasons.SLO_BROKEN

    def asks(self, known: Known, now: datetime) -> Ask | None:  # noqa: ARG002 - others go by time
        """Ask while the SLO is broken."""
        found = known.broken.get(self.root)
        return None if found is None else Ask(reason=self.reason, message=found.message, cohort=found.cohort)
