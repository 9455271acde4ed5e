"""What a metric is: how wrong one prediction is, of which predictions that is asked, and what a limit for it may be."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import inf, isfinite, nan
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from perennial.stats.sums import Sums
from perennial.terms.forms import Decimal
from perennial.terms.part import Member, OneOf, camel

FloatArray = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Direction(StrEnum):
    """Which values are better."""

    LOWER = "Lower"
    HIGHER = "Higher"


class Labels(StrEnum):
    """What a label must be. The training gate and the monitor ask here, so that none takes what the other refuses."""

    BINARY = "true, false, 1 or 0"
    NUMBER = "a finite number"

    def usable(self, labels: FloatArray) -> Mask:
        """Return which of some labels, shape (n,), are of this form."""
        if self is Labels.BINARY:
            return np.asarray((labels == 0) | (labels == 1))
        return np.isfinite(labels)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a limit of a metric must lie between, both excluded."""

    above: float = 0.0
    below: float = inf

    def hold(self, limit: float) -> bool:
        """Whether a limit lies between."""
        return self.above < limit < self.below

    def words(self) -> str:
        """Return what a limit must be, to go after "must be"."""
        below = f" and below {self.below:g}" if isfinite(self.below) else ""
        return f"above {self.above:g}{below}"

    def cel(self, limit: str) -> str:
        """Return the CEL expression that a limit, a decimal string, lies between."""
        below = f" && double({limit}) < {self.below:.1f}" if isfinite(self.below) else ""
        return f"double({limit}) > {self.above:.1f}{below}"

    def allow(self, difference: float) -> bool:
        """Whether a difference between two such values may be this, and not less than none."""
        return 0 <= difference <= self.below - self.above

    def difference_words(self) -> str:
        """Return what a tolerated difference must be, to go after "must be"."""
        widest = self.below - self.above
        return f"at least 0 and at most {widest:g}" if isfinite(widest) else "at least 0"

    def difference_cel(self, limit: str) -> str:
        """Return the CEL expression that a tolerated difference, a decimal string, is one."""
        widest = self.below - self.above
        most = f" && double({limit}) <= {widest:.1f}" if isfinite(widest) else ""
        return f"double({limit}) >= 0.0{most}"


SHARES = Bounds(0, 1)

UNKNOWN = -1
"""The stratum of predictions of which only their number is known."""


@dataclass(frozen=True, slots=True)
class Ends:
    """Between what and what a metric lies while labels are missing.

    `known`: of the labelled predictions that the metric is over; `least` and `most`: with the unlabelled ones as they
    would make it least and most; `missing`: so many unlabelled ones may be among those that the metric is over.
    """

    known: Sums
    least: Sums
    most: Sums
    missing: int

    @property
    def coverage(self) -> float:
        """The labelled share of what the metric is, or may be, over; 1 where that is nothing."""
        everything = self.known.n + self.missing
        return self.known.n / everything if everything else 1.0


@dataclass(frozen=True, slots=True)
class Worked:
    """A worked example: what is true of some rows, their scores, and the metric's value, with its defaults, on them."""

    truth: tuple[float, ...]
    score: tuple[float, ...]
    value: float


class Metric(Member):
    """One kind of error, with the settings that a user gives it. Its docstring is what the reference says of it."""

    name: ClassVar[str]
    """What users call it: the field of a `OneOf`."""
    title: ClassVar[str]
    """What sentences call it."""
    direction: ClassVar[Direction]
    unit: ClassVar[str]
    """What losses are counted in; "1" for shares."""
    merges: ClassVar[bool] = True
    """Whether it is a mean of losses, which `Sums` fold in any pieces. One that isn't is offered to gates only."""
    labels: ClassVar[Labels]
    rate: ClassVar[bool]
    """Whether each loss is 0 or 1, so that their mean is a share: then intervals for counts apply."""
    limits: ClassVar[Bounds]
    """What a limit of it may be."""
    example: ClassVar[dict[str, Any]]
    """Settings as a user may write them."""
    worked: ClassVar[Worked]

    @abstractmethod
    def over(self, truth: FloatArray) -> Mask:
        """Return which rows are in the metric's denominator. Labels are usable (`labels`); all shapes are (n,)."""

    @abstractmethod
    def losses(self, truth: FloatArray, score: FloatArray) -> FloatArray:
        """Return how wrong each row's score is; only rows that the metric is `over` mean something."""

    @abstractmethod
    def stratum(self, score: FloatArray) -> NDArray[np.int64]:
        """Return for each score, shape (n,), a small number >= 0: unlabelled predictions of one are all alike."""

    @abstractmethod
    def ends(self, labelled: Mapping[int, Sums], unlabelled: Mapping[int, int]) -> Ends:
        """Return between what the metric lies: labels may be missing for a reason, so nothing is taken as random.

        Args:
            labelled: the losses of the labelled predictions that the metric is over, by stratum.
            unlabelled: how many have no label, by stratum; `UNKNOWN` are those of which not even that is known.
        """


class Rate(Metric):
    """What the shares of wrong predictions have in common: a score becomes a class by a threshold."""

    direction: ClassVar[Direction] = Direction.LOWER
    unit: ClassVar[str] = "1"
    labels: ClassVar[Labels] = Labels.BINARY
    rate: ClassVar[bool] = True
    limits: ClassVar[Bounds] = SHARES
    example: ClassVar[dict[str, Any]] = {"threshold": "0.4"}

    threshold: Annotated[Decimal, Field(description="A score of at least this counts as a positive prediction.")] = (
        "0.5"
    )

    def losses(self, truth: FloatArray, score: FloatArray) -> FloatArray:
        """Return 1 for each row whose predicted class is not the true one, 0 for the others."""
        return np.asarray((score >= float(self.threshold)) != (truth == 1), dtype=float)

    def stratum(self, score: FloatArray) -> NDArray[np.int64]:
        """Return the predicted class."""
        return np.asarray(score >= float(self.threshold), dtype=np.int64)

    def ends(self, labelled: Mapping[int, Sums], unlabelled: Mapping[int, int]) -> Ends:
        """Return the rate with unlabelled predictions as never bad where they can be, and as always bad."""
        known = sum(labelled.values(), Sums())
        least, most, missing = known, known, 0
        for stratum, number in unlabelled.items():
            may_be = self._may_be(stratum)
            least += _as(number, min(may_be, key=_badness))
            most += _as(number, max(may_be, key=_badness))
            missing += number if any(over for over, _ in may_be) else 0
        return Ends(known, least, most, missing)

    def _may_be(self, stratum: int) -> set[tuple[bool, bool]]:
        """Return what an unlabelled prediction may turn out to be: (the metric is over it, it is bad)."""
        threshold = float(self.threshold)
        scores = {0: (threshold - 1,), 1: (threshold,), UNKNOWN: (threshold - 1, threshold)}[stratum]
        truth = np.array([0.0, 1.0])
        found: set[tuple[bool, bool]] = set()
        for score in scores:
            over, losses = self.over(truth), self.losses(truth, np.full(2, score))
            found |= {(bool(over[i]), bool(over[i] and losses[i])) for i in range(2)}
        return found


def _badness(case: tuple[bool, bool]) -> int:
    """Return how a case moves a rate: good in the denominator lowers it, not in it leaves it, bad raises it."""
    over, bad = case
    return 0 if not over else 1 if bad else -1


def _as(number: int, case: tuple[bool, bool]) -> Sums:
    over, bad = case
    return Sums.count(number, number * bad) if over else Sums()


def as_numbers(labels: Iterable[object]) -> FloatArray:
    """Return labels of any type as numbers, true as 1 and false as 0; what is no finite number as NaN."""
    return np.array([_number(label) for label in labels], dtype=float)


def _number(label: object) -> float:
    if not isinstance(label, bool | int | float | np.bool_ | np.integer | np.floating):
        return nan
    try:
        number = float(label)
    except OverflowError:
        return nan
    return number if isfinite(number) else nan


def limit_rules(family: type[OneOf], limit: str) -> tuple[tuple[str, str], ...]:
    """Return the CEL rules, with what they say, that hold a limit within its metric's bounds.

    Args:
        family: the one-of whose members are metrics.
        limit: the name in Python of the field beside them, a decimal string.
    """
    field = camel(limit)
    return tuple(
        (
            f"!has(self.{metric.name}) || !has(self.{field}) || ({metric.limits.cel(f'self.{field}')})",
            f"{field} of {metric.name} must be {metric.limits.words()}",
        )
        for metric in metrics_of(family)
    )


def difference_rules(family: type[OneOf], difference: str) -> tuple[tuple[str, str], ...]:
    """Return the CEL rules, with what they say, that hold a tolerated difference within what its metric allows."""
    field = camel(difference)
    return tuple(
        (
            f"!has(self.{metric.name}) || !has(self.{field}) || ({metric.limits.difference_cel(f'self.{field}')})",
            f"{field} of {metric.name} must be {metric.limits.difference_words()}",
        )
        for metric in metrics_of(family)
    )


def metrics_of(family: type[OneOf]) -> tuple[type[Metric], ...]:
    """Return the types of a one-of's metrics, in the order of its fields."""
    return tuple(each for each in family.types.values() if issubclass(each, Metric))
