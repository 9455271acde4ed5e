"""The loop: look, plan, carry out, come back when it is worth it — whatever happens on the way."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import pytest
from memory_api import REFUSED, MemoryApi, Request
from pydantic import BaseModel
from test_applier import CALL, child, dataset, deletion
from virtual_time import EPOCH, VirtualClock, run

from perennial.manifests.manifest import Manifest
from perennial.plan.actions import Apply, Call, Emit, Plan
from perennial.plan.kinds import DATASET
from perennial.plan.observed import Results
from perennial.runtime.applier import Applier
from perennial.runtime.controller import Controller, Reconciler
from perennial.runtime.errors import Blocked, LeadershipLost, Unavailable
from perennial.runtime.queue import WorkQueue
from perennial.runtime.resources import Key
from perennial.runtime.results import CallResults
from perennial.runtime.store import Store

KEY = Key("Dataset", "ns", "flights")
Planner = Callable[[Manifest, Results, datetime], Plan]


class Controlled:
    """One controller over one Dataset. `plans` are the times at which it was planned."""

    def __init__(self, planner: Planner, *, seconds: float = 0.0) -> None:
        self.loop = asyncio.get_running_loop()
        self.clock = VirtualClock()
        self.api = MemoryApi(seconds=seconds)
        self.store = Store()
        self.store.put("Dataset", self.api.seed(dataset()))
        self.plans: list[float] = []
        self.calls: list[float] = []
        self.call_error: Exception | None = None
        self.outcomes: list[str] = []
        self.failures: list[str] = []
        self.most = self.busy = 0
        self.forgotten: list[Key] = []
        self.planner = planner
        self.queue: WorkQueue[Key] = WorkQueue(base_delay=1, max_delay=8, jitter=lambda: 0.0)
        self.results = CallResults(self.clock)
        self.controller = Controller(
            Reconciler(resource=DATASET.resource, observe=self._observe, plan=self._plan, gone=self.forgotten.append),
            queue=self.queue,
            store=self.store,
            results=self.results,
            applier=Applier(
                client=self.api.client(),
                store=self.store,
                results=self.results,
                events=self,
                calls=self._call,
                clock=self.clock,
                take=lambda resource, manifest: self.store.put(resource.kind, manifest),
            ),
            clock=self.clock,
            metrics=self,
            limit_seconds=30,
        )

    def _observe(self, results: Results, namespace: str, name: str) -> tuple[Manifest, Results] | None:
        found = self.store.get("Dataset", namespace, name)
        return None if found is None else (found, results)

    def _plan(self, seen: tuple[Manifest, Results], now: datetime) -> Plan:
        self.plans.append((now - EPOCH).total_seconds() - 1000)
        return self.planner(*seen, now)

    async def _call(self, _: Key, __: Call) -> Mapping[str, str]:
        self.calls.append(self.loop.time() - 1000)
        if self.call_error is not None:
            raise self.call_error
        return {"version": "3"}

    async def emit(self, regarding: Manifest, event: Emit) -> None:
        pass

    def reconciled(self, _: str, result: str, __: float) -> None:
        self.outcomes.append(result)

    def workers(self, _: str, count: int) -> None:
        self.most = count

    def active(self, _: str, change: int) -> None:
        self.busy += change
        assert 0 <= self.busy <= self.most

    def failed(self, _: str, why: str) -> None:
        self.failures.append(why)

    async def for_seconds(self, seconds: float, workers: int = 2) -> None:
        """Let the controller work for a while."""
        working = asyncio.create_task(self.controller.run(workers))
        await asyncio.sleep(seconds)
        assert not working.done(), working.exception()
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


def test_a_plan_without_anything_to_come_ends_it() -> None:
    async def story() -> None:
        world = Controlled(lambda *_: Plan(status={"rows": 1}))
        world.queue.add(KEY)
        await world.for_seconds(1000)
        assert world.plans == [0]
        assert world.outcomes == ["success"]
        assert world.api.writes == [Request("status", "Dataset", "flights")]

    run(story())


def test_a_plan_comes_back_when_it_asked_to() -> None:
    async def story() -> None:
        world = Controlled(lambda *_: Plan(requeue_after=100))
        world.queue.add(KEY)
        await world.for_seconds(350)
        assert world.plans == [0, 100, 200, 300]
        assert world.outcomes == ["requeue_after"] * 4

    run(story())


def test_an_outage_is_met_with_back_off_and_its_end_with_a_fresh_start() -> None:
    async def story() -> None:
        world = Controlled(lambda *_: Plan(status={"rows": 1}))
        over = world.loop.time() + 20
        world.api.fail = lambda _: Unavailable("it", "is away") if world.loop.time() < over else None
        world.queue.add(KEY)
        await world.for_seconds(100)
        assert world.plans == [0, 1, 3, 7, 15, 23]
        assert world.outcomes == ["error"] * 5 + ["success"]
        assert world.queue.failures(KEY) == 0

    run(story())


def test_a_servers_wish_to_be_left_alone_is_respected() -> None:
    async def story() -> None:
        world = Controlled(lambda *_: Plan(status={"rows": 1}))
        world.api.fail = lambda _: Unavailable("it", "is busy", after=25) if world.loop.time() < 1010 else None
        world.queue.add(KEY)
        await world.for_seconds(100)
        assert world.plans == [0, 25]

    run(story())


def test_a_conflict_is_looked_at_again_and_is_no_error() -> None:
    async def story() -> None:
        world = Controlled(lambda *_: Plan(status={"rows": 1}))
        newer = world.api.seed({**dataset(), "spec": {"suspend": True}})
        world.queue.add(KEY)
        working = asyncio.create_task(world.for_seconds(100))
        await asyncio.sleep(0.5)
        world.store.put("Dataset", newer)
        await working
        assert world.outcomes == ["requeue", "success"]
        assert world.api.objects[KEY]["status"] == {"rows": 1}

    run(story())


def test_what_is_refused_is_not_tried_again_by_itself() -> None:
    async def story() -> None:
        world = Controlled(lambda *_: Plan(applies=(Apply(manifest=child()),)))
        world.api.fail = lambda request: REFUSED if request.verb == "apply" else None
        world.queue.add(KEY)
        await world.for_seconds(1000)
        assert world.outcomes == ["error"]
        assert world.failures == ["terminal"]

    run(story())


def test_what_is_blocked_from_outside_is_told_once_and_looked_at_twice_a_minute() -> None:
    async def story() -> None:
        world = Controlled(lambda *_: Plan(applies=(Apply(manifest=child()),), status={"rows": 1}))
        forbidden = Blocked("Forbidden", "you may not create configmaps")
        world.api.fail = lambda request: forbidden if request.verb == "apply" else None
        world.queue.add(KEY)
        await world.for_seconds(99)
        assert world.plans == [0, 30, 60, 90]
        assert [request.verb for request in world.api.writes] == ["apply", "status", "apply", "apply", "apply"]
        (stalled,) = world.api.objects[KEY]["status"]["conditions"]
        assert (stalled["type"], stalled["reason"]) == ("Stalled", "Forbidden")
        world.api.fail = lambda _: None
        await world.for_seconds(60)
        assert world.api.objects[KEY]["status"] == {"rows": 1}

    run(story())


def test_a_planner_that_breaks_breaks_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        def planner(seen: Manifest, _: Results, __: datetime) -> Plan:
            if seen["metadata"]["name"] == "bad":
                raise ZeroDivisionError
            return Plan(status={"rows": 1})

        world = Controlled(planner)
        bad = dataset()
        bad["metadata"] |= {"name": "bad", "uid": "other"}
        world.store.put("Dataset", world.api.seed(bad))
        world.queue.add(Key("Dataset", "ns", "bad"))
        world.queue.add(KEY)
        await world.for_seconds(10, workers=1)
        assert world.api.objects[KEY]["status"] == {"rows": 1}
        assert world.outcomes.count("error") == 4, "tried again at 1, 3 and 7 s"

    run(story())
    assert "reconciling failed unexpectedly" in caplog.text


def test_an_object_that_the_models_refuse_says_which_field_must_hold_what() -> None:
    class Strict(BaseModel):
        rows: int

    async def story() -> None:
        world = Controlled(lambda *_: Plan(status=Strict.model_validate({"rows": "many"}).model_dump()))
        world.queue.add(KEY)
        await world.for_seconds(100)
        (stalled,) = world.api.objects[KEY]["status"]["conditions"]
        assert stalled["reason"] == "InvalidObject"
        assert stalled["message"].startswith("Strict: rows: must be a valid integer")
        assert world.outcomes == ["error"]

    run(story())


def test_a_reconciliation_that_hangs_is_cut_off_and_holds_up_nobody() -> None:
    async def story() -> None:
        world = Controlled(lambda *_: Plan(status={"rows": 1}), seconds=1e6)
        world.queue.add(KEY)
        await world.for_seconds(64)
        assert world.plans == [0, 31, 63], "30 s and the back-off each"
        assert world.outcomes == ["error", "error"]

    run(story())


def test_what_a_call_brought_is_planned_with_at_once_and_the_call_is_not_repeated() -> None:
    async def story() -> None:
        def planner(_: Manifest, results: Results, __: datetime) -> Plan:
            brought = results.result(CALL)
            if brought is None:
                return Plan(calls=(CALL,))
            assert brought.value is not None
            return Plan(status={"version": brought.value["version"]})

        world = Controlled(planner)
        world.queue.add(KEY)
        await world.for_seconds(5)
        assert world.calls == [0]
        assert world.api.objects[KEY]["status"] == {"version": "3"}

    run(story())


def test_a_failed_call_is_told_of_and_made_again_for_as_long_as_it_fails() -> None:
    async def story() -> None:
        def planner(seen: Manifest, results: Results, _: datetime) -> Plan:
            if seen.get("status", {}).get("done"):
                return Plan(status=seen["status"])
            brought = results.result(CALL)
            if brought is None:
                return Plan(calls=(CALL,))
            return Plan(status={"error": brought.error} if brought.error else {"done": True})

        world = Controlled(planner)
        world.call_error = Unavailable("MLflow", "connection refused")
        world.queue.add(KEY)
        working = asyncio.create_task(world.for_seconds(100))
        await asyncio.sleep(25)
        assert world.api.objects[KEY]["status"] == {"error": "MLflow is unavailable: connection refused"}
        assert world.calls == [0, 10, 20]
        assert len(world.api.writes) == 1, "the same error was written again"
        world.call_error = None
        await working
        assert world.api.objects[KEY]["status"] == {"done": True}

    run(story())


def test_a_planner_that_repeats_a_call_for_ever_does_not_spin() -> None:
    async def story() -> None:
        world = Controlled(lambda *_: Plan(calls=(CALL,)))
        world.queue.add(KEY)
        await world.for_seconds(100)
        assert len(world.calls) < 20

    run(story())


def test_after_a_deletion_the_key_waits_until_the_cache_has_seen_it() -> None:
    async def story() -> None:
        def planner(_: Manifest, __: Results, ___: datetime) -> Plan:
            old = world.store.get("ConfigMap", "ns", "flights-old")
            return Plan(deletes=(deletion(old),) if old is not None else ())

        world = Controlled(planner)
        old = world.api.seed(child("flights-old"))
        world.store.put("ConfigMap", old)
        world.queue.add(KEY)
        working = asyncio.create_task(world.for_seconds(100))
        await asyncio.sleep(1)
        world.queue.add(KEY)
        await asyncio.sleep(2)
        assert len(world.plans) == 1, "planned with a cache that is older than the key's own write"
        world.store.remove("ConfigMap", {**old, "metadata": {**old["metadata"], "resourceVersion": "900"}})
        await working
        assert world.plans == [0, 3]
        assert [request.verb for request in world.api.writes] == ["delete"]

    run(story())


def test_a_watch_that_never_tells_of_the_deletion_holds_the_key_up_for_five_seconds() -> None:
    async def story() -> None:
        def planner(_: Manifest, __: Results, ___: datetime) -> Plan:
            return Plan(deletes=(deletion(old),)) if not world.api.writes else Plan()

        world = Controlled(planner)
        old = world.api.seed(child("flights-old"))
        world.store.put("ConfigMap", old)
        world.queue.add(KEY)
        world.queue.add_after(KEY, 1)
        await world.for_seconds(100)
        assert world.plans == [0, 6]

    run(story())


def test_an_object_that_is_gone_is_forgotten() -> None:
    async def story() -> None:
        world = Controlled(lambda *_: Plan())
        seen = world.store.get(*KEY)
        assert seen is not None
        world.store.remove("Dataset", seen)
        world.queue.add(KEY)
        await world.for_seconds(10)
        assert world.plans == []
        assert world.forgotten == [KEY]
        assert world.outcomes == ["success"]

    run(story())


def test_lost_leadership_ends_the_controller_at_once() -> None:
    async def story() -> None:
        world = Controlled(lambda *_: Plan(status={"rows": 1}))
        world.api.fail = lambda _: LeadershipLost("gone")
        world.queue.add(KEY)
        with pytest.raises(LeadershipLost):
            await world.controller.run(4)

    run(story())


@pytest.mark.parametrize("workers", [1, 4])
def test_draining_lets_the_work_at_hand_end_and_takes_no_more(workers: int) -> None:
    async def story() -> None:
        world = Controlled(lambda *_: Plan(status={"rows": 1}), seconds=3)
        world.queue.add(KEY)
        working = asyncio.create_task(world.controller.run(workers))
        await asyncio.sleep(1)
        if workers == 1:
            world.queue.add(Key("Dataset", "ns", "next"))
        await world.controller.drain(10)
        assert world.loop.time() == 1003
        assert world.api.objects[KEY]["status"] == {"rows": 1}
        await asyncio.gather(working, return_exceptions=True)
        assert world.forgotten == [], "another key was taken"

    run(story())


def test_draining_cuts_off_what_takes_longer() -> None:
    async def story() -> None:
        world = Controlled(lambda *_: Plan(status={"rows": 1}), seconds=20)
        world.queue.add(KEY)
        working = asyncio.create_task(world.controller.run(4))
        await asyncio.sleep(1)
        await world.controller.drain(1)
        assert world.loop.time() == 1002
        assert "status" not in world.api.objects[KEY]
        await asyncio.gather(working, return_exceptions=True)

    run(story())


def test_every_line_of_a_reconciliation_carries_its_id(caplog: pytest.LogCaptureFixture) -> None:
    from perennial import logs

    lines: list[dict[str, Any]] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(logs._collect(record))

    handler = Keep()
    logging.getLogger("perennial").addHandler(handler)
    try:

        async def story() -> None:
            world = Controlled(lambda *_: Plan(status={"rows": 1}))
            world.api.fail = lambda _: Unavailable("it", "is away")
            world.queue.add(KEY)
            await world.for_seconds(2)

        run(story())
    finally:
        logging.getLogger("perennial").removeHandler(handler)
    assert {(line["kind"], line["namespace"], line["name"]) for line in lines} == {KEY}
    assert len({line["reconcile_id"] for line in lines}) == len(lines) == 2
    assert {line["generation"] for line in lines} == {1}
