"""How wrong predictions are, once the labels are in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from pydantic import ConfigDict, Field, model_validator

from perennial.families.metrics import Ends, OneMetric, limit_rules
from perennial.families.objective import Judged, Objective
from perennial.stats.outcomes import (
    REFERENCE_SIZE,
    Labelled,
    Reference,
    Rules,
    Standing,
    find_reference,
    judge,
    samples_needed,
)
from perennial.stats.paired import proportion_interval
from perennial.stats.sums import Sums
from perennial.terms import reasons
from perennial.terms.finding import Evidence, Finding
from perennial.terms.forms import Decimal
from perennial.terms.part import rules
from perennial.terms.reasons import Reason
from perennial.terms.text import clip, decimal, percent
from perennial.terms.words import Verdict

MESSAGE = 512


@dataclass(frozen=True, slots=True)
class Maturing:
    """What is agreed for all outcomes of a ModelDeployment: when labels are complete, how often to be wrong."""

    min_coverage: float
    false_alarm: float


class Outcome(OneMetric, Objective):
    """How wrong predictions are, once the labels are in; judged on matured cohorts of the stable version."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            *limit_rules(OneMetric, "max"),
            ("has(self.max) || has(self.maxIncrease)", "outcome needs max, maxIncrease or both"),
            ("!has(self.maxIncrease) || double(self.maxIncrease) >= 0.0", "maxIncrease must be at least 0"),
        )
    )
    judges: ClassVar[frozenset[Judged]] = frozenset({"cohorts"})
    example: ClassVar[Mapping[str, Any]] = {
        "falseNegativeRate": {"threshold": "0.4"},
        "max": "0.3",
        "maxIncrease": "0.05",
    }

    max: Annotated[Decimal | None, Field(description="The greatest value that is all right.")] = None
    max_increase: Annotated[
        Decimal | None,
        Field(
            description=(
                "How much more than at the beginning is all right: than the upper bound of what the version's first "
                f"{REFERENCE_SIZE} complete cohorts showed."
            )
        ),
    ] = None
    min_samples: Annotated[
        int, Field(ge=1, le=10**9, description="Cohorts with fewer labelled predictions in the metric don't decide.")
    ] = 100

    @model_validator(mode="after")
    def _promises_something(self) -> Self:
        if self.max is None and self.max_increase is None:
            raise ValueError("outcome needs max, maxIncrease or both")
        if self.max_increase is not None and float(self.max_increase) < 0:
            raise ValueError(f"maxIncrease must be at least 0, but is {self.max_increase}")
        return self

    def rules(self, agreed: Maturing) -> Rules:
        """Return the promise as numbers."""
        return Rules(
            limit=None if self.max is None else float(self.max),
            increase=None if self.max_increase is None else float(self.max_increase),
            min_samples=self.min_samples,
            min_coverage=agreed.min_coverage,
            false_alarm=agreed.false_alarm,
        )

    def may_count(self, cohort: Ends) -> bool:
        """Return whether a cohort has samples enough, or may have once its labels are there."""
        return cohort.known.n + cohort.missing >= self.min_samples

    def reference(self, cohorts: Sequence[Ends], agreed: Maturing) -> Reference | None:
        """Return what a version's first matured cohorts showed; None where nothing is promised of it, or too early."""
        if self.max_increase is None:
            return None
        return find_reference(_columns(cohorts), self.rules(agreed))

    def finding(self, name: str, cohorts: Sequence[Ends], agreed: Maturing, reference: Reference | None) -> Finding:
        """Return what is found of the promise on a version's matured cohorts, oldest first."""
        promised = self.rules(agreed)
        reference = reference or self.reference(cohorts, agreed)
        newest = next((i for i in reversed(range(len(cohorts))) if self.may_count(cohorts[i])), None)
        if newest is None:
            return Finding(
                name=name,
                verdict=Verdict.NO_DATA,
                reason=reasons.NO_MATURED_COHORT,
                message=f"no matured cohort of this version has {self.min_samples:,} samples yet",
            )
        columns = _columns(cohorts[: newest + 1])
        found = judge(columns, promised, reference)
        cohort, limit = cohorts[newest], float(found.limit[0, -1])
        verdict, reason, why = _said(Standing(int(found.standing[0, -1])), cohort, limit, promised)
        known, (low, high) = cohort.known, bounds(cohort)
        return Finding(
            name=name,
            verdict=verdict,
            reason=reason,
            message=clip(f"{_seen(cohort, limit)}: {why}", MESSAGE),
            value=decimal(known.mean) if known.n else None,
            low=None if low is None else decimal(low),
            high=None if high is None else decimal(high),
            baseline=decimal(reference.rate) if reference is not None and self.max_increase is not None else None,
            samples=known.n,
            needed=samples_needed(columns, promised, reference) if verdict is Verdict.UNDECIDED else None,
            evidence=Evidence(
                harm=decimal(max(float(found.log_e[0, -1]), LEAST_LOG)),
                harm_threshold=decimal(float(found.log_threshold[0, -1])),
            ),
        )


LEAST_LOG = -999.0
"""No evidence at all, as a decimal."""


@lru_cache(maxsize=1024)
def bounds(cohort: Ends) -> tuple[float | None, float | None]:
    """Return what the metric lies between in a cohort: chance and missing labels both taken for the worst."""
    least, most = cohort.least, cohort.most
    return (
        proportion_interval(least.n, least.total).low if least.n else None,
        proportion_interval(most.n, most.total).high if most.n else None,
    )


def _said(standing: Standing, cohort: Ends, limit: float, promised: Rules) -> tuple[Verdict, Reason, str]:
    match standing:
        case Standing.BROKEN if promised.limit is not None and limit >= promised.limit:
            return Verdict.FAIL, reasons.ABOVE_LIMIT, "shown to be broken"
        case Standing.BROKEN:
            return Verdict.FAIL, reasons.ABOVE_REFERENCE, "shown to be more than it was at the beginning"
        case Standing.KEPT:
            return Verdict.PASS, reasons.KEPT, "kept"
        case Standing.UNDECIDED:
            why = "above it, but that may be chance; the next cohorts will tell"
            return Verdict.UNDECIDED, reasons.MORE_COHORTS_NEEDED, why
        case Standing.NO_REFERENCE:
            why = f"the first {REFERENCE_SIZE} complete cohorts of this version become what it is compared with"
            return Verdict.NO_DATA, reasons.REFERENCE_INCOMPLETE, why
        case Standing.INCOMPLETE | Standing.NO_SAMPLES:
            ends = " and ".join(percent(end.mean) for end in (cohort.least, cohort.most) if end.n)
            why = f"{cohort.missing:,} labels are missing" + (f", with them it lies between {ends}" if ends else "")
            return Verdict.NO_DATA, reasons.LABELS_INCOMPLETE, why


def _seen(cohort: Ends, limit: float) -> str:
    known = cohort.known
    value = f"{percent(known.mean)} of {known.n:,} samples" if known.n else "no samples"
    return value if limit == np.inf else f"{value}, the limit is {percent(limit)}"


def _columns(cohorts: Sequence[Ends]) -> Labelled:
    def pair(ends: Sequence[Sums]) -> tuple[Any, Any]:
        return np.array([[end.n for end in ends]], float), np.array([[end.total for end in ends]], float)

    return Labelled(
        known=pair([each.known for each in cohorts]),
        least=pair([each.least for each in cohorts]),
        most=pair([each.most for each in cohorts]),
        missing=np.array([[each.missing for each in cohorts]], float),
    )
