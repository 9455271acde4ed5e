"""The cohorts that predictions make. Functions run on the database's thread.

A cohort is what one version predicted in one period [start, start + seconds), start a multiple of the period since the
epoch. Its sums are kept up with every batch, so that judging costs nothing however many predictions there are.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from perennial.collector.cohort_sums import CohortRule, Counts, read_rule, write_rule
from perennial.families.metrics import UNKNOWN, Ends, Metric
from perennial.stats.sums import Sums

CHUNK = 50_000
"""Rows that are counted anew at a time."""


@dataclass(frozen=True, slots=True)
class CohortRow:
    """What was counted of one cohort.

    `ends`: between what each metric lies, by its key; `first`: the same by the labels as they first were.
    """

    start: int
    version: str
    model_version: str
    predictions: int
    labelled: int
    corrected: int
    ends: Mapping[str, Ends]
    first: Mapping[str, Ends]


def configure(connection: sqlite3.Connection, counting: CohortRule | None) -> None:
    """Count so from now on. What was not counted so far is counted from the predictions that are still stored."""
    before = read_rule(connection)
    write_rule(connection, counting)
    if before is None or counting is None or before.seconds != counting.seconds:
        connection.execute("DELETE FROM cohort")
        connection.execute("DELETE FROM cohort_sum")
        if counting is not None:
            _count_anew(connection, Counts(counting))
        return
    for key in before.metrics.keys() - counting.metrics.keys():
        connection.execute("DELETE FROM cohort_sum WHERE metric = ?", (key,))
    added = {key: metric for key, metric in counting.metrics.items() if key not in before.metrics}
    if added:
        _count_anew(connection, Counts(CohortRule(counting.seconds, counting.delay, added), cohorts=False))


def read_cohorts(connection: sqlite3.Connection) -> tuple[CohortRow, ...]:
    """Return the cohorts that are kept, oldest first."""
    counting = read_rule(connection)
    if counting is None:
        return ()
    strata = _read_strata(connection)
    rows = connection.execute(
        "SELECT start, version, model_version, predictions, labelled, corrected FROM cohort ORDER BY start, version"
    )
    return tuple(_row(row, counting.metrics, strata) for row in rows)


@dataclass(frozen=True, slots=True)
class _Stratum:
    """What was counted of one stratum of a cohort's predictions."""

    predictions: int
    labelled: int
    sums: Sums
    first: Sums


def _read_strata(connection: sqlite3.Connection) -> dict[tuple[int, str, str], dict[int, _Stratum]]:
    strata: dict[tuple[int, str, str], dict[int, _Stratum]] = {}
    for start, version, key, stratum, predictions, labelled, n, total, squares, *first in connection.execute(
        "SELECT start, version, metric, stratum, predictions, labelled, n, total, squares, first_n, first_total, "
        "first_squares FROM cohort_sum"
    ):
        found = _Stratum(predictions, labelled, Sums(n, total, squares), Sums(*first))
        strata.setdefault((start, version, key), {})[stratum] = found
    return strata


def _row(
    row: tuple[int, str, str, int, int, int],
    metrics: Mapping[str, Metric],
    strata: Mapping[tuple[int, str, str], Mapping[int, _Stratum]],
) -> CohortRow:
    start, version, _, predictions, *_ = row
    ends, first = {}, {}
    for key, metric in metrics.items():
        found = strata.get((start, version, key), {})
        left = {stratum: each.predictions - each.labelled for stratum, each in found.items()}
        unlabelled = {stratum: number for stratum, number in left.items() if number > 0 and stratum != UNKNOWN}
        # Predictions whose strata were never counted: only their number is known, and their labels' strata.
        uncounted = predictions - sum(each.predictions for stratum, each in found.items() if stratum != UNKNOWN)
        labels = found[UNKNOWN].labelled if UNKNOWN in found else 0
        labels += sum(-number for stratum, number in left.items() if number < 0 and stratum != UNKNOWN)
        unlabelled[UNKNOWN] = max(uncounted - labels, 0)
        ends[key] = metric.ends({stratum: each.sums for stratum, each in found.items()}, unlabelled)
        first[key] = metric.ends({stratum: each.first for stratum, each in found.items()}, unlabelled)
    return CohortRow(*row, ends, first)


def _count_anew(connection: sqlite3.Connection, counts: Counts) -> None:
    for arm, rows in _stored(connection):
        time, score, label, was = np.array(rows, float).T
        counts.predicted(arm, time, score)
        known, first = ~np.isnan(label), np.where(np.isnan(was), label, was)
        counts.labelled(arm, time[known], score[known], first[known])
        other = known & (first != label)
        if other.any():
            counts.corrected(arm, time[other], score[other], first[other], label[other])
    counts.write(connection)


def _stored(connection: sqlite3.Connection) -> Iterator[tuple[tuple[str, str], list[tuple[float, ...]]]]:
    """Read all stored predictions, so many at a time, each list of one arm."""
    cursor = connection.execute("SELECT version, model_version, time, score, label, was FROM prediction")
    while rows := cursor.fetchmany(CHUNK):
        rows.sort(key=lambda row: row[:2])
        for arm, group in groupby(rows, key=lambda row: row[:2]):
            yield (arm[0], arm[1]), [row[2:] for row in group]
