import statistics
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.stats.sums import Sums

VALUES = st.lists(st.floats(-1e6, 1e6, allow_nan=False), max_size=60)


@given(values=VALUES, cuts=st.lists(st.integers(0, 60), max_size=5))
def test_sums_of_pieces_add_up_to_the_sums_of_the_whole(values: list[float], cuts: list[int]) -> None:
    whole = np.array(values)
    edges = [0, *sorted(min(cut, len(values)) for cut in cuts), len(values)]
    pieces = [whole[begin:end] for begin, end in pairwise(edges)]
    together = sum((Sums.of(piece) for piece in pieces), Sums())
    assert together.n == len(values)
    assert together.total == pytest.approx(whole.sum(), abs=1e-6)
    assert together.squares == pytest.approx(np.square(whole).sum(), rel=1e-12)


@given(values=st.lists(st.integers(-1000, 1000), min_size=2, max_size=60))
def test_mean_and_variance_are_those_of_the_textbook(values: list[int]) -> None:
    sums = Sums.of(np.array(values, dtype=float))
    assert sums.mean == pytest.approx(statistics.fmean(values))
    assert sums.variance == pytest.approx(statistics.variance(values), abs=1e-6)


def test_a_count_is_the_sums_of_ones_and_zeros() -> None:
    assert Sums.count(5, 2) == Sums.of(np.array([1.0, 0, 0, 1, 0]))


@pytest.mark.parametrize(("n", "bad"), [(3, 4), (3, -1), (-1, 0)])
def test_a_count_that_cannot_be_is_refused(n: int, bad: int) -> None:
    with pytest.raises(ValueError, match="bad"):
        Sums.count(n, bad)


@pytest.mark.parametrize("sums", [(-1, 0.0, 0.0), (1, 0.0, -1.0), (0, 1.0, 0.0)])
def test_sums_that_no_values_have_are_refused(sums: tuple[int, float, float]) -> None:
    with pytest.raises(ValueError, match="sums must have"):
        Sums(*sums)


def test_too_few_values_have_no_mean_or_variance() -> None:
    with pytest.raises(ValueError, match="n > 0"):
        _ = Sums().mean
    with pytest.raises(ValueError, match="n >= 2"):
        _ = Sums.count(1, 1).variance
