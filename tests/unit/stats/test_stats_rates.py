"""The e-processes against their definitions, exact expectations, and scipy's distributions."""

from itertools import product
from math import exp, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import betaln, xlog1py, xlogy

from perennial.stats.rates import (
    HARM_SCALE,
    Counts,
    LimitTest,
    RateTest,
    RatioTest,
    ShareTest,
    half_normal,
    log_e,
    log_e_path,
    log_mean_exp,
    rate_interval,
    requests_until,
)


@st.composite
def tables(draw: st.DrawFn) -> Counts:
    """Draw a table of ticks, some of them without requests of an arm."""
    ticks = draw(st.integers(1, 12))
    totals = st.lists(st.integers(0, 500), min_size=ticks, max_size=ticks)
    candidate, stable = draw(totals), draw(totals)
    candidate_bad = [draw(st.integers(0, n)) for n in candidate]
    stable_bad = [draw(st.integers(0, n)) for n in stable]
    return Counts(*(np.array(column, float) for column in (candidate, candidate_bad, stable, stable_bad)))


unhurried = settings(deadline=None, max_examples=50)
TESTS = [RatioTest.worse(), RatioTest.better(1.25), LimitTest.above(0.05), LimitTest.below(0.05)]


def test_the_grid_is_half_normal() -> None:
    grid = half_normal(0.7)
    assert grid == pytest.approx(stats.halfnorm.ppf((np.arange(24) + 0.5) / 24, scale=0.7), abs=1e-9)


def test_the_ratio_test_is_what_the_paper_says() -> None:
    counts = Counts(np.array([40.0, 10.0]), np.array([5.0, 1.0]), np.array([60.0, 90.0]), np.array([2.0, 4.0]))
    ratios, null = np.exp(half_normal(HARM_SCALE)), 1.0
    products = []
    for ratio in ratios:
        likelihood = 1.0
        for k in range(2):
            share = [40 / 100, 10 / 100][k]
            theta, theta0 = (r * share / (r * share + 1 - share) for r in (ratio, null))
            likelihood *= (theta / theta0) ** [5, 1][k] * ((1 - theta) / (1 - theta0)) ** [2, 4][k]
        products.append(likelihood)
    assert log_e(RatioTest.worse(), counts) == pytest.approx(log(np.mean(products)), abs=1e-12)


def test_the_limit_test_is_a_mixture_of_likelihood_ratios() -> None:
    test = LimitTest.above(0.05)
    ratios = stats.binom.pmf(9, 80, 1 / (1 + np.exp(-test.logits))) / stats.binom.pmf(9, 80, 0.05)
    assert log_e(test, Counts(np.array([80.0]), np.array([9.0]), np.array([0.0]), np.array([0.0]))) == pytest.approx(
        log(ratios.mean()), abs=1e-9
    )


@pytest.mark.parametrize(
    ("test", "rates"),
    [
        (LimitTest.above(0.05), (0.05, 0.02, 0.001)),
        (LimitTest.below(0.05), (0.05, 0.07, 0.3)),
        (LimitTest.above(0.5), (0.5, 0.3)),
    ],
)
def test_an_e_value_of_a_limit_expects_at_most_one(test: LimitTest, rates: tuple[float, ...]) -> None:
    bad = np.arange(61.0)
    values = np.exp(log_mean_exp(test.increments(Counts(np.full(61, 60.0), bad, 0.0, 0.0))))
    expected = [float(stats.binom.pmf(bad, 60, rate) @ values) for rate in rates]
    assert expected[0] == pytest.approx(1, abs=1e-9)
    assert all(e <= 1 + 1e-9 for e in expected)


@pytest.mark.parametrize(
    ("test", "ratios"),
    [
        (RatioTest.worse(), (1.0, 0.8, 0.3)),
        (RatioTest.better(1.25), (1.25, 1.5, 3.0)),
        (RatioTest.better(2.0), (2.0, 4.0)),
    ],
)
@pytest.mark.parametrize("rate", [0.001, 0.02, 0.2])
@pytest.mark.parametrize(("candidate", "stable"), [(10, 90), (50, 50), (70, 30)])
def test_an_e_value_of_a_ratio_expects_at_most_one(
    test: RatioTest, ratios: tuple[float, ...], rate: float, candidate: int, stable: int
) -> None:
    pairs = np.array(list(product(range(candidate + 1), range(stable + 1))), float)
    counts = Counts(np.full(len(pairs), float(candidate)), pairs[:, 0], np.full(len(pairs), float(stable)), pairs[:, 1])
    values = np.exp(log_mean_exp(test.increments(counts)))
    for ratio in ratios:
        probability = stats.binom.pmf(pairs[:, 0], candidate, rate * ratio) * stats.binom.pmf(pairs[:, 1], stable, rate)
        assert float(probability @ values) <= 1 + 1e-9


@unhurried
@given(tables(), st.randoms(use_true_random=False))
def test_evidence_does_not_depend_on_the_order_of_ticks(counts: Counts, chance: object) -> None:
    columns = (counts.candidate_total, counts.candidate_bad, counts.stable_total, counts.stable_bad)
    order = list(range(len(np.atleast_1d(columns[0]))))
    chance.shuffle(order)  # type: ignore[attr-defined]
    shuffled = Counts(*(np.asarray(column)[order] for column in columns))
    for test in TESTS:
        assert log_e(test, shuffled) == pytest.approx(log_e(test, counts), abs=1e-9)


@unhurried
@given(tables())
def test_the_path_ends_in_the_whole(counts: Counts) -> None:
    for test in TESTS:
        path = log_e_path(test, counts)
        assert np.isfinite(path).all()
        assert path[-1] == pytest.approx(log_e(test, counts), abs=1e-9)


@unhurried
@given(tables())
def test_ticks_without_requests_say_nothing(counts: Counts) -> None:
    idle = Counts(*(np.append(np.asarray(c), 0.0) for c in (
        counts.candidate_total, counts.candidate_bad, counts.stable_total, counts.stable_bad)))  # fmt: skip
    for test in TESTS:
        assert log_e(test, idle) == pytest.approx(log_e(test, counts), abs=1e-12)


@unhurried
@given(tables())
def test_a_tick_of_one_arm_alone_says_nothing_about_the_ratio(counts: Counts) -> None:
    alone = Counts(counts.candidate_total, counts.candidate_bad, 0 * np.asarray(counts.stable_total), 0.0)
    assert log_e(RatioTest.worse(), alone) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("weight", "sound"), [(0.1, True), (0.105, True), (0.2, False), (0.05, False)])
def test_the_share_test_tells_sound_routing_from_broken(weight: float, sound: bool) -> None:
    chance = np.random.default_rng(11)
    total = chance.poisson(200, 120).astype(float)
    candidate = chance.binomial(total.astype(int), weight).astype(float)
    evidence = float(log_mean_exp(ShareTest().increments(candidate, total, np.full(120, 0.1)).sum(axis=0)))
    assert (evidence < log(1000)) is sound


def test_the_share_test_seldom_calls_sound_routing_broken() -> None:
    chance = np.random.default_rng(12)
    total = chance.poisson(100, (400, 200)).astype(float)
    crossed = 0
    for row in total:
        candidate = chance.binomial(row.astype(int), 0.25).astype(float)
        path = np.cumsum(ShareTest().increments(candidate, row, np.full(200, 0.25)), axis=0)
        crossed += bool((log_mean_exp(path) >= log(1000)).any())
    assert crossed == 0  # 400 trials at a level of 0.001


@pytest.mark.parametrize(("total", "bad"), [(1, 0), (1, 1), (50, 0), (50, 2), (5000, 40), (200, 200), (200, 199)])
def test_the_intervals_bounds_are_where_the_mixture_rejects(total: int, bad: int) -> None:
    low, high = rate_interval(total, bad)
    assert 0 <= low <= bad / total <= high <= 1

    def log_e_at(rate: float) -> float:
        mixture = betaln(bad + 0.5, total - bad + 0.5) - betaln(0.5, 0.5)
        return float(mixture - xlogy(bad, rate) - xlog1py(total - bad, -rate))

    if bad > 0:
        assert log_e_at(low) == pytest.approx(log(20), abs=1e-6)
    if bad < total:
        assert log_e_at(high) == pytest.approx(log(20), abs=1e-6)
    exact = stats.binomtest(bad, total).proportion_ci(0.95)
    assert low <= exact.low
    assert high >= exact.high, "a bound for all times is wider than one for a fixed time"


def test_the_interval_of_nothing_is_everything() -> None:
    assert rate_interval(0, 0) == (0.0, 1.0)


def test_intervals_hold_at_all_times_at_once() -> None:
    chance = np.random.default_rng(13)
    missed = 0
    for _ in range(300):
        bad = np.cumsum(chance.random(400) < 0.03)
        looks = [10, 20, 50, 100, 200, 400]
        missed += any(not low <= 0.03 <= high for low, high in (rate_interval(n, int(bad[n - 1])) for n in looks))
    assert missed <= 15  # 5 % of 300


@pytest.mark.parametrize(("test", "rate"), [(LimitTest.above(0.05), 0.1), (LimitTest.below(0.05), 0.01)])
def test_the_prediction_of_requests_is_where_the_expected_path_crosses(test: RateTest, rate: float) -> None:
    expected = test.increments(Counts(1.0, rate, 0.0, 0.0))
    needed = requests_until(np.zeros(24), expected, log(20))
    assert needed is not None
    assert float(log_mean_exp(needed * expected)) == pytest.approx(log(20), rel=0.02)
    assert requests_until(needed * expected * 1.1, expected, log(20)) == 0


def test_no_number_of_requests_shows_what_is_not_so() -> None:
    expected = LimitTest.above(0.05).increments(Counts(1.0, 0.05, 0.0, 0.0))
    assert requests_until(np.zeros(24), expected, log(20)) is None


def test_log_mean_exp_does_not_overflow() -> None:
    assert log_mean_exp(np.array([1000.0, 1000.0])) == pytest.approx(1000)
    assert log_mean_exp(np.array([-1e6, 0.0])) == pytest.approx(log(0.5))
    assert exp(float(log_mean_exp(np.zeros(5)))) == pytest.approx(1)
