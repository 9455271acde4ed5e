"""Events tell a story once, count what repeats, and never flood."""

import asyncio

from memory_api import MemoryApi, Request
from test_applier import dataset
from virtual_time import VirtualClock, run

from perennial.manifests.manifest import Manifest
from perennial.plan.actions import Emit
from perennial.runtime.errors import Terminal
from perennial.runtime.events import EventRecorder, event_name


def emit(message: str = "all is well") -> Emit:
    return Emit(type="Normal", reason="Checked", message=message)


class Telling:
    def __init__(self) -> None:
        self.api = MemoryApi()
        self.regarding: Manifest = self.api.seed(dataset())
        self.told: list[tuple[str, str]] = []
        self.dropped = 0
        self.recorder = self.restarted()

    def restarted(self) -> EventRecorder:
        def told(kind: str, event: Emit) -> None:
            self.told.append((kind, event.reason))

        def dropped() -> None:
            self.dropped += 1

        client, clock = self.api.client(), VirtualClock()
        return EventRecorder(client, clock, instance="pod-1", on_told=told, on_dropped=dropped)

    def events(self) -> list[Manifest]:
        return [manifest for key, manifest in self.api.objects.items() if key.kind == "Event"]


def test_a_thing_said_is_an_event_on_the_object() -> None:
    async def story() -> None:
        world = Telling()
        await world.recorder.emit(world.regarding, emit())
        (event,) = world.events()
        assert event["regarding"]["uid"] == "owner-uid"
        assert event["regarding"]["kind"] == "Dataset"
        assert (event["type"], event["reason"], event["action"]) == ("Normal", "Checked", "Reconcile")
        assert event["note"] == "all is well"
        assert event["reportingInstance"] == "pod-1"
        assert "series" not in event

    run(story())


def test_a_thing_said_again_is_counted_and_written_every_six_minutes_at_most() -> None:
    async def story() -> None:
        world = Telling()
        for _ in range(61):
            await world.recorder.emit(world.regarding, emit())
            await asyncio.sleep(10)
        (event,) = world.events()
        assert event["series"]["count"] == 37, "as often as it had been said at the last writing"
        assert [request.verb for request in world.api.writes] == ["create", "merge"]

    run(story())


def test_after_a_restart_the_same_thing_is_the_same_event() -> None:
    async def story() -> None:
        world = Telling()
        for _ in range(3):
            await world.restarted().emit(world.regarding, emit())
        (event,) = world.events()
        assert event["series"]["count"] == 3

    run(story())


def test_other_things_and_other_objects_have_events_of_their_own() -> None:
    world = {**dataset(), "metadata": {**dataset()["metadata"], "uid": "another"}}
    names = {
        event_name(dataset(), emit()),
        event_name(dataset(), emit("something else")),
        event_name(dataset(), Emit(type="Warning", reason="Checked", message="all is well")),
        event_name(world, emit()),
    }
    assert len(names) == 4
    assert all(name.startswith("flights.") and len(name) <= 253 for name in names)


def test_an_event_that_ran_out_is_written_anew() -> None:
    async def story() -> None:
        world = Telling()
        await world.recorder.emit(world.regarding, emit())
        for key in [key for key in world.api.objects if key.kind == "Event"]:
            del world.api.objects[key]
        await asyncio.sleep(3600)
        await world.recorder.emit(world.regarding, emit())
        (event,) = world.events()
        assert "series" not in event

    run(story())


def test_one_object_cannot_flood_and_another_is_heard_meanwhile() -> None:
    async def story() -> None:
        world = Telling()
        for number in range(100):
            await world.recorder.emit(world.regarding, emit(f"number {number}"))
        assert len(world.events()) == 25
        assert world.dropped == 75
        assert set(world.told) == {("Dataset", "Checked")}
        assert len(world.told) == 100
        other = {**world.regarding, "metadata": {**world.regarding["metadata"], "name": "other", "uid": "other"}}
        await world.recorder.emit(other, emit())
        assert len(world.events()) == 26
        await asyncio.sleep(12)
        await world.recorder.emit(world.regarding, emit("later"))
        await world.recorder.emit(world.regarding, emit("and later"))
        assert len(world.events()) == 27

    run(story())


def test_an_event_that_cannot_be_written_fails_nothing() -> None:
    async def story() -> None:
        world = Telling()

        def fail(_: Request) -> Exception:
            return Terminal("Forbidden", "no events for you")

        world.api.fail = fail
        await world.recorder.emit(world.regarding, emit())
        assert world.events() == []

    run(story())


def test_long_messages_are_cut_to_what_the_api_takes_in_bytes() -> None:
    async def story() -> None:
        world = Telling()
        await world.recorder.emit(world.regarding, emit("ü" * 2000))
        (event,) = world.events()
        assert len(event["note"].encode()) <= 1024
        assert event["note"].endswith("ü…")

    run(story())


def test_memory_is_bounded() -> None:
    async def story() -> None:
        world = Telling()
        for number in range(5000):
            regarding = {**dataset(), "metadata": {**dataset()["metadata"], "uid": str(number), "resourceVersion": "1"}}
            await world.recorder.emit(regarding, emit())
        assert len(world.recorder._said) <= 4096
        assert len(world.recorder._buckets) <= 4096

    run(story())
