"""Tests of error rates that may be looked at after every tick: mixture e-processes on counts of bad requests.

An e-process is at most 1 in expectation at any stopping time while its null hypothesis holds, so that "reject when it
reaches 1/alpha" errs with probability at most alpha however often one looks (Ville's inequality). Both tests here are
likelihood ratios that are averaged over a grid of alternatives; every log e-value is
`logmeanexp over the grid (sum over ticks of increments)`, a function of the table of ticks alone.

Sources: M. Lindon and A. Malek, "Anytime-valid inference for multinomial count data", NeurIPS 2022, section 3 (the
conditional binomial); H. Robbins, "Statistical methods related to the law of the iterated logarithm", 1970 (mixtures).
"""

from dataclasses import dataclass
from math import lgamma, log, log1p
from statistics import NormalDist
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

GRID_POINTS = 24
LEAST_LOG = -1e300
"""The logarithm of nothing, as a finite number."""
HARM_SCALE = 0.6
"""Scale of the alternatives in log rate ratio that are worse: a median of 1.5 times the stable version's rate."""
SAFE_SCALE = 0.35
"""The same for alternatives below a tolerated ratio: a healthy candidate is only a little below it."""
LIMIT_SCALE = 1.0
"""The same against a constant limit, which healthy services undercut by far."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Requests and bad requests of both arms. Numbers or arrays of one shape, one element a tick."""

    candidate_total: FloatArray | float
    candidate_bad: FloatArray | float
    stable_total: FloatArray | float
    stable_bad: FloatArray | float


class RateTest(Protocol):
    """A null hypothesis about error rates with a mixture of alternatives."""

    def increments(self, counts: Counts) -> FloatArray:
        """Return what each tick adds to the log likelihood ratios: the counts' shape, then (grid points,)."""
        ...


def half_normal(scale: float, points: int = GRID_POINTS) -> FloatArray:
    """Return the midpoints of `points` equally likely slices of a half-normal distribution, ascending, all > 0."""
    normal = NormalDist()
    return np.array([scale * normal.inv_cdf(0.5 + (i + 0.5) / (2 * points)) for i in range(points)])


def log_mean_exp(log_values: FloatArray) -> FloatArray:
    """Return log(mean(exp(x))) over the last axis, without overflow."""
    top = np.maximum(log_values.max(axis=-1, keepdims=True), LEAST_LOG)
    with np.errstate(divide="ignore"):
        mean: FloatArray = np.log(np.exp(log_values - top).mean(axis=-1)) + top[..., 0]
    return mean


@dataclass(frozen=True, slots=True)
class RatioTest:
    """The ratio of the candidate's to the stable version's rate, given what both served in the same ticks.

    Of the bad requests of a tick, each is the candidate's with probability r w / (r w + 1 - w), where w is the
    candidate's share of the tick's requests: the base rate cancels. So swings that both arms share, and ramps of the
    weight, leave it valid.
    """

    null: float
    log_ratios: FloatArray

    @classmethod
    def worse(cls, than: float = 1.0) -> Self:
        """Test H0 "the ratio is at most `than`": much evidence means the candidate does harm."""
        return cls(than, log(than) + half_normal(HARM_SCALE))

    @classmethod
    def better(cls, than: float) -> Self:
        """Test H0 "the ratio is at least `than`": much evidence means the candidate is safe."""
        return cls(than, log(than) - half_normal(SAFE_SCALE))

    def increments(self, counts: Counts) -> FloatArray:
        """Return what each tick adds to the log likelihood ratios: the counts' shape, then (grid points,)."""
        candidate, stable = np.asarray(counts.candidate_total, float), np.asarray(counts.stable_total, float)
        share = candidate / np.maximum(candidate + stable, 1e-300)
        return self.of_events(np.asarray(counts.candidate_bad, float), np.asarray(counts.stable_bad, float), share)

    def of_events(self, candidate_bad: FloatArray, stable_bad: FloatArray, share: FloatArray) -> FloatArray:
        """Return the same, given the candidate's share of the requests: a number within 0..1 for each count."""
        bad = candidate_bad[..., None]
        result: FloatArray = bad * self.candidate_event() + (bad + stable_bad[..., None]) * self.any_event(share)
        return result

    def candidate_event(self) -> FloatArray:
        """Return what a bad request adds because it is the candidate's, shape (grid points,)."""
        return self.log_ratios - log(self.null)

    def any_event(self, share: FloatArray) -> FloatArray:
        """Return what any bad request adds at a share: the share's shape, then (grid points,)."""
        at = share[..., None]
        result: FloatArray = np.log1p((self.null - 1) * at) - np.log1p((np.exp(self.log_ratios) - 1) * at)
        return result


@dataclass(frozen=True, slots=True)
class LimitTest:
    """The candidate's rate against a constant limit; the stable version plays no part."""

    limit: float
    logits: FloatArray
    """Log odds of the alternatives: a rate that is almost 1 is no float, its log odds are."""

    @classmethod
    def above(cls, limit: float, scale: float = LIMIT_SCALE) -> Self:
        """Test H0 "the rate is at most `limit`": much evidence means the limit is broken."""
        return cls(limit, _logit(limit) + half_normal(scale))

    @classmethod
    def below(cls, limit: float, scale: float = LIMIT_SCALE) -> Self:
        """Test H0 "the rate is at least `limit`": much evidence means the limit is kept."""
        return cls(limit, _logit(limit) - half_normal(scale))

    def increments(self, counts: Counts) -> FloatArray:
        """Return what each tick adds to the log likelihood ratios: the counts' shape, then (grid points,)."""
        return self.of_requests(np.asarray(counts.candidate_total, float), np.asarray(counts.candidate_bad, float))

    def of_requests(self, total: FloatArray, bad: FloatArray) -> FloatArray:
        """Return the same of requests and bad ones; the good ones, total - bad, may be fewer than none in a tick."""
        here = _logit(self.limit)
        if_bad = np.logaddexp(0, -here) - np.logaddexp(0, -self.logits)
        if_good = np.logaddexp(0, here) - np.logaddexp(0, self.logits)
        result: FloatArray = bad[..., None] * if_bad + (total - bad)[..., None] * if_good
        return result

    def odds(self) -> FloatArray:
        """Return what a request adds that turns out to be bad instead of good, shape (grid points,)."""
        return self.logits - _logit(self.limit)


@dataclass(frozen=True, slots=True)
class ShareTest:
    """The candidate's share of the requests against the weight it was given: is the routing what we think it is?

    H0: the odds of the share are within a factor `tolerance` of the weight's odds, both ways; half of the mixture lies
    above, half below. Requests that were sent but not yet answered, as after a change of weight, stay within it soon.
    """

    tolerance: float = 1.1
    scale: float = 0.5

    def increments(self, candidate: FloatArray, total: FloatArray, weight: FloatArray) -> FloatArray:
        """Return what each tick adds to the log likelihood ratios, shape (ticks, 2 * grid points).

        Args:
            candidate: the candidate's requests, shape (ticks,).
            total: both arms' requests, shape (ticks,).
            weight: the candidate's weight as a fraction within (0, 1), shape (ticks,).
        """
        logit = (np.log(weight) - np.log1p(-weight))[..., None]
        edge = log(self.tolerance)
        beyond = edge + half_normal(self.scale)
        null = logit + np.concatenate([np.full(GRID_POINTS, edge), np.full(GRID_POINTS, -edge)])
        other = logit + np.concatenate([beyond, -beyond])
        # log share = -log(1 + e^-x), log (1 - share) = -log(1 + e^x), x = log odds
        up = np.logaddexp(0, -null) - np.logaddexp(0, -other)
        down = np.logaddexp(0, null) - np.logaddexp(0, other)
        result: FloatArray = candidate[..., None] * up + (total - candidate)[..., None] * down
        return result


def log_e_path(test: RateTest, counts: Counts) -> FloatArray:
    """Return log E after each tick. The last axis of the counts is time; axes before it are independent tables."""
    return log_mean_exp(np.cumsum(test.increments(counts), axis=-2))


def log_e(test: RateTest, counts: Counts) -> float:
    """Return log E of a whole table of ticks, each of the counts with shape (ticks,)."""
    return float(log_mean_exp(test.increments(counts).sum(axis=-2)))


def requests_until(sums: FloatArray, expected: FloatArray, threshold: float) -> float | None:
    """Return how many more candidate requests bring log E to the threshold, if all goes as expected.

    Args:
        sums: log likelihood ratios so far, shape (grid points,).
        expected: what one candidate request (and the stable requests beside it) is expected to add, same shape.
        threshold: the log of 1/alpha.

    Returns:
        A number of requests ≥ 0, or None if no number of them would do (less than 10^9).
    """
    most = 1e9

    def reached(requests: float) -> bool:
        return float(log_mean_exp(sums + requests * expected)) >= threshold

    if reached(0):
        return 0.0
    if not reached(most):
        return None
    low, high = 0.0, 1.0
    while not reached(high):
        low, high = high, high * 2
    while high - low > max(0.01 * high, 0.5):
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high


def rate_interval(total: int, bad: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return bounds of a rate that hold at all times at once: a confidence sequence of the beta-binomial mixture.

    A rate p is inside while  B(bad + 1/2, good + 1/2) / B(1/2, 1/2) / (p^bad (1 - p)^good) < 1 / (1 - confidence).
    Source: Robbins 1970; S. R. Howard et al., "Time-uniform Chernoff bounds via nonnegative supermartingales", 2020.
    """
    if total == 0:
        return 0.0, 1.0
    good = total - bad
    mixture = lgamma(bad + 0.5) + lgamma(good + 0.5) - lgamma(total + 1) - 2 * lgamma(0.5)

    def outside(rate: float) -> bool:
        likelihood = (bad * log(rate) if bad else 0.0) + (good * log1p(-rate) if good else 0.0)
        return mixture - likelihood >= -log(1 - confidence)

    estimate = bad / total
    low = 0.0 if bad == 0 else _boundary(outside, inside=estimate, beyond=1e-12)
    high = 1.0 if good == 0 else _boundary(outside, inside=estimate, beyond=1 - 1e-12)
    return low, high


class _Predicate(Protocol):
    def __call__(self, rate: float, /) -> bool: ...


def _boundary(outside: _Predicate, inside: float, beyond: float) -> float:
    """Return the rate between `inside` and `beyond` where `outside` becomes true, on its outer side."""
    inside = min(max(inside, 1e-12), 1 - 1e-12)
    if not outside(beyond):
        return round(beyond)
    for _ in range(60):
        middle = (inside + beyond) / 2
        if outside(middle):
            beyond = middle
        else:
            inside = middle
    return beyond


def _logit(rate: float) -> float:
    return log(rate) - log1p(-rate)
