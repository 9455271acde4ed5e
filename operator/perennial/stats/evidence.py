"""What a table of ticks says about one promise on a canary: sums that can be folded tick by tick.

Harm is tested on all ticks of the canary, safety and the sample ratio on those of its current step with a verified
weight. Folding a table in pieces gives the same sums as folding it at once (to rounding), also after a restart.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from perennial.api.messages.policy import ErrorRate
from perennial.stats.rates import (
    GRID_POINTS,
    Counts,
    FloatArray,
    LimitTest,
    RateTest,
    RatioTest,
    ShareTest,
    log_mean_exp,
)

WHOLE = 1000
"""All requests, in thousandths."""


class Tick(NamedTuple):
    """What both arms answered between two looks at the routers.

    `time` is its end (seconds since the epoch); `weight` the candidate's weight in thousandths that was verified to be
    live from its beginning to its end, or None; `step` the canary's step at its beginning.
    """

    time: float
    step: int
    weight: int | None
    candidate_total: int
    candidate_bad: int
    stable_total: int
    stable_bad: int


@dataclass(frozen=True, slots=True)
class Ticks:
    """Ticks of one canary as columns, each of shape (ticks,). A weight of -1 means: not verified."""

    time: FloatArray
    step: NDArray[np.int64]
    weight: NDArray[np.int64]
    counts: Counts

    @classmethod
    def of(cls, rows: Iterable[Tick]) -> Self:
        """Build the columns from rows."""
        table = np.array([row._replace(weight=-1 if row.weight is None else row.weight) for row in rows], float)
        time, step, weight, *counts = table.reshape(-1, len(Tick._fields)).T
        return cls(time, step.astype(np.int64), weight.astype(np.int64), Counts(*counts))

    def only(self, chosen: NDArray[np.bool_]) -> Self:
        """Return the chosen rows; `chosen` has shape (ticks,)."""
        counts = Counts(*(np.asarray(column)[chosen] for column in _columns(self.counts)))
        return replace(self, time=self.time[chosen], step=self.step[chosen], weight=self.weight[chosen], counts=counts)


@dataclass(frozen=True, slots=True)
class Totals:
    """Requests and bad requests of both arms, summed over ticks."""

    candidate_total: int = 0
    candidate_bad: int = 0
    stable_total: int = 0
    stable_bad: int = 0

    def plus(self, counts: Counts) -> Self:
        """Return the totals with the ticks' counts added."""
        added = [int(np.sum(column)) for column in _columns(counts)]
        return type(self)(
            self.candidate_total + added[0],
            self.candidate_bad + added[1],
            self.stable_total + added[2],
            self.stable_bad + added[3],
        )


@dataclass(frozen=True, slots=True)
class Promise:
    """The tests that an error rate's limits stand for."""

    harm: tuple[RateTest, ...]
    safe: RateTest

    @classmethod
    def of(cls, rate: ErrorRate) -> Self:
        """Build the tests; raises ValueError if the promise has neither `max` nor `max_ratio`."""
        harm: list[RateTest] = []
        if rate.max is not None:
            harm.append(LimitTest.above(rate.max))
        if rate.max_ratio is not None:
            harm.append(RatioTest.worse())
        if rate.max is not None:
            return cls(tuple(harm), LimitTest.below(rate.max))
        if rate.max_ratio is not None:
            return cls(tuple(harm), RatioTest.better(rate.max_ratio))
        raise ValueError("an error rate needs max or maxRatio")


@dataclass(frozen=True, slots=True)
class Evidence:
    """Sums over ticks. Arrays hold one log likelihood ratio for each alternative of the test.

    `harm_peak` is the largest log E that each test of harm ever had after a tick: an e-process may be stopped there.
    """

    harm: tuple[FloatArray, ...]
    harm_peak: tuple[float, ...]
    safe: FloatArray
    share: FloatArray
    canary: Totals = Totals()
    step: Totals = Totals()
    step_since: float | None = None
    last: float | None = None

    @classmethod
    def none(cls, promise: Promise) -> Self:
        """Return the evidence of no ticks at all."""
        zeros = np.zeros(GRID_POINTS)
        return cls(
            harm=tuple(zeros for _ in promise.harm),
            harm_peak=tuple(0.0 for _ in promise.harm),
            safe=zeros,
            share=np.zeros(2 * GRID_POINTS),
        )

    def fold(self, promise: Promise, step: int, ticks: Ticks) -> Self:
        """Return the evidence with further ticks of the same canary, in order of time; `step` is the current one."""
        if not ticks.time.size:
            return self
        paths = [
            sums + np.cumsum(test.increments(ticks.counts), axis=0)
            for sums, test in zip(self.harm, promise.harm, strict=True)
        ]
        peaks = [max(peak, float(log_mean_exp(path).max())) for peak, path in zip(self.harm_peak, paths, strict=True)]
        live = ticks.only((ticks.step == step) & (ticks.weight >= 0))
        since = self.step_since
        if since is None and live.time.size:
            since = float(live.time[0])
        return replace(
            self,
            harm=tuple(path[-1] for path in paths),
            harm_peak=tuple(peaks),
            safe=self.safe + promise.safe.increments(live.counts).sum(axis=0),
            share=self.share + _share_increments(live),
            canary=self.canary.plus(ticks.counts),
            step=self.step.plus(live.counts),
            step_since=since,
            last=float(ticks.time[-1]),
        )


def _share_increments(ticks: Ticks) -> FloatArray:
    """Return the sum of the share test's increments; only weights that split the traffic can be tested."""
    split = ticks.only((ticks.weight > 0) & (ticks.weight < WHOLE))
    candidate = np.asarray(split.counts.candidate_total, float)
    total = candidate + np.asarray(split.counts.stable_total, float)
    sums: FloatArray = ShareTest().increments(candidate, total, split.weight / WHOLE).sum(axis=0)
    return sums


def _columns(counts: Counts) -> tuple[FloatArray | float, FloatArray | float, FloatArray | float, FloatArray | float]:
    return counts.candidate_total, counts.candidate_bad, counts.stable_total, counts.stable_bad
