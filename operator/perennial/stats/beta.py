"""Quantiles of the beta and of Student's t distribution, for exact intervals of shares and of means.

Written out because the operator starts in about a second and holds little memory: SciPy would add 100 MB to its image
and a third to its start, for these two functions. The tests hold them to SciPy's.
"""

from math import exp, inf, lgamma, log, log1p, sqrt

_TINY = 1e-300
_MOST_TERMS = 1_000_000


def beta_cdf(x: float, a: float, b: float) -> float:
    """Return the probability that a beta(a, b) variable is at most x: the regularised incomplete beta function.

    Source: W. H. Press et al., "Numerical Recipes", section 6.4: a continued fraction, by Lentz's method, on the side
    where it converges within about sqrt(max(a, b)) terms.

    Raises:
        ValueError: a or b is not positive.
    """
    if a <= 0 or b <= 0:
        raise ValueError(f"a beta distribution needs a > 0 and b > 0, not {a} and {b}")
    if not 0 < x < 1:
        return 0.0 if x <= 0 else 1.0
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x))
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(x, a, b) / a
    return 1 - front * _fraction(1 - x, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    """Return the continued fraction of the incomplete beta function."""
    c, d = 1.0, 1 / _away_from_0(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, _MOST_TERMS):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _away_from_0(1 + term * d)
            c = _away_from_0(1 + term / c)
            value *= d * c
        if abs(d * c - 1) < 1e-15:  # noqa: PLR2004 - as far as floats go
            return value
    raise ArithmeticError(f"the incomplete beta function of {x}, {a}, {b} does not converge")


def _away_from_0(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def beta_quantile(probability: float, a: float, b: float) -> float:
    """Return x such that a beta(a, b) variable is at most x with this probability, within (0, 1).

    Newton's method, kept within what is known to hold the solution.

    Raises:
        ValueError: the probability is not within (0, 1), or a or b is not positive.
    """
    if not 0 < probability < 1 or a <= 0 or b <= 0:
        raise ValueError(f"a quantile needs a probability within (0, 1), a > 0, b > 0, not {probability}, {a}, {b}")
    low, high, x = 0.0, 1.0, a / (a + b)
    scale = lgamma(a + b) - lgamma(a) - lgamma(b)
    for _ in range(200):
        beyond = beta_cdf(x, a, b) - probability
        low, high = (low, x) if beyond > 0 else (x, high)
        slope = exp(min(scale + (a - 1) * log(x) + (b - 1) * log1p(-x), 700.0))
        step = x - beyond / slope if slope else inf
        following = step if low < step < high else (low + high) / 2
        if abs(following - x) <= 1e-15 * x:
            break
        x = following
    return x


def t_quantile(probability: float, degrees: float) -> float:
    """Return what a variable with Student's t distribution does not exceed with this probability, at least 1/2.

    Raises:
        ValueError: the probability is not within [1/2, 1), or there is no degree of freedom.
    """
    if not 0.5 <= probability < 1 or degrees <= 0:  # noqa: PLR2004 - the upper half
        raise ValueError(f"a t quantile needs 1/2 <= probability < 1 and degrees > 0, not {probability}, {degrees}")
    if probability == 0.5:  # noqa: PLR2004 - the middle
        return 0.0
    # t^2 / (t^2 + degrees) and its complement are beta variables: the smaller one is the more exact.
    share = beta_quantile(2 * probability - 1, 0.5, degrees / 2)
    if share <= 0.5:  # noqa: PLR2004 - a half
        return sqrt(degrees * share / (1 - share))
    rest = beta_quantile(2 * (1 - probability), degrees / 2, 0.5)
    return sqrt(degrees * (1 - rest) / rest)
