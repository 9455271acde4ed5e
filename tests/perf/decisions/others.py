"""What other rules do on the same traffic: thresholds with failure limits, and tests that are not made for many looks.

Each looks about 60 times, at what was counted since the last look (thresholds, Mann-Whitney) or since the beginning
(the tests of two shares). None of them promotes before its last look: what was not rolled back by then is promoted.
"""

from collections.abc import Mapping

import numpy as np
from scipy import stats

from perennial.stats.ticks import REQUESTS, Ticks
from tests.perf.decisions.traffic import Array

LOOKS = 60
ONE_SIDED = 1.645
"""The quantile of the normal distribution that 5 % are above."""
O_BRIEN_FLEMING = 1.96
"""The same for the whole path of a Brownian motion to time 1: a z of this over the root of the part that is over."""
ENOUGH = 5
"""So many looks before two sets of rates are compared."""


def rolled_back(ticks: Ticks, limit: float) -> Mapping[str, Array]:
    """Return which canaries each rule rolls back at some look, shape (canaries,); thresholds go by the limit."""
    mine, my_bad, theirs, their_bad = (
        _looks(column(REQUESTS, arm)) for arm in ("candidate", "stable") for column in (ticks.n, ticks.total)
    )
    rate, beside = my_bad / np.maximum(mine, 1), their_bad / np.maximum(theirs, 1)
    failed = np.cumsum(rate > limit, axis=1)
    z = _z(*(np.cumsum(each, axis=1) for each in (mine, my_bad, theirs, their_bad)))
    part = np.arange(1, z.shape[1] + 1) / z.shape[1]
    ranks = [_mann_whitney(rate[:, :k], beside[:, :k]) for k in range(ENOUGH, rate.shape[1] + 1)]
    return {
        "threshold, no failure": failed[:, -1] > 0,
        "threshold, 4 failures": failed[:, -1] > 4,
        "z-test at each look": (z > ONE_SIDED).any(axis=1),
        "Mann-Whitney": (np.array(ranks) > ONE_SIDED).any(axis=0) if ranks else np.zeros(len(rate), bool),
        "O'Brien-Fleming": (z > O_BRIEN_FLEMING / np.sqrt(part)).any(axis=1),
    }


def _looks(counts: Array) -> Array:
    """Return the sums of about 60 stretches of equal length, the rest of the ticks left out."""
    width = max(counts.shape[1] // LOOKS, 1)
    many = counts.shape[1] // width
    return counts[:, : many * width].reshape(counts.shape[0], many, width).sum(axis=2)


def _z(mine: Array, my_bad: Array, theirs: Array, their_bad: Array) -> Array:
    """Return by how many standard errors the candidate's share is above stable's."""
    share = (my_bad + their_bad) / np.maximum(mine + theirs, 1)
    error = np.sqrt(share * (1 - share) * (1 / np.maximum(mine, 1) + 1 / np.maximum(theirs, 1)))
    apart = my_bad / np.maximum(mine, 1) - their_bad / np.maximum(theirs, 1)
    return np.divide(apart, error, out=np.zeros(apart.shape), where=error > 0)


def _mann_whitney(mine: Array, theirs: Array) -> Array:
    """Return by how many standard errors the candidate's rates rank above stable's."""
    n = mine.shape[1]
    ranks = stats.rankdata(np.concatenate([mine, theirs], axis=1), axis=1)
    above = ranks[:, :n].sum(axis=1) - n * (n + 1) / 2 - n * n / 2
    return np.asarray(above / np.sqrt(n * n * (2 * n + 1) / 12))


class Others:
    """How often other rules roll back."""

    def __init__(self) -> None:
        self._hits: dict[str, int] = {}

    def look_at(self, ticks: Ticks, limit: float) -> None:
        """Let them judge some more canaries."""
        for rule, found in rolled_back(ticks, limit).items():
            self._hits[rule] = self._hits.get(rule, 0) + int(found.sum())

    def rolled_back(self, trials: int) -> dict[str, float]:
        """Return the share that each rolled back."""
        return {rule: hits / trials for rule, hits in self._hits.items()}

    def promoted(self, trials: int) -> dict[str, float]:
        """Return the share that each promoted: all that it did not roll back."""
        return {rule: 1 - share for rule, share in self.rolled_back(trials).items()}
