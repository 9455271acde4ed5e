"""Reports become keys: of the object, of its owners, and of who refers to it."""

from collections.abc import Iterable
from typing import Any

from test_store import pod
from virtual_time import run

from perennial.manifests.manifest import Manifest
from perennial.manifests.resources import CONFIG_MAP, POD
from perennial.plan.kinds import DATASET, TRAINING_RUN
from perennial.runtime.intake import Intake, owners
from perennial.runtime.queue import WorkQueue
from perennial.runtime.resources import Key
from perennial.runtime.store import Store

OWNER = Key("Dataset", "ns", "flights")


def owned(version: int, owner: str = "flights") -> dict[str, Any]:
    manifest = pod("x", version)
    reference = {"uid": f"uid-{owner}", "kind": "Dataset", "name": owner, "controller": True}
    manifest["metadata"]["ownerReferences"] = [reference]
    return manifest


class Inbox:
    def __init__(self) -> None:
        self.store = Store()
        self.queues: dict[str, WorkQueue[Key]] = {"Dataset": WorkQueue(), "TrainingRun": WorkQueue()}

        def users(changed: Manifest) -> Iterable[Key]:
            yield Key("TrainingRun", "ns", f"uses-{changed['metadata']['name']}")

        self.intake = Intake(self.store, self.queues, {"Dataset": (users,)})

    async def taken(self) -> set[Key]:
        """Return all keys that wait, and take them."""
        found = set()
        for queue in self.queues.values():
            while len(queue):
                key = await queue.get()
                queue.done(key)
                found.add(key)
        return found


def test_an_object_of_a_reconciled_kind_brings_itself_and_who_refers_to_it() -> None:
    async def story() -> None:
        world = Inbox()
        world.intake.put(DATASET.resource, {**pod("flights", 5), "kind": "Dataset"})
        assert await world.taken() == {OWNER, Key("TrainingRun", "ns", "uses-flights")}

    run(story())


def test_a_child_brings_its_controller_and_a_grandchild_whom_its_labels_name() -> None:
    manifest = pod("p", 5, owner="job-uid")
    manifest["metadata"]["labels"] = {"perennial.dev/kind": "Dataset", "perennial.dev/name": "flights"}
    assert list(owners(manifest)) == [Key("Job", "ns", "job"), OWNER]

    async def story() -> None:
        world = Inbox()
        world.intake.put(POD, manifest)
        assert await world.taken() == {OWNER}, "Jobs are not reconciled"

    run(story())


def test_the_answer_to_our_own_write_brings_the_keys_and_the_watchs_report_of_it_does_not_again() -> None:
    async def story() -> None:
        world = Inbox()
        assert world.intake.put(CONFIG_MAP, owned(5))
        assert await world.taken() == {OWNER}
        assert not world.intake.put(CONFIG_MAP, owned(5))
        assert await world.taken() == set()

    run(story())


def test_a_newer_version_that_says_the_same_brings_no_key_and_is_known() -> None:
    async def story() -> None:
        world = Inbox()
        before = owned(5)
        world.intake.put(CONFIG_MAP, before)
        await world.taken()
        assert world.intake.put(CONFIG_MAP, {**before, "metadata": {**before["metadata"], "resourceVersion": "6"}})
        assert await world.taken() == set()
        known = world.store.get("ConfigMap", "ns", "x")
        assert known is not None
        assert known["metadata"]["resourceVersion"] == "6"
        world.intake.put(CONFIG_MAP, owned(7) | {"data": {"changed": "yes"}})
        assert await world.taken() == {OWNER}

    run(story())


def test_a_child_that_changes_hands_brings_both_owners() -> None:
    async def story() -> None:
        world = Inbox()
        world.intake.put(CONFIG_MAP, owned(5, "flights"))
        await world.taken()
        world.intake.put(CONFIG_MAP, owned(6, "weather"))
        assert await world.taken() == {OWNER, Key("Dataset", "ns", "weather")}

    run(story())


def test_an_end_brings_the_same_keys_as_a_change() -> None:
    async def story() -> None:
        world = Inbox()
        world.intake.put(CONFIG_MAP, owned(5))
        await world.taken()
        world.intake.remove(CONFIG_MAP, owned(6))
        assert await world.taken() == {OWNER}
        assert world.store.get("ConfigMap", "ns", "x") is None

    run(story())


def test_a_list_brings_the_keys_of_what_was_wrong_and_no_others() -> None:
    async def story() -> None:
        world = Inbox()
        world.intake.put(CONFIG_MAP, owned(5))
        world.intake.put(TRAINING_RUN.resource, {**pod("same", 6), "kind": "TrainingRun"})
        await world.taken()
        assert world.intake.replace(CONFIG_MAP, None, [], 9) == [Key("ConfigMap", "ns", "x")]
        assert await world.taken() == {OWNER}
        assert world.intake.replace(TRAINING_RUN.resource, None, [{**pod("same", 6), "kind": "TrainingRun"}], 9) == []
        assert await world.taken() == set()

    run(story())


def test_a_full_round_brings_every_object_of_the_reconciled_kinds() -> None:
    async def story() -> None:
        world = Inbox()
        for number in range(3):
            world.store.put("Dataset", {**pod(f"d{number}", 5), "kind": "Dataset"})
        world.store.put("Pod", pod("p", 5))
        world.intake.enqueue_all()
        assert await world.taken() == {Key("Dataset", "ns", f"d{number}") for number in range(3)}

    run(story())


def test_a_full_round_is_overtaken_by_what_changed() -> None:
    async def story() -> None:
        world = Inbox()
        for name in ("a", "b", "c"):
            world.store.put("Dataset", {**pod(name, 5), "kind": "Dataset"})
        world.intake.enqueue_all()
        world.intake.put(DATASET.resource, {**pod("c", 6), "kind": "Dataset"})
        queue = world.queues["Dataset"]
        assert [(await queue.get()).name for _ in range(3)] == ["c", "a", "b"]

    run(story())


def test_a_process_that_does_not_lead_keeps_its_cache_and_queues_nothing() -> None:
    async def story() -> None:
        store, queue, leads = Store(), WorkQueue[Key](), False
        intake = Intake(store, {"Dataset": queue}, {}, leading=lambda: leads)
        intake.put(DATASET.resource, {**pod("flights", 5), "kind": "Dataset"})
        intake.enqueue([OWNER])
        intake.enqueue_all()
        assert store.get(*OWNER) is not None
        assert len(queue) == 0
        leads = True
        intake.enqueue_all()
        assert len(queue) == 1

    run(story())
