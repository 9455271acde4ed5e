"""Predictions and their labels find each other, in any order. Functions run on the database's thread.

A prediction's first content stands: who sends an id again with another is counted (`repeated`). Of labels the last one
stands: who sends another corrects it.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from json import dumps, loads
from typing import NamedTuple

import numpy as np

from perennial.api.messages.state import LabelTally, RefusedLabel, TakenLabels
from perennial.collector.cohort_sums import Counts, read_rule
from perennial.collector.database import read_setting, write_setting

SHOWN_REFUSALS = 100
_TALLY = "tally"


class Prediction(NamedTuple):
    """One answer of a model: `time` in seconds since the epoch, `score` the number that it answered."""

    id: str
    time: float
    score: float


class PostedLabel(NamedTuple):
    """What turned out to be true of a prediction, as a number: true is 1, false is 0."""

    id: str
    label: float


@dataclass(frozen=True, slots=True)
class Reporter:
    """Who reports predictions: a process, and how many it could not report since it began."""

    id: str
    dropped: int


@dataclass(frozen=True, slots=True)
class Tally:
    """Numbers since the beginning. Every posted label is in exactly one of the last five.

    `repeated`: predictions whose id was taken by another content; `dropped`: those that a server could not report.
    """

    predictions: int = 0
    repeated: int = 0
    dropped: int = 0
    joined: int = 0
    duplicates: int = 0
    corrected: int = 0
    unmatched: int = 0
    refused: int = 0

    def labels(self) -> LabelTally:
        """Return what became of the labels."""
        return LabelTally(
            joined=self.joined,
            duplicates=self.duplicates,
            corrected=self.corrected,
            unmatched=self.unmatched,
            refused=self.refused,
        )


@dataclass(slots=True)
class _Fate:
    """What is known of one label's id while a batch is gone through: its prediction, if any, and the labels of it."""

    row: tuple[float, str, str, float] | None
    before: float | None
    first: float | None
    now: float | None


def record_predictions(
    connection: sqlite3.Connection,
    version: str,
    model_version: str,
    predictions: Sequence[Prediction],
    *,
    reporter: Reporter | None = None,
    now: float = 0.0,
) -> Tally:
    """Store predictions and join the labels that waited for them; return the tally."""
    batch: dict[str, Prediction] = {}
    repeated = sum(batch.setdefault(each.id, each) != each for each in predictions)
    _fill_batch(connection, batch.values())
    fresh = connection.execute(
        "INSERT INTO prediction SELECT b.id, b.first, ?, ?, b.second, w.label, NULL "
        "FROM batch b LEFT JOIN waiting w ON w.id = b.id WHERE true ON CONFLICT DO NOTHING "
        "RETURNING time, score, label",
        (version, model_version),
    ).fetchall()
    if len(fresh) < len(batch):
        (others,) = connection.execute(
            "SELECT count(*) FROM batch b JOIN prediction p ON p.id = b.id "
            "WHERE p.time != b.first OR p.score != b.second OR p.version != ?",
            (version,),
        ).fetchone()
        repeated += others
    joined, counting = 0, read_rule(connection)
    if fresh:
        time, score, label = np.array(fresh, float).T
        known = ~np.isnan(label)
        joined = int(known.sum())
        if counting is not None:
            counts = Counts(counting)
            counts.predicted((version, model_version), time, score)
            if joined:
                counts.labelled((version, model_version), time[known], score[known], label[known])
            counts.write(connection)
    if joined:
        connection.execute("DELETE FROM waiting WHERE id IN (SELECT id FROM batch)")
    before = read_tally(connection)
    # A label without a match that found its prediction is one no more.
    tally = replace(
        before,
        predictions=before.predictions + len(fresh),
        repeated=before.repeated + repeated,
        dropped=before.dropped + (_newly_dropped(connection, reporter, now) if reporter is not None else 0),
        joined=before.joined + joined,
        unmatched=before.unmatched - joined,
    )
    if tally != before:
        _write_tally(connection, tally)
    return tally


def record_labels(
    connection: sqlite3.Connection, labels: Sequence[PostedLabel], now: float
) -> tuple[TakenLabels, Tally]:
    """Join labels to predictions; keep those of unknown ids. An id's last label stands.

    Returns:
        What became of these labels, and the tally of all.
    """
    counting = read_rule(connection)
    refused = {label: why for label in set(labels) if counting and (why := counting.refusal(label.label))}
    fates = _fates(connection, {label.id for label in labels})
    became = {"joined": 0, "duplicates": 0, "corrected": 0, "unmatched": 0, "refused": 0}
    for label in labels:
        became[_take(fates[label.id], label.label) if label not in refused else "refused"] += 1
    _store(connection, fates, now)
    if counting is not None:
        counts = Counts(counting)
        _count(counts, fates.values())
        counts.write(connection)
    before = read_tally(connection)
    tally = replace(before, **{name: getattr(before, name) + number for name, number in became.items()})
    _write_tally(connection, tally)
    refusals = [RefusedLabel(id=label.id, reason=refused[label]) for label in labels if label in refused]
    return TakenLabels(**became, refusals=tuple(refusals[:SHOWN_REFUSALS])), tally


def read_tally(connection: sqlite3.Connection) -> Tally:
    """Return the numbers since the beginning."""
    text = read_setting(connection, _TALLY)
    return Tally() if text is None else Tally(**loads(text))


def _take(fate: _Fate, label: float) -> str:
    """Let a label stand; return what became of it."""
    if fate.now is None:
        fate.now = label
        fate.first = label if fate.first is None else fate.first
        return "unmatched" if fate.row is None else "joined"
    if fate.now == label:
        return "duplicates"
    fate.now = label
    return "corrected"


def _fates(connection: sqlite3.Connection, ids: set[str]) -> dict[str, _Fate]:
    _fill_batch(connection, ((each, None, None) for each in ids))
    fates = {each: _Fate(None, None, None, None) for each in ids}
    for each, label in connection.execute("SELECT w.id, w.label FROM batch b JOIN waiting w ON w.id = b.id"):
        fates[each] = _Fate(None, label, label, label)
    for each, time, version, model_version, score, label, was in connection.execute(
        "SELECT p.id, p.time, p.version, p.model_version, p.score, p.label, p.was "
        "FROM batch b JOIN prediction p ON p.id = b.id"
    ):
        first = label if was is None else was
        fates[each] = _Fate((time, version, model_version, score), label, first, label)
    return fates


def _store(connection: sqlite3.Connection, fates: dict[str, _Fate], now: float) -> None:
    changed = {name: fate for name, fate in fates.items() if fate.now != fate.before}
    connection.executemany(
        "UPDATE prediction SET label = ?, was = ? WHERE id = ?",
        [
            (fate.now, fate.first if fate.first != fate.now else None, name)
            for name, fate in changed.items()
            if fate.row is not None
        ],
    )
    connection.executemany(
        "INSERT INTO waiting VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET label = excluded.label",
        [(name, fate.now, now) for name, fate in changed.items() if fate.row is None],
    )


def _count(counts: Counts, fates: Iterable[_Fate]) -> None:
    """Add what changed to the sums, arm by arm: first labels, then corrections of what was there."""
    arms: dict[tuple[str, str], list[tuple[float, float, float, float, bool]]] = {}
    for fate in fates:
        if fate.row is not None and fate.now is not None and fate.first is not None and fate.now != fate.before:
            time, version, model_version, score = fate.row
            joined = fate.before is None
            before = fate.first if fate.before is None else fate.before
            arms.setdefault((version, model_version), []).append((time, score, before, fate.now, joined))
    for arm, rows in arms.items():
        time, score, before, after, joined = np.array(rows, float).T
        new, other = joined == 1, before != after
        if new.any():
            counts.labelled(arm, time[new], score[new], before[new])
        if other.any():
            counts.corrected(arm, time[other], score[other], before[other], after[other])


def _newly_dropped(connection: sqlite3.Connection, reporter: Reporter, now: float) -> int:
    """Return by how many more a reporter could not report than when it last said so."""
    row = connection.execute("SELECT dropped FROM reporter WHERE id = ?", (reporter.id,)).fetchone()
    before = 0 if row is None else int(row[0])
    if row is None or reporter.dropped > before:
        connection.execute("INSERT OR REPLACE INTO reporter VALUES (?, ?, ?)", (reporter.id, reporter.dropped, now))
    return max(reporter.dropped - before, 0)


def _fill_batch(connection: sqlite3.Connection, rows: Iterable[tuple[str, float | None, float | None]]) -> None:
    connection.execute(
        "CREATE TEMP TABLE IF NOT EXISTS batch (id TEXT PRIMARY KEY, first REAL, second REAL) WITHOUT ROWID"
    )
    connection.execute("DELETE FROM batch")
    connection.executemany("INSERT INTO batch VALUES (?, ?, ?)", rows)


def _write_tally(connection: sqlite3.Connection, tally: Tally) -> None:
    write_setting(connection, _TALLY, dumps(asdict(tally)))
