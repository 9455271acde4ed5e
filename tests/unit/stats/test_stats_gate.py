"""The gate's bounds and verdicts: by days, by counts, over repeated gates."""

from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from perennial.stats.days import Days
from perennial.stats.gate import ALPHA, Held, judge, spent
from perennial.stats.sums import Sums
from perennial.terms import reasons
from perennial.terms.words import Verdict

DAY = st.lists(st.sampled_from([-1.0, 0.0, 0.0, 1.0]), max_size=30)


def days_of(*losses: list[float]) -> Days:
    return Days.of(Sums.of(np.array(day, dtype=float)) for day in losses)


def counted(*days: tuple[int, int]) -> Days:
    return Days.of(Sums.count(n, bad) for n, bad in days)


@given(st.lists(DAY, min_size=3, max_size=12))
def test_the_error_by_days_is_the_cluster_formula_written_out(losses: list[list[float]]) -> None:
    filled = [day for day in losses if day]
    if len(filled) < 2:
        return
    rows = sum(len(day) for day in filled)
    mean = sum(map(sum, filled)) / rows
    squared = len(filled) / (len(filled) - 1) * sum((sum(day) - mean * len(day)) ** 2 for day in filled) / rows**2
    days = days_of(*losses)
    assert days.sums.mean == pytest.approx(mean)
    assert days.error**2 == pytest.approx(squared, abs=1e-12)
    half = stats.t.ppf(0.975, len(filled) - 1) * squared**0.5
    interval = days.interval(0.025)
    assert (interval.low, interval.high) == (pytest.approx(mean - half, abs=1e-6), pytest.approx(mean + half, abs=1e-6))


@given(st.lists(DAY, min_size=2, max_size=8).filter(lambda days: sum(1 for day in days if day) >= 2), st.integers(2, 9))
def test_more_days_of_the_same_kind_are_what_times_says(losses: list[list[float]], times: int) -> None:
    asked = days_of(*losses).interval(0.01, times)
    held = days_of(*losses * times).interval(0.01)
    assert (asked.low, asked.high) == (pytest.approx(held.low, abs=1e-9), pytest.approx(held.high, abs=1e-9))


def test_one_day_does_not_say_how_days_differ() -> None:
    with pytest.raises(ValueError, match="two days"):
        counted((100, 3)).interval(0.025)


def test_a_rates_bounds_are_the_wider_ones_of_rows_and_days() -> None:
    alike = Held(counted(*[(100, 10)] * 7), rate=True, paired=False).interval(0.025)
    exact = stats.binomtest(70, 700).proportion_ci(0.95, "exact")
    assert (alike.low, alike.high) == (pytest.approx(exact.low), pytest.approx(exact.high))
    unlike = Held(counted(*[(100, 2), (100, 18)] * 3), rate=True, paired=False).interval(0.025)
    half = stats.t.ppf(0.975, 5) * np.std([2, 18] * 3, ddof=1) / 100 / 6**0.5
    assert (unlike.low, unlike.high) == (pytest.approx(0.1 - half), pytest.approx(0.1 + half))


def test_a_paired_rates_bounds_are_tangos_where_days_are_alike() -> None:
    interval = Held(days_of(*[[1.0, 0.0, 0.0, 0.0, -1.0]] * 7), rate=True, paired=True).interval(0.025)
    assert interval.low < -0.2 < 0.2 < interval.high


def test_a_mean_within_one_day_takes_rows_as_independent() -> None:
    values = [1.0, 4.0, 2.0, 8.0, 5.0, 7.0]
    interval = Held(days_of(values), rate=False, paired=False).interval(0.025)
    low, high = stats.t.interval(0.95, 5, np.mean(values), stats.sem(values))
    assert (interval.low, interval.high) == (pytest.approx(low), pytest.approx(high))


def test_a_mean_of_one_row_is_anything() -> None:
    interval = Held(days_of([3.0]), rate=False, paired=False).interval(0.025)
    assert (interval.low, interval.high) == (-inf, inf)


# One row that is bad is no proof that more than 1 in 1,000 is: by Wilson's bound it was.
ONE_BAD = Held(counted((174, 1)), rate=True, paired=False)


def test_one_bad_row_of_174_does_not_break_a_limit_of_1_in_1000() -> None:
    judged = judge(ONE_BAD, 0.001, ALPHA)
    assert (judged.verdict, judged.reason) == (Verdict.UNDECIDED, reasons.TOO_FEW_ROWS)


@pytest.mark.parametrize("limit", [0.9999, 0.999999999])
def test_a_limit_near_1_is_decided(limit: float) -> None:
    assert judge(Held(counted((50_000, 100)), rate=True, paired=False), limit, ALPHA).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("bad", "limit", "verdict", "reason"),
    [
        (100, 0.2, Verdict.PASS, reasons.LIMIT_KEPT),
        (300, 0.2, Verdict.FAIL, reasons.LIMIT_EXCEEDED),
        (200, 0.2, Verdict.UNDECIDED, reasons.TOO_FEW_ROWS),
    ],
)
def test_a_verdict_needs_the_whole_interval(bad: int, limit: float, verdict: Verdict, reason: str) -> None:
    judged = judge(Held(counted((500, bad // 2), (500, bad // 2)), rate=True, paired=False), limit, 0.2)
    assert (judged.verdict, judged.reason, judged.rows, judged.days) == (verdict, reason, 1000, 2)


def test_no_row_is_no_data() -> None:
    judged = judge(Held(Days(), rate=True, paired=False), 0.5, ALPHA)
    assert (judged.verdict, judged.reason) == (Verdict.NO_DATA, reasons.NO_HELD_OUT_ROWS)


def test_the_alphas_of_all_attempts_add_up_to_one_gates() -> None:
    assert spent(1) == pytest.approx(0.0152, abs=1e-4)
    assert sum(spent(j) for j in range(1, 100_000)) == pytest.approx(ALPHA, rel=1e-4)
    with pytest.raises(ValueError, match="from 1"):
        spent(0)


@settings(deadline=None, max_examples=30)
@given(p=st.floats(0.05, 0.6), far=st.floats(0.02, 0.3), days=st.integers(3, 20))
def test_as_many_more_rows_as_needed_decide_and_many_fewer_do_not(p: float, far: float, days: int) -> None:
    bad = round(100 * p)
    limit = bad / 100 + far
    held = Held(counted(*[(100, max(bad - 8, 0)), (100, min(bad + 8, 100))] * days), rate=True, paired=False)
    judged = judge(held, limit, 0.015)
    if judged.needed is None:
        assert judged.verdict is Verdict.PASS
        return
    times = 1 + judged.needed / judged.rows
    assert held.interval(0.015, times).high <= limit, "they are enough"
    assert limit < held.interval(0.015, 0.7 * times).high, "much fewer are not"


def test_what_lies_on_its_limit_is_decided_by_no_number_of_rows() -> None:
    judged = judge(Held(counted((100, 10), (100, 10)), rate=True, paired=False), 0.1, ALPHA)
    assert (judged.verdict, judged.needed) == (Verdict.UNDECIDED, None)
