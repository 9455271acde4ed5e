"""What held-out rows show of a candidate: a metric against a limit, or against the champion's on the same rows.

Rows of one day are alike, so the same model looked at twice "differs" in 43 % of seven-day samples when rows count
as independent. A bound here is therefore the wider of two: the one that goes by how whole days differ
(`days`), and, for shares, the exact or score interval for counts (`paired`), which few days can't undercut by chance.
"""

from dataclasses import dataclass
from math import ceil, inf, pi, sqrt

from perennial.stats.beta import t_quantile
from perennial.stats.days import Days
from perennial.stats.paired import Interval, paired_difference, proportion_interval
from perennial.stats.sums import Sums
from perennial.terms import reasons
from perennial.terms.reasons import Reason
from perennial.terms.words import Verdict

ALPHA = 0.025
"""How often a bound errs, over all gates of one model on the same held-out rows together."""

MOST_ROWS = 1e12
"""What more rows than this would decide, nothing will."""


def spent(attempt: int) -> float:
    """Return the share of `ALPHA` that the so-manieth gate (from 1) on the same held-out rows may spend.

    6 / (pi^2 j^2) adds up to 1 over all j: whoever tries long enough on the same rows passes no more often for it.

    Raises:
        ValueError: attempts are counted from 1.
    """
    if attempt < 1:
        raise ValueError(f"attempts are counted from 1, not {attempt}")
    return ALPHA * 6 / (pi * pi * attempt * attempt)


@dataclass(frozen=True, slots=True)
class Held:
    """What was measured on held-out rows, by days: losses of one model, or the differences of two models' losses."""

    days: Days
    rate: bool
    """Whether each loss is 0 or 1 (so that each difference is -1, 0 or 1)."""
    paired: bool
    """Whether these are differences."""

    def interval(self, alpha: float, times: float = 1.0) -> Interval:
        """Return the mean with bounds each of which errs with probability `alpha`; infinite ones if nothing is known.

        With less than two days nobody knows how days differ: then rows count as independent.

        Args:
            alpha: within (0, 1/2).
            times: as if there were so many times as many days of the same kind.

        Raises:
            ValueError: there is no row.
        """
        sums = self.days.sums
        found = [self._of_counts(alpha, times)] if self.rate else []
        if self.days.days >= 2:  # noqa: PLR2004 - one day says nothing of how days differ
            found.append(self.days.interval(alpha, times))
        elif not self.rate:
            found.append(_of_rows(sums, alpha, times))
        least, most = (-1.0 if self.paired else 0.0, 1.0) if self.rate else (-inf, inf)
        low, high = min(each.low for each in found), max(each.high for each in found)
        return Interval(sums.mean, max(low, least), min(high, most))

    def _of_counts(self, alpha: float, times: float) -> Interval:
        n, total, squares = (
            times * value for value in (self.days.sums.n, self.days.sums.total, self.days.sums.squares)
        )
        if not self.paired:
            return proportion_interval(n, total, 1 - 2 * alpha)
        return paired_difference(n, (squares + total) / 2, (squares - total) / 2, confidence=1 - 2 * alpha)


def _of_rows(sums: Sums, alpha: float, times: float) -> Interval:
    if sums.n < 2:  # noqa: PLR2004 - one row says nothing of how rows differ
        return Interval(sums.mean, -inf, inf)
    half = t_quantile(1 - alpha, sums.n * times - 1) * sqrt(sums.variance / (sums.n * times))
    return Interval(sums.mean, sums.mean - half, sums.mean + half)


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether a mean is at most a limit, and what that rests on."""

    verdict: Verdict
    reason: Reason
    limit: float
    rows: int
    days: int
    interval: Interval
    needed: int | None = None
    """About how many more rows would decide; None if none would, or it is decided."""


def judge(held: Held, limit: float, alpha: float) -> Judgement:
    """Return Pass if the whole interval is within the limit, Fail if it is beyond, Undecided in between.

    Each of Pass and Fail errs with probability `alpha` at most.
    """
    rows, days = held.days.sums.n, held.days.days
    if not rows:
        return Judgement(Verdict.NO_DATA, reasons.NO_HELD_OUT_ROWS, limit, 0, 0, Interval(0.0, -inf, inf))
    interval = held.interval(alpha)
    verdict = verdict_of(interval, limit)
    if verdict is Verdict.UNDECIDED:
        needed = _needed(held, limit, alpha)
        return Judgement(verdict, reasons.TOO_FEW_ROWS, limit, rows, days, interval, needed)
    over = reasons.CANDIDATE_WORSE if held.paired else reasons.LIMIT_EXCEEDED
    within = reasons.CANDIDATE_NOT_WORSE if held.paired else reasons.LIMIT_KEPT
    return Judgement(verdict, within if verdict is Verdict.PASS else over, limit, rows, days, interval)


def verdict_of(interval: Interval, limit: float) -> Verdict:
    """Return what an interval says of a limit: nothing, unless it lies on one side of it altogether."""
    if interval.high <= limit:
        return Verdict.PASS
    return Verdict.FAIL if interval.low > limit else Verdict.UNDECIDED


def _needed(held: Held, limit: float, alpha: float) -> int | None:
    """Return about how many more rows decide, if all goes on as it went: too many as often as too few.

    More often than not, few days differ less than days do: the median of a chi-square with v degrees of freedom is
    about v (1 - 2 / 9v)^3 (E. B. Wilson and M. M. Hilferty, PNAS 1931). So bounds are taken to lie so much farther out.
    """
    rows, degrees = held.days.sums.n, held.days.days - 1
    stretch = (1 - 2 / (9 * degrees)) ** -1.5 if degrees > 0 else 1.0

    def decides(factor: float) -> bool:
        found = held.interval(alpha, factor)
        low, high = (found.estimate + stretch * (bound - found.estimate) for bound in (found.low, found.high))
        return verdict_of(Interval(found.estimate, low, high), limit) is not Verdict.UNDECIDED

    low, high = 1.0, 2.0
    while not decides(high):
        low, high = high, high * 2
        if high * rows > MOST_ROWS:
            return None
    while high - low > 0.005 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if decides(middle) else (middle, high)
    return ceil((high - 1) * rows)
