"""The tables of a canary, written and read again."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest

from perennial.api.messages.policy import Arm, Policy
from perennial.collector.counting import Baseline, Setting
from perennial.collector.database import write_setting
from perennial.collector.migrations import migrate
from perennial.collector.signals import Reading
from perennial.collector.ticks import (
    prune_ticks,
    read_baselines,
    read_policy,
    read_ticks,
    rows_of,
    write_policy,
    write_ticks,
)
from perennial.stats.sums import Sums
from perennial.stats.ticks import ANSWERED, REQUESTS, UNFINISHED, Key, Row, Tick, Ticks

POLICY = Policy(revision="p", stable="a", arms={"a": Arm(version="v", model_version="1")})
CANDIDATE, STABLE = Key(REQUESTS, "candidate"), Key(REQUESTS, "stable")


def baseline(requests: int, bad: int, setting: Setting = Setting()) -> Baseline:  # noqa: B008 - immutable
    counters = {(REQUESTS, "a", ""): Sums.count(requests, bad), (UNFINISHED, "b", "gold"): Sums(3)}
    return Baseline(Reading(7.5, counters), setting)


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection)
        yield connection


def test_a_policy_is_read_as_it_was_written(database: sqlite3.Connection) -> None:
    assert read_policy(database) is None
    write_policy(database, POLICY, {})
    assert read_policy(database) == POLICY


def test_a_policy_of_a_newer_operator_is_none_until_it_is_put_again(database: sqlite3.Connection) -> None:
    write_setting(database, "policy", POLICY.model_dump_json()[:-1] + ', "shadow": 1}')
    assert read_policy(database) is None


def test_baselines_are_read_with_the_step_and_weight_they_were_taken_at(database: sqlite3.Connection) -> None:
    written = {"one": baseline(10, 1, Setting(2, 500)), "two": baseline(0, 0, Setting(2, None))}
    write_policy(database, POLICY, written)
    assert read_baselines(database) == written


def test_ticks_are_written_with_the_counters_they_were_counted_up_to(database: sqlite3.Connection) -> None:
    write_policy(database, POLICY, {"old": baseline(5, 1)})
    rows = {CANDIDATE: Row(4, 1, 1), STABLE: Row(6, 0.5, 0.25), Key(ANSWERED, "stable", "gold"): Row(2)}
    ticks = [Tick(10.5, 1, None, rows), Tick(10.5, 2, 100, {STABLE: Row(0, 3, 3)})]
    write_ticks(database, {"c": ticks}, {"new": baseline(10, 1)}, None)
    write_ticks(database, {"other": [Tick(11.0, 7, 0, {STABLE: Row(1)})]}, {"new": baseline(20, 2)}, None)
    assert read_baselines(database) == {"new": baseline(20, 2)}
    found, expected = read_ticks(database, "c"), Ticks.of(ticks)
    for name in ("time", "step", "weight"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert found.rows.keys() == expected.rows.keys()
    for key, columns in expected.rows.items():
        np.testing.assert_array_equal(found.rows[key], columns)
    assert read_ticks(database, "other").weight.tolist() == [0]


def test_a_canary_without_ticks_has_a_table_of_none(database: sqlite3.Connection) -> None:
    assert len(read_ticks(database, "c")) == 0


@pytest.mark.parametrize("table", ["tick_sum", "router_sum"])
def test_a_signal_of_a_newer_collector_is_refused_by_its_name(database: sqlite3.Connection, table: str) -> None:
    write_ticks(database, {"c": [Tick(10.5, 1, None, {STABLE: Row(4)})]}, {"r": baseline(5, 1)}, None)
    database.execute(f"UPDATE {table} SET signal = 'latency' WHERE signal = 'requests'")
    with pytest.raises(ValueError, match="'latency'"):
        read_ticks(database, "c") if table == "tick_sum" else read_baselines(database)


def test_old_ticks_of_ended_canaries_are_pruned(database: sqlite3.Connection) -> None:
    for canary in ("ended", "current"):
        write_ticks(database, {canary: [Tick(10.5, 0, 100, {STABLE: Row(4, 1, 1)})]}, {}, None)
    assert prune_ticks(database, "current") == 1
    assert len(read_ticks(database, "current")) == 1
    assert database.execute("SELECT count(*) FROM tick_sum").fetchone() == (1,)


def test_rows_are_of_what_their_slot_is_to_the_canary() -> None:
    counted = {(REQUESTS, "a", ""): Row(1), (REQUESTS, "b", ""): Row(2)}
    assert rows_of(counted, "b") == {STABLE: Row(1), CANDIDATE: Row(2)}  # type: ignore[arg-type]
    assert rows_of(counted, "a") == {CANDIDATE: Row(1), STABLE: Row(2)}  # type: ignore[arg-type]
