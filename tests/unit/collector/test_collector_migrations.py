"""The collector's tables through the releases: a volume is taken over, a crash on the way loses nothing."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from cluster.last_release import Release, unpack
from perennial.collector import cohorts, joining, migrations, ticks
from perennial.collector.cohort_sums import CohortRule, key_of
from perennial.collector.database import Database
from perennial.collector.migrations import SCHEMA_VERSION, migrate
from perennial.families.metrics import Ends
from perennial.families.metrics.error_rate import ErrorRate
from perennial.families.metrics.false_negative_rate import FalseNegativeRate
from perennial.stats.sums import Sums
from perennial.stats.ticks import REJECTED, REQUESTS

LAST = Release(version="0.2.0", commit="59799317920b94b3630c583c0dfdd1b330cf1c7d")
"""The last state of the repository whose collectors wrote version 1."""

WRITE = """
import asyncio, sys
from datetime import UTC, datetime
from pathlib import Path
from perennial.api.wire import Arm, Brake, Canary, ErrorRate, Monitoring, Outcome, Policy, SloPolicy
from perennial.collector import cohorts, ticks
from perennial.collector.brake import Trial
from perennial.collector.cohorts import Label, Plan, Prediction
from perennial.collector.database import Database
from perennial.collector.router_stats import Requests, Snapshot
from perennial.stats.evidence import Tick, Ticks

NOW = datetime(2026, 11, 26, tzinfo=UTC)
CANARY = Canary(id="good", slot="b", step=1, weight=200, started_time=NOW, step_started_time=NOW)
SLOS = (
    SloPolicy(name="errors", error_rate=ErrorRate(max=0.05, max_ratio=1.25)),
    SloPolicy(name="misses", outcome=Outcome(metric="falseNegativeRate", max=0.3)),
)
MONITORING = Monitoring(cohort_seconds=60, max_label_delay_seconds=600)
POLICY = Policy(
    revision="p", stable="a", canary=CANARY, slos=SLOS, monitoring=MONITORING,
    arms={"a": Arm(version="v-old", model_version="1"), "b": Arm(version="v-new", model_version="2")},
)


async def write(path):
    database = Database(path)
    await database.open()
    await database.run(ticks.write_policy, POLICY, {"10.0.0.1:9902": Snapshot(9, Requests(70, 1), Requests(30, 2))})
    await database.run(cohorts.configure, Plan.of(POLICY))
    for number in range(3):
        tick = Tick(100.0 + number, number // 2, None if number == 2 else 200, 40, number, 160, 1)
        baselines = {"10.0.0.1:9902": Snapshot(10 + number, Requests(90, 1), Requests(40, 2))}
        await database.run(ticks.write_tick, "good", tick, baselines, None)
    bad = Tick(90.0, 0, 200, 30, 30, 160, 1)
    trial = Trial.of(POLICY, CANARY.model_copy(update={"id": "bad"}), Ticks.of([bad]))
    await database.run(ticks.write_tick, "bad", bad, {}, trial.brake(NOW))
    predictions = [Prediction(f"p{n}", 30.0 + n, n / 10) for n in range(10)]
    await database.run(cohorts.record_predictions, "v-old", "1", predictions)
    await database.run(cohorts.record_labels, [Label(f"p{n}", 1.0) for n in range(4)] + [Label("early", 0.0)], 50.0)
    await database.close()


asyncio.run(write(Path(sys.argv[1])))
"""


@pytest.fixture(scope="session")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that the collector of 0.2 wrote: its own code, from the repository's history."""
    here = tmp_path_factory.mktemp("release")
    unpack(LAST, ["operator"], here / "code")
    command = [sys.executable, "-c", WRITE, str(here / "collector.sqlite")]
    subprocess.run(command, check=True, env={"PYTHONPATH": str(here / "code" / "operator")})
    return here / "collector.sqlite"


@pytest.fixture
def old(volume: Path, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    copy = tmp_path / "collector.sqlite"
    copy.write_bytes(volume.read_bytes())
    with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        assert version_of(connection) == 1
        yield connection


def version_of(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def tables(connection: sqlite3.Connection) -> dict[str, str]:
    return dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name"))


def everything(connection: sqlite3.Connection) -> dict[str, list[tuple[object, ...]]]:
    names = [name for name, sql in tables(connection).items() if sql.startswith("CREATE TABLE")]
    return {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in names}


def test_the_evidence_of_the_last_releases_canaries_is_taken_over(old: sqlite3.Connection) -> None:
    migrate(old)
    found = ticks.read_ticks(old, "good")
    assert (found.time.tolist(), found.step.tolist()) == ([100.0, 101.0, 102.0], [0, 0, 1])
    assert found.weight.tolist() == [200, 200, -1]
    assert found.n(REQUESTS, "candidate").tolist() == [40, 40, 40]
    assert found.total(REQUESTS, "candidate").tolist() == [0, 1, 2]
    assert found.measured(REJECTED, "candidate") is None
    assert old.execute(
        "SELECT signal, slot, n, total FROM tick_sum JOIN tick ON tick.id = tick WHERE canary = 'good' AND time = 101.0"
    ).fetchall() == [
        ("requests", "candidate", 40, 1.0),
        ("requests", "stable", 160, 1.0),
        ("requests/answered", "candidate", 40, 0.0),
        ("requests/answered", "stable", 160, 0.0),
    ]


def test_the_last_releases_brakes_hold(old: sqlite3.Connection) -> None:
    migrate(old)
    brake = ticks.read_brake(old, "bad")
    assert brake is not None
    assert brake.canary_id == "bad"
    assert ticks.read_brake(old, "good") is None


def test_the_last_releases_predictions_labels_and_cohorts_are_taken_over(old: sqlite3.Connection) -> None:
    before = everything(old)
    migrate(old)
    after = everything(old)
    assert before["prediction"]
    assert after["prediction"] == [(*row, None) for row in before["prediction"]]
    assert after["cohort"] == [(*row, 0) for row in before["cohort"]]
    assert after["waiting"] == before["waiting"] == [("early", 0.0, 50.0)]
    assert joining.read_tally(old) == joining.Tally(predictions=10, joined=4, unmatched=1)


def test_the_last_releases_cohorts_are_judged_on_with_what_is_known_of_them(old: sqlite3.Connection) -> None:
    """Which of the unlabelled predictions were positive is not: they may be anything."""
    migrate(old)
    key = key_of(FalseNegativeRate())
    (row,) = cohorts.read_cohorts(old)
    assert row.ends == {key: Ends(Sums.count(4, 4), Sums.count(10, 4), Sums.count(10, 10), 6)}
    joining.record_labels(old, [joining.PostedLabel("p9", 1.0)], now=60.0)
    (row,) = cohorts.read_cohorts(old)
    assert row.ends[key].known == Sums.count(5, 4)
    cohorts.configure(old, CohortRule(60, 600, {key: FalseNegativeRate(), key_of(ErrorRate()): ErrorRate()}))
    assert cohorts.read_cohorts(old)[0].ends[key].known == Sums.count(5, 4), "it is not counted anew"
    assert cohorts.read_cohorts(old)[0].ends[key_of(ErrorRate())].known == Sums.count(5, 4)


@pytest.mark.usefixtures("old")
async def test_a_volume_of_the_last_release_is_opened(tmp_path: Path) -> None:
    database = Database(tmp_path / "collector.sqlite")
    await database.open()
    rows = await database.run(cohorts.read_cohorts)
    assert sum(row.predictions for row in rows) == 10
    await database.close()


def test_a_file_made_anew_has_the_same_tables_as_one_that_was_taken_over(old: sqlite3.Connection) -> None:
    migrate(old)
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as fresh:
        migrate(fresh)
        assert tables(fresh) == tables(old)
        assert version_of(fresh) == version_of(old) == SCHEMA_VERSION


@pytest.mark.parametrize("broken", range(1, SCHEMA_VERSION + 1))
def test_a_step_that_breaks_off_leaves_the_version_before_it_and_is_done_again(
    old: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch, broken: int
) -> None:
    whole = migrations.STEPS
    cut = [f"{step} INSERT INTO nothing VALUES (1);" if n == broken else step for n, step in enumerate(whole, start=1)]
    monkeypatch.setattr(migrations, "STEPS", tuple(cut))
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as fresh:
        with pytest.raises(sqlite3.Error, match="nothing"):
            migrate(fresh)
        assert version_of(fresh) == broken - 1
        assert bool(tables(fresh)) == (broken > 1)
        monkeypatch.setattr(migrations, "STEPS", whole)
        migrate(fresh)
        migrate(old)
        assert tables(fresh) == tables(old)


def test_nothing_is_done_twice(old: sqlite3.Connection) -> None:
    migrate(old)
    before = everything(old)
    migrate(old)
    assert everything(old) == before
