"""What the operator is told of cohorts: when they are mature, and what is found where labels come selectively."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime

import numpy as np
import pytest

from perennial.api.messages.policy import Arm, Monitoring, Policy, SloPolicy
from perennial.api.messages.state import Cohort
from perennial.collector.cohort_sums import CohortRule, key_of
from perennial.collector.cohorts import CohortRow, configure, read_cohorts
from perennial.collector.joining import PostedLabel, Prediction, record_labels, record_predictions
from perennial.collector.migrations import migrate
from perennial.collector.monitoring import Monitored, shown_cohorts, verdicts
from perennial.collector.references import keep_references
from perennial.families.metrics import Ends
from perennial.families.metrics.false_negative_rate import FalseNegativeRate
from perennial.families.slos import Outcome
from perennial.stats.outcomes import REFERENCE_SIZE
from perennial.stats.sums import Sums
from perennial.terms import reasons
from perennial.terms.finding import Finding
from perennial.terms.words import Slot, Verdict

ARMS: dict[Slot, Arm] = {"a": Arm(version="v", model_version="1"), "b": Arm(version="w", model_version="2")}
METRIC = FalseNegativeRate()
KEY = key_of(METRIC)
DAY = 86_400


def policy(seconds: int = 60, delay: int = 300, coverage: float = 0.9, **promised: str | None) -> Policy:
    limits = {"max": "0.3", **promised}
    slo = SloPolicy(name="missed", outcome=Outcome(false_negative_rate=METRIC, min_samples=100, **limits))
    monitoring = Monitoring(cohort_seconds=seconds, max_label_delay_seconds=delay, min_coverage=coverage)
    return Policy(revision="p", stable="a", arms=ARMS, slos=(slo,), monitoring=monitoring)


def row(
    start: int,
    total: int,
    bad: int,
    missing: int = 0,
    *,
    version: str = "v",
    corrected: int = 0,
    first: tuple[int, int] | None = None,
    stratum: int = 0,
) -> CohortRow:
    """Return a cohort of which `missing` predictions are unlabelled, all predicted to be of one class."""

    def ends(known: tuple[int, int]) -> dict[str, Ends]:
        return {KEY: METRIC.ends({1 - stratum: Sums.count(*known)}, {stratum: missing})}

    now = ends((total, bad))
    return CohortRow(start, version, "1", 1000, 1000 - missing, corrected, now, now if first is None else ends(first))


def shown(cohort: CohortRow, now: float, asked: Policy | None = None) -> Cohort:
    (found,) = shown_cohorts(asked or policy(), (cohort,), datetime.fromtimestamp(now, UTC))
    return found


def found(*rows: CohortRow, asked: Policy | None = None, now: float = 10**6, kept: int | None = None) -> Finding:
    (verdict,) = verdicts(asked or policy(), Monitored(rows, retention_seconds=kept), datetime.fromtimestamp(now, UTC))
    assert (verdict.version, verdict.model_version) == ("v", "1")
    return verdict.finding


@pytest.mark.parametrize(
    ("now", "missing", "matured"),
    [
        (59, 0, False),  # not ended, however many labels
        (60, 50, True),  # ended, and nine of ten of what may be positive are known to be or not
        (60, 51, False),  # ended, labels still to come
        (359, 51, False),
        (360, 51, True),  # no label can be expected any more
    ],
)
def test_a_cohort_matures_by_the_coverage_of_what_the_metric_is_over_or_by_age(
    now: float, missing: int, matured: bool
) -> None:
    assert shown(row(0, 450, 100, missing), now).matured is matured


def test_a_cohort_without_any_label_is_not_covered() -> None:
    assert not shown(CohortRow(0, "v", "1", 0, 0, 0, {KEY: METRIC.ends({}, {})}, {}), 100).matured


def test_both_ends_are_shown() -> None:
    (outcome,) = shown(row(0, 200, 40, 100), 400).outcomes
    assert (outcome.total, outcome.bad, outcome.missing, outcome.value) == (200, 40, 100, 0.2)
    assert outcome.low == pytest.approx(0.147, abs=0.001)  # of 40 of 200: none of the missing ones was positive
    assert outcome.high == pytest.approx(0.525, abs=0.001)  # of 140 of 300: all of them were, and were missed
    finding = found(row(0, 200, 40, 100))
    assert (finding.low, finding.high) == (f"{outcome.low:.6f}", f"{outcome.high:.6f}")
    assert finding.message == (
        "20 % of 200 samples, the limit is 30 %: 100 labels are missing, with them it lies between 20 % and 46.7 %"
    )


def days(number: int, *counts: int, begin: int = 0, stratum: int = 0) -> list[CohortRow]:
    return [row(60 * (begin + i), *counts, stratum=stratum) for i in range(number)]


@pytest.mark.parametrize(
    ("rows", "verdict", "reason"),
    [
        ([], Verdict.NO_DATA, reasons.NO_MATURED_COHORT),
        ([row(0, 99, 99)], Verdict.NO_DATA, reasons.NO_MATURED_COHORT),
        ([row(0, 500, 100)], Verdict.PASS, reasons.KEPT),
        ([row(0, 500, 180)], Verdict.UNDECIDED, reasons.MORE_COHORTS_NEEDED),
        ([row(0, 500, 260)], Verdict.UNDECIDED, reasons.MORE_COHORTS_NEEDED),  # one bad day
        (days(4, 500, 400), Verdict.FAIL, reasons.ABOVE_LIMIT),
        (days(12, 500, 225), Verdict.FAIL, reasons.ABOVE_LIMIT),
        ([row(0, 500, 260), row(60, 500, 100)], Verdict.PASS, reasons.KEPT),
        ([*days(4, 500, 400), row(240, 500, 100)], Verdict.FAIL, reasons.ABOVE_LIMIT),  # one good day
        ([*days(4, 500, 400), *days(3, 500, 20, begin=4)], Verdict.PASS, reasons.KEPT),
        ([row(0, 500, 400, version="w")] * 9, Verdict.NO_DATA, reasons.NO_MATURED_COHORT),
        ([row(0, 200, 40, 100)], Verdict.NO_DATA, reasons.LABELS_INCOMPLETE),
        ([row(0, 0, 0, 100)], Verdict.NO_DATA, reasons.LABELS_INCOMPLETE),
        ([row(0, 0, 0, 99)], Verdict.NO_DATA, reasons.NO_MATURED_COHORT),
        ([row(0, 200, 40, 20)], Verdict.PASS, reasons.KEPT),  # 60 of 220 at worst
        ([row(0, 200, 70, 100)], Verdict.NO_DATA, reasons.LABELS_INCOMPLETE),  # above it at best, but one day
        (days(9, 200, 150, 100), Verdict.FAIL, reasons.ABOVE_LIMIT),  # labels are never complete, and it is clear
    ],
)
def test_a_promise_is_judged_on_the_stable_versions_cohorts(
    rows: list[CohortRow], verdict: Verdict, reason: str
) -> None:
    finding = found(*rows)
    assert (finding.verdict, finding.reason) == (verdict, reason)


def test_what_more_would_raise_an_alarm_is_told_while_nobody_knows() -> None:
    finding = found(*days(3, 500, 190))
    assert (finding.verdict, finding.reason) == (Verdict.UNDECIDED, reasons.MORE_COHORTS_NEEDED)
    assert finding.needed is not None
    more = round(finding.needed / 500)
    assert found(*days(3 + more + 1, 500, 190)).verdict is Verdict.FAIL
    assert found(*days(3 + more - 2, 500, 190)).verdict is Verdict.UNDECIDED
    assert found(row(0, 500, 100)).needed is None, "kept"
    assert found(row(0, 200, 40, 100)).needed is None, "labels are missing, more cohorts don't bring them"


def test_immature_cohorts_never_decide() -> None:
    assert found(*days(5, 500, 490, 400), now=200).verdict is Verdict.NO_DATA


def test_half_labelled_cohorts_lift_no_alarm() -> None:
    """34 cohorts are bad, then six seem good as far as they are labelled: they are passed over."""
    assert found(*days(34, 200, 100)).verdict is Verdict.FAIL
    assert found(*days(34, 200, 100), *days(6, 100, 0, 100, begin=34)).verdict is Verdict.FAIL
    assert found(*days(34, 200, 100), *days(6, 100, 0, begin=34)).verdict is Verdict.PASS, "whole ones do"


def test_what_is_worse_than_at_the_beginning_alarms_below_the_limit() -> None:
    """.20 → .30 under a limit of .30 never did."""
    rows = [*days(40, 2000, 400), *days(40, 2000, 600, begin=40)]
    assert found(*rows).verdict is Verdict.PASS
    finding = found(*rows, asked=policy(max_increase="0.03"))
    assert (finding.verdict, finding.reason, finding.baseline) == (Verdict.FAIL, reasons.ABOVE_REFERENCE, "0.2")
    assert found(*rows[:40], asked=policy(max_increase="0.03")).verdict is Verdict.PASS
    alone = found(*rows, asked=policy(max=None, max_increase="0.03"))
    assert (alone.verdict, alone.reason) == (Verdict.FAIL, reasons.ABOVE_REFERENCE)


def test_before_there_is_a_reference_nothing_is_said_of_an_increase() -> None:
    rows = days(REFERENCE_SIZE, 2000, 400)
    finding = found(*rows[:-1], asked=policy(max=None, max_increase="0.03"))
    assert (finding.verdict, finding.reason) == (Verdict.NO_DATA, reasons.REFERENCE_INCOMPLETE)
    assert found(*rows, row(6000, 2000, 400), asked=policy(max=None, max_increase="0.03")).verdict is Verdict.PASS


def test_a_verdict_that_corrected_labels_changed_says_so() -> None:
    rows = [*days(9, 500, 100), row(540, 500, 300, corrected=200, first=(500, 100))]
    finding = found(*rows)
    assert (finding.verdict, finding.reason) == (Verdict.UNDECIDED, reasons.LABELS_CORRECTED)
    assert finding.message.endswith("; before 200 labels of matured cohorts were corrected, the verdict was Pass")
    same = found(*days(9, 500, 100), row(540, 500, 101, corrected=1, first=(500, 100)))
    assert (same.verdict, same.reason) == (Verdict.PASS, reasons.KEPT)


def test_corrected_labels_change_the_verdict_of_matured_cohorts_and_that_is_told(database: sqlite3.Connection) -> None:
    """From the posted labels on: a verdict by labels that turn out to be wrong, then by the right ones."""
    asked = policy(DAY, DAY)
    counting = CohortRule.of(asked)
    assert counting is not None
    configure(database, counting)
    number, missed = 200, 90

    def post(day: int, wrong: int) -> None:
        labels = [
            PostedLabel(f"{day}-{i}", 0.0 if number - missed <= i < number - missed + wrong else 1.0)
            for i in range(number)
        ]
        record_labels(database, labels, (day + 1.0) * DAY)

    for day in range(12):
        scores = [0.1 if i >= number - missed else 0.9 for i in range(number)]
        record_predictions(
            database, "v", "1", [Prediction(f"{day}-{i}", day * DAY + i, score) for i, score in enumerate(scores)]
        )
        post(day, 60)  # most misses are said to be none: 30 of 140
    now = 13 * DAY
    assert (found(*read_cohorts(database), asked=asked, now=now).verdict) is Verdict.PASS
    for day in range(12):
        post(day, 0)
    finding = found(*read_cohorts(database), asked=asked, now=now)
    assert (finding.verdict, finding.reason) == (Verdict.FAIL, reasons.LABELS_CORRECTED)
    assert finding.message.endswith("; before 720 labels of matured cohorts were corrected, the verdict was Pass")
    assert [
        cohort.corrected for cohort in shown_cohorts(asked, read_cohorts(database), datetime.fromtimestamp(now, UTC))
    ] == [60] * 12
    for day in range(12):
        post(day, 60)
    again = found(*read_cohorts(database), asked=asked, now=now)
    assert (again.verdict, again.reason) == (Verdict.PASS, reasons.KEPT), "as it was before any correction"


def test_labels_that_are_repeated_or_of_a_version_that_is_gone_change_nothing(database: sqlite3.Connection) -> None:
    asked = policy(DAY, DAY)
    counting = CohortRule.of(asked)
    assert counting is not None
    configure(database, counting)
    for version, score in (("v", 0.9), ("gone", 0.1)):
        predictions = [Prediction(f"{version}-{i}", i, score) for i in range(200)]
        record_predictions(database, version, "1", predictions)
    record_labels(database, [PostedLabel(f"v-{i}", 1.0) for i in range(200)], DAY)
    before = found(*read_cohorts(database), asked=asked, now=3 * DAY)
    assert (before.verdict, before.samples) == (Verdict.PASS, 200)
    for _ in range(5):
        record_labels(database, [PostedLabel(f"v-{i}", 1.0) for i in range(200)], DAY)
        record_labels(database, [PostedLabel(f"gone-{i}", 1.0) for i in range(200)], DAY)  # each was missed
    assert found(*read_cohorts(database), asked=asked, now=3 * DAY) == before
    shown_ = shown_cohorts(asked, read_cohorts(database), datetime.fromtimestamp(3 * DAY, UTC))
    assert {cohort.version: cohort.outcomes[0].bad for cohort in shown_} == {"v": 0, "gone": 200}


def test_labels_that_find_no_prediction_because_there_was_no_room_are_told() -> None:
    finding = found(row(0, 200, 40, 100), kept=50)
    assert (finding.verdict, finding.reason) == (Verdict.NO_DATA, reasons.RETENTION_TOO_SHORT)
    assert finding.message.endswith("; predictions are deleted after 50 s for want of room, but labels may take 360 s")
    assert found(row(0, 500, 100), kept=50).reason == reasons.KEPT, "labels are in, so it is of no matter"


# --- Labels that come selectively: 2,000 predictions a day, every tenth positive; labels take up to seven days. ---

PREVALENCE, SIZE, DELAY_DAYS = 0.1, 2000, 7
NOW, SIX_DAYS, NEVER = 0.0, 6.0, np.inf
CASES = {
    "A: all promptly": {(True, True): NOW, (True, False): NOW, (False, True): NOW, (False, False): NOW},
    "B: positives late": {(True, True): SIX_DAYS, (True, False): SIX_DAYS, (False, True): NOW, (False, False): NOW},
    "C: positives never": {(True, True): NEVER, (True, False): NEVER, (False, True): NOW, (False, False): NOW},
    "E: misses late": {(True, True): NOW, (True, False): SIX_DAYS, (False, True): NOW, (False, False): NOW},
    "E: finds late": {(True, True): SIX_DAYS, (True, False): NOW, (False, True): NOW, (False, False): NOW},
}
"""When a label arrives, by (truth, prediction). D, missing at random, is drawn."""


class Life:
    """A version's days: its predictions, and labels that arrive when they do. Runs on a real database."""

    def __init__(self, connection: sqlite3.Connection, asked: Policy, case: str) -> None:
        self.connection, self.asked, self.case = connection, asked, case
        self.coming: list[tuple[float, PostedLabel]] = []
        self.chance = np.random.default_rng(11)

    def day(self, number: int, miss_rate: float) -> Finding:
        """Let a day pass and what is due by its end arrive; return what is then found."""
        truth = self.chance.random(SIZE) < PREVALENCE
        positive = np.where(truth, self.chance.random(SIZE) >= miss_rate, self.chance.random(SIZE) < 0.1)
        times = number * DAY + np.sort(self.chance.random(SIZE)) * DAY
        predictions = [
            Prediction(f"{number}-{i}", time, 0.9 if hit else 0.1)
            for i, (time, hit) in enumerate(zip(times, positive, strict=True))
        ]
        record_predictions(self.connection, "v", "1", predictions)
        for prediction, true, hit in zip(predictions, truth, positive, strict=True):
            delay = CASES[self.case][bool(true), bool(hit)] if self.case in CASES else self._random()
            self.coming.append((prediction.time + delay * DAY, PostedLabel(prediction.id, float(true))))
        return self.at((number + 1) * DAY)

    def at(self, now: float) -> Finding:
        due = [label for when, label in self.coming if when <= now]
        self.coming = [(when, label) for when, label in self.coming if when > now]
        record_labels(self.connection, due, now)
        rows = read_cohorts(self.connection)
        moment = datetime.fromtimestamp(now, UTC)
        known = Monitored(rows, keep_references(self.connection, self.asked, rows, moment))
        return verdicts(self.asked, known, moment)[0].finding

    def _random(self) -> float:
        return float(NOW if self.chance.random() < 0.7 else NEVER)


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection)
        yield connection


@pytest.fixture(params=[*CASES, "D: missing at random"])
def life(database: sqlite3.Connection, request: pytest.FixtureRequest) -> Life:
    asked = policy(DAY, DELAY_DAYS * DAY)
    counting = CohortRule.of(asked)
    assert counting is not None
    configure(database, counting)
    return Life(database, asked, request.param)


def live(life: Life, miss_rates: Sequence[float]) -> list[Finding]:
    return [life.day(number, rate) for number, rate in enumerate(miss_rates)]


def test_a_model_that_misses_half_is_found_or_not_known_but_never_called_good(life: Life) -> None:
    """40 days at .50 under a limit of .30: where the misses are labelled after six days, it never alarmed."""
    findings = live(life, [0.5] * 40)
    assert all(each.verdict is not Verdict.PASS for each in findings)
    last = findings[-1]
    if life.case in {"A: all promptly", "B: positives late", "E: misses late", "E: finds late"}:
        assert last.verdict is Verdict.FAIL
    else:
        assert last.verdict is Verdict.FAIL or (last.verdict, last.reason) == (
            Verdict.NO_DATA,
            reasons.LABELS_INCOMPLETE,
        )


def test_a_model_that_misses_a_tenth_never_alarms(life: Life) -> None:
    """Where the finds are labelled after six days, it was in alarm on every day."""
    findings = live(life, [0.1] * 40)
    assert all(each.verdict is not Verdict.FAIL for each in findings)
    if life.case == "A: all promptly":
        assert all(each.verdict is Verdict.PASS for each in findings)


def test_a_reference_is_kept_when_its_cohorts_are_gone(database: sqlite3.Connection) -> None:
    asked = policy(DAY, DAY, max_increase="0.05")
    counting = CohortRule.of(asked)
    assert counting is not None
    configure(database, counting)
    life = Life(database, asked, "A: all promptly")
    live(life, [0.1] * (REFERENCE_SIZE + 1))
    kept = keep_references(database, asked, (), datetime.fromtimestamp(0, UTC))
    assert kept["v", KEY].cohorts == REFERENCE_SIZE
    database.execute("DELETE FROM cohort WHERE start < ?", (5 * DAY,))
    finding = life.day(REFERENCE_SIZE + 1, 0.1)
    assert float(finding.baseline or 0) == pytest.approx(kept["v", KEY].rate, abs=1e-6)
    assert keep_references(database, asked, read_cohorts(database), datetime.fromtimestamp(10**8, UTC)) == kept
