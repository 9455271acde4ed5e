"""What is counted of predictions and labels: sums for each period, version, metric and stratum of scores."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from json import dumps, loads
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from perennial.api.messages.policy import Policy
from perennial.collector.database import read_setting, write_setting
from perennial.families.metrics import Metric, OneMetric

FloatArray = NDArray[np.float64]
_RULE = "counting"


@dataclass(frozen=True, slots=True)
class CohortRule:
    """The length of a period and how long a label may take (seconds), and the metrics by their keys."""

    seconds: int
    delay: int
    metrics: Mapping[str, Metric]

    @classmethod
    def of(cls, policy: Policy) -> Self | None:
        """Return what a policy wants counted; None if it monitors nothing."""
        if policy.monitoring is None:
            return None
        wanted = (slo.outcome.metric() for slo in policy.slos if slo.outcome is not None)
        metrics = {key_of(metric): metric for metric in wanted}
        return cls(policy.monitoring.cohort_seconds, policy.monitoring.max_label_delay_seconds, metrics)

    def starts(self, time: FloatArray) -> NDArray[np.int64]:
        """Return the starts of the periods that times (seconds since the epoch) lie in."""
        return (time // self.seconds).astype(np.int64) * self.seconds

    def refusal(self, label: float) -> str | None:
        """Return why a label is none for what is predicted, or None. Without a metric any number may be one."""
        forms = {metric.labels for metric in self.metrics.values()}
        refused = [form for form in sorted(forms) if not bool(form.usable(np.array([label]))[0])]
        return f"must be {refused[0].value}, but is {label:g}" if refused else None


def key_of(metric: Metric) -> str:
    """Return what a metric with its settings is called in the tables: equal for equal numbers, however written."""
    settings = {name: _plain(value) for name, value in sorted(metric.json_data().items())}
    return metric.name + dumps(settings)


def _plain(value: Any) -> Any:
    try:
        return float(value)
    except (TypeError, ValueError):
        return value


def read_rule(connection: sqlite3.Connection) -> CohortRule | None:
    """Return what is counted. It is read with each batch, so that sums and rule never disagree."""
    data = loads(read_setting(connection, _RULE) or "null")
    if data is None:
        return None
    metrics = (OneMetric.model_validate(each).metric() for each in data["metrics"])
    return CohortRule(data["seconds"], data["delay"], {key_of(metric): metric for metric in metrics})


def write_rule(connection: sqlite3.Connection, counting: CohortRule | None) -> None:
    """Write down what is counted from now on."""
    data = counting and {
        "seconds": counting.seconds,
        "delay": counting.delay,
        "metrics": [{metric.name: metric.json_data()} for metric in counting.metrics.values()],
    }
    write_setting(connection, _RULE, dumps(data))


class Counts:
    """What a batch adds to the sums, collected by arrays and written at once.

    Without `cohorts`, only the metrics' sums: the cohorts are counted already.
    """

    def __init__(self, counting: CohortRule, *, cohorts: bool = True) -> None:
        self._counting = counting
        self._with_cohorts = cohorts
        self._cohorts: dict[tuple[int, str, str], FloatArray] = {}
        self._sums: dict[tuple[int, str, str, int], FloatArray] = {}

    def predicted(self, arm: tuple[str, str], time: FloatArray, score: FloatArray) -> None:
        """Add predictions of one arm (version, model version)."""
        starts = self._counting.starts(time)
        self._add_cohorts(arm, starts, 0)
        for key, metric in self._counting.metrics.items():
            self._add_sums(arm[0], key, starts, metric.stratum(score), {0: np.ones(len(score))})

    def labelled(self, arm: tuple[str, str], time: FloatArray, score: FloatArray, label: FloatArray) -> None:
        """Add first labels of an arm's predictions."""
        starts = self._counting.starts(time)
        self._add_cohorts(arm, starts, 1)
        for key, metric in self._counting.metrics.items():
            n, total, squares = _losses(metric, score, label)
            columns = {1: _usable(metric, label), 2: n, 3: total, 4: squares, 5: n, 6: total, 7: squares}
            self._add_sums(arm[0], key, starts, metric.stratum(score), columns)

    def corrected(
        self, arm: tuple[str, str], time: FloatArray, score: FloatArray, before: FloatArray, after: FloatArray
    ) -> None:
        """Put labels in other labels' place: the old ones are taken out of the sums, the new ones added."""
        starts = self._counting.starts(time)
        self._add_cohorts(arm, starts, 2)
        for key, metric in self._counting.metrics.items():
            old, new = _losses(metric, score, before), _losses(metric, score, after)
            columns = {1: _usable(metric, after) - _usable(metric, before)}
            columns |= {i: new[i - 2] - old[i - 2] for i in (2, 3, 4)}
            self._add_sums(arm[0], key, starts, metric.stratum(score), columns)

    def write(self, connection: sqlite3.Connection) -> None:
        """Add everything to the tables."""
        connection.executemany(
            "INSERT INTO cohort VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
            "predictions = predictions + excluded.predictions, labelled = labelled + excluded.labelled, "
            "corrected = corrected + excluded.corrected",
            [(*key, *map(int, row)) for key, row in self._cohorts.items()],
        )
        connection.executemany(
            "INSERT INTO cohort_sum VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
            "predictions = predictions + excluded.predictions, labelled = labelled + excluded.labelled, "
            "n = n + excluded.n, total = total + excluded.total, squares = squares + excluded.squares, "
            "first_n = first_n + excluded.first_n, first_total = first_total + excluded.first_total, "
            "first_squares = first_squares + excluded.first_squares",
            [(*key, *row.tolist()) for key, row in self._sums.items()],
        )

    def _add_cohorts(self, arm: tuple[str, str], starts: NDArray[np.int64], column: int) -> None:
        if not self._with_cohorts:
            return
        for start, number in zip(*np.unique(starts, return_counts=True), strict=True):
            self._cohorts.setdefault((int(start), *arm), np.zeros(3))[column] += number

    def _add_sums(
        self,
        version: str,
        key: str,
        starts: NDArray[np.int64],
        strata: NDArray[np.int64],
        columns: Mapping[int, FloatArray],
    ) -> None:
        periods, period = np.unique(starts, return_inverse=True)
        most = int(strata.max(initial=0)) + 1
        cell = period * most + strata
        there = np.flatnonzero(np.bincount(cell, minlength=len(periods) * most))
        added = {column: np.bincount(cell, values, len(periods) * most) for column, values in columns.items()}
        for index in there:
            row = self._sums.setdefault((int(periods[index // most]), version, key, int(index % most)), np.zeros(8))
            for column, values in added.items():
                row[column] += values[index]


def _usable(metric: Metric, label: FloatArray) -> FloatArray:
    return metric.labels.usable(label).astype(float)


def _losses(metric: Metric, score: FloatArray, label: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return (1 where the metric is over a prediction, its loss, its square); unusable labels are none."""
    usable = metric.labels.usable(label)
    truth = np.where(usable, label, 0.0)
    over = usable & metric.over(truth)
    losses = np.where(over, metric.losses(truth, score), 0.0)
    return over.astype(float), losses, losses * losses
