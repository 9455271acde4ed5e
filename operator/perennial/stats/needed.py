"""About how many more requests decide, if all goes on as it has gone.

What decides is the first look at which evidence is enough, and that comes at a lucky moment: requests that decide show
more than those before them. So rates are taken a part of their standard error (`LUCK`) further from what is tested than
they look. Half way to a decision, what is told is then too much as often as too little.
"""

from dataclasses import dataclass
from math import ceil, exp, log, sqrt

import numpy as np

from perennial.stats.comparison import WORSE
from perennial.stats.evidence import Evidence, Promise
from perennial.stats.rates import FloatArray, LimitTest, RatioTest, log_mean_exp

MOST = 1e9
LUCK = 0.55
FEW = 0.3
"""Bad requests that are added: the median of what a rate may be lies so far above what was seen."""


def requests_needed(promise: Promise, evidence: Evidence, harm: float, safe: float) -> int | None:
    """Return about how many more candidate requests decide, either way; None where fewer than 10^9 would not.

    Args:
        promise: what must hold.
        evidence: of one canary.
        harm: log E at which harm is shown by a test that may spend all the risk.
        safe: log E at which safety is shown; every stated condition must reach it.
    """
    harm -= log(promise.split.worse)
    phi, sums, state = evidence.setting.phi, evidence.main.spell.sums, evidence.main
    expected = _Expected.of(evidence)
    worse = _until(state.worse.log_s, expected.compared(WORSE, LUCK) / phi, harm)
    kept, below = 0.0, 0.0
    fails: list[float] = []
    if promise.limit is not None:
        above, under = LimitTest.above(promise.limit), LimitTest.below(promise.limit)
        broken = _until(evidence.limit.log_s, expected.limited(above, LUCK) / phi, harm)
        fails.append(max(broken, worse) if expected.beside else broken)
        gathered = under.of_requests(sums.candidate_total, sums.candidate_bad)
        kept = _until(gathered / phi, expected.limited(under, -LUCK) / phi, safe)
    if promise.ratio is not None:
        fails.append(worse)
        test = RatioTest.better(promise.ratio)
        gathered = test.of_events(sums.candidate_bad, state.spell.stable_kept, sums.share)
        below = _until(gathered / phi, expected.compared(test, -LUCK) / phi, safe)
    found = min([*fails, max(kept, below)])
    return max(1, ceil(found)) if found < MOST else None


@dataclass(frozen=True, slots=True)
class _Expected:
    """What one more candidate request, and the stable ones beside it, are expected to bring."""

    candidate: float
    stable: float
    """Rates of bad requests."""
    beside: float
    """Stable requests beside one of the candidate's."""
    error: float
    """Standard error of the logarithm of the candidate's rate."""
    error_of_ratio: float

    @classmethod
    def of(cls, evidence: Evidence) -> "_Expected":
        total, sums, phi = evidence.look.total, evidence.main.spell.sums, evidence.setting.phi
        candidate, stable = float(total.candidate_bad) + FEW, float(total.stable_bad) + FEW
        counts = sums if float(sums.candidate_total) else total
        return cls(
            candidate=candidate / (float(total.candidate_total) + 1),
            stable=stable / (float(total.stable_total) + 1),
            beside=float(counts.stable_total) / max(float(counts.candidate_total), 1.0),
            error=sqrt(phi / candidate),
            error_of_ratio=sqrt(phi / candidate + phi / stable),
        )

    def limited(self, test: LimitTest, luck: float) -> FloatArray:
        """Return what a candidate request adds to a test of a limit, shape (grid points,)."""
        return test.of_requests(np.asarray(1.0), np.asarray(min(self.candidate * exp(luck * self.error), 1.0)))

    def compared(self, test: RatioTest, luck: float) -> FloatArray:
        """Return what it adds to a test of a ratio, with the stable requests beside it."""
        candidate = min(self.candidate * exp(luck * self.error_of_ratio), 1.0)
        share = np.asarray(1 / (1 + self.beside))
        return test.of_events(np.asarray(candidate), np.asarray(self.stable * self.beside), share)


def _until(sums: FloatArray, expected: FloatArray, threshold: float) -> float:
    """Return how many requests bring log E to the threshold; infinity if MOST don't."""

    def reached(requests: float) -> bool:
        return float(log_mean_exp(sums + requests * expected)) >= threshold

    if reached(0):
        return 0.0
    if not reached(MOST):
        return float("inf")
    low, high = 0.0, 1.0
    while not reached(high):
        low, high = high, high * 2
    while high - low > max(0.01 * high, 0.5):
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high
