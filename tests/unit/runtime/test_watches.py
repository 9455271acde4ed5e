"""A watch proves by itself that it lives: a sign a minute, and the echo of what we wrote."""

import asyncio

from virtual_time import VirtualClock, run

from perennial.manifests.resources import POD
from perennial.plan.kinds import DATASET
from perennial.runtime.resources import Key
from perennial.runtime.watches import Scope, Watches

DATASETS, PODS = Scope(DATASET.resource, None), Scope(POD, None)
ONE = Key("Pod", "ns", "one")


def watches(*namespaces: str) -> Watches:
    return Watches((DATASET.resource, POD), namespaces, VirtualClock())


async def minutes(seen: Watches, count: int, *alive: Scope) -> None:
    """Let minutes go by, with a sign of these watches at the end of each."""
    for _ in range(count):
        await asyncio.sleep(60)
        for scope in alive:
            seen.heard(scope)


def test_a_sign_a_minute_is_enough() -> None:
    async def story() -> None:
        seen = watches()
        for _ in range(100):
            await minutes(seen, 1, DATASETS, PODS)
            assert (seen.silent(), seen.unechoed(), seen.dead()) == ([], [], None)

    run(story())


def test_a_watch_that_falls_silent_is_named_once_for_each_time_that_it_was_silent_for_so_long() -> None:
    async def story() -> None:
        seen = watches()
        await minutes(seen, 2, DATASETS, PODS)
        await minutes(seen, 1, DATASETS)
        assert seen.silent() == []
        await asyncio.sleep(13)
        assert seen.silent() == [PODS]
        assert seen.longest_silence(POD) == 73
        seen.compared(PODS, asyncio.get_running_loop().time())
        assert seen.silent() == []
        seen.heard(DATASETS)
        await asyncio.sleep(71)
        assert seen.silent() == []
        await asyncio.sleep(2)
        assert seen.silent() == [DATASETS, PODS]

    run(story())


def test_it_is_dead_where_the_api_answers_and_never_before_a_new_watch_could_have_shown_life() -> None:
    async def story() -> None:
        seen = watches()
        await minutes(seen, 1, DATASETS, PODS)
        await minutes(seen, 4, DATASETS)
        assert seen.dead() is None, "no list worked: that is the API server's affair"
        seen.compared(PODS, asyncio.get_running_loop().time())
        assert seen.dead() == PODS
        seen.heard(PODS)
        assert seen.dead() is None
        await asyncio.sleep(75)
        seen.compared(PODS, asyncio.get_running_loop().time())
        assert seen.dead() is None

    run(story())


def test_what_we_wrote_has_to_come_back_as_it_was_or_newer() -> None:
    async def story() -> None:
        seen = watches()
        seen.wrote(ONE, 7)
        seen.reported(ONE, 6)
        await asyncio.sleep(16)
        assert seen.unechoed() == [PODS]
        seen.reported(ONE, 8)
        assert seen.unechoed() == []
        assert seen.last_report(PODS) == 1016

    run(story())


def test_watches_of_several_kinds_may_owe_a_report() -> None:
    async def story() -> None:
        seen = watches("a", "b")
        seen.wrote(Key("Pod", "b", "one"), 7)
        seen.wrote(Key("Dataset", "a", "one"), 8)
        await asyncio.sleep(16)
        assert seen.unechoed() == [Scope(DATASET.resource, "a"), Scope(POD, "b")]

    run(story())


def test_what_made_a_write_fail_has_to_be_reported_however_often_it_is_tried_again() -> None:
    async def story() -> None:
        seen = watches()
        for _ in range(16):
            seen.missing(ONE, 8)
            await asyncio.sleep(1)
        assert seen.unechoed() == [PODS]
        seen.reported(ONE, 8)
        assert seen.unechoed() == []

    run(story())


def test_a_list_takes_the_place_of_what_did_not_come_back() -> None:
    async def story() -> None:
        seen = watches("a", "b")
        seen.wrote(Key("Pod", "a", "one"), 7)
        seen.wrote(Key("Pod", "b", "one"), 8)
        await asyncio.sleep(16)
        assert seen.unechoed() == [Scope(POD, "a"), Scope(POD, "b")]
        seen.compared(Scope(POD, "b"), 999)
        assert seen.unechoed() == [Scope(POD, "a"), Scope(POD, "b")], "the list was asked for before the write"
        seen.compared(Scope(POD, "a"), asyncio.get_running_loop().time())
        assert seen.unechoed() == [Scope(POD, "b")]

    run(story())
