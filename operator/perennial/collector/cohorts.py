"""Predictions, their late labels, and the cohorts they make. Functions run on the database's thread.

A cohort is what one version predicted in one period [start, start + seconds), start a multiple of the period since the
epoch. Its counts are kept up with every batch, so that judging costs nothing however many predictions there are.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from json import dumps, loads
from typing import Literal, NamedTuple, get_args

from perennial.api.messages.policy import Policy
from perennial.api.messages.state import Labels
from perennial.collector.database import read_setting, write_setting

MetricName = Literal["falseNegativeRate", "falsePositiveRate", "errorRate"]

KEEP_COHORTS = 200
"""Counts of so many cohorts are kept for the detector's memory."""
KEEP_PREDICTIONS = 5_000_000
KEEP_WAITING = 500_000
PRUNE_BATCH = 20_000
"""Rows deleted in one transaction: labels and predictions wait for it."""


class Metric(NamedTuple):
    """An outcome that is counted: `threshold` turns scores into classes, score >= threshold is positive."""

    name: MetricName
    threshold: float

    def judge(self, score: float, label: float) -> tuple[int, int]:
        """Return (1 if the metric is over this prediction, 1 if it is bad)."""
        predicted, actual = score >= self.threshold, label >= 0.5  # noqa: PLR2004 - labels are 0 and 1
        match self.name:
            case "falseNegativeRate":
                return int(actual), int(actual and not predicted)
            case "falsePositiveRate":
                return int(not actual), int(predicted and not actual)
            case "errorRate":
                return 1, int(predicted != actual)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is counted: the length of a period, the metrics, and how long a label may take (all in seconds)."""

    seconds: int
    delay: int
    metrics: tuple[Metric, ...]

    @classmethod
    def of(cls, policy: Policy) -> "Plan | None":
        """Return the policy's plan; None if it monitors nothing."""
        if policy.monitoring is None:
            return None
        metrics = {Metric(slo.outcome.metric, slo.outcome.threshold) for slo in policy.slos if slo.outcome is not None}
        monitoring = policy.monitoring
        return cls(monitoring.cohort_seconds, monitoring.max_label_delay_seconds, tuple(sorted(metrics)))

    def start(self, time: float) -> int:
        """Return the start of the period that a time (seconds since the epoch) lies in."""
        return int(time // self.seconds) * self.seconds


class Prediction(NamedTuple):
    """One answer of a model: `time` in seconds since the epoch, `score` the number that it answered."""

    id: str
    time: float
    score: float


class Label(NamedTuple):
    """What turned out to be true of a prediction: 0 or 1 (or a number; from 0.5 on it is positive)."""

    id: str
    label: float


@dataclass(frozen=True, slots=True)
class CohortRow:
    """The counts of one cohort; `outcomes` maps a metric to (total, bad)."""

    start: int
    version: str
    model_version: str
    predictions: int
    labelled: int
    outcomes: dict[Metric, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Tally:
    """Numbers since the beginning. Every posted label is in exactly one of the last three."""

    predictions: int = 0
    joined: int = 0
    duplicates: int = 0
    strangers: int = 0

    def labels(self) -> Labels:
        """Return what became of the labels."""
        return Labels(joined=self.joined, duplicates=self.duplicates, strangers=self.strangers)


class _Counts:
    """What a batch adds to its cohorts."""

    def __init__(self, plan: Plan | None) -> None:
        self._plan = plan
        self._predictions: Counter[tuple[int, str, str]] = Counter()
        self._labelled: Counter[tuple[int, str, str]] = Counter()
        self._totals: Counter[tuple[int, str, Metric]] = Counter()
        self._bad: Counter[tuple[int, str, Metric]] = Counter()

    def predicted(self, time: float, version: str, model_version: str) -> None:
        if self._plan is not None:
            self._predictions[self._plan.start(time), version, model_version] += 1

    def labelled(self, time: float, version: str, model_version: str, score: float, label: float) -> None:
        if self._plan is None:
            return
        start = self._plan.start(time)
        self._labelled[start, version, model_version] += 1
        for metric in self._plan.metrics:
            total, bad = metric.judge(score, label)
            self._totals[start, version, metric] += total
            self._bad[start, version, metric] += bad

    def write(self, connection: sqlite3.Connection) -> None:
        connection.executemany(
            "INSERT INTO cohort VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
            "predictions = predictions + excluded.predictions, labelled = labelled + excluded.labelled",
            [(*k, self._predictions[k], self._labelled[k]) for k in {**self._predictions, **self._labelled}],
        )
        connection.executemany(
            "INSERT INTO outcome VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
            "total = total + excluded.total, bad = bad + excluded.bad",
            [(start, version, *metric, n, self._bad[start, version, metric])
             for (start, version, metric), n in self._totals.items() if n],
        )  # fmt: skip


def record_predictions(
    connection: sqlite3.Connection, version: str, model_version: str, predictions: Sequence[Prediction]
) -> Tally:
    """Store predictions and join the labels that waited for them; return the tally. Known ids change nothing."""
    _fill_batch(connection, ((p.id, p.time, p.score) for p in predictions))
    fresh = connection.execute(
        "INSERT INTO prediction SELECT b.id, b.first, ?, ?, b.second, w.label "
        "FROM batch b LEFT JOIN waiting w ON w.id = b.id WHERE true ON CONFLICT DO NOTHING "
        "RETURNING time, score, label",
        (version, model_version),
    ).fetchall()
    counts, joined = _Counts(_read_plan(connection)), 0
    for time, score, label in fresh:
        counts.predicted(time, version, model_version)
        if label is not None:
            counts.labelled(time, version, model_version, score, label)
            joined += 1
    if joined:
        connection.execute("DELETE FROM waiting WHERE id IN (SELECT id FROM batch)")
    counts.write(connection)
    before = read_tally(connection)
    # A stranger that found its prediction is one no more.
    tally = Tally(before.predictions + len(fresh), before.joined + joined, before.duplicates, before.strangers - joined)
    _write_tally(connection, tally)
    return tally


def record_labels(connection: sqlite3.Connection, labels: Sequence[Label], now: float) -> tuple[Labels, Tally]:
    """Join labels to predictions; keep those of unknown ids. An id's first label stands, later ones are duplicates.

    Returns:
        What became of these labels, and the tally of all.
    """
    _fill_batch(connection, ((label.id, label.label, None) for label in labels))
    # Not "UPDATE … FROM batch": SQLite would then walk through all predictions instead of the batch.
    joined = connection.execute(
        "UPDATE prediction SET label = (SELECT first FROM batch WHERE batch.id = prediction.id) "
        "WHERE id IN (SELECT id FROM batch) AND label IS NULL RETURNING time, version, model_version, score, label"
    ).fetchall()
    counts = _Counts(_read_plan(connection))
    for row in joined:
        counts.labelled(*row)
    counts.write(connection)
    strangers = connection.execute(
        "INSERT INTO waiting SELECT b.id, b.first, ? FROM batch b "
        "WHERE NOT EXISTS (SELECT 1 FROM prediction p WHERE p.id = b.id) ON CONFLICT DO NOTHING",
        (now,),
    ).rowcount
    became = Labels(joined=len(joined), duplicates=len(labels) - len(joined) - strangers, strangers=strangers)
    before = read_tally(connection)
    tally = Tally(
        before.predictions,
        before.joined + became.joined,
        before.duplicates + became.duplicates,
        before.strangers + became.strangers,
    )
    _write_tally(connection, tally)
    return became, tally


def configure(connection: sqlite3.Connection, plan: Plan | None) -> None:
    """Count by this plan from now on. A new one has the cohorts counted anew from the stored predictions."""
    before = _read_plan(connection)
    write_setting(connection, "plan", dumps(None if plan is None else asdict(plan)))
    if before is not None and plan is not None and (before.seconds, before.metrics) == (plan.seconds, plan.metrics):
        return
    connection.execute("DELETE FROM cohort")
    connection.execute("DELETE FROM outcome")
    if plan is None:
        return
    counts = _Counts(plan)
    for time, version, model_version, score, label in connection.execute(
        "SELECT time, version, model_version, score, label FROM prediction"
    ):
        counts.predicted(time, version, model_version)
        if label is not None:
            counts.labelled(time, version, model_version, score, label)
    counts.write(connection)


def read_cohorts(connection: sqlite3.Connection) -> tuple[CohortRow, ...]:
    """Return the cohorts that are kept, oldest first."""
    outcomes: dict[tuple[int, str], dict[Metric, tuple[int, int]]] = {}
    for start, version, name, threshold, total, bad in connection.execute("SELECT * FROM outcome"):
        if name in get_args(MetricName):
            outcomes.setdefault((start, version), {})[Metric(name, threshold)] = (total, bad)
    rows = connection.execute(
        "SELECT start, version, model_version, predictions, labelled FROM cohort ORDER BY start, version"
    )
    return tuple(
        CohortRow(start, version, model_version, predictions, labelled, outcomes.get((start, version), {}))
        for start, version, model_version, predictions, labelled in rows
    )


def read_tally(connection: sqlite3.Connection) -> Tally:
    """Return the numbers since the beginning."""
    text = read_setting(connection, "tally")
    return Tally() if text is None else Tally(**loads(text))


def prune(connection: sqlite3.Connection, now: float) -> int:
    """Delete what no verdict needs any more, a bounded number of rows; return how many.

    A prediction is needed until its cohort has ended and the longest label delay has passed (with one period to spare).
    """
    deleted, plan = 0, _read_plan(connection)
    if plan is not None:
        ripe = plan.start(now - plan.delay) - plan.seconds
        deleted += _delete_oldest(connection, "prediction", "time", ripe)
        deleted += _delete_oldest(connection, "waiting", "received", ripe)
    deleted += _delete_surplus(connection, "prediction", "time", KEEP_PREDICTIONS)
    deleted += _delete_surplus(connection, "waiting", "received", KEEP_WAITING)
    oldest = connection.execute(
        "SELECT start FROM cohort ORDER BY start DESC LIMIT 1 OFFSET ?", (KEEP_COHORTS,)
    ).fetchone()
    if oldest is not None:
        deleted += connection.execute("DELETE FROM cohort WHERE start <= ?", oldest).rowcount
        deleted += connection.execute("DELETE FROM outcome WHERE start <= ?", oldest).rowcount
    return deleted


def _delete_oldest(connection: sqlite3.Connection, table: str, column: str, before: float) -> int:
    oldest = f"SELECT id FROM {table} WHERE {column} < ? ORDER BY {column} LIMIT {PRUNE_BATCH}"  # noqa: S608
    return connection.execute(f"DELETE FROM {table} WHERE id IN ({oldest})", (before,)).rowcount  # noqa: S608


def _delete_surplus(connection: sqlite3.Connection, table: str, column: str, keep: int) -> int:
    (rows,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608
    surplus = min(rows - keep, PRUNE_BATCH)
    if surplus <= 0:
        return 0
    oldest = f"SELECT id FROM {table} ORDER BY {column} LIMIT ?"  # noqa: S608
    return connection.execute(f"DELETE FROM {table} WHERE id IN ({oldest})", (surplus,)).rowcount  # noqa: S608


def _fill_batch(connection: sqlite3.Connection, rows: Iterable[tuple[str, float, float | None]]) -> None:
    """Put a batch in a temporary table; of several rows with one id the first stays."""
    connection.execute(
        "CREATE TEMP TABLE IF NOT EXISTS batch (id TEXT PRIMARY KEY, first REAL, second REAL) WITHOUT ROWID"
    )
    connection.execute("DELETE FROM batch")
    connection.executemany("INSERT OR IGNORE INTO batch VALUES (?, ?, ?)", rows)


def _read_plan(connection: sqlite3.Connection) -> Plan | None:
    """Return the plan that the cohorts are counted by. It is read with each batch, so the two never disagree."""
    data = loads(read_setting(connection, "plan") or "null")
    if data is None:
        return None
    return Plan(data["seconds"], data["delay"], tuple(Metric(*metric) for metric in data["metrics"]))


def _write_tally(connection: sqlite3.Connection, tally: Tally) -> None:
    write_setting(connection, "tally", dumps(asdict(tally)))
