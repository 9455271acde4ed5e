"""Intervals of proportions: of one, and of the difference between two on the same rows."""

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

from perennial.stats.beta import beta_quantile


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with the bounds that hold it at the stated confidence."""

    estimate: float
    low: float
    high: float


def proportion_interval(total: float, bad: float, confidence: float = 0.95) -> Interval:
    """Return bad / total with the exact interval (C. J. Clopper and E. S. Pearson, Biometrika 1934).

    Each bound errs with probability (1 - confidence) / 2 at most, for however few rows; Wilson's lower bound errs in up
    to 16 % where one bad row is more than there should be.

    Raises:
        ValueError: total is not positive, or bad is not within 0..total.
    """
    if total <= 0 or not 0 <= bad <= total:
        raise ValueError(f"a proportion needs 0 <= bad <= total and total > 0, not {bad} of {total}")
    alpha, good = (1 - confidence) / 2, total - bad
    low = beta_quantile(alpha, bad, good + 1) if bad else 0.0
    high = beta_quantile(1 - alpha, bad + 1, good) if good else 1.0
    return Interval(bad / total, low, high)


def paired_difference(
    total: float, only_candidate: float, only_baseline: float, *, confidence: float = 0.95
) -> Interval:
    """Return the candidate's minus the baseline's proportion of bad rows, with Tango's score interval.

    Source: T. Tango, "Equivalence test and confidence interval for the difference in proportions for the paired-sample
    design", Statistics in Medicine 17 (1998). The bounds are the differences that a score test would just not reject;
    they keep their level for small and for zero discordant counts, where Wald's interval collapses.

    Args:
        total: rows that both models predicted.
        only_candidate: rows that the candidate alone got wrong.
        only_baseline: rows that the baseline alone got wrong.
        confidence: the interval's two-sided level.

    Raises:
        ValueError: the counts cannot belong to one table.
    """
    if total <= 0 or min(only_candidate, only_baseline, total - only_candidate - only_baseline) < 0:
        raise ValueError(
            f"discordant counts must be 0 or more, at most total > 0 together, not {only_candidate} and "
            f"{only_baseline} of {total}"
        )
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    estimate = (only_candidate - only_baseline) / total
    low = _score_bound(total, only_candidate, only_baseline, z, toward=-1.0)
    high = _score_bound(total, only_candidate, only_baseline, z, toward=1.0)
    return Interval(estimate, low, high)


def _score_bound(total: float, first: float, second: float, z: float, toward: float) -> float:
    """Return the difference farthest from the estimate, towards -1 or 1, whose score is within z."""
    inside, outside = (first - second) / total, toward
    for _ in range(80):
        middle = (inside + outside) / 2
        if abs(_score(total, first, second, middle)) <= z:
            inside = middle
        else:
            outside = middle
    return inside


def _score(total: float, first: float, second: float, difference: float) -> float:
    """Return Tango's score statistic of H0 "the proportions differ by `difference`"."""
    # The constrained maximum-likelihood estimate of the second discordant probability solves a q^2 + b q + c = 0.
    a = 2.0 * total
    b = (2 * total - first + second) * difference - first - second
    c = -second * difference * (1 - difference)
    q = (sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    variance = total * (2 * q + difference * (1 - difference))
    distance = first - second - total * difference
    if variance <= 0:
        return 0.0 if distance == 0 else distance * float("inf")
    return distance / sqrt(variance)
