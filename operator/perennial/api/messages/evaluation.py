"""An evaluation: what the operator asks of the worker, and what the worker reports.

The report goes into a container's termination message of 4,096 bytes. So it has, of each metric, sums of constant size
however many rows and days there were, from which every bound of the gate follows exactly (`perennial.stats.days`).
"""

from typing import Annotated, NamedTuple, Self

from pydantic import Field, PlainSerializer, model_validator

from perennial.api.messages.wire import Asked, Natural
from perennial.families.metrics import OneMetric
from perennial.stats.days import Days
from perennial.stats.sums import Sums
from perennial.terms.forms import Digest, PartName
from perennial.terms.part import Part

MOST_METRICS = 10
"""So many metrics fit a termination message, whatever their sums are."""

Number = Annotated[
    float, Field(allow_inf_nan=False), PlainSerializer(lambda value: int(value) if value.is_integer() else value)
]
"""A sum: finite; a whole one is written without a decimal point."""

ROUNDING = 1e-9
"""What sums may be off by, relative to them."""


class AskedMetric(OneMetric):
    """A metric as the gate has it, without its limits: the operator judges."""

    name: PartName


class EvaluationRequest(Asked):
    """What is measured of a trained model on the held-out rows: handed to the worker as JSON.

    `time` is the column with the event time, by which rows fall into days (UTC); None: all rows are one day's.
    `logged_as` names the model that is meant where the script logs several.
    """

    target: str
    time: str | None = None
    logged_as: str | None = None
    metrics: Annotated[tuple[AskedMetric, ...], Field(max_length=MOST_METRICS)] = ()


class Losses(NamedTuple):
    """Sums of a model's losses, or of the differences of two models' losses: three numbers in a list on the wire."""

    total: Number
    squares: Number
    between: Number
    """How days differ: see `perennial.stats.days.Days`."""


class Measured(Part):
    """One metric on the held-out rows. Without a champion, `baseline` and `difference` are absent, and only then."""

    name: str
    rows: Natural
    """Rows that the metric is over."""
    days: Natural
    """Days that these are of."""
    candidate: Losses
    baseline: Number | None = None
    """The sum of the champion's losses."""
    difference: Losses | None = None
    """The candidate's losses minus the champion's."""

    @model_validator(mode="after")
    def _sums_of_one_sample(self) -> Self:
        """Hold that there are rows with these sums."""
        if (self.baseline is None) != (self.difference is None):
            raise ValueError("baseline and difference must be given together")
        if self.days > self.rows or (self.rows and not self.days):
            raise ValueError("days must be at most rows, and at least one where there are rows")
        for losses in (self.candidate, self.difference):
            if losses is not None and not _possible(self, losses):
                raise ValueError("sums must be those of as many losses as rows, of as many days")
        if self.baseline is not None and self.difference is not None:
            apart = self.candidate.total - self.baseline - self.difference.total
            if abs(apart) > ROUNDING * (1 + abs(self.candidate.total) + abs(self.baseline)):
                raise ValueError("the difference's total must be the candidate's minus the baseline's")
        return self

    def of(self, losses: Losses) -> Days:
        """Return the statistic of the losses."""
        return Days(Sums(self.rows, losses.total, losses.squares), self.days, losses.between)

    @classmethod
    def made(cls, name: str, candidate: Days, baseline: Days | None = None, difference: Days | None = None) -> Self:
        """Return what was measured, of statistics over the same rows."""
        return cls(
            name=name,
            rows=candidate.sums.n,
            days=candidate.days,
            candidate=_losses(candidate),
            baseline=baseline.sums.total if baseline else None,
            difference=_losses(difference) if difference else None,
        )


def _losses(days: Days) -> Losses:
    return Losses(days.sums.total, days.sums.squares, days.between)


def _possible(measured: Measured, losses: Losses) -> bool:
    """Return whether losses can have these sums, but for rounding (Cauchy and Schwarz)."""
    if not measured.rows:
        return losses == Losses(0, 0, 0)
    around = losses.squares - losses.total**2 / measured.rows  # the sum of squares around the mean
    room = ROUNDING * (1 + losses.squares)
    return -room <= around and -room <= losses.between <= measured.rows * (around + room)


class Evaluation(Part):
    """What the script logged, and how it did.

    `logged_as` is the name under which the script logged the model, `logged` how many it logged by that name.
    """

    source: Annotated[str, Field(max_length=512)]
    digest: Digest
    logged_as: Annotated[str, Field(max_length=128)] | None = None
    logged: Annotated[int, Field(ge=1)] = 1
    results: tuple[Measured, ...] = ()
