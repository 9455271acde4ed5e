"""A likelihood-ratio test of harm that may begin late: a mixture over the tick at which it began.

    E_t = mean_r ( sum_{j<=t} pi_j prod_{k=j..t} L_k(r) ) + sum_{j>t} pi_j

with pi_1 = 4/5, because most of what is bad is so from the beginning, and else pi_j = 2/5 / (j (j + 1)). It is a
mixture of e-processes, so E_t >= 1/alpha errs with probability at most alpha at any look (Ville), and an hour of good
traffic costs 2 log(ticks) + 1 instead of all that it has gathered. With S_t(r) = L_t(r) (S_{t-1}(r) + pi_t) a grid
point needs one number. What was running before tick j and ends badly after it belongs to no product from j on: its
worst case is paid in advance (`owed`), so that no order of completion makes a product more than the one in the order of
starts.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from perennial.stats.rates import FloatArray, log_mean_exp

NEVER = -np.inf
FIRST = 0.8
"""pi_1; the rest is spread over all later ticks."""


def log_prior(tick: FloatArray) -> FloatArray:
    """Return log pi_j of ticks counted from 1."""
    later = np.log(2 * (1 - FIRST)) - np.log(tick) - np.log1p(tick)
    result: FloatArray = np.where(tick <= 1, np.log(FIRST), later)
    return result


@dataclass(frozen=True, slots=True)
class Late:
    """One test's state: log S of each alternative, shape (…, grid points), after `ticks` ticks, shape (…).

    `peak` is the largest log E that there ever was: an e-process may be stopped there.
    """

    log_s: FloatArray
    ticks: FloatArray
    peak: FloatArray

    @classmethod
    def none(cls, shape: tuple[int, ...], points: int) -> Self:
        """Return the state before any tick."""
        return cls(np.full((*shape, points), NEVER), np.zeros(shape), np.zeros(shape))

    def after(
        self, increments: FloatArray, owed: FloatArray, counted: NDArray[np.bool_]
    ) -> tuple[FloatArray, FloatArray]:
        """Return log S and the number of ticks after each further tick: (…, ticks, grid points) and (…, ticks).

        Args:
            increments: log L_k of each tick, shape (…, ticks, grid points).
            owed: what is paid to begin at a tick, the same shape, >= 0.
            counted: which ticks belong to the test, shape (…, ticks); the others change nothing.
        """
        steps = np.where(counted[..., None], increments, 0.0)
        ticks = self.ticks[..., None] + np.cumsum(counted, axis=-1)
        sums = np.cumsum(steps, axis=-2)
        begun = log_prior(np.maximum(ticks, 1.0))[..., None] - owed - (sums - steps)
        begun = np.where(counted[..., None], begun, NEVER)
        begun[..., :1, :] = np.logaddexp(begun[..., :1, :], self.log_s[..., None, :])
        return sums + np.logaddexp.accumulate(begun, axis=-2), ticks


def log_e(log_s: FloatArray, ticks: FloatArray) -> FloatArray:
    """Return log E of log S (…, grid points), where `ticks` have been."""
    rest = np.where(ticks < 1, 0.0, np.log(2 * (1 - FIRST)) - np.log1p(ticks))
    result: FloatArray = np.logaddexp(log_mean_exp(log_s), rest)
    return result
