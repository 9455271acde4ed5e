"""How often the verdicts are wrong, by simulation: thousands of canaries that are looked at after every tick.

A canary is rolled back when harm is shown before safety, promoted when safety is shown before harm.
"""

from dataclasses import dataclass
from math import log

import numpy as np
import pytest
from scipy import stats

from perennial.stats.rates import Counts, FloatArray, LimitTest, RateTest, RatioTest, log_e_path

ALPHA = BETA = 0.05
NEVER = 10**9


@dataclass(frozen=True)
class Outcome:
    """Shares of the canaries, and the median number of requests (of both arms) until the verdict."""

    promoted: float
    rolled_back: float
    requests: float


def first(crossed: np.ndarray) -> np.ndarray:
    return np.where(crossed.any(axis=1), crossed.argmax(axis=1), NEVER)


def run(
    seed: int,
    canaries: int,
    traffic: FloatArray,
    weight: FloatArray,
    stable_rate: FloatArray,
    candidate_rate: FloatArray,
    harm: tuple[RateTest, ...],
    safe: RateTest,
) -> Outcome:
    """Simulate canaries; the arrays have one value a tick (or one row a canary)."""
    chance = np.random.default_rng(seed)
    harmed, shown, requests = [], [], []
    for begin in range(0, canaries, 250):
        size = min(250, canaries - begin)
        total = chance.poisson(np.broadcast_to(traffic, (size, traffic.shape[-1])))
        candidate = chance.binomial(total, weight)
        counts = Counts(
            candidate.astype(float),
            chance.binomial(candidate, candidate_rate).astype(float),
            (total - candidate).astype(float),
            chance.binomial(total - candidate, stable_rate).astype(float),
        )
        threshold = log(len(harm) / ALPHA)
        crossings = np.stack([first(log_e_path(test, counts) >= threshold) for test in harm])
        harmed.append(crossings.min(axis=0))
        shown.append(first(log_e_path(safe, counts) >= -log(BETA)))
        requests.append(total.cumsum(axis=1))
    bad, good, seen = np.concatenate(harmed), np.concatenate(shown), np.concatenate(requests)
    decided = np.minimum(np.minimum(bad, good), traffic.shape[-1] - 1)
    return Outcome(
        promoted=float(((good < bad) & (good < NEVER)).mean()),
        rolled_back=float(((bad <= good) & (bad < NEVER)).mean()),
        requests=float(np.median(seen[np.arange(canaries), decided])),
    )


def upper_bound(share: float, canaries: int) -> float:
    """Return the exact one-sided 99 % bound of a simulated share."""
    return float(stats.beta.ppf(0.99, share * canaries + 1, canaries - share * canaries))


def ramp(ticks: int) -> FloatArray:
    """Return weights of 10, 25 and 50 %, a third of the ticks each."""
    return np.repeat([0.10, 0.25, 0.50], ticks // 3)


def constant(value: float, ticks: int) -> FloatArray:
    return np.full(ticks, value)


def day(mean: float, ticks: int) -> FloatArray:
    """Return traffic that swings between a fifth and nine fifths of its mean."""
    return mean * (1 + 0.8 * np.sin(np.linspace(0, 4 * np.pi, ticks)))


def shocks(ticks: int) -> FloatArray:
    """Return factors on the error rate of both arms: now and then everything fails five times as often."""
    factors = np.ones(ticks)
    for begin in range(7, ticks, 23):
        factors[begin : begin + 4] = 5
    return factors


PROFILES = {
    "steady": constant(300, 60),
    "a trickle": constant(12, 360),
    "day and night": day(150, 180),
    "a rush": constant(2000, 60),
}


class NeverSafe:
    """A test of safety that never shows any."""

    def increments(self, counts: Counts) -> FloatArray:
        return np.zeros((*np.shape(counts.candidate_total), 1))


@pytest.mark.parametrize("harm", [(RatioTest.worse(),), (LimitTest.above(0.1), RatioTest.worse())])
def test_healthy_canaries_are_seldom_rolled_back(harm: tuple[RateTest, ...]) -> None:
    """2 % errors, 10 % in shocks that hit both arms; looked at to the end, however safe they are."""
    shares = []
    for i, traffic in enumerate(PROFILES.values()):
        ticks = traffic.shape[-1]
        rate = 0.02 * shocks(ticks)
        shares.append(run(100 + i, 500, traffic, ramp(ticks), rate, rate, harm, NeverSafe()).rolled_back)
    assert upper_bound(float(np.mean(shares)), 500 * len(PROFILES)) <= 0.05


@pytest.mark.parametrize("weight", [0.1, 0.5])
def test_a_canary_at_the_margin_is_seldom_promoted(weight: float) -> None:
    outcome = run(
        8, 1000, constant(1000, 60), constant(weight, 60), constant(0.05, 60), constant(0.0625, 60), (NeverHarmful(),),
        RatioTest.better(1.25),
    )  # fmt: skip
    assert upper_bound(outcome.promoted, 1000) <= 0.05


class NeverHarmful(NeverSafe):
    """A test of harm that never shows any: the margin must hold without its help."""


def test_a_canary_at_its_limit_is_seldom_promoted_and_seldom_rolled_back() -> None:
    at_limit = constant(0.05, 120)
    tests = (LimitTest.above(0.05),)
    outcome = run(9, 1000, constant(200, 120), ramp(120), at_limit, at_limit, tests, LimitTest.below(0.05))
    assert outcome.promoted <= 0.05
    assert outcome.rolled_back <= 0.05


HOUR = 60


@pytest.mark.parametrize(
    ("ratio", "weight", "promoted", "rolled_back", "requests"),
    [(1.0, 0.25, 0.95, 0.0, 20_000), (1.5, 0.1, 0.0, 0.99, 10_000), (2.0, 0.1, 0.0, 0.99, 4_000)],
)
def test_a_verdict_comes_in_time(
    ratio: float, weight: float, promoted: float, rolled_back: float, requests: float
) -> None:
    """1000 requests a minute, 5 % errors, a tolerated ratio of 1.25."""
    outcome = run(
        10, 500, constant(1000, HOUR), constant(weight, HOUR), constant(0.05, HOUR), constant(0.05 * ratio, HOUR),
        (RatioTest.worse(),), RatioTest.better(1.25),
    )  # fmt: skip
    assert outcome.promoted >= promoted
    assert outcome.rolled_back >= rolled_back
    assert outcome.requests <= requests


def test_a_broken_candidate_is_found_within_a_hundred_requests() -> None:
    """The demonstration: a candidate that fails 15 % beside a stable version that fails 0.2 %."""
    harm = (LimitTest.above(0.05), RatioTest.worse())
    outcome = run(
        11, 500, constant(10, 400), constant(0.1, 400), constant(0.002, 400), constant(0.15, 400), harm, NeverSafe()
    )
    assert outcome.rolled_back == 1
    assert outcome.requests * 0.1 <= 100
