"""The e-detector over cohorts: seldom a false alarm although days differ, soon a true one."""

from math import lgamma, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from perennial.stats.detect import (
    DEFAULT_VARIANCE,
    GRID_POINTS,
    LEAST_VARIANCE,
    REFERENCE_COHORTS,
    SCALE,
    Cohorts,
    Detection,
    cohorts_needed,
    day_variance,
    detect,
    log_gamma,
    upper_rate,
)
from perennial.stats.rates import half_normal, log_mean_exp

FloatArray = NDArray[np.float64]
LIMIT, FALSE_ALARM = 0.3, 0.01


def run(*pairs: tuple[float, float], limit: float = LIMIT) -> Detection:
    """Run the detector over one deployment's cohorts (total, bad)."""
    total, bad = np.array(pairs, float).T
    return judged(Cohorts.complete(total[None], bad[None]), limit)


def judged(cohorts: Cohorts, limit: float = LIMIT) -> Detection:
    return detect(cohorts, limit, day_variance(cohorts), FALSE_ALARM)


def days(
    chance: np.random.Generator, mean: FloatArray, size: int, sd: float, correlation: float, week: float = 0.0
) -> Cohorts:
    """Draw cohorts of `size`, whose log odds vary around `mean`, shape (deployments, days); `week` is an rms."""
    noise = chance.normal(size=mean.shape)
    for t in range(1, mean.shape[1]):
        noise[:, t] = correlation * noise[:, t - 1] + np.sqrt(1 - correlation**2) * noise[:, t]
    weekday = (np.arange(mean.shape[1]) + chance.integers(0, 7, (mean.shape[0], 1))) % 7
    swing = np.where(weekday >= 5, week * np.sqrt(5 / 2), -week * np.sqrt(2 / 5))
    rate = 1 / (1 + np.exp(-(np.log(mean / (1 - mean)) + sd * noise + swing)))
    # The mean of the rates, not of their log odds, is what is promised.
    rate = np.minimum(rate * (mean.mean() / rate.mean()), 1)
    return Cohorts.complete(np.full(mean.shape, float(size)), chance.binomial(size, rate).astype(float))


@given(st.floats(1e-6, 1e7))
def test_log_gamma_is_the_logarithm_of_the_gamma_function(x: float) -> None:
    assert float(log_gamma(np.array(x))) == pytest.approx(lgamma(x), rel=1e-13, abs=1e-12)


def test_a_cohort_is_an_e_value_of_beta_binomials() -> None:
    """Summed over all that a cohort at the limit may show, the first step of the detector is 1 in expectation."""
    total, variance = 60, 0.2
    bad = np.arange(total + 1.0)
    cohorts = Cohorts.complete(np.full((total + 1, 1), float(total)), bad[:, None])
    steps = np.exp(detect(cohorts, LIMIT, np.full((total + 1, 1), variance), FALSE_ALARM).log_e[:, 0])
    spread = variance * LIMIT * (1 - LIMIT)
    precision = (1 + spread) / spread - 1
    at_limit = stats.betabinom(total, LIMIT * precision, (1 - LIMIT) * precision).pmf(bad)
    assert (at_limit * steps).sum() == pytest.approx(1, abs=1e-9)
    below = stats.betabinom(total, 0.25 * precision, 0.75 * precision).pmf(bad)
    assert (below * steps).sum() < 1
    rates = 1 / (1 + np.exp(-(log(LIMIT / (1 - LIMIT)) + half_normal(SCALE, GRID_POINTS))))
    others = [stats.betabinom(total, rate * precision, (1 - rate) * precision).pmf(bad) for rate in rates]
    assert steps == pytest.approx(np.mean(others, axis=0) / at_limit, rel=1e-8)


def test_the_detector_sums_over_all_days_on_which_the_change_may_have_come() -> None:
    pairs = [(300, 95), (300, 70), (300, 110), (300, 120)]
    found = run(*pairs)
    gains = np.stack([log_e_of_grid(total, bad) for total, bad in pairs])
    since = [gains[start:].sum(axis=0) for start in range(len(pairs))]
    assert found.log_e[0, -1] == pytest.approx(log(np.exp(since).sum(axis=0).mean()), rel=1e-9)


def log_e_of_grid(total: float, bad: float) -> FloatArray:
    spread = DEFAULT_VARIANCE * LIMIT * (1 - LIMIT)
    precision = (1 + spread) / spread - 1
    rates = 1 / (1 + np.exp(-(log(LIMIT / (1 - LIMIT)) + half_normal(SCALE, GRID_POINTS))))
    ratio: FloatArray = stats.betabinom(total, rates * precision, (1 - rates) * precision).logpmf(
        bad
    ) - stats.betabinom(total, LIMIT * precision, (1 - LIMIT) * precision).logpmf(bad)
    return ratio


def test_one_bad_day_is_no_change_and_a_bad_week_is() -> None:
    good = [(500, 100)] * 10
    assert not run(*good, (500, 260)).alarm.any()
    assert run(*good, *[(500, 260)] * 7).alarm[0, -1]


def test_good_years_do_not_hide_a_bad_week() -> None:
    bad = [(500, 210)] * 3
    alone = run(*[(500, 50)] * REFERENCE_COHORTS, *bad)
    after_years = run(*[(500, 50)] * 200, *bad)
    assert alone.alarm[0, -1]
    assert after_years.log_e[0, -1] == pytest.approx(alone.log_e[0, -1], abs=0.5)


def test_a_model_that_recovers_is_called_healthy_again_within_three_cohorts() -> None:
    found = run(*[(500, 400)] * 10, *[(500, 100)] * 3)
    assert found.alarm[0, 9]
    assert not found.alarm[0, -1]
    assert not run(*[(500, 400)] * 10, *[(500, 100)] * 3, (500, 210)).alarm[0, -1], "it starts anew"


def test_one_good_day_lifts_no_alarm() -> None:
    assert run(*[(500, 400)] * 10, (500, 100)).alarm[0, -1]


def test_cohorts_that_do_not_count_are_as_if_they_had_never_been() -> None:
    total, bad = np.full((1, 60), 200.0), np.full((1, 60), 100.0)
    total[0, 30:], bad[0, 30:] = 100, 0
    which = np.arange(60)[None] < 30
    whole = Cohorts.complete(total, bad)
    found, alone = judged(whole.only(which)), run(*[(200, 100)] * 30)
    assert found.alarm[0, -1]
    assert found.log_e[0, -1] == pytest.approx(alone.log_e[0, -1])
    assert not judged(whole).alarm[0, -1]


def test_deployments_are_judged_side_by_side_as_each_alone() -> None:
    chance = np.random.default_rng(3)
    cohorts = days(chance, np.full((5, 80), 0.28), 300, 0.3, 0.5)
    cohorts = cohorts.only(chance.random((5, 80)) < 0.9)
    together = judged(cohorts)
    for i in range(5):
        alone = judged(Cohorts(cohorts.total[i : i + 1], cohorts.bad[i : i + 1], cohorts.counted[i : i + 1]))
        assert alone.log_e[0] == pytest.approx(together.log_e[i], rel=1e-9, nan_ok=False)
        assert (alone.alarm[0] == together.alarm[i]).all()


def test_no_cohorts_say_nothing() -> None:
    assert not judged(Cohorts.complete(np.zeros((2, 0)), np.zeros((2, 0)))).alarm.any()


def test_a_limit_of_any_size_can_be_judged() -> None:
    for limit in (1e-9, 0.001, 0.999, 1.0, 1.5):
        found = run(*[(1e5, 0.0)] * 3, (1e5, 1e5), limit=limit)
        assert np.isfinite(found.log_e).all()
    assert run(*[(1000, 900)] * 20, limit=0.999).log_e[0, -1] < 0


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 79), st.integers(0, 300))
def test_what_days_are_like_is_known_before_each_cohort(changed: int, to: int) -> None:
    """Otherwise a cohort would choose its own yardstick, and the detector would keep no promise."""
    cohorts = days(np.random.default_rng(4), np.full((1, 80), 0.3), 300, 0.2, 0.5)
    bad = cohorts.bad.copy()
    bad[0, changed] = to
    other = day_variance(Cohorts.complete(cohorts.total, bad))
    assert other[0, : changed + 1] == pytest.approx(day_variance(cohorts)[0, : changed + 1])


@pytest.mark.parametrize("size", [100, 1000, 100_000])
@pytest.mark.parametrize(("sd", "correlation"), [(0.2, 0.0), (0.2, 0.5), (0.4, 0.5)])
def test_how_much_days_differ_is_learned(size: int, sd: float, correlation: float) -> None:
    cohorts = days(np.random.default_rng(5), np.full((200, 200), 0.3), size, sd, correlation)
    known = day_variance(cohorts)
    assert (known[:, :REFERENCE_COHORTS] == DEFAULT_VARIANCE).all()
    true = sd**2 * (1 + correlation) / (1 - correlation)
    assert np.median(known[:, -1]) == pytest.approx(true, rel=0.3)


def test_days_that_do_not_differ_are_not_believed_to_be_all_alike() -> None:
    cohorts = days(np.random.default_rng(6), np.full((50, 100), 0.3), 100_000, 0.0, 0.0)
    assert (day_variance(cohorts)[:, REFERENCE_COHORTS:] == LEAST_VARIANCE).all()


@pytest.mark.parametrize(
    ("limit", "size", "sd", "correlation", "week", "share"),
    [
        pytest.param(0.3, 2000, 0.2, 0.5, 0.0, 0.9, id="0.9 of the limit, sd 0.2"),
        pytest.param(0.3, 100, 0.3, 0.5, 0.2, 0.95, id="few labels"),
        pytest.param(0.3, 100_000, 0.3, 0.5, 0.2, 0.95, id="many labels"),
        pytest.param(0.1, 1000, 0.3, 0.5, 0.2, 0.95, id="a rare error"),
        pytest.param(0.5, 1000, 0.0, 0.0, 0.0, 0.95, id="days that are alike"),
    ],
)
def test_a_healthy_model_alarms_at_most_as_often_as_promised(
    limit: float, size: int, sd: float, correlation: float, week: float, share: float
) -> None:
    """1 / 100 a cohort is 3.65 a year; with a fixed spread of the binomial it was 16.7."""
    years = 200
    cohorts = days(np.random.default_rng(7), np.full((years, 365), share * limit), size, sd, correlation, week)
    found = judged(cohorts, limit)
    assert found.onsets().sum() / years <= 365 * FALSE_ALARM
    assert found.alarm.mean() < 0.03, "a false alarm does not stay"


@pytest.mark.parametrize("limit", [0.1, 0.3, 0.5])
def test_a_rate_half_as_high_again_is_found_within_days(limit: float) -> None:
    before, after, runs = 60, 30, 300
    mean = np.concatenate([np.full((runs, before), 0.9 * limit), np.full((runs, after), 1.5 * limit)], axis=1)
    chance = np.random.default_rng(8)
    rate = 1 / (1 + np.exp(-(np.log(mean / (1 - mean)) + 0.2 * chance.normal(size=mean.shape))))
    alarm = judged(Cohorts.complete(np.full(mean.shape, 300.0), chance.binomial(300, rate)), limit).alarm[:, before:]
    delay = np.where(alarm.any(axis=1), alarm.argmax(axis=1) + 1, after + 1)
    assert np.median(delay) <= 4
    assert np.quantile(delay, 0.9) <= 10
    assert alarm[:, 10:].mean() > 0.9, "and it stays found"


@pytest.mark.parametrize(("limit", "size"), [(0.05, 300), (0.1, 100), (0.3, 100)])
def test_the_cohorts_that_are_still_needed_are_told_within_30_percent_in_the_median(limit: float, size: int) -> None:
    runs, number = 300, 60
    cohorts = days(np.random.default_rng(10), np.full((runs, number), 1.6 * limit), size, 0.2, 0.0)
    alarm = judged(cohorts, limit).alarm
    told = []
    for one in np.flatnonzero(alarm.any(axis=1)):
        end = int(alarm[one].argmax()) + 1
        seen = Cohorts.complete(cohorts.total[one, None, : end // 2], cohorts.bad[one, None, : end // 2])
        more = cohorts_needed(seen, limit, DEFAULT_VARIANCE, judged(seen, limit))
        if end > 1:
            told.append((end // 2 + (np.inf if more is None else more)) / end)
    assert len(told) > 0.9 * runs
    assert np.median(told) == pytest.approx(1, abs=0.3)


def test_what_has_just_changed_is_what_is_expected_to_go_on() -> None:
    """Many good cohorts before do not make it look as if an alarm were years away."""
    good, bad = [(500, 75.0)] * 29, [(500, 205.0)] * 2
    total, counts = np.array([*good, *bad], float).T
    seen = Cohorts.complete(total[None], counts[None])
    alone = Cohorts.complete(total[None, -2:], counts[None, -2:])
    after = cohorts_needed(seen, LIMIT, DEFAULT_VARIANCE, judged(seen))
    assert after is not None
    assert after == pytest.approx(cohorts_needed(alone, LIMIT, DEFAULT_VARIANCE, judged(alone)), abs=0.5)


def test_what_keeps_its_promise_needs_no_number_of_cohorts() -> None:
    for total, bad in (([], []), ([500.0] * 10, [75.0] * 10)):
        seen = Cohorts.complete(np.array([total]), np.array([bad]))
        assert cohorts_needed(seen, LIMIT, DEFAULT_VARIANCE, judged(seen)) is None


@pytest.mark.parametrize(("sd", "correlation"), [(0.0, 0.0), (0.3, 0.0), (0.3, 0.5)])
def test_the_upper_rate_is_above_the_rate_nineteen_times_in_twenty(sd: float, correlation: float) -> None:
    runs, number, size = 2000, 14, 500
    cohorts = days(np.random.default_rng(9), np.full((runs, number), 0.2), size, sd, correlation)
    variance = sd**2 * (1 + correlation) / (1 - correlation)
    above = [upper_rate(number * size, bad, number, np.array(variance)) for bad in cohorts.bad.sum(axis=1)]
    assert np.mean(np.array(above) >= 0.2) >= 0.93


@pytest.mark.parametrize(("total", "bad", "number"), [(0, 0, 1), (10, 11, 1), (10, -1, 1), (10, 1, 0)])
def test_an_upper_rate_of_nothing_is_refused(total: float, bad: float, number: int) -> None:
    with pytest.raises(ValueError, match="a rate needs"):
        upper_rate(total, bad, number, np.array(0.1))


def test_the_mean_of_nothing_is_no_evidence() -> None:
    assert log_mean_exp(np.zeros((1, 3)))[0] == 0
    nothing = Cohorts.complete(np.full((1, 3), 10.0), np.zeros((1, 3))).only(np.zeros((1, 3), bool))
    assert (judged(nothing).log_e == -np.inf).all()
