"""Rounds of lists: the cache is filled first, repaired ever after, and dead watches are found out."""

import asyncio
from collections.abc import Mapping

from memory_api import MemoryApi, MemoryClient
from test_store import pod
from virtual_time import VirtualClock, run

from perennial.plan.actions import Manifest
from perennial.runtime.client import Listing, NotFound
from perennial.runtime.errors import Unavailable
from perennial.runtime.intake import Intake
from perennial.runtime.queue import WorkQueue
from perennial.runtime.resources import DATASET, POD, Key, Resource
from perennial.runtime.resync import Resync
from perennial.runtime.store import Store


class Lists(MemoryClient):
    """A client that lists what the test says is there."""

    def __init__(self) -> None:
        super().__init__(MemoryApi(), lambda: None)
        self.there: Mapping[str, list[Manifest]] = {}
        self.version = 100
        self.error: Exception | None = None
        self.asked: list[tuple[float, str, str | None, str]] = []

    async def list(self, resource: Resource, namespace: str | None, *, selector: str = "") -> Listing:
        self.asked.append((asyncio.get_running_loop().time() - 1000, resource.plural, namespace, selector))
        if self.error is not None:
            raise self.error
        return Listing(list(self.there.get(resource.kind, [])), self.version)


class World:
    def __init__(self, *, namespaces: tuple[str, ...] = (), seconds: float = 300.0) -> None:
        self.client = Lists()
        self.store = Store()
        self.queue: WorkQueue[Key] = WorkQueue()
        self.missed: list[tuple[str, int]] = []
        self.dead: list[float] = []
        self.resync = Resync(
            client=self.client,
            store=self.store,
            intake=Intake(self.store, {"Dataset": self.queue}, {}),
            resources=(DATASET, POD),
            namespaces=namespaces,
            clock=VirtualClock(),
            seconds=seconds,
            on_missed=lambda plural, count: self.missed.append((plural, count)),
            on_dead_watch=lambda: self.dead.append(asyncio.get_running_loop().time() - 1000),
        )

    async def for_seconds(self, seconds: float) -> None:
        task = asyncio.create_task(self.resync.run())
        await asyncio.sleep(seconds)
        assert not task.done(), task.exception()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_the_cache_is_filled_in_every_namespace_children_by_their_label() -> None:
    async def story() -> None:
        world = World(namespaces=("a", "b"))
        world.client.there = {"Pod": [pod("p", 5)]}
        await world.resync.first()
        assert [asked[1:] for asked in world.client.asked] == [
            ("datasets", "a", ""),
            ("datasets", "b", ""),
            ("pods", "a", "app.kubernetes.io/managed-by=perennial"),
            ("pods", "b", "app.kubernetes.io/managed-by=perennial"),
        ]
        assert world.store.get("Pod", "ns", "p") is not None
        assert world.resync.synced

    run(story())


def test_it_waits_for_crds_and_for_the_api() -> None:
    async def story() -> None:
        world = World()
        for error in (NotFound("no such kind"), Unavailable("the API", "starting")):
            world.client.error = error
            filling = asyncio.create_task(world.resync.first())
            await asyncio.sleep(1000)
            assert not filling.done()
            assert world.resync.silent_seconds() < 10, "waiting is no reason to be restarted"
            world.client.error = None
            await asyncio.sleep(6)
            assert filling.done()

    run(story())


def test_a_round_repairs_and_plans_everything_anew() -> None:
    async def story() -> None:
        world = World()
        world.client.there = {"Dataset": [{**pod("d", 5), "kind": "Dataset"}], "Pod": [pod("p", 6)]}
        await world.resync.first()
        while len(world.queue):
            world.queue.done(await world.queue.get())
        world.client.there, world.client.version = {"Dataset": [{**pod("d", 5), "kind": "Dataset"}]}, 200
        await world.for_seconds(310)
        assert world.store.get("Pod", "ns", "p") is None
        assert world.missed == [("pods", 1)]
        assert len(world.queue) == 1
        assert world.dead == [], "a deletion that falls into a gap is no sign of a dead watch"

    run(story())


def test_what_a_watch_reports_within_two_seconds_was_not_missed() -> None:
    async def story() -> None:
        world = World()
        await world.resync.first()
        world.client.there, world.client.version = {"Pod": [pod("p", 150)]}, 200
        rounds = asyncio.create_task(world.for_seconds(310))
        await asyncio.sleep(303)
        assert world.client.asked[-1][1] == "pods"
        world.store.put("Pod", pod("p", 150))
        await rounds
        assert world.missed == []

    run(story())


def test_a_watch_that_keeps_missing_changes_is_dead() -> None:
    async def story() -> None:
        world = World(seconds=60)
        await world.resync.first()

        async def change() -> None:
            for version in range(200, 400):
                world.client.version = version
                world.client.there = {"Pod": [pod("p", version)]}
                await asyncio.sleep(10)

        changing = asyncio.create_task(change())
        await world.for_seconds(300)
        changing.cancel()
        assert len(world.dead) >= 2
        assert world.dead[0] > 120, "once may be chance"
        assert world.resync.missed_in_a_row() >= 2
        await world.for_seconds(130)
        assert world.resync.missed_in_a_row() == 0, "nothing is missed any more"

    run(story())


def test_a_gap_is_looked_at_at_once_and_once_for_many_reports() -> None:
    async def story() -> None:
        world = World()
        await world.resync.first()
        world.client.asked.clear()
        rounds = asyncio.create_task(world.for_seconds(100))
        await asyncio.sleep(10)
        for _ in range(50):
            world.resync.request(POD)
        await rounds
        assert [(at, plural) for at, plural, *_ in world.client.asked] == [(11, "pods")]

    run(story())


def test_an_outage_of_the_api_is_not_ours() -> None:
    async def story() -> None:
        world = World(seconds=60)
        await world.resync.first()
        world.client.error = Unavailable("the API", "is away")
        await world.for_seconds(1000)
        assert world.resync.silent_seconds() < 60 + 20
        assert world.resync.missed_in_a_row() == 0
        world.client.error, world.client.there = None, {"Pod": [pod("p", 150)]}
        await world.for_seconds(70)
        assert world.store.get("Pod", "ns", "p") is not None

    run(story())
