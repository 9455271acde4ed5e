"""Metrics: how wrong predictions are. The training gate and outcome SLOs choose from this one list.

One more metric is one more file here and one more field of `OneMetric`.
"""

from typing import Self

from pydantic import model_validator

from perennial.families.metric import (
    UNKNOWN,
    Bounds,
    Direction,
    Ends,
    Labels,
    Metric,
    as_numbers,
    difference_rules,
    limit_rules,
    metrics_of,
)
from perennial.families.metrics.error_rate import ErrorRate
from perennial.families.metrics.false_negative_rate import FalseNegativeRate
from perennial.families.metrics.false_positive_rate import FalsePositiveRate
from perennial.terms.part import OneOf

__all__ = [
    "UNKNOWN",
    "Bounds",
    "Direction",
    "Ends",
    "Labels",
    "Metric",
    "OneMetric",
    "as_numbers",
    "difference_rules",
    "limit_rules",
    "metrics_of",
]


class OneMetric(OneOf):
    """Exactly one metric. What judges by a limit adds the field `max` and the rules `limit_rules(OneMetric, "max")`."""

    error_rate: ErrorRate | None = None
    false_negative_rate: FalseNegativeRate | None = None
    false_positive_rate: FalsePositiveRate | None = None

    @model_validator(mode="after")
    def _limits_of_the_metric(self) -> Self:
        """Hold what the API server holds, for what comes another way."""
        metric, limit, tolerated = self.metric(), getattr(self, "max", None), getattr(self, "max_regression", None)
        if limit is not None and not metric.limits.hold(float(limit)):
            raise ValueError(f"max of {metric.name} must be {metric.limits.words()}, but is {limit}")
        if tolerated is not None and not metric.limits.allow(float(tolerated)):
            raise ValueError(
                f"maxRegression of {metric.name} must be {metric.limits.difference_words()}, but is {tolerated}"
            )
        return self

    def metric(self) -> Metric:
        """Return the metric that is set."""
        found = self.member()
        assert isinstance(found, Metric)
        return found
