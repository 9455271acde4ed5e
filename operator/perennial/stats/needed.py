"""About how many more requests decide, if all goes on as it has gone."""

from math import ceil, log

import numpy as np

from perennial.stats.comparison import WORSE
from perennial.stats.evidence import Evidence, Promise
from perennial.stats.rates import FloatArray, LimitTest, RatioTest, log_mean_exp

MOST = 1e9


def requests_needed(promise: Promise, evidence: Evidence, harm: float, safe: float) -> int | None:
    """Return about how many more candidate requests decide, either way; None where fewer than 10^9 would not.

    Args:
        promise: what must hold.
        evidence: of one canary.
        harm: log E at which harm is shown by a test that may spend all the risk.
        safe: log E at which safety is shown; every stated condition must reach it.
    """
    harm -= log(promise.split.worse)
    phi, spell = evidence.setting.phi, evidence.main.spell
    candidate, stable, beside = _expected(promise, evidence)
    share = np.asarray(1 / (1 + beside))
    one = np.asarray(1.0), np.asarray(candidate), np.asarray(stable * beside)
    worse = _until(evidence.main.worse.log_s, WORSE.of_events(one[1], one[2], share) / phi, harm)
    broken, kept, below = 0.0, 0.0, 0.0
    fails: list[float] = []
    if promise.limit is not None:
        above, under = LimitTest.above(promise.limit), LimitTest.below(promise.limit)
        broken = _until(evidence.limit.log_s, above.of_requests(*one[:2]) / phi, harm)
        fails.append(max(broken, worse) if beside else broken)
        gathered = under.of_requests(spell.sums.candidate_total, spell.sums.candidate_bad)
        kept = _until(gathered / phi, under.of_requests(*one[:2]) / phi, safe)
    if promise.ratio is not None:
        fails.append(worse)
        test = RatioTest.better(promise.ratio)
        gathered = test.of_events(spell.sums.candidate_bad, spell.stable_kept, spell.sums.share)
        below = _until(gathered / phi, test.of_events(one[1], one[2], share) / phi, safe)
    found = min([*fails, max(kept, below)])
    return max(1, ceil(found)) if found < MOST else None


def _expected(promise: Promise, evidence: Evidence) -> tuple[float, float, float]:
    """Return the rates of both arms and how many stable requests stand beside a candidate's.

    Each arm's rate is shrunk by one bad request towards what is plausible before any was seen, so that the first
    hundred requests do not promise a certain end.
    """
    total, sums = evidence.look.total, evidence.main.spell.sums
    limit = 0.01 if promise.limit is None else promise.limit
    stable = (float(total.stable_bad) + 1) / (float(total.stable_total) + 2 / limit)
    candidate = (float(total.candidate_bad) + 1) / (float(total.candidate_total) + 1 / stable)
    counts = sums if float(sums.candidate_total) else total
    beside = float(counts.stable_total) / max(float(counts.candidate_total), 1.0)
    return candidate, stable, beside


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
