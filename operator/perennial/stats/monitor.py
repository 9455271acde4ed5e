"""The verdict on a promise about outcomes, from matured cohorts of labelled predictions of one version.

Each cohort gives an e-value against H0 "the rate is at most the limit"; the e-detector M = e * max(M, 1) adds up what
consecutive cohorts say and forgets what lies before the best restart. An alarm at M >= 1/false_alarm comes, for a model
that keeps its promise, on average not before 1/false_alarm cohorts.

Source: J. Shin, A. Ramdas and A. Rinaldo, "E-detectors: a nonparametric framework for sequential change detection",
2024 (the e-CUSUM). The cohort is the unit; within it, predictions are taken as independent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

from perennial.stats.rates import Counts, LimitTest, log_mean_exp

DETECTOR_SCALE = 0.35
"""Scale of the alternatives in log odds above the limit: decay is a rate some tenths above it, seldom a multiple."""


@dataclass(frozen=True, slots=True)
class CohortCount:
    """Labelled predictions of one matured cohort that the metric is over, and how many of them were bad."""

    total: int
    bad: int


@dataclass(frozen=True, slots=True)
class Detection:
    """What the e-detector says after the latest usable cohort, which is cohorts[`latest`]."""

    latest: int
    log_e: float
    log_threshold: float

    @property
    def alarm(self) -> bool:
        """Whether the limit is shown to be broken."""
        return self.log_e >= self.log_threshold


def detect(cohorts: Sequence[CohortCount], limit: float, min_samples: int, false_alarm: float) -> Detection | None:
    """Run the e-detector over the cohorts, oldest first; None if no cohort has `min_samples`.

    After an alarm, what went before counts for no more than the alarm itself, so that a model that has recovered is
    called healthy again as soon as one cohort speaks for it.
    """
    test = LimitTest.above(limit, DETECTOR_SCALE)
    threshold = -log(false_alarm)
    value, latest = 0.0, None
    for i, cohort in enumerate(cohorts):
        if cohort.total >= min_samples:
            step = cohort_log_e(test, cohort)
            value, latest = step + min(max(value, 0.0), threshold), i
    return None if latest is None else Detection(latest, value, threshold)


def cohort_log_e(test: LimitTest, cohort: CohortCount) -> float:
    """Return the log e-value of one cohort."""
    return float(log_mean_exp(test.increments(Counts(cohort.total, cohort.bad, 0, 0))))
