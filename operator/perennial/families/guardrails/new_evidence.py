"""One retraining for one alarm and one version of the data. It always holds, and nobody has to write it."""

from datetime import datetime
from typing import Any, ClassVar

from perennial.families.guardrail import Past, Refusal
from perennial.terms import reasons
from perennial.terms.reasons import Reason


class NewEvidence:
    """A second retraining needs cohorts and data that the first had not: on the same ones it would learn the same.

    Unless it is to be trained otherwise: a template that somebody has changed is tried once, on what there is.
    """

    example: ClassVar[Any] = None
    reason: ClassVar[Reason] = reasons.NOTHING_NEW

    def refuses(self, past: Past, now: datetime) -> Refusal | None:  # noqa: ARG002 - time alone brings nothing new
        """Refuse what was asked before: on no later cohort, or on the same version of the data."""
        last, asked = past.last, past.asked
        if last is None or (None not in {last.template, asked.template} and asked.template != last.template):
            return None
        older = asked.cohort is not None and last.cohort is not None and asked.cohort <= last.cohort
        same = asked.dataset is not None and asked.dataset == last.dataset
        if not older and not same:
            return None
        missing = " and ".join(what for what, lacks in (("a later cohort", older), ("new data", same)) if lacks)
        message = f"The last one learnt from this already: another one needs {missing}, or another template."
        return Refusal(reason=self.reason, message=message, until=None)
