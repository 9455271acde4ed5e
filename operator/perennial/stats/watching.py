"""Does the version that answers still keep its limit? A test that begins anew after good times, on its own requests.

The e-detector M_t(q) = L_t(q) (M_{t-1}(q) + 1), averaged over rates q above the limit, adds up what each possible
beginning of trouble has gathered. M_t - t is a martingale of a version that keeps the limit, so M reaches n/alpha
within n ticks with probability at most alpha; trouble is found in a few ticks, however long all was well. What was
running when trouble may have begun is paid in advance, as in `late`.

Source: J. Shin, A. Ramdas and A. Rinaldo, "E-detectors", 2203.03532 (the e-SR procedure).
"""

from dataclasses import dataclass, replace
from math import log
from typing import Self

import numpy as np

from perennial.stats.rates import GRID_POINTS, FloatArray, LimitTest, log_mean_exp
from perennial.stats.ticks import UNFINISHED, Ticks
from perennial.terms.words import Verdict

HORIZON = 86_400
"""Ticks in which a version that keeps its limit is blamed with probability alpha: a day of seconds."""


@dataclass(frozen=True, slots=True)
class Detector:
    """What is known of one signal of the stable arm: log M of each alternative, and what ran at the last tick."""

    limit: float
    alpha: float
    log_m: FloatArray
    unfinished: float = 0.0
    total: int = 0
    bad: int = 0

    @classmethod
    def none(cls, limit: float, alpha: float) -> Self:
        """Return the state before any tick; `alpha`: how probable a false alarm may be within `HORIZON` ticks."""
        return cls(limit, alpha, np.full(GRID_POINTS, -np.inf))

    @property
    def threshold(self) -> float:
        """What log M must reach."""
        return log(HORIZON / self.alpha)

    @property
    def log_e(self) -> float:
        """Log M."""
        return float(log_mean_exp(self.log_m))

    @property
    def verdict(self) -> Verdict:
        """NoData before any request, Fail while the limit is shown to be broken, Pass otherwise."""
        if self.total == 0:
            return Verdict.NO_DATA
        return Verdict.FAIL if self.log_e >= self.threshold else Verdict.PASS

    def after(self, ticks: Ticks, signal: str) -> Self:
        """Return it with further ticks.

        At an alarm what went before counts for no more than the alarm itself, so that a version that has recovered is
        called healthy again soon.
        """
        test, found = LimitTest.above(self.limit), self
        total, bad = ticks.n(signal, "stable"), ticks.total(signal, "stable")
        running = ticks.n(UNFINISHED, "stable")
        steps = test.of_requests(total, bad)
        log_m = found.log_m
        before = np.concatenate([[found.unfinished], running[:-1]])
        owed = before[:, None] * test.odds()
        for k in range(len(ticks)):
            log_m = steps[k] + np.logaddexp(np.minimum(log_m, self.threshold), -owed[k])
        last = float(running[-1]) if len(ticks) else found.unfinished
        return replace(
            found,
            log_m=log_m,
            unfinished=last,
            total=found.total + int(total.sum()),
            bad=found.bad + int(bad.sum()),
        )
