"""Means of rows that come in days: rows of one day are alike, so days are what is counted."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt
from typing import Self

from perennial.stats.beta import t_quantile
from perennial.stats.paired import Interval
from perennial.stats.sums import Sums


@dataclass(frozen=True, slots=True)
class Days:
    """Sums of values, and what their days add up to: of constant size, exact, and additive over disjoint days.

    With n_g rows of day g whose values add up to D_g, the mean's standard error needs only how many days there are,
    the sums of D_g squared, of D_g n_g, and of n_g squared.
    """

    sums: Sums = Sums()  # noqa: RUF009 - immutable
    days: int = 0
    squares: float = 0.0
    """The sum over days of D_g squared."""
    products: float = 0.0
    """The sum over days of D_g n_g."""
    sizes: float = 0.0
    """The sum over days of n_g squared."""

    @classmethod
    def of(cls, days: Iterable[Sums]) -> Self:
        """Return what some days' sums add up to; days without a row are none."""
        counted = [day for day in days if day.n]
        return cls(
            sums=sum(counted, Sums()),
            days=len(counted),
            squares=sum(day.total * day.total for day in counted),
            products=sum(day.total * day.n for day in counted),
            sizes=sum(float(day.n) * day.n for day in counted),
        )

    def __add__(self, other: Self) -> Self:
        """Return both together; no day may be in both."""
        return type(self)(
            self.sums + other.sums,
            self.days + other.days,
            self.squares + other.squares,
            self.products + other.products,
            self.sizes + other.sizes,
        )

    @property
    def error(self) -> float:
        """The standard error of the mean, from how days differ.

        Source: W. G. Cochran, "Sampling Techniques", 3rd edition, section 9A.1 (the ratio estimator of a mean per row
        from whole clusters); G / (G - 1) sum (D_g - d n_g)^2 / N^2 with N rows of mean d in G days.

        Raises:
            ValueError: there are fewer than two days.
        """
        if self.days < 2:  # noqa: PLR2004 - one day says nothing of how days differ
            raise ValueError("a standard error needs two days or more")
        mean = self.sums.mean
        apart = max(self.squares - 2 * mean * self.products + mean * mean * self.sizes, 0.0)
        return sqrt(self.days / (self.days - 1) * apart) / self.sums.n

    def interval(self, alpha: float, times: float = 1.0) -> Interval:
        """Return the mean with bounds each of which errs with probability alpha: Student's t with a day less.

        Args:
            alpha: within (0, 1/2).
            times: as if there were so many times as many days of the same kind.

        Raises:
            ValueError: there are fewer than two days.
        """
        error, days = self.error, times * self.days
        fewer = (self.days - 1) / (days - 1)  # the error has G / (G - 1) already
        half = t_quantile(1 - alpha, days - 1) * error * sqrt(fewer)
        return Interval(self.sums.mean, self.sums.mean - half, self.sums.mean + half)
