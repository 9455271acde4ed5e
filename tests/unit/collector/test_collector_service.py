"""The collector on its loop: what is counted for which canary, and that nothing keeps the brake from working."""

import sqlite3

import pytest
from collector_room import NOW, Room, Steady, policy

from perennial.api.messages.policy import Watch
from perennial.collector.journal import Journal
from perennial.collector.service import TRIAL_SECONDS
from perennial.collector.ticks import read_brake
from perennial.stats.ticks import REQUESTS


async def test_what_was_answered_before_a_canary_is_not_the_canarys(room: Room) -> None:
    room.routers.serve("a", 1000, 900)
    await room.collector.put_policy(policy())
    room.routers.serve("a", 80, 1)
    room.routers.serve("b", 20)
    await room.collector.tick()
    room.routers.serve("b", 5, 1)
    await room.collector.tick()
    assert room.told() == [(1, -1, 20, 0, 80, 1), (1, 200, 5, 1, 0, 0)]


async def test_a_look_at_nothing_new_is_no_tick(room: Room) -> None:
    await room.collector.put_policy(policy())
    for _ in range(3):
        await room.collector.tick()
    assert room.told() == []


async def test_what_was_answered_across_a_step_has_no_weight(room: Room) -> None:
    await room.collector.put_policy(policy())
    await room.collector.tick()
    room.routers.serve("b", 10)
    await room.collector.put_policy(policy(step=2, weight=500))
    room.routers.serve("b", 7)
    await room.collector.tick()
    room.routers.serve("b", 3)
    await room.collector.tick()
    assert room.told() == [(1, -1, 17, 0, 0, 0), (2, 500, 3, 0, 0, 0)]


async def test_a_router_that_was_not_reached_over_a_step_has_a_tick_of_its_own(room: Room) -> None:
    room.routers.addresses = ("lost", "r")
    room.routers.counts["lost"] = {"a": (0, 0), "b": (0, 0)}
    await room.collector.put_policy(policy())
    await room.collector.tick()
    room.routers.silent = {"lost"}
    room.routers.serve("b", 400, 9, router="lost")
    await room.collector.put_policy(policy(step=2, weight=500))
    await room.collector.tick()
    room.routers.silent = set()
    room.routers.serve("b", 100, 1, router="lost")
    room.routers.serve("b", 50)
    await room.collector.tick()
    assert sorted(room.told()) == [(1, -1, 500, 10, 0, 0), (2, 500, 50, 0, 0, 0)]
    with sqlite3.connect(room.file) as connection:
        assert len({time for (time,) in connection.execute("SELECT time FROM tick")}) == 1


async def test_counting_and_the_weight_go_on_after_a_kill(room: Room) -> None:
    await room.collector.put_policy(policy())
    await room.collector.tick()
    room.routers.serve("b", 10)
    await room.collector.tick()
    before = room.collector.verdicts()
    room.routers.serve("b", 4, 1)
    await room.again()
    assert [v.candidate for v in room.collector.verdicts()] == [v.candidate for v in before]
    await room.collector.tick()
    assert room.told() == [(1, 200, 10, 0, 0, 0), (1, 200, 4, 1, 0, 0)]


async def test_another_stable_version_counts_anew(room: Room) -> None:
    await room.collector.put_policy(policy())
    room.routers.serve("b", 100, 90)
    await room.collector.put_policy(policy(canary="d", stable="b"))
    await room.collector.tick()
    room.routers.serve("b", 8)
    await room.collector.tick()
    assert room.told("c") == []
    assert room.told("d") == [(1, 200, 0, 0, 8, 0)]


async def test_a_candidate_that_fails_gets_nothing_more(room: Room) -> None:
    await room.collector.put_policy(policy())
    await room.collector.tick()
    room.routers.serve("b", 100, 100)
    await room.collector.tick()
    assert room.collector.weights.desired == {"a": 1000, "b": 0}
    with sqlite3.connect(room.file) as connection:
        brake = read_brake(connection, "c")
    assert brake is not None
    await room.again()
    assert room.collector.weights.desired == {"a": 1000, "b": 0}


async def test_a_disk_that_refuses_keeps_no_brake_from_working_and_is_written_to_later(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    await room.collector.put_policy(policy())
    await room.collector.tick()
    room.routers.serve("b", 100, 100)

    async def full(*_: object) -> None:
        raise sqlite3.OperationalError("disk full")

    with monkeypatch.context() as broken:
        broken.setattr(Journal, "write", full)
        with pytest.raises(sqlite3.OperationalError, match="disk full"):
            await room.collector.tick()
    assert room.collector.weights.desired == {"a": 1000, "b": 0}
    assert room.told() == []
    await room.collector.tick()
    assert [(candidate, bad) for _, _, candidate, bad, *_ in room.told()] == [(100, 100)]
    await room.again()
    assert room.collector.brake is not None


async def test_a_candidate_that_gets_requests_is_looked_at_more_often(room: Room) -> None:
    collector = room.collector
    assert collector.pace(1.0) == 1.0
    await collector.put_policy(policy(weight=0))
    assert collector.pace(1.0) == 1.0
    await collector.put_policy(policy())
    assert collector.pace(1.0) == TRIAL_SECONDS < 1.0
    assert collector.pace(0.1) == 0.1
    await collector.tick()
    room.routers.serve("b", 100, 100)
    await collector.tick()
    assert collector.pace(1.0) == 1.0


WATCHED = Watch(since=NOW)


@pytest.mark.parametrize("canary", [None, "c"])
async def test_the_version_that_answers_is_counted_on_in_ticks_of_a_second(
    room: Room, steady: Steady, canary: str | None
) -> None:
    await room.collector.put_policy(policy(canary, watch=WATCHED))
    for _ in range(8):
        room.routers.serve("a", 10, 1)
        room.routers.serve("b", 3)
        await room.collector.tick()
        steady.now += 0.25
    told = room.told("stable/v-old")
    assert [ticks[:2] for ticks in told] == [(0, -1)]
    assert [ticks[2:] for ticks in told] == [(0, 0, 50, 5)]
    room.routers.serve("a", 10, 1)
    await room.collector.tick()
    assert [ticks[4:] for ticks in room.told("stable/v-old")] == [(50, 5), (40, 4)]


async def test_without_a_watch_nothing_of_the_version_that_answers_is_kept(room: Room, steady: Steady) -> None:
    await room.collector.put_policy(policy(None))
    for _ in range(3):
        room.routers.serve("a", 10, 1)
        await room.collector.tick()
        steady.now += 1.0
    with sqlite3.connect(room.file) as connection:
        assert connection.execute("SELECT count(*) FROM tick").fetchone() == (0,)


async def test_after_a_promotion_the_new_version_is_counted_by_itself(room: Room, steady: Steady) -> None:
    await room.collector.put_policy(policy("c", watch=WATCHED))
    room.routers.serve("a", 10, 10)
    room.routers.serve("b", 3)
    await room.collector.tick()
    steady.now += 1.0
    await room.collector.put_policy(policy(None, stable="b", watch=WATCHED))
    for _ in range(2):
        room.routers.serve("b", 7)
        await room.collector.tick()
        steady.now += 1.0
    assert room.told("stable/v-old") == []
    assert room.told("stable/v-new") == [(0, -1, 0, 0, 14, 0)]


async def test_a_disk_that_refuses_has_nothing_counted_twice(
    room: Room, steady: Steady, monkeypatch: pytest.MonkeyPatch
) -> None:
    await room.collector.put_policy(policy(watch=WATCHED))
    await room.collector.tick()
    steady.now += 2.0

    async def full(*_: object) -> None:
        raise sqlite3.OperationalError("disk full")

    with monkeypatch.context() as broken:
        broken.setattr(Journal, "write", full)
        for _ in range(3):
            room.routers.serve("a", 10)
            with pytest.raises(sqlite3.OperationalError, match="disk full"):
                await room.collector.tick()
    await room.collector.tick()
    assert [ticks[4:] for ticks in room.told("stable/v-old")] == [(30, 0)]
    assert [ticks[4:] for ticks in room.told("c")] == [(30, 0)]
    assert room.collector.counting.total(REQUESTS, "a").n == 30
