"""`Sums`: the one sufficient statistic of a mean. It is additive, so what it counts may be folded in any pieces."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Sums:
    """How many values there were, their sum, and the sum of their squares.

    It serves counts of bad requests (`count`), rates with denominators of their own, absolute errors, costs, and the
    paired differences of two models' losses, whose squares are, for losses of 0 and 1, the discordant rows.
    """

    n: int = 0
    total: float = 0.0
    squares: float = 0.0

    def __post_init__(self) -> None:
        if self.n < 0 or self.squares < 0 or (self.n == 0 and (self.total or self.squares)):
            raise ValueError(f"sums must have n >= 0 and squares >= 0, and be 0 where n is, not {self}")

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> Self:
        """Return the sums of an array of values, shape (n,)."""
        return cls(len(values), float(values.sum()), float(np.square(values).sum()))

    @classmethod
    def count(cls, n: int, bad: float) -> Self:
        """Return the sums of `n` values of which `bad` are 1 and the others 0.

        Raises:
            ValueError: bad is not within 0..n.
        """
        if not 0 <= bad <= n:
            raise ValueError(f"a count needs 0 <= bad <= n, not {bad} of {n}")
        return cls(n, bad, bad)

    def __add__(self, other: Self) -> Self:
        """Return the sums of both's values together."""
        return type(self)(self.n + other.n, self.total + other.total, self.squares + other.squares)

    @property
    def mean(self) -> float:
        """The values' mean.

        Raises:
            ValueError: there is no value.
        """
        if not self.n:
            raise ValueError("a mean needs n > 0")
        return self.total / self.n

    @property
    def variance(self) -> float:
        """The unbiased estimate of the variance of what the values were drawn from.

        Raises:
            ValueError: there are fewer than two values.
        """
        if self.n < 2:  # noqa: PLR2004 - one value says nothing of how values differ
            raise ValueError("a variance needs n >= 2")
        return max(self.squares - self.total * self.total / self.n, 0.0) / (self.n - 1)
