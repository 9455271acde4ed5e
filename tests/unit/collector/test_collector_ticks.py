"""The tables of a canary, written and read again."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from perennial.api.messages.policy import Arm, Policy
from perennial.collector.database import write_setting
from perennial.collector.migrations import migrate
from perennial.collector.router_stats import Requests, Snapshot
from perennial.collector.ticks import (
    prune_ticks,
    read_baselines,
    read_policy,
    read_ticks,
    write_policy,
    write_tick,
)
from perennial.stats.evidence import Tick

POLICY = Policy(revision="p", stable="a", arms={"a": Arm(version="v", model_version="1")})


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection)
        yield connection


def test_a_policy_is_read_as_it_was_written(database: sqlite3.Connection) -> None:
    assert read_policy(database) is None
    write_policy(database, POLICY, None)
    assert read_policy(database) == POLICY


def test_a_policy_of_a_newer_operator_is_none_until_it_is_put_again(database: sqlite3.Connection) -> None:
    write_setting(database, "policy", POLICY.model_dump_json()[:-1] + ', "shadow": 1}')
    assert read_policy(database) is None


def test_a_tick_is_written_with_the_counters_it_was_counted_up_to(database: sqlite3.Connection) -> None:
    write_policy(database, POLICY, {"old": Snapshot(1, Requests(5, 1))})
    tick = Tick(10.5, 1, None, 4, 1, 6, 0)
    write_tick(database, "c", tick, {"new": Snapshot(3, Requests(10, 1), Requests(4, 1))}, None)
    write_tick(database, "other", tick._replace(weight=100), {"new": Snapshot(4, Requests(20, 2))}, None)
    assert read_baselines(database) == {"new": Snapshot(4, Requests(20, 2))}
    ticks = read_ticks(database, "c")
    assert (ticks.time.tolist(), ticks.step.tolist(), ticks.weight.tolist()) == ([10.5], [1], [-1])
    assert read_ticks(database, "other").weight.tolist() == [100]


def test_old_ticks_of_ended_canaries_are_pruned(database: sqlite3.Connection) -> None:
    for canary in ("ended", "current"):
        write_tick(database, canary, Tick(10.5, 0, 100, 4, 1, 6, 0), {}, None)
    assert prune_ticks(database, "current") == 1
    assert read_ticks(database, "current").time.size == 1
