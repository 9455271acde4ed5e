"""Does a version keep its promise about outcomes? From its matured cohorts, of which labels may be missing.

Labels may be missing for a reason (what was missed is found late), so nothing is taken as random: each cohort's rate
lies between what it is if unlabelled predictions are never bad, and if they always are. An alarm goes by the first, a
cohort keeps the promise by the second; where the limit lies between the two, the cohort is passed over.

Two detectors share the alarms that a healthy model may raise. One passes over cohorts whose labels are incomplete, so
that half-labelled ones do not look like good ones. The other takes every cohort at the end that is never bad: it can
only be late, and it is what remains where labels are never complete.
"""

from dataclasses import dataclass
from enum import IntEnum
from math import ceil

import numpy as np
from numpy.typing import NDArray

from perennial.stats.detect import (
    BoolArray,
    Cohorts,
    Detection,
    FloatArray,
    cohorts_needed,
    day_variance,
    detect,
    upper_rate,
)

REFERENCE_SIZE = 7
"""So many complete cohorts, the first of a version, say what its rate was when it became stable: a week of days."""
COMPLETE_SHARE = 0.8
"""The share of false alarms that the detector over complete cohorts may raise; the other has the rest."""


class Standing(IntEnum):
    """What is found after a cohort."""

    NO_SAMPLES = 0
    NO_REFERENCE = 1
    INCOMPLETE = 2
    UNDECIDED = 3
    KEPT = 4
    BROKEN = 5


@dataclass(frozen=True, slots=True)
class Labelled:
    """Matured cohorts as columns, oldest first, each of shape (deployments, cohorts).

    `known`: labelled predictions that the rate is over; `least` and `most`: with the unlabelled ones as they would make
    it least and most, each as (total, bad); `missing`: unlabelled ones that the rate may be over.
    """

    known: tuple[FloatArray, FloatArray]
    least: tuple[FloatArray, FloatArray]
    most: tuple[FloatArray, FloatArray]
    missing: FloatArray

    @property
    def coverage(self) -> FloatArray:
        """The labelled share of what the rate is, or may be, over."""
        return self.known[0] / np.maximum(self.known[0] + self.missing, 1)


@dataclass(frozen=True, slots=True)
class Rules:
    """What is promised, and what counts.

    `limit`: the greatest rate that is all right; `increase`: how much more than its reference is (None: not promised).
    `false_alarm`: alarms a cohort of a model that keeps its promise, at most.
    """

    limit: float | None
    increase: float | None
    min_samples: int
    min_coverage: float
    false_alarm: float


@dataclass(frozen=True, slots=True)
class Reference:
    """What a version's first complete cohorts showed: how many there were, and what they had together."""

    cohorts: int
    total: float
    bad: float

    @property
    def rate(self) -> float:
        """The rate over all of them."""
        return self.bad / self.total


@dataclass(frozen=True, slots=True)
class Judged:
    """What is found after each cohort, each of shape (deployments, cohorts).

    `limit`: the least of what is promised, infinite where nothing is yet; `log_e` and `log_threshold`: of the detector
    that is nearer to an alarm.
    """

    standing: NDArray[np.int64]
    limit: FloatArray
    log_e: FloatArray
    log_threshold: FloatArray

    @property
    def alarm(self) -> BoolArray:
        """Where the promise is shown to be broken."""
        return np.asarray(self.standing == Standing.BROKEN)


@dataclass(frozen=True, slots=True)
class _Detected:
    """What judging rests on: which cohorts count, what is promised before each, and what both detectors say."""

    counted: BoolArray
    complete: BoolArray
    kept: BoolArray
    least: FloatArray
    limit: FloatArray
    variance: FloatArray
    taken: tuple[Cohorts, Cohorts]
    found: tuple[Detection, Detection]


def judge(cohorts: Labelled, rules: Rules, reference: Reference | None = None) -> Judged:
    """Judge cohorts; `reference` is what was kept of the version's first ones, if they are not among these any more."""
    seen = _detected(cohorts, rules, reference)
    sure, every = seen.found
    thresholds = np.array([sure.log_threshold, every.log_threshold])
    ahead = np.stack([sure.log_e, every.log_e], axis=-1) - thresholds
    nearer = ahead.argmax(axis=-1)
    may_count = cohorts.known[0] + cohorts.missing >= rules.min_samples
    conditions = {
        Standing.BROKEN: sure.alarm | every.alarm,
        Standing.NO_SAMPLES: ~may_count,
        Standing.NO_REFERENCE: np.isinf(seen.limit),
        Standing.INCOMPLETE: ~seen.counted,
        Standing.KEPT: seen.kept,
        Standing.UNDECIDED: seen.complete & (seen.least > seen.limit),
    }
    standing = np.select([*conditions.values()], [*conditions], Standing.INCOMPLETE)
    return Judged(standing, seen.limit, ahead.max(axis=-1) + thresholds[nearer], thresholds[nearer])


def samples_needed(cohorts: Labelled, rules: Rules, reference: Reference | None = None) -> int | None:
    """Return about how many more labelled predictions raise an alarm, if all goes on as it has; None: it won't.

    Of one deployment, cohorts of shape (1, cohorts), of which the last is above what is promised.
    """
    seen = _detected(cohorts, rules, reference)
    if not seen.limit.size or np.isinf(seen.limit[0, -1]):
        return None
    limit, variance = float(seen.limit[0, -1]), float(seen.variance[0, -1])
    needed = [
        cohorts_needed(taken, limit, variance, found) for taken, found in zip(seen.taken, seen.found, strict=True)
    ]
    least = min((each for each in needed if each is not None), default=None)
    if least is None:
        return None
    return max(1, ceil(least * float(cohorts.known[0][seen.counted].mean())))


def _detected(cohorts: Labelled, rules: Rules, reference: Reference | None) -> _Detected:
    counted = cohorts.known[0] >= rules.min_samples
    complete = counted & (cohorts.coverage >= rules.min_coverage)
    variance = day_variance(Cohorts(*cohorts.least, complete))
    limit = _limit(cohorts, complete, rules, reference, variance)
    least, most = (end[1] / np.maximum(end[0], 1) for end in (cohorts.least, cohorts.most))
    kept = counted & (most <= limit)
    taken = Cohorts(*cohorts.least, complete | kept), Cohorts(*cohorts.least, counted)
    sure, every = (
        detect(each, limit, variance, share * rules.false_alarm)
        for each, share in zip(taken, (COMPLETE_SHARE, 1 - COMPLETE_SHARE), strict=True)
    )
    return _Detected(counted, complete, kept, least, limit, variance, taken, (sure, every))


def find_reference(cohorts: Labelled, rules: Rules) -> Reference | None:
    """Return the reference of one version, cohorts of shape (1, cohorts); None before it has enough complete ones.

    Unlabelled predictions are taken as always bad in it, so that labels which come later are no increase.
    """
    complete = (cohorts.known[0] >= rules.min_samples) & (cohorts.coverage >= rules.min_coverage)
    first = np.flatnonzero(complete[0])[:REFERENCE_SIZE]
    if len(first) < REFERENCE_SIZE:
        return None
    total, bad = (float(column[0, first].sum()) for column in cohorts.most)
    return Reference(REFERENCE_SIZE, total, bad)


def _limit(
    cohorts: Labelled, complete: BoolArray, rules: Rules, reference: Reference | None, variance: FloatArray
) -> FloatArray:
    """Return the least of what is promised for each cohort, as known before it."""
    limit = np.full(complete.shape, np.inf if rules.limit is None else rules.limit)
    if rules.increase is None:
        return limit
    if reference is not None:
        number, total, bad = (np.full(complete.shape, float(each)) for each in _of(reference))
    else:
        before: NDArray[np.int64] = np.cumsum(complete, axis=1) - complete
        taken = complete & (before < REFERENCE_SIZE)
        number = np.minimum(before, REFERENCE_SIZE)
        total, bad = (np.cumsum(taken * column, axis=1) - taken * column for column in cohorts.most)
    known = number >= REFERENCE_SIZE
    upper = upper_rate(np.where(known, total, 1), np.where(known, bad, 0), np.where(known, number, 1), variance)
    # The better it is known how days differ, the narrower; never wider again, or a decay would widen its own limit.
    narrowest = np.minimum.accumulate(np.where(known, upper, np.inf), axis=1)
    least: FloatArray = np.minimum(limit, narrowest + rules.increase)
    return least


def _of(reference: Reference) -> tuple[float, float, float]:
    return reference.cohorts, reference.total, reference.bad
