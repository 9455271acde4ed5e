"""Lists where they are needed and nowhere else: gaps, silence, unechoed writes, and a full round now and then."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

from memory_api import MemoryApi, MemoryClient
from test_store import pod
from virtual_time import VirtualClock, run

from perennial.manifests.manifest import Manifest
from perennial.manifests.resources import POD, Resource
from perennial.plan.kinds import DATASET
from perennial.runtime.client import Listing, NotFound
from perennial.runtime.errors import Unavailable
from perennial.runtime.intake import Intake
from perennial.runtime.queue import WorkQueue
from perennial.runtime.resources import Key
from perennial.runtime.resync import Resync
from perennial.runtime.store import Store
from perennial.runtime.watches import Scope, Watches

PODS = Scope(POD, None)
DAY = 24 * 3600.0


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


class Watching:
    """Watches that show a sign every minute, but for those in `silent`."""

    def __init__(self, *namespaces: str, seconds: float = DAY) -> None:
        self.client = Lists()
        self.store = Store()
        self.queue: WorkQueue[Key] = WorkQueue()
        self.missed: list[tuple[str, int]] = []
        self.restarts: list[float] = []
        self.silent: set[Scope] = set()
        self.watches = Watches((DATASET.resource, POD), namespaces, VirtualClock())
        self.resync = Resync(
            client=self.client,
            store=self.store,
            intake=Intake(self.store, {"Dataset": self.queue}, {}),
            watches=self.watches,
            clock=VirtualClock(),
            seconds=seconds,
            on_missed=lambda plural, count: self.missed.append((plural, count)),
            on_dead_watch=lambda: self.restarts.append(asyncio.get_running_loop().time() - 1000),
        )

    @contextlib.asynccontextmanager
    async def filled(self) -> AsyncIterator[None]:
        """Let it run, with every watch begun and listed."""
        tasks = [asyncio.create_task(self.resync.run()), asyncio.create_task(self._signs())]
        for scope in self.watches.scopes:
            self.resync.gap(scope)
        await self.resync.filled()
        self.client.asked.clear()
        yield
        for task in tasks:
            assert not task.done(), task.exception()
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _signs(self) -> None:
        while True:
            for scope in set(self.watches.scopes) - self.silent:
                self.watches.heard(scope)
            await asyncio.sleep(61)

    def report(self, manifest: Manifest) -> None:
        """Let the watch report a pod."""
        key = Key("Pod", "ns", manifest["metadata"]["name"])
        self.watches.reported(key, int(manifest["metadata"]["resourceVersion"]))
        self.store.put("Pod", manifest)


def test_the_cache_is_filled_when_every_watch_has_begun_and_was_listed_children_by_their_label() -> None:
    async def story() -> None:
        world = Watching("a", "b")
        world.client.there = {"Pod": [pod("p", 5)]}
        running = asyncio.create_task(world.resync.run())
        *first, last = world.watches.scopes
        for scope in first:
            world.resync.gap(scope)
        await asyncio.sleep(10)
        assert not world.resync.synced
        world.resync.gap(last)
        await world.resync.filled()
        assert sorted(asked[1:] for asked in world.client.asked) == [
            ("datasets", "a", ""),
            ("datasets", "b", ""),
            ("pods", "a", "app.kubernetes.io/managed-by=perennial"),
            ("pods", "b", "app.kubernetes.io/managed-by=perennial"),
        ]
        assert world.store.get("Pod", "ns", "p") is not None
        running.cancel()

    run(story())


def test_it_waits_for_crds_and_for_the_api() -> None:
    async def story() -> None:
        world = Watching()
        for error in (NotFound("no such kind"), Unavailable("the API", "starting")):
            world.client.error = error
            waiting = asyncio.create_task(world.resync.served())
            await asyncio.sleep(1000)
            assert not waiting.done()
            assert world.resync.silent_seconds() < 10, "waiting is no reason to be restarted"
            world.client.error = None
            await asyncio.sleep(6)
            assert waiting.done()

    run(story())


def test_a_process_that_begins_amid_an_outage_looks_again_soon() -> None:
    """What comes after, waiting for the lease of the one before, takes long enough."""

    async def story() -> None:
        world = Watching()
        world.client.error = Unavailable("the API", "busy")
        waiting = asyncio.create_task(world.resync.served())
        await asyncio.sleep(60)
        assert [at for at, *_ in world.client.asked[:4]] == [0, 1, 3, 5]
        assert len(world.client.asked) <= 31
        waiting.cancel()

    run(story())


def test_a_steady_cluster_is_not_listed_for_hours() -> None:
    async def story() -> None:
        world = Watching(seconds=10 * 3600.0)
        async with world.filled():
            await asyncio.sleep(9.9 * 3600)
            assert world.client.asked == []
            assert world.resync.silent_seconds() < 10
            await asyncio.sleep(0.2 * 3600)
            assert [plural for _, plural, *_ in world.client.asked] == ["datasets", "pods"]

    run(story())


def test_a_full_round_repairs_and_plans_everything_anew() -> None:
    async def story() -> None:
        world = Watching(seconds=300)
        world.client.there = {"Dataset": [{**pod("d", 5), "kind": "Dataset"}], "Pod": [pod("p", 6)]}
        async with world.filled():
            while len(world.queue):
                world.queue.done(await world.queue.get())
            world.client.there, world.client.version = {"Dataset": [{**pod("d", 5), "kind": "Dataset"}]}, 200
            await asyncio.sleep(310)
            assert world.store.get("Pod", "ns", "p") is None
            assert world.missed == [("pods", 1)]
            assert len(world.queue) == 1
            assert world.restarts == [], "a deletion that falls into a gap is no sign of a dead watch"

    run(story())


def test_what_a_watch_reports_within_two_seconds_was_not_missed() -> None:
    async def story() -> None:
        world = Watching(seconds=300)
        async with world.filled():
            world.client.there, world.client.version = {"Pod": [pod("p", 150)]}, 200
            await asyncio.sleep(303)
            assert world.client.asked[-1][1] == "pods"
            world.report(pod("p", 150))
            await asyncio.sleep(10)
            assert world.missed == []

    run(story())


def test_a_silent_watch_is_listed_in_time_and_begun_anew_until_it_speaks() -> None:
    async def story() -> None:
        world = Watching()
        async with world.filled():
            await asyncio.sleep(62)  # a second after the last sign
            world.silent.add(PODS)
            world.client.there, world.client.version = {"Pod": [pod("p", 150)]}, 200
            await asyncio.sleep(75)
            assert world.store.get("Pod", "ns", "p") is not None, "it was not noticed within 75 s"
            assert len(world.restarts) == 1
            assert world.watches.dead() is None
            await asyncio.sleep(150)
            assert len(world.restarts) == 3
            assert world.watches.dead() == PODS
            world.silent.clear()
            await asyncio.sleep(200)
            assert len(world.restarts) == 3
            assert world.watches.dead() is None
            assert {plural for _, plural, *_ in world.client.asked} == {"pods"}

    run(story())


def test_a_write_of_ours_that_does_not_come_back_is_a_reason_to_look() -> None:
    async def story() -> None:
        world = Watching()
        async with world.filled():
            for number in range(3):
                world.watches.wrote(Key("Pod", "ns", "ours"), 150 + number)
                theirs = 160 + number
                world.client.there, world.client.version = {"Pod": [pod("theirs", theirs)]}, 170 + number
                await asyncio.sleep(25)
                assert len(world.client.asked) == number + 1
                assert world.store.get("Pod", "ns", "theirs") == pod("theirs", theirs)
            assert world.restarts, "three lists found what the watch had not reported"
            assert world.resync.missed_in_a_row() == 3

    run(story())


def test_a_watch_that_is_late_and_goes_on_is_not_begun_anew() -> None:
    async def story() -> None:
        world = Watching(seconds=60)
        async with world.filled():
            for version in range(200, 300):
                world.client.version = version
                world.client.there = {"Pod": [pod("p", version), pod("q", 5)]}
                await asyncio.sleep(1)
                world.watches.reported(Key("Pod", "ns", "q"), 5)
            await asyncio.sleep(30)
            assert world.missed
            assert world.restarts == []

    run(story())


def test_a_gap_is_listed_at_once_and_once_for_many_reports() -> None:
    async def story() -> None:
        world = Watching()
        async with world.filled():
            await asyncio.sleep(10)
            before = asyncio.get_running_loop().time() - 1000
            for _ in range(50):
                world.resync.gap(PODS)
            await asyncio.sleep(100)
            assert [(at, plural) for at, plural, *_ in world.client.asked] == [(before + 1, "pods")]

    run(story())


def test_a_list_from_before_its_watch_began_is_asked_for_again() -> None:
    """As of an API server that lags behind the one that was asked before: what came between would be lost."""

    async def story() -> None:
        world = Watching()
        async with world.filled():
            world.client.version = 120
            world.client.there = {"Pod": [pod("old", 115)]}
            world.resync.gap(PODS, 130)
            await asyncio.sleep(10)
            assert [plural for _, plural, *_ in world.client.asked] == ["pods", "pods"]
            assert world.store.get("Pod", "ns", "old") is None
            world.client.version = 130
            world.client.there = {"Pod": [pod("new", 125)]}
            await asyncio.sleep(10)
            assert world.store.get("Pod", "ns", "new") is not None
            world.client.asked.clear()
            await asyncio.sleep(50)
            assert world.client.asked == []

    run(story())


def test_an_outage_of_the_api_is_not_ours() -> None:
    async def story() -> None:
        world = Watching()
        async with world.filled():
            await asyncio.sleep(61)
            world.client.error = Unavailable("the API", "is away")
            world.silent = set(world.watches.scopes)
            for _ in range(100):
                await asyncio.sleep(10)
                assert world.resync.silent_seconds() < 30
                assert world.watches.dead() is None
            assert world.restarts == [], "there is nothing to begin anew with"
            world.client.error, world.client.there = None, {"Pod": [pod("p", 150)]}
            await asyncio.sleep(20)
            assert world.store.get("Pod", "ns", "p") is not None

    run(story())
