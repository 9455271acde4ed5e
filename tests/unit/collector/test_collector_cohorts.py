"""Predictions and labels in any order, in any batches, twice: the cohorts come out the same."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perennial.api.messages.state import Labels
from perennial.collector import cohorts
from perennial.collector.cohorts import (
    CohortRow,
    Label,
    Metric,
    Plan,
    Prediction,
    configure,
    prune,
    read_cohorts,
    read_tally,
    record_labels,
    record_predictions,
)
from perennial.collector.migrations import migrate

FNR, FPR, ERRORS = Metric("falseNegativeRate", 0.5), Metric("falsePositiveRate", 0.3), Metric("errorRate", 0.5)
PLAN = Plan(60, 300, (FNR, FPR, ERRORS))


def opened() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    return connection


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    with closing(opened()) as connection:
        configure(connection, PLAN)
        yield connection


def expected(predictions: dict[str, Prediction], labels: dict[str, float]) -> tuple[CohortRow, ...]:
    """Count by hand."""
    rows = []
    for start in sorted({int(p.time // 60) * 60 for p in predictions.values()}):
        members = [p for p in predictions.values() if start <= p.time < start + 60]
        known = [(p.score, labels[p.id]) for p in members if p.id in labels]
        counts = {
            FNR: (sum(y >= 0.5 for _, y in known), sum(y >= 0.5 and s < 0.5 for s, y in known)),
            FPR: (sum(y < 0.5 for _, y in known), sum(y < 0.5 and s >= 0.3 for s, y in known)),
            ERRORS: (len(known), sum((s >= 0.5) != (y >= 0.5) for s, y in known)),
        }
        outcomes = {metric: count for metric, count in counts.items() if count[0]}
        rows.append(CohortRow(start, "v", "1", len(members), len(known), outcomes))
    return tuple(rows)


events = st.lists(
    st.one_of(
        st.tuples(st.just("predict"), st.integers(0, 15), st.integers(1, 5)),
        st.tuples(st.just("label"), st.integers(0, 15), st.integers(1, 5)),
    ),
    max_size=25,
)


@settings(deadline=None, max_examples=100)
@given(events, st.randoms(use_true_random=False))
def test_the_end_is_the_same_in_any_order(batches: list[tuple[str, int, int]], chance: Random) -> None:
    """Batches overlap at will. The first prediction and the first label of an id stand."""
    predictions: dict[str, Prediction] = {}
    labels: dict[str, float] = {}
    posted = 0
    with closing(opened()) as connection:
        configure(connection, PLAN)
        for kind, first, number in batches:
            names = [f"id-{i}" for i in range(first, first + number)]
            if kind == "predict":
                batch = [Prediction(name, chance.uniform(0, 240), chance.random()) for name in names]
                record_predictions(connection, "v", "1", batch)
                predictions = {**{p.id: p for p in batch}, **predictions}
            else:
                known = [Label(name, float(chance.random() < 0.5)) for name in [*names, names[0]]]
                record_labels(connection, known, now=0)
                posted += len(known)
                labels = {**{label.id: label.label for label in reversed(known)}, **labels}
        tally = read_tally(connection)
        assert read_cohorts(connection) == expected(predictions, labels)
        assert tally.predictions == len(predictions)
        assert tally.joined == len(labels.keys() & predictions.keys())
        assert tally.strangers == len(labels.keys() - predictions.keys())
        assert tally.joined + tally.strangers + tally.duplicates == posted
        rebuilt = read_cohorts(connection)
        configure(connection, Plan(30, 300, PLAN.metrics))
        configure(connection, PLAN)
        assert read_cohorts(connection) == rebuilt, "counting anew from what is stored gives the same"


def test_what_became_of_labels_is_told(database: sqlite3.Connection) -> None:
    record_predictions(database, "v", "1", [Prediction("p", 5, 0.9)])
    became, _ = record_labels(database, [Label("p", 1), Label("q", 0), Label("p", 0)], now=0)
    assert became == Labels(joined=1, duplicates=1, strangers=1)
    became, _ = record_labels(database, [Label("p", 1), Label("q", 1)], now=0)
    assert became == Labels(joined=0, duplicates=2, strangers=0)
    assert record_predictions(database, "v", "1", [Prediction("q", 6, 0.9)]).labels() == Labels(joined=2, duplicates=3)


def test_versions_have_cohorts_of_their_own(database: sqlite3.Connection) -> None:
    record_predictions(database, "v", "1", [Prediction("p", 5, 0.9)])
    record_predictions(database, "w", "2", [Prediction("q", 5, 0.9)])
    assert [(row.version, row.model_version) for row in read_cohorts(database)] == [("v", "1"), ("w", "2")]


def test_predictions_before_any_plan_are_counted_when_there_is_one() -> None:
    with closing(opened()) as connection:
        record_predictions(connection, "v", "1", [Prediction("p", 5, 0.9)])
        assert read_cohorts(connection) == ()
        configure(connection, PLAN)
        assert [row.predictions for row in read_cohorts(connection)] == [1]
        configure(connection, None)
        assert read_cohorts(connection) == ()


def test_ripe_predictions_are_pruned_and_their_counts_stay(database: sqlite3.Connection) -> None:
    record_predictions(database, "v", "1", [Prediction("old", 5, 0.9), Prediction("new", 1000, 0.9)])
    record_labels(database, [Label("old", 1), Label("nobody", 1)], now=5)
    # The cohort [0, 60) needs its predictions until 60 + 300, and one period more.
    assert prune(database, now=419) == 0
    assert prune(database, now=421) == 2
    assert [row[0] for row in database.execute("SELECT id FROM prediction")] == ["new"]
    assert database.execute("SELECT count(*) FROM waiting").fetchone() == (0,)
    assert [(row.start, row.labelled) for row in read_cohorts(database)] == [(0, 1), (960, 0)]


def test_the_database_is_bounded(database: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cohorts, "KEEP_PREDICTIONS", 10)
    monkeypatch.setattr(cohorts, "KEEP_WAITING", 5)
    monkeypatch.setattr(cohorts, "KEEP_COHORTS", 3)
    record_predictions(database, "v", "1", [Prediction(f"p-{i}", 60.0 * i, 0.9) for i in range(20)])
    record_labels(database, [Label(f"s-{i}", 1) for i in range(20)], now=1200)
    prune(database, now=1200)
    assert database.execute("SELECT count(*) FROM prediction").fetchone()[0] <= 10
    assert database.execute("SELECT count(*) FROM waiting").fetchone() == (5,)
    assert [row.start for row in read_cohorts(database)] == [1020, 1080, 1140]


def test_labels_cost_the_same_however_many_predictions_there_are() -> None:
    steps = []
    for stored in (1_000, 20_000):
        with closing(opened()) as connection:
            configure(connection, PLAN)
            batch = [Prediction(f"p-{i:06}", float(i % 240), 0.9) for i in range(stored)]
            record_predictions(connection, "v", "1", batch)
            taken = 0

            def step() -> int:
                nonlocal taken
                taken += 1
                return 0

            connection.set_progress_handler(step, 100)
            record_labels(connection, [Label(f"p-{i:06}", 1) for i in range(0, stored, stored // 100)], now=0)
            record_predictions(connection, "v", "1", [Prediction(f"q-{i}", 5, 0.9) for i in range(100)])
            connection.set_progress_handler(None, 0)
            steps.append(taken)
    assert steps[0] > 0
    assert steps[1] < 1.5 * steps[0]
