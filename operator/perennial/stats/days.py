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
    """Sums of values, and how their days differ: of constant size however many rows and days there were, and exact."""

    sums: Sums = Sums()  # noqa: RUF009 - immutable
    days: int = 0
    """Days that have rows."""
    between: float = 0.0
    """The sum over days of (D_g - d n_g)^2, where day g has n_g rows whose values add up to D_g, and d is the mean."""

    @classmethod
    def of(cls, days: Iterable[Sums]) -> Self:
        """Return what some days' sums add up to; days without a row are none."""
        counted = [day for day in days if day.n]
        if not counted:
            return cls()
        sums = sum(counted, Sums())
        return cls(sums, len(counted), sum((day.total - sums.mean * day.n) ** 2 for day in counted))

    @property
    def error(self) -> float:
        """The standard error of the mean, from how days differ.

        Source: W. G. Cochran, "Sampling Techniques", 3rd edition, section 9A.1 (the ratio estimator of a mean per row
        from whole clusters): se^2 = G / (G - 1) between / N^2 with N rows in G days.

        Raises:
            ValueError: there are fewer than two days.
        """
        if self.days < 2:  # noqa: PLR2004 - one day says nothing of how days differ
            raise ValueError("a standard error needs two days or more")
        return sqrt(self.days / (self.days - 1) * self.between) / self.sums.n

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
