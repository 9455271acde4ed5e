"""The applier carries plans out in order, stops where something fails, and writes nothing that is so already."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from memory_api import REFUSED, MemoryApi, Request
from virtual_time import VirtualClock, run

from perennial.manifests.manifest import Manifest
from perennial.plan.actions import Apply, Call, Create, Delete, Emit, Plan, SetAlias
from perennial.plan.kinds import DATASET
from perennial.plan.observed import CallResult
from perennial.runtime.applier import Applier, CallFailed
from perennial.runtime.errors import Blocked, Conflict, LeadershipLost, Terminal, Unavailable
from perennial.runtime.resources import Key
from perennial.runtime.results import CallResults
from perennial.runtime.store import Store, version_of

KEY = Key("Dataset", "ns", "flights")
CALL = SetAlias(model="m", alias="champion", version="3")
EMIT = Emit(type="Normal", reason="Checked", message="all is well")


def dataset() -> dict[str, Any]:
    return {
        "apiVersion": "perennial.dev/v1alpha1",
        "kind": "Dataset",
        "metadata": {"namespace": "ns", "name": "flights", "uid": "owner-uid"},
        "spec": {},
    }


def child(name: str = "flights-a", value: str = "1", owner: str = "owner-uid") -> dict[str, Any]:
    reference = {"apiVersion": "perennial.dev/v1alpha1", "kind": "Dataset", "name": "flights", "uid": owner}
    metadata = {"namespace": "ns", "name": name, "ownerReferences": [{**reference, "controller": True}]}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"value": value}}


def deletion(manifest: Manifest) -> Delete:
    metadata = manifest["metadata"]
    return Delete(
        api_version=manifest["apiVersion"],
        kind=manifest["kind"],
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
    )


@dataclass
class Applying:
    """An applier with all that is around it; `log` has everything that was done, in order."""

    api: MemoryApi = field(default_factory=MemoryApi)
    store: Store = field(default_factory=Store)
    log: list[str] = field(default_factory=list)
    call_error: Exception | None = None

    def __post_init__(self) -> None:
        self.results = CallResults(VirtualClock())
        self.store.put("Dataset", self.api.seed(dataset()))
        self.api.fail = self._note
        self.error: Mapping[str, Exception] = {}
        self.owed: list[tuple[str, int]] = []
        self.applier = Applier(
            client=self.api.client(),
            store=self.store,
            results=self.results,
            events=self,
            calls=self._call,
            clock=VirtualClock(),
            take=lambda resource, manifest: self.store.put(resource.kind, manifest),
            on_conflict=lambda key, version: self.owed.append((key.name, version)),
        )

    def _note(self, request: Request) -> Exception | None:
        if request.verb != "get":
            self.log.append(f"{request.verb} {request.name}")
        return self.error.get(request.verb)

    async def emit(self, _: Manifest, event: Emit) -> None:
        self.log.append(f"event {event.reason}")

    async def _call(self, _: Key, call: Call) -> Mapping[str, str]:
        self.log.append(f"call {type(call).__name__}")
        if self.call_error is not None:
            raise self.call_error
        return {"done": "yes"}

    async def carry_out(self, plan: Plan) -> tuple[object, ...]:
        self.log.clear()
        observed = self.store.get(*KEY)
        return await self.applier.run(KEY, DATASET.resource, plan, observed if observed is not None else dataset())

    def status(self) -> Any:
        return self.api.objects[KEY].get("status")


def test_children_calls_status_events_deletions_in_this_order() -> None:
    async def story() -> None:
        world = Applying()
        old = world.api.seed(child("flights-old"))
        world.store.put("ConfigMap", old)
        plan = Plan(
            applies=(Apply(manifest=child("flights-a")), Apply(manifest=child("flights-b"))),
            calls=(CALL,),
            status={"rows": 1},
            events=(EMIT,),
            deletes=(deletion(old),),
        )
        await world.carry_out(plan)
        assert world.log == [
            "apply flights-a",
            "apply flights-b",
            "call SetAlias",
            "status flights",
            "event Checked",
            "delete flights-old",
        ]

    run(story())


@pytest.mark.parametrize(
    ("failing", "done"),
    [
        ("apply", ["apply flights-a"]),
        ("call", ["apply flights-a", "call SetAlias"]),
        ("status", ["apply flights-a", "call SetAlias", "status flights"]),
        ("delete", ["apply flights-a", "call SetAlias", "status flights", "event Checked", "delete flights-old"]),
    ],
)
def test_what_fails_stops_what_follows(failing: str, done: list[str]) -> None:
    async def story() -> None:
        world = Applying()
        old = world.api.seed(child("flights-old"))
        world.store.put("ConfigMap", old)
        outage = Unavailable("it", "is away")
        world.error = {failing: outage}
        world.call_error = outage if failing == "call" else None
        plan = Plan(
            applies=(Apply(manifest=child("flights-a")),),
            calls=(CALL,),
            status={"rows": 1},
            events=(EMIT,),
            deletes=(deletion(old),),
        )
        with pytest.raises((Unavailable, CallFailed)):
            await world.carry_out(plan)
        assert world.log == done

    run(story())


def test_carrying_out_the_same_plan_twice_asks_nothing_the_second_time() -> None:
    async def story() -> None:
        world = Applying()
        plan = Plan(applies=(Apply(manifest=child()),), status={"rows": 1})
        await world.carry_out(plan)
        world.api.requests.clear()
        await world.carry_out(plan)
        assert world.api.requests == []

    run(story())


def test_a_child_whose_intent_changed_is_applied_again_also_where_a_field_only_went_away() -> None:
    async def story() -> None:
        world = Applying()
        wide, narrow = child(), child()
        wide["data"]["more"] = "2"
        await world.carry_out(Plan(applies=(Apply(manifest=wide),)))
        await world.carry_out(Plan(applies=(Apply(manifest=narrow),)))
        assert world.log == ["apply flights-a"]

    run(story())


def test_a_child_that_somebody_changed_is_repaired() -> None:
    async def story() -> None:
        world = Applying()
        plan = Plan(applies=(Apply(manifest=child()),))
        await world.carry_out(plan)
        changed = {**world.api.objects[Key("ConfigMap", "ns", "flights-a")], "data": {"value": "mine"}}
        world.store.put("ConfigMap", world.api.seed(changed))
        await world.carry_out(plan)
        assert world.log == ["apply flights-a"]
        assert world.api.objects[Key("ConfigMap", "ns", "flights-a")]["data"] == {"value": "1"}

    run(story())


def test_a_child_on_its_way_out_is_left_alone() -> None:
    async def story() -> None:
        world = Applying()
        going = child(value="old")
        going["metadata"]["deletionTimestamp"] = "2026-11-01T00:00:00Z"
        world.store.put("ConfigMap", world.api.seed(going))
        await world.carry_out(Plan(applies=(Apply(manifest=child()),)))
        assert world.log == []

    run(story())


@pytest.mark.parametrize("owner", ["somebody-else", None])
def test_somebody_elses_object_of_the_same_name_is_refused_not_taken_over(owner: str | None) -> None:
    async def story() -> None:
        world = Applying()
        foreign = child(value="theirs")
        foreign["metadata"]["ownerReferences"] = [{"uid": owner, "kind": "X", "controller": True}] if owner else []
        world.api.seed(foreign)
        with pytest.raises(Blocked, match="ConfigMap flights-a exists and does not belong to Dataset flights"):
            await world.carry_out(Plan(applies=(Apply(manifest=child()),)))
        assert world.api.objects[Key("ConfigMap", "ns", "flights-a")]["data"] == {"value": "theirs"}
        (stalled,) = world.status()["conditions"]
        assert (stalled["type"], stalled["status"], stalled["reason"]) == ("Stalled", "True", "NameTaken")

    run(story())


@pytest.mark.parametrize("known", [False, True], ids=["that the watch does not show", "that the watch shows"])
def test_somebody_elses_object_of_the_name_of_a_child_to_be_created_is_refused(*, known: bool) -> None:
    async def story() -> None:
        world = Applying()
        foreign = world.api.seed(child(value="theirs", owner="somebody-else"))
        if known:
            world.store.put("ConfigMap", foreign)
        with pytest.raises(Blocked, match="ConfigMap flights-a exists and does not belong to Dataset flights"):
            await world.carry_out(Plan(applies=(Create(manifest=child()),)))
        assert world.api.objects[Key("ConfigMap", "ns", "flights-a")]["data"] == {"value": "theirs"}

    run(story())


def test_a_child_that_is_created_costs_one_request_and_is_known_then() -> None:
    async def story() -> None:
        world = Applying()
        await world.carry_out(Plan(applies=(Create(manifest=child()),)))
        assert [request.verb for request in world.api.requests] == ["create"]
        await world.carry_out(Plan(applies=(Create(manifest=child()),)))
        assert world.log == []

    run(story())


def test_a_child_whose_creation_was_never_answered_is_found_and_kept() -> None:
    async def story() -> None:
        world = Applying()
        made = world.api.seed(child())
        await world.carry_out(Plan(applies=(Create(manifest=child(value="another")),)))
        assert world.store.get("ConfigMap", "ns", "flights-a") == made

    run(story())


def test_our_own_child_that_the_cache_has_not_heard_of_is_applied() -> None:
    async def story() -> None:
        world = Applying()
        world.api.seed(child(value="old"))
        await world.carry_out(Plan(applies=(Apply(manifest=child()),)))
        assert world.log == ["apply flights-a"]

    run(story())


def test_a_refused_child_is_told_in_the_conditions_once_and_the_next_status_takes_it_back() -> None:
    async def story() -> None:
        world = Applying()
        ready = {"type": "Ready", "status": "False", "reason": "Waiting", "message": ""}
        await world.carry_out(Plan(status={"rows": 1, "conditions": [ready]}))
        world.error = {"apply": REFUSED}
        plan = Plan(applies=(Apply(manifest=child()),), status={"rows": 2, "conditions": [ready]})
        with pytest.raises(Terminal):
            await world.carry_out(plan)
        assert world.log == ["apply flights-a", "status flights", "event Invalid"]
        assert world.status()["rows"] == 1
        assert [each["type"] for each in world.status()["conditions"]] == ["Ready", "Stalled"]
        since = world.status()["conditions"][1]["lastTransitionTime"]
        await asyncio.sleep(100)
        other = Plan(applies=(Apply(manifest=child(value="2")),), status=plan.status)
        with pytest.raises(Terminal):
            await world.carry_out(other)
        assert world.log == ["apply flights-a"], "the same refusal was written twice"
        assert world.status()["conditions"][1]["lastTransitionTime"] == since
        world.error = {}
        await world.carry_out(plan)
        assert world.status() == plan.status

    run(story())


def test_what_was_refused_is_not_sent_again_until_the_intent_or_the_generation_is_another() -> None:
    async def story() -> None:
        world = Applying()
        world.error = {"apply": REFUSED}
        plan = Plan(applies=(Apply(manifest=child()),))
        for sent in (["apply flights-a", "status flights", "event Invalid"], [], []):
            world.api.requests.clear()
            with pytest.raises(Terminal, match=r"Invalid: spec\.replicas must be at least 0"):
                await world.carry_out(plan)
            assert world.log == sent
            assert bool(world.api.requests) == bool(sent), "something was read for nothing"
        with pytest.raises(Terminal):
            await world.carry_out(Plan(applies=(Apply(manifest=child(value="2")),)))
        assert world.log == ["apply flights-a"], "another intent"
        world.store.put("Dataset", world.api.seed({**dataset(), "spec": {"changed": True}}))
        world.error = {}
        await world.carry_out(Plan(applies=(Apply(manifest=child(value="2")),)))
        assert world.log == ["apply flights-a"], "another generation"

    run(story())


def test_a_status_that_was_refused_is_tried_again_later_because_no_new_spec_would_be_the_cure() -> None:
    async def story() -> None:
        world = Applying()
        for refused in (Plan(status={"rows": -1}), Plan(applies=(Apply(manifest=child()),))):
            world.error = {"status": REFUSED, "apply": REFUSED}
            with pytest.raises(Blocked, match="Invalid: the status was refused: ") as error:
                await world.carry_out(refused)
            assert error.value.after == 30
            assert "status flights" in world.log
        world.error = {}
        await world.carry_out(Plan(status={"rows": 1}))
        assert world.log == ["status flights"]

    run(story())


def test_the_first_status_has_all_conditions_also_where_a_child_is_refused() -> None:
    async def story() -> None:
        world = Applying()
        world.error = {"apply": REFUSED}
        said = {"observedGeneration": 1, "lastTransitionTime": "2026-03-01T12:00:00Z", "message": "It is."}
        ready = {**said, "type": "Ready", "status": "False", "reason": "Waiting"}
        moving = {**said, "type": "Reconciling", "status": "True", "reason": "Starting"}
        free = {**said, "type": "Stalled", "status": "False", "reason": "Free"}
        plan = Plan(applies=(Apply(manifest=child()),), status={"rows": 2, "conditions": [ready, moving, free]})
        with pytest.raises(Terminal):
            await world.carry_out(plan)
        seen = world.status()
        told = {each["type"]: f"{each['status']} {each['reason']}" for each in seen["conditions"]}
        assert told == {"Ready": "False Waiting", "Reconciling": "False Invalid", "Stalled": "True Invalid"}
        assert ("rows" in seen, seen["observedGeneration"]) == (False, 1)

    run(story())


def test_a_status_made_from_an_older_object_is_refused() -> None:
    async def story() -> None:
        world = Applying()
        world.api.seed({**dataset(), "spec": {"suspend": True}})
        observed = version_of(world.store.get(*KEY) or {})
        with pytest.raises(Conflict):
            await world.carry_out(Plan(status={"rows": 1}))
        assert world.status() is None
        assert world.owed == [("flights", observed + 1)], "the watch has to report what was in the way"

    run(story())


def test_a_status_is_not_written_over_one_that_the_cache_learnt_of_while_the_plan_was_carried_out() -> None:
    """The precondition is the object that was planned for, not what the cache knows by then."""

    async def story() -> None:
        world = Applying()

        def edited_meanwhile(request: Request) -> None:
            if request.verb == "apply":
                world.store.put("Dataset", world.api.seed({**dataset(), "status": {"rows": 7}}))

        world.api.fail = edited_meanwhile
        with pytest.raises(Conflict):
            await world.carry_out(Plan(applies=(Apply(manifest=child()),), status={"rows": 1}))
        assert world.status() == {"rows": 7}
        assert world.owed == [], "it has reported it already"

    run(story())


def test_a_failed_call_is_told_to_the_planner_and_a_success_kept_until_it_is_recorded() -> None:
    async def story() -> None:
        world = Applying()
        world.call_error = Unavailable("MLflow", "connection refused")
        with pytest.raises(CallFailed):
            await world.carry_out(Plan(calls=(CALL,)))
        assert world.results.look_up(KEY, CALL) == CallResult(error="MLflow is unavailable: connection refused")
        world.call_error = None
        await world.carry_out(Plan(calls=(CALL,)))
        assert world.results.look_up(KEY, CALL) == CallResult(value={"done": "yes"})
        await world.carry_out(Plan(status={"rows": 1}))
        assert world.results.look_up(KEY, CALL) is None

    run(story())


def test_a_refused_call_is_told_for_longer_and_leaves_the_conditions_to_the_planner() -> None:
    async def story() -> None:
        world = Applying()
        world.call_error = Terminal("Refused", "no such experiment")
        with pytest.raises(CallFailed):
            await world.carry_out(Plan(calls=(CALL,)))
        assert world.status() is None
        await asyncio.sleep(59)
        assert world.results.look_up(KEY, CALL) == CallResult(error="no such experiment")
        await asyncio.sleep(2)
        assert world.results.look_up(KEY, CALL) is None

    run(story())


def test_a_result_is_kept_where_the_plan_that_records_it_could_not_be_carried_out() -> None:
    async def story() -> None:
        world = Applying()
        await world.carry_out(Plan(calls=(CALL,)))
        world.error = {"status": Unavailable("it", "is away")}
        with pytest.raises(Unavailable):
            await world.carry_out(Plan(status={"rows": 1}))
        assert world.results.look_up(KEY, CALL) is not None

    run(story())


def test_lost_leadership_is_no_failed_call() -> None:
    async def story() -> None:
        world = Applying()
        world.call_error = LeadershipLost("gone")
        with pytest.raises(LeadershipLost):
            await world.carry_out(Plan(calls=(CALL,)))
        assert world.results.look_up(KEY, CALL) is None

    run(story())


def test_a_deletion_is_waited_for_until_the_cache_has_seen_it() -> None:
    async def story() -> None:
        world = Applying()
        old = world.api.seed(child("flights-old"))
        world.store.put("ConfigMap", old)
        (gone,) = await world.carry_out(Plan(deletes=(deletion(old),)))
        key = Key("ConfigMap", "ns", "flights-old")
        assert not gone.seen(world.store.get(*key))  # type: ignore[attr-defined]
        world.store.remove("ConfigMap", {**old, "metadata": {**old["metadata"], "resourceVersion": "900"}})
        assert gone.seen(world.store.get(*key))  # type: ignore[attr-defined]

    run(story())


def test_an_object_that_has_changed_or_is_another_is_not_deleted() -> None:
    async def story() -> None:
        world = Applying()
        old = world.api.seed(child("flights-old"))
        world.store.put("ConfigMap", old)
        world.api.seed({**old, "data": {"value": "changed"}})
        with pytest.raises(Conflict):
            await world.carry_out(Plan(deletes=(deletion(old),)))
        assert Key("ConfigMap", "ns", "flights-old") in world.api.objects
        assert world.owed == [("flights-old", version_of(old) + 1)]

    run(story())


def test_an_owner_that_is_gone_gets_neither_status_nor_events() -> None:
    async def story() -> None:
        world = Applying()
        seen = world.store.get(*KEY)
        assert seen is not None
        world.store.remove("Dataset", seen)
        await world.carry_out(Plan(status={"rows": 1}, events=(EMIT,)))
        assert world.log == []

    run(story())
