"""Intervals of the training gate against oracles and exact coverage."""

from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats
from statsmodels.stats.proportion import proportion_confint

from perennial.stats.paired import paired_difference, proportion_interval


@pytest.mark.parametrize(("total", "bad"), [(1, 0), (1, 1), (10, 3), (1300, 700), (5000, 1), (40, 40)])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_the_exact_interval_is_statsmodels(total: int, bad: int, confidence: float) -> None:
    low, high = proportion_confint(bad, total, alpha=1 - confidence, method="beta")
    interval = proportion_interval(total, bad, confidence)
    assert (interval.low, interval.high) == (pytest.approx(low, abs=1e-9), pytest.approx(high, abs=1e-9))


def log_likelihood(total: int, first: int, second: int, difference: float, q: float) -> float:
    """Return the multinomial log likelihood of discordant counts at P(first) = q + difference, P(second) = q."""
    return float(
        stats.multinomial.logpmf(
            [first, second, total - first - second], total, [q + difference, q, 1 - 2 * q - difference]
        )
    )


@pytest.mark.parametrize(
    ("total", "first", "second"), [(44, 1, 9), (50, 12, 0), (100, 20, 15), (30, 0, 0), (1300, 20, 420)]
)
def test_tangos_bounds_are_where_the_score_test_rejects(total: int, first: int, second: int) -> None:
    interval = paired_difference(total, first, second)
    z = stats.norm.ppf(0.975)
    for bound in (interval.low, interval.high):
        low, high = max(0.0, -bound), (1 - bound) / 2
        found = optimize.minimize_scalar(
            lambda q, bound=bound: -log_likelihood(total, first, second, bound, q),
            bounds=(low + 1e-12, high - 1e-12),
            method="bounded",
            options={"xatol": 1e-13},
        )
        variance = total * (2 * found.x + bound - bound**2)
        score = (first - second - total * bound) / sqrt(variance)
        assert abs(score) == pytest.approx(z, abs=2e-3)


def test_the_interval_covers_as_often_as_it_says() -> None:
    total, first, second = 40, 0.10, 0.20
    covered = 0.0
    for b in range(total + 1):
        for c in range(total + 1 - b):
            interval = paired_difference(total, b, c)
            if interval.low <= first - second <= interval.high:
                covered += float(
                    stats.multinomial.pmf([b, c, total - b - c], total, [first, second, 1 - first - second])
                )
    assert 0.94 <= covered <= 0.975


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 2000), st.data())
def test_the_interval_holds_its_estimate_and_turns_with_the_arms(total: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, total))
    second = data.draw(st.integers(0, total - first))
    one = paired_difference(total, first, second)
    other = paired_difference(total, second, first)
    assert -1 <= one.low <= one.estimate <= one.high <= 1
    assert one.estimate == pytest.approx((first - second) / total)
    assert (one.low, one.high) == (pytest.approx(-other.high, abs=1e-9), pytest.approx(-other.low, abs=1e-9))


def test_more_rows_make_the_interval_narrower() -> None:
    widths = []
    for factor in (1, 10, 100):
        interval = paired_difference(50 * factor, 4 * factor, 2 * factor)
        widths.append(interval.high - interval.low)
    assert np.all(np.diff(widths) < 0)


def test_no_discordant_row_still_leaves_room_for_doubt() -> None:
    interval = paired_difference(30, 0, 0)
    assert interval.low < 0 < interval.high


@pytest.mark.parametrize("counts", [(0, 0, 0), (10, 6, 5), (5, -1, 0), (5, 0, -1)])
def test_counts_that_are_no_table_are_refused(counts: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="must"):
        paired_difference(*counts)


@pytest.mark.parametrize(("total", "bad"), [(0, 0), (5, 6), (5, -1)])
def test_counts_that_are_no_proportion_are_refused(total: int, bad: int) -> None:
    with pytest.raises(ValueError, match="a proportion needs"):
        proportion_interval(total, bad)
