"""A rate of wrong predictions, once the labels are in."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import Field

from perennial.families.slos.base import Judged, Objective
from perennial.terms.forms import Decimal, OpenShare


class OutcomeMetric(StrEnum):
    """A rate of wrong predictions."""

    FALSE_NEGATIVE_RATE = "falseNegativeRate"
    FALSE_POSITIVE_RATE = "falsePositiveRate"
    ERROR_RATE = "errorRate"


class Outcome(Objective):
    """A rate of wrong predictions, once the labels are in; judged on matured cohorts of the stable version."""

    judges: ClassVar[frozenset[Judged]] = frozenset({"cohorts"})
    example: ClassVar[Mapping[str, Any]] = {"metric": "falseNegativeRate", "max": "0.3"}

    metric: Annotated[OutcomeMetric, Field(description="The rate.")]
    max: Annotated[OpenShare, Field(description="The greatest rate that is all right.")]
    threshold: Annotated[Decimal, Field(description="A score of at least this counts as a positive prediction.")] = (
        "0.5"
    )
    min_samples: Annotated[
        int, Field(ge=1, le=10**9, description="Cohorts with fewer labelled rows in the rate don't decide.")
    ] = 100
