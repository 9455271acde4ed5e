"""Predictions and labels in any order, in any batches, twice, corrected: the cohorts come out the same."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perennial.api.messages.state import LabelTally, RefusedLabel
from perennial.collector import retention
from perennial.collector.cohort_sums import CohortRule, key_of
from perennial.collector.cohorts import CohortRow, configure, read_cohorts
from perennial.collector.joining import (
    PostedLabel,
    Prediction,
    Reporter,
    read_tally,
    record_labels,
    record_predictions,
)
from perennial.collector.migrations import migrate
from perennial.collector.retention import prune, read_retention
from perennial.families.metrics import Ends, Metric
from perennial.families.metrics.error_rate import ErrorRate
from perennial.families.metrics.false_negative_rate import FalseNegativeRate
from perennial.families.metrics.false_positive_rate import FalsePositiveRate
from perennial.stats.sums import Sums

FNR, FPR, ERRORS = FalseNegativeRate(), FalsePositiveRate(threshold="0.3"), ErrorRate()


def counting(seconds: int, *metrics: Metric, delay: int = 300) -> CohortRule:
    return CohortRule(seconds, delay, {key_of(metric): metric for metric in metrics})


RULE = counting(60, FNR, FPR, ERRORS)


def opened() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    return connection


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    with closing(opened()) as connection:
        configure(connection, RULE)
        yield connection


def predict(connection: sqlite3.Connection, *predictions: Prediction) -> None:
    record_predictions(connection, "v", "1", predictions)


def between(known: Sums, missing: int, least: tuple[int, int], most: tuple[int, int]) -> Ends:
    """Return the ends; `least` and `most`: unlabelled predictions in the denominator there, and bad ones of them."""
    return Ends(known, known + Sums.count(*least), known + Sums.count(*most), missing)


def by_hand(scored: Sequence[tuple[float, float | None]]) -> dict[str, Ends]:
    """Count scores with their labels, None: it has none."""
    known = [(s, y) for s, y in scored if y is not None]
    unlabelled = [s for s, y in scored if y is None]
    u = len(unlabelled)
    positive = sum(s >= 0.5 for s in unlabelled)
    alarming = sum(s >= 0.3 for s in unlabelled)
    misses = Sums.count(sum(y == 1 for _, y in known), sum(y == 1 and s < 0.5 for s, y in known))
    alarms = Sums.count(sum(y == 0 for _, y in known), sum(y == 0 and s >= 0.3 for s, y in known))
    errors = Sums.count(len(known), sum((s >= 0.5) != (y == 1) for s, y in known))
    return {
        key_of(FNR): between(misses, u, (positive, 0), (u - positive, u - positive)),
        key_of(FPR): between(alarms, u, (u - alarming, 0), (alarming, alarming)),
        key_of(ERRORS): between(errors, u, (u, 0), (u, u)),
    }


def expected(
    predictions: dict[str, Prediction], labels: dict[str, float], first: dict[str, float], corrected: dict[str, int]
) -> tuple[CohortRow, ...]:
    rows = []
    for start in sorted({int(p.time // 60) * 60 for p in predictions.values()}):
        members = [p for p in predictions.values() if start <= p.time < start + 60]
        rows.append(
            CohortRow(
                start,
                "v",
                "1",
                len(members),
                sum(p.id in labels for p in members),
                sum(corrected.get(p.id, 0) for p in members),
                by_hand([(p.score, labels.get(p.id)) for p in members]),
                by_hand([(p.score, first.get(p.id)) for p in members]),
            )
        )
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
    """Batches overlap at will. The first prediction and the last label of an id stand."""
    predictions: dict[str, Prediction] = {}
    labels: dict[str, float] = {}
    first: dict[str, float] = {}
    corrected: dict[str, int] = {}
    posted = repeated = corrections = 0
    with closing(opened()) as connection:
        configure(connection, RULE)
        for kind, begin, number in batches:
            names = [f"id-{i}" for i in range(begin, begin + number)]
            if kind == "predict":
                batch = [Prediction(name, chance.uniform(0, 240), chance.random()) for name in names]
                predict(connection, *batch)
                repeated += sum(predictions.get(p.id, p) != p for p in batch)
                predictions = {**{p.id: p for p in batch}, **predictions}
                first |= {p.id: labels[p.id] for p in batch if p.id in labels and p.id not in first}
                continue
            known = [PostedLabel(name, float(chance.random() < 0.5)) for name in [*names, names[0]]]
            before = dict(labels)
            record_labels(connection, known, now=0)
            posted += len(known)
            for label in known:
                if label.id in predictions:
                    first.setdefault(label.id, label.label)
                corrections += labels.get(label.id, label.label) != label.label
                labels[label.id] = label.label
            # A cohort counts that its label changed, once a batch.
            for name in names:
                start = before.get(name, first.get(name))
                if name in predictions and start is not None and start != labels[name]:
                    corrected[name] = corrected.get(name, 0) + 1
        tally = read_tally(connection)
        assert read_cohorts(connection) == expected(predictions, labels, first, corrected)
        assert (tally.predictions, tally.repeated, tally.corrected) == (len(predictions), repeated, corrections)
        assert tally.joined == len(labels.keys() & predictions.keys())
        assert tally.unmatched == len(labels.keys() - predictions.keys())
        assert tally.joined + tally.unmatched + tally.duplicates + tally.corrected == posted
        rebuilt = [(row.start, row.predictions, row.labelled, row.ends, row.first) for row in read_cohorts(connection)]
        configure(connection, counting(30, FNR))
        configure(connection, RULE)
        again = [(row.start, row.predictions, row.labelled, row.ends, row.first) for row in read_cohorts(connection)]
        assert again == rebuilt, "counting anew from what is stored gives the same"


def test_what_became_of_labels_is_told(database: sqlite3.Connection) -> None:
    predict(database, Prediction("p", 5, 0.9))
    became, _ = record_labels(database, [PostedLabel("p", 1), PostedLabel("q", 0), PostedLabel("p", 1)], now=0)
    assert (became.joined, became.duplicates, became.unmatched) == (1, 1, 1)
    became, _ = record_labels(database, [PostedLabel("p", 1), PostedLabel("q", 1)], now=0)
    assert (became.duplicates, became.corrected) == (1, 1)
    tally = record_predictions(database, "v", "1", [Prediction("q", 6, 0.9)])
    assert tally.labels() == LabelTally(joined=2, duplicates=2, corrected=1)


def test_a_corrected_label_takes_the_other_ones_place(database: sqlite3.Connection) -> None:
    """1, later 0: it was counted as a duplicate, and changed nothing."""
    predict(database, Prediction("p", 5, 0.2))
    record_labels(database, [PostedLabel("p", 1)], now=0)
    became, _ = record_labels(database, [PostedLabel("p", 0)], now=0)
    assert became.corrected == 1
    (row,) = read_cohorts(database)
    assert (row.ends[key_of(FNR)].known, row.first[key_of(FNR)].known) == (Sums(), Sums.count(1, 1))
    assert row.ends[key_of(ERRORS)].known == Sums.count(1, 0)
    assert (row.labelled, row.corrected) == (1, 1)


@pytest.mark.parametrize("label", [0.7, 2.0, -1.0])
def test_a_label_that_is_none_for_what_is_predicted_is_refused_and_counted(
    database: sqlite3.Connection, label: float
) -> None:
    """0.7 was a positive for the monitor, and refused by the gate."""
    predict(database, Prediction("p", 5, 0.9), Prediction("q", 5, 0.9))
    became, tally = record_labels(database, [PostedLabel("p", label), PostedLabel("q", 1)], now=0)
    assert became.refusals == (RefusedLabel(id="p", reason=f"must be true, false, 1 or 0, but is {label:g}"),)
    assert (became.refused, became.joined, tally.refused) == (1, 1, 1)
    assert read_cohorts(database)[0].labelled == 1


def test_five_predictions_with_one_id_are_one_and_four_repeated_ones(database: sqlite3.Connection) -> None:
    for number in range(5):
        predict(database, Prediction("customer-17", 5.0 + number, 0.9))
    tally = read_tally(database)
    assert (tally.predictions, tally.repeated) == (1, 4)
    predict(database, *[Prediction("in-one", 5, score) for score in (0.1, 0.2, 0.2)])
    assert read_tally(database).repeated == 6
    predict(database, Prediction("customer-17", 5.0, 0.9))
    assert read_tally(database).repeated == 6, "the same content again is a report that was sent twice"
    record_predictions(database, "another", "2", [Prediction("customer-17", 5.0, 0.9)])
    assert read_tally(database).repeated == 7


def test_what_servers_could_not_report_is_counted_once(database: sqlite3.Connection) -> None:
    for reporter in (Reporter("x", 3), Reporter("x", 3), Reporter("x", 5), Reporter("y", 1), Reporter("x", 4)):
        record_predictions(database, "v", "1", [], reporter=reporter, now=10)
    assert read_tally(database).dropped == 6


def test_versions_have_cohorts_of_their_own(database: sqlite3.Connection) -> None:
    predict(database, Prediction("p", 5, 0.9))
    record_predictions(database, "w", "2", [Prediction("q", 5, 0.9)])
    assert [(row.version, row.model_version) for row in read_cohorts(database)] == [("v", "1"), ("w", "2")]


def test_predictions_before_any_rule_are_counted_when_there_is_one() -> None:
    with closing(opened()) as connection:
        predict(connection, Prediction("p", 5, 0.9))
        record_labels(connection, [PostedLabel("p", 0.7)], now=0)
        assert read_cohorts(connection) == ()
        configure(connection, RULE)
        (row,) = read_cohorts(connection)
        assert (row.predictions, row.ends[key_of(FNR)].missing) == (1, 1), "a label that is none for it is none"
        configure(connection, None)
        assert read_cohorts(connection) == ()


def test_another_metric_leaves_what_is_counted_and_knows_what_is_gone(database: sqlite3.Connection) -> None:
    predict(database, Prediction("old", 5, 0.1), Prediction("new", 1000, 0.1))
    record_labels(database, [PostedLabel("old", 1), PostedLabel("new", 1)], now=1000)
    database.execute("DELETE FROM prediction WHERE id = 'old'")
    other = FalseNegativeRate(threshold="0.05")
    configure(database, counting(60, FNR, other))
    old, new = read_cohorts(database)
    assert old.ends[key_of(FNR)].known == Sums.count(1, 1)
    assert (old.ends[key_of(other)].missing, old.ends[key_of(other)].most) == (1, Sums.count(1, 1))
    assert new.ends[key_of(other)].known == Sums.count(1, 0)
    assert set(new.ends) == {key_of(FNR), key_of(other)}


def test_a_threshold_is_the_same_however_it_is_written() -> None:
    assert key_of(FalseNegativeRate(threshold="0.50")) == key_of(FalseNegativeRate())


def test_ripe_predictions_are_pruned_and_their_counts_stay(database: sqlite3.Connection) -> None:
    predict(database, Prediction("old", 5, 0.9), Prediction("new", 1000, 0.9))
    record_labels(database, [PostedLabel("old", 1), PostedLabel("nobody", 1)], now=5)
    # The cohort [0, 60) needs its predictions until 60 + 300, and one period more.
    assert prune(database, now=419) == 0
    assert prune(database, now=421) == 2
    assert [row[0] for row in database.execute("SELECT id FROM prediction")] == ["new"]
    assert database.execute("SELECT count(*) FROM waiting").fetchone() == (0,)
    assert [(row.start, row.labelled) for row in read_cohorts(database)] == [(0, 1), (960, 0)]
    assert read_retention(database) is None


def test_the_database_is_bounded(database: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "KEEP_PREDICTIONS", 10)
    monkeypatch.setattr(retention, "KEEP_WAITING", 5)
    monkeypatch.setattr(retention, "KEEP_COHORTS", 3)
    predict(database, *(Prediction(f"p-{i}", 60.0 * i, 0.9) for i in range(20)))
    record_labels(database, [PostedLabel(f"s-{i}", 1) for i in range(20)], now=1200)
    prune(database, now=1200)
    assert database.execute("SELECT count(*) FROM prediction").fetchone()[0] <= 10
    assert database.execute("SELECT count(*) FROM waiting").fetchone() == (5,)
    assert [row.start for row in read_cohorts(database)] == [1020, 1080, 1140]


def test_a_volume_without_room_for_the_label_delay_is_told_until_it_has(database: sqlite3.Connection) -> None:
    """100 predictions a second for 60 s, and room for a fraction of them: no label of a minute ago finds anything."""
    predict(database, *(Prediction(f"p-{i}", i / 100, 0.9) for i in range(6000)))
    assert prune(database, now=60) == 0, "a volume of unknown size has room"
    pages, size = (database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    assert prune(database, now=60, volume=pages * size // 2) > 3000
    kept = read_retention(database)
    assert kept is not None
    assert 20 <= kept <= 30
    predict(database, *(Prediction(f"q-{i}", 60.0 + 40 * i, 0.9) for i in range(10)))
    prune(database, now=421, volume=10**9)
    assert read_retention(database) is None


def test_labels_cost_the_same_however_many_predictions_there_are() -> None:
    steps = []
    for stored in (1_000, 20_000):
        with closing(opened()) as connection:
            configure(connection, RULE)
            predict(connection, *(Prediction(f"p-{i:06}", float(i % 240), 0.9) for i in range(stored)))
            taken = 0

            def step() -> int:
                nonlocal taken
                taken += 1
                return 0

            connection.set_progress_handler(step, 100)
            record_labels(connection, [PostedLabel(f"p-{i:06}", 1) for i in range(0, stored, stored // 100)], now=0)
            predict(connection, *(Prediction(f"q-{i}", 5, 0.9) for i in range(100)))
            connection.set_progress_handler(None, 0)
            steps.append(taken)
    assert steps[0] > 0
    assert steps[1] < 1.5 * steps[0]
