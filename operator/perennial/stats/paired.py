"""Intervals of proportions for the training gate: a candidate and a baseline on the same held-out rows."""

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with the bounds that hold it at the stated confidence."""

    estimate: float
    low: float
    high: float


def proportion_interval(total: int, bad: int, confidence: float = 0.95) -> Interval:
    """Return bad / total with Wilson's score interval (E. B. Wilson, JASA 1927).

    Raises:
        ValueError: total is not positive, or bad is not within 0..total.
    """
    if total <= 0 or not 0 <= bad <= total:
        raise ValueError(f"a proportion needs 0 <= bad <= total and total > 0, not {bad} of {total}")
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    rate, weight = bad / total, z * z / total
    centre = (rate + weight / 2) / (1 + weight)
    half = sqrt(rate * (1 - rate) * weight + weight * weight / 4) / (1 + weight)
    # Rounding must not move a bound past what the counts allow.
    low = 0.0 if bad == 0 else max(0.0, centre - half)
    high = 1.0 if bad == total else min(1.0, centre + half)
    return Interval(rate, low, high)


def paired_difference(
    total: int,
    candidate_bad: int,
    baseline_bad: int,
    only_candidate: int,
    only_baseline: int,
    *,
    confidence: float = 0.95,
) -> Interval:
    """Return the candidate's minus the baseline's proportion of bad rows, with Tango's score interval.

    Source: T. Tango, "Equivalence test and confidence interval for the difference in proportions for the paired-sample
    design", Statistics in Medicine 17 (1998). The bounds are the differences that a score test would just not reject;
    they keep their level for small and for zero discordant counts, where Wald's interval collapses.

    Args:
        total: rows that both models predicted.
        candidate_bad: rows that the candidate got wrong.
        baseline_bad: rows that the baseline got wrong.
        only_candidate: rows that the candidate alone got wrong.
        only_baseline: rows that the baseline alone got wrong.
        confidence: the interval's two-sided level.

    Raises:
        ValueError: the counts cannot belong to one table.
    """
    both = candidate_bad - only_candidate
    if total <= 0 or min(both, only_candidate, only_baseline, total - both - only_candidate - only_baseline) < 0:
        raise ValueError("paired counts must be the cells of one table with total > 0 rows")
    if both != baseline_bad - only_baseline:
        raise ValueError("candidate_bad - only_candidate must equal baseline_bad - only_baseline: rows both got wrong")
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    estimate = (only_candidate - only_baseline) / total
    low = _score_bound(total, only_candidate, only_baseline, z, toward=-1.0)
    high = _score_bound(total, only_candidate, only_baseline, z, toward=1.0)
    return Interval(estimate, low, high)


def _score_bound(total: int, first: int, second: int, z: float, toward: float) -> float:
    """Return the difference farthest from the estimate, towards -1 or 1, whose score is within z."""
    inside, outside = (first - second) / total, toward
    for _ in range(80):
        middle = (inside + outside) / 2
        if abs(_score(total, first, second, middle)) <= z:
            inside = middle
        else:
            outside = middle
    return inside


def _score(total: int, first: int, second: int, difference: float) -> float:
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
