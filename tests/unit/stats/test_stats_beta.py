"""Quantiles against SciPy's."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from perennial.stats.beta import beta_cdf, beta_quantile, t_quantile

SHAPES = st.floats(-0.3, 6).map(lambda power: 10.0**power)
PROBABILITIES = st.one_of(st.floats(1e-6, 1 - 1e-6), st.sampled_from([0.0125, 0.025, 0.5, 0.975]))


@settings(deadline=None)
@given(a=SHAPES, b=SHAPES, probability=PROBABILITIES)
def test_beta_quantiles_are_scipys(a: float, b: float, probability: float) -> None:
    assert beta_quantile(probability, a, b) == pytest.approx(stats.beta.ppf(probability, a, b), rel=1e-7, abs=1e-12)


@settings(deadline=None)
@given(a=SHAPES, b=SHAPES, x=st.floats(0, 1))
def test_beta_probabilities_are_scipys(a: float, b: float, x: float) -> None:
    assert beta_cdf(x, a, b) == pytest.approx(stats.beta.cdf(x, a, b), rel=1e-7, abs=1e-12)


@settings(deadline=None)
@given(degrees=st.floats(-0.2, 6).map(lambda power: 10.0**power), probability=st.floats(0.5, 1 - 1e-6))
def test_t_quantiles_are_scipys(degrees: float, probability: float) -> None:
    assert t_quantile(probability, degrees) == pytest.approx(stats.t.ppf(probability, degrees), rel=1e-7, abs=1e-7)


@pytest.mark.parametrize(("probability", "a", "b"), [(0.0, 1, 1), (1.0, 1, 1), (0.5, 0, 1), (0.5, 1, -1)])
def test_what_has_no_quantile_is_refused(probability: float, a: float, b: float) -> None:
    with pytest.raises(ValueError, match="needs"):
        beta_quantile(probability, a, b)


@pytest.mark.parametrize(("probability", "degrees"), [(0.4, 3), (1.0, 3), (0.9, 0)])
def test_what_has_no_t_quantile_is_refused(probability: float, degrees: float) -> None:
    with pytest.raises(ValueError, match="a t quantile needs"):
        t_quantile(probability, degrees)
