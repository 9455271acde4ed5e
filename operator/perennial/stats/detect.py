"""Has a rate risen above a limit for good? From matured cohorts of labelled predictions, which differ from day to day.

Each cohort gives, for each rate q above the limit, a likelihood ratio BB(bad | total, q) / BB(bad | total, limit) of
beta-binomials: their spread is that of the days, so that a bad day alone is no change. It is at most 1 in expectation
while the rate is at most the limit. The e-detector M(q) = L(q) (M(q) + 1) adds up what consecutive cohorts say and
weighs every day on which the change may have come. An alarm, mean over q of M >= 1/false_alarm, comes on average not
before 1/false_alarm cohorts of a model that keeps its promise. It ends when the last LIFT_COHORTS cohorts together are
at or below the limit again, and the detector starts anew.

Source: J. Shin, A. Ramdas and A. Rinaldo, "E-detectors: a nonparametric framework for sequential change detection",
2203.03532 (the e-SR procedure).
"""

from dataclasses import dataclass
from math import log, pi, sqrt
from statistics import NormalDist
from typing import Self

import numpy as np
from numpy.typing import NDArray

from perennial.stats.rates import half_normal, log_mean_exp

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

GRID_POINTS = 12
SCALE = 0.8
"""Scale of the alternatives in log odds above the limit: from a rate half as high again up to a multiple of it."""
REFERENCE_COHORTS = 30
"""So many cohorts tell how much days differ; before there are so many, the default is taken."""
SETTLED_COHORTS = 14
"""So many of the newest do not tell, as soon as REFERENCE_COHORTS older ones do."""
DEFAULT_SD = 0.24
DEFAULT_CORRELATION = 0.5
"""Days until then: log odds that vary with this standard deviation, each day half like the one before. A service whose
days differ more, up to 0.3 with weekends beside it, has more false alarms in this time than later, and still fewer than
is promised: `make bench-decisions` shows it. A rate of half as much again and more is seen in the first week."""
LEAST_VARIANCE = 0.01
"""No days are so alike that less is believed, squared log odds."""
MOST_CORRELATION = 0.9
USUAL_CORRELATION = 0.25
SURE = 2.0
"""Standard errors of a covariance by which the correlation of neighbours is drawn to the usual one."""
MOST_COHORTS = 1000
"""More cohorts than this are not waited for."""
LIFT_COHORTS = 3
"""An alarm ends when so many cohorts together keep the limit again: one good day is as little news as one bad day."""


@dataclass(frozen=True, slots=True)
class Cohorts:
    """Matured cohorts as columns, oldest first, each of shape (deployments, cohorts).

    `total`: predictions that the metric is over; `bad`: those of them that are bad; `counted`: the cohort has samples
    enough, the others are as if they had never been.
    """

    total: FloatArray
    bad: FloatArray
    counted: BoolArray

    @classmethod
    def complete(cls, total: FloatArray, bad: FloatArray) -> Self:
        """Return cohorts that all count."""
        return cls(np.asarray(total, float), np.asarray(bad, float), np.ones(np.shape(total), bool))

    def only(self, which: BoolArray) -> Self:
        """Return the same cohorts, of which only these count."""
        return type(self)(self.total, self.bad, self.counted & which)


@dataclass(frozen=True, slots=True)
class Detection:
    """What the detector says after each cohort, each of shape (deployments, cohorts)."""

    log_e: FloatArray
    alarm: BoolArray
    log_threshold: float
    log_sums: FloatArray
    """ln M of each alternative after the last cohort, shape (deployments, grid points)."""

    def onsets(self) -> BoolArray:
        """Return where an alarm begins."""
        before = np.concatenate([np.zeros_like(self.alarm[:, :1]), self.alarm[:, :-1]], axis=1)
        return np.asarray(self.alarm & ~before)


def detect(cohorts: Cohorts, limit: FloatArray | float, variance: FloatArray, false_alarm: float) -> Detection:
    """Run the detector over cohorts.

    Args:
        cohorts: what was counted.
        limit: the rate that is promised; broadcast to (deployments, cohorts), each known before its cohort.
        variance: how much days differ, as `day_variance` says it before each cohort; (deployments, cohorts).
        false_alarm: alarms a cohort of a model that keeps its promise, at most.
    """
    deployments, number = cohorts.total.shape
    limit = np.broadcast_to(np.asarray(limit, float), cohorts.total.shape)
    gains, excess = _gains(cohorts, limit, variance), cohorts.bad / np.maximum(cohorts.total, 1) - limit
    threshold = -log(false_alarm)
    sums, on = np.full((deployments, GRID_POINTS), -np.inf), np.zeros(deployments, bool)
    latest = np.zeros((deployments, LIFT_COHORTS))
    log_e, alarm = np.full((deployments, number), -np.inf), np.zeros((deployments, number), bool)
    for t in range(number):
        taken = cohorts.counted[:, t, None]
        sums = np.where(taken, gains[:, t] + np.logaddexp(sums, 0), sums)
        latest = np.where(taken, np.concatenate([latest[:, 1:], excess[:, t, None]], axis=1), latest)
        log_e[:, t] = _log_mean(sums)
        kept = on & (latest.sum(axis=1) <= 0)
        on = (on | (log_e[:, t] >= threshold)) & ~kept
        sums[kept] = -np.inf
        alarm[:, t] = on
    return Detection(log_e, alarm, threshold, sums)


def cohorts_needed(cohorts: Cohorts, limit: float, variance: float, found: Detection) -> float | None:
    """Return about how many more cohorts raise an alarm, if all goes on as it has gone; None: MOST_COHORTS don't.

    Args:
        cohorts: of one deployment, shape (1, cohorts); those that count are all that is looked at.
        limit: what is promised from now on.
        variance: how much days differ, as known now.
        found: what the detector said of them.
    """
    used = cohorts.counted[0]
    total, bad = cohorts.total[0, used], cohorts.bad[0, used]
    if not len(total):
        return None
    one = np.full((1, len(total)), limit), np.full((1, len(total)), variance)
    since = _gains(Cohorts.complete(total[None], bad[None]), *one)[0][::-1].cumsum(axis=0)[::-1].max(axis=1).argmax()
    size, rate = float(total[since:].mean()), float(bad[since:].sum() / total[since:].sum())
    mean = Cohorts.complete(np.array([[size]]), np.array([[size * rate]]))
    gain = _gains(mean, one[0][:, :1], one[1][:, :1])[0]
    sums, before = found.log_sums, float(found.log_e[0, -1])
    for number in range(MOST_COHORTS):
        sums = gain + np.logaddexp(sums, 0)
        now = float(_log_mean(sums)[0])
        if now >= found.log_threshold:
            # Within the last one evidence grows as if evenly.
            from_ = max(before, 0.0)
            return number + float(np.clip((found.log_threshold - from_) / (now - from_), 0, 1))
        before = now
    return None


def day_variance(cohorts: Cohorts) -> FloatArray:
    """Return how much days differ, as known before each cohort: variance of the log odds, shape (deployments, cohorts).

    From the counted cohorts before it: their spread beyond that of the binomial, times (1 + c) / (1 - c) for the
    correlation c of neighbours, because days that are alike add up; the default before there are REFERENCE_COHORTS.
    The newest SETTLED_COHORTS are left out where that leaves enough.
    """
    used = cohorts.counted
    total = np.where(used, np.maximum(cohorts.total, 1), 1)
    rate = np.where(used, cohorts.bad / total, 0)
    # Weights between "each prediction counts" and "each day counts".
    weight = np.where(used, total / (1 + 0.25 * DEFAULT_SD**2 * total), 0)
    number, w, wy = _before(used), _before(weight), _before(weight * rate)
    enough = number >= REFERENCE_COHORTS
    w = np.where(enough, w, 1)
    mean = np.where(enough, wy / w, 0.5)
    binomial = np.clip(mean * (1 - mean), 1e-6, None)
    noise = binomial * (_before(weight / total) - _before(weight**2 / total) / w)
    spread = _before(weight * rate**2) - w * mean**2 - noise
    own = np.clip(spread / np.where(enough, w - _before(weight**2) / w, 1), 0, None)
    # A correlation is a quotient of two small numbers: as far as chance alone may have made them, it is taken as usual.
    chance = SURE * np.where(enough, (spread + noise) / w, 0) / np.sqrt(np.maximum(number, 1))
    correlation = (_covariance(weight, rate, mean) + USUAL_CORRELATION * chance) / np.maximum(own + chance, 1e-12)
    # The estimate is too low by about this, because the mean is estimated too (Marriott & Pope, Biometrika 1954).
    correlation = correlation + (1 + 4 * np.clip(correlation, 0, 1)) / np.maximum(number, 1)
    found = own / binomial**2 * _longer(np.clip(correlation, 0, MOST_CORRELATION))
    known: FloatArray = np.where(enough, np.maximum(found, LEAST_VARIANCE), DEFAULT_VARIANCE)
    # What has just changed must not pass for how days differ: the newest cohorts are left out once others are enough.
    settled = np.clip(number - SETTLED_COHORTS, REFERENCE_COHORTS, None)
    until = [np.searchsorted(*row) for row in zip(number, np.minimum(settled, number), strict=True)]
    return np.take_along_axis(known, np.array(until, int).reshape(known.shape), axis=1)


def upper_rate(
    total: FloatArray | float,
    bad: FloatArray | float,
    cohorts: FloatArray | float,
    variance: FloatArray | float,
    confidence: float = 0.95,
) -> FloatArray:
    """Return the upper bound of a rate that was measured over some cohorts; arguments are broadcast.

    Days and predictions both count: the variance of the log odds is variance / cohorts + 1 / (total p (1 - p)).

    Raises:
        ValueError: there are no cohorts, or no predictions.
    """
    total, bad, cohorts = np.asarray(total, float), np.asarray(bad, float), np.asarray(cohorts, float)
    if (total <= 0).any() or (cohorts <= 0).any() or not ((bad >= 0) & (bad <= total)).all():
        raise ValueError("a rate needs 0 <= bad <= total, total > 0 and cohorts > 0")
    rate = (bad + 0.5) / (total + 1)
    error = np.sqrt(variance / cohorts + 1 / (total * rate * (1 - rate)))
    return _expit(np.log(rate) - np.log1p(-rate) + NormalDist().inv_cdf(confidence) * error)


def log_gamma(x: FloatArray) -> FloatArray:
    """Return ln Γ(x) for x > 0: Stirling's series at x + 8, relative error below 1e-13."""
    x = np.asarray(x, float)
    shifted = x + 8
    inverse = 1 / shifted
    square = inverse * inverse
    series = inverse * (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square * (1 / 1680 - square / 1188))))
    falling = x * (x + 1) * (x + 2) * (x + 3) * (x + 4) * (x + 5) * (x + 6) * (x + 7)
    value: FloatArray = (shifted - 0.5) * np.log(shifted) - shifted + log(sqrt(2 * pi)) + series - np.log(falling)
    return value


def _gains(cohorts: Cohorts, limit: FloatArray, variance: FloatArray) -> FloatArray:
    """Return each cohort's log likelihood ratio for each alternative, (deployments, cohorts, grid points)."""
    limit = np.clip(limit, 1e-6, 1 - 1e-6)
    spread = variance * limit * (1 - limit)
    precision = (np.clip(spread / (1 + spread), 1e-6, 0.5) ** -1 - 1)[..., None]
    rates = _expit((np.log(limit) - np.log1p(-limit))[..., None] + half_normal(SCALE, GRID_POINTS))
    bad, good = cohorts.bad[..., None], (cohorts.total - cohorts.bad)[..., None]

    def log_likelihood(rate: FloatArray) -> FloatArray:
        hits, misses = rate * precision, (1 - rate) * precision
        return log_gamma(bad + hits) - log_gamma(hits) + log_gamma(good + misses) - log_gamma(misses)

    return log_likelihood(rates) - log_likelihood(limit[..., None])


def _log_mean(sums: FloatArray) -> FloatArray:
    """Return log(mean(exp(x))) over the last axis; -inf where there is no evidence yet."""
    finite = np.isfinite(sums.max(axis=-1))
    return np.where(finite, log_mean_exp(np.where(finite[:, None], sums, 0)), -np.inf)


def _before(values: FloatArray | BoolArray) -> FloatArray:
    """Return the sums over all cohorts before each."""
    sums = np.cumsum(np.asarray(values, float), axis=1)
    return np.concatenate([np.zeros_like(sums[:, :1]), sums[:, :-1]], axis=1)


def _covariance(weight: FloatArray, rate: FloatArray, mean: FloatArray) -> FloatArray:
    """Return the covariance of neighbours, among the cohorts before each."""
    pair = np.sqrt(weight[:, 1:] * weight[:, :-1])
    columns = (pair, pair * (rate[:, 1:] + rate[:, :-1]), pair * rate[:, 1:] * rate[:, :-1])
    pairs, sums, products = (
        _before(np.concatenate([np.zeros_like(weight[:, :1]), column], axis=1)) for column in columns
    )
    covariance: FloatArray = (products - mean * sums + mean**2 * pairs) / np.where(pairs > 0, pairs, 1)
    return covariance


def _longer(correlation: FloatArray | float) -> FloatArray:
    """Return by how much the variance of a long mean is more than that of days on their own."""
    return np.asarray((1 + correlation) / (1 - correlation), float)


def _expit(logits: FloatArray) -> FloatArray:
    rates: FloatArray = 1 / (1 + np.exp(-logits))
    return rates


DEFAULT_VARIANCE = float(DEFAULT_SD**2 * _longer(DEFAULT_CORRELATION))
