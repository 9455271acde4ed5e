"""The store holds what the API server last said, whatever the order in which it hears of it."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual_time import run

from perennial.runtime.resources import Key
from perennial.runtime.store import Store


def pod(name: str, version: int, *, namespace: str = "ns", owner: str | None = None, **more: Any) -> dict[str, Any]:
    metadata = {"namespace": namespace, "name": name, "uid": f"{name}-{version}", "resourceVersion": str(version)}
    if owner:
        metadata["ownerReferences"] = [{"uid": owner, "kind": "Job", "name": "job", "controller": True}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, **more}


def content(store: Store) -> dict[str, str]:
    return {key.name: version(store, key.name) for key in store.keys("Pod")}


def version(store: Store, name: str) -> str:
    found = store.get("Pod", "ns", name)
    assert found is not None
    return str(found["metadata"]["resourceVersion"])


def test_an_older_state_does_not_replace_a_newer() -> None:
    store = Store()
    assert store.put("Pod", pod("a", 10))
    assert not store.put("Pod", pod("a", 9))
    assert not store.put("Pod", pod("a", 10))
    assert version(store, "a") == "10"


def test_versions_are_numbers_not_texts() -> None:
    store = Store()
    store.put("Pod", pod("a", 9))
    assert store.put("Pod", pod("a", 10))


def test_a_late_state_does_not_revive_a_deleted_object_but_a_new_one_of_its_name_lives() -> None:
    store = Store()
    store.put("Pod", pod("a", 10))
    store.remove("Pod", pod("a", 12))
    assert not store.put("Pod", pod("a", 11))
    assert store.get("Pod", "ns", "a") is None
    assert store.put("Pod", pod("a", 13))


def test_a_deletion_that_comes_before_the_creation_it_ends_is_known() -> None:
    store = Store()
    store.remove("Pod", pod("a", 12))
    assert not store.put("Pod", pod("a", 10))


def test_a_late_deletion_does_not_end_the_object_that_came_after() -> None:
    store = Store()
    store.put("Pod", pod("a", 20))
    assert not store.remove("Pod", pod("a", 12))
    assert version(store, "a") == "20"


def test_a_list_repairs_a_missed_deletion_and_a_missed_change_and_names_them() -> None:
    store = Store()
    for each in (pod("gone", 10), pod("changed", 11), pod("same", 12), pod("newer", 40)):
        store.put("Pod", each)
    wrong = store.replace("Pod", None, [pod("changed", 20), pod("same", 12), pod("newer", 13), pod("new", 21)], 30)
    assert {key.name for key in wrong} == {"gone", "changed", "new"}
    assert content(store) == {"changed": "20", "same": "12", "newer": "40", "new": "21"}


def test_a_list_is_about_its_namespace_and_its_kind_alone() -> None:
    store = Store()
    store.put("Pod", pod("a", 10, namespace="other"))
    store.put("Job", pod("a", 10))
    assert store.replace("Pod", "ns", [], 30) == []
    assert store.get("Pod", "other", "a") is not None
    assert store.get("Job", "ns", "a") is not None


def test_a_list_proves_absence_so_deletions_need_not_be_kept_beyond_it() -> None:
    store = Store()
    for n in range(100):
        store.remove("Pod", pod(f"p{n}", 10 + n))
    store.replace("Pod", None, [], 200)
    assert not store._deleted, "deletions pile up"
    assert not store.put("Pod", pod("p1", 10)), "a report from before the list revived an object"


def test_objects_are_found_by_their_controller_sorted_by_name() -> None:
    store = Store()
    for name in ("b", "a", "c"):
        store.put("Pod", pod(name, 10, owner="job-uid"))
    store.put("Pod", pod("stranger", 10))
    assert [each["metadata"]["name"] for each in store.children("job-uid", "Pod")] == ["a", "b", "c"]
    assert [each["metadata"]["name"] for each in store.list("Pod", "ns")] == ["a", "b", "c", "stranger"]
    assert store.children("job-uid", "Job") == []


def test_an_object_that_changes_its_controller_or_goes_leaves_no_trace_in_the_index() -> None:
    store = Store()
    store.put("Pod", pod("a", 10, owner="one"))
    store.put("Pod", pod("a", 11, owner="two"))
    assert store.children("one", "Pod") == []
    assert len(store.children("two", "Pod")) == 1
    store.remove("Pod", pod("a", 12))
    assert not store._children
    assert not store._names


def test_managed_fields_are_left_out_and_the_reported_object_is_not_touched() -> None:
    store = Store()
    reported = pod("a", 10)
    reported["metadata"]["managedFields"] = [{"manager": "perennial"}]
    store.put("Pod", reported)
    kept = store.get("Pod", "ns", "a")
    assert kept is not None
    assert "managedFields" not in kept["metadata"]
    assert reported["metadata"]["managedFields"], "somebody else's object was changed"


def test_waiting_ends_when_the_object_is_as_wanted_and_leaves_nothing_behind() -> None:
    key = Key("Pod", "ns", "a")

    async def story() -> None:
        store = Store()
        store.put("Pod", pod("a", 10))
        waiting = asyncio.create_task(store.wait_until(key, lambda seen: seen is None))
        await asyncio.sleep(1)
        store.put("Pod", pod("a", 11))
        await asyncio.sleep(1)
        assert not waiting.done()
        store.remove("Pod", pod("a", 12))
        await waiting
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await store.wait_until(key, lambda seen: seen is not None)
        assert not store._waiters

    run(story())


# A history of one API server: each operation gets the next resourceVersion.
operations = st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=25)


def history(operations: list[tuple[str, bool]]) -> tuple[list[tuple[bool, dict[str, Any]]], list[dict[str, int]]]:
    """Return the reports of all changes, and the content (name → version) after each of them."""
    reports: list[tuple[bool, dict[str, Any]]] = []
    now: dict[str, int] = {}
    contents = [dict(now)]
    for position, (name, exists) in enumerate(operations, 1):
        if not exists and name not in now:
            contents.append(dict(now))
            continue
        reports.append((exists, pod(name, position)))
        if exists:
            now[name] = position
        else:
            del now[name]
        contents.append(dict(now))
    return reports, contents


def tell(store: Store, report: tuple[bool, Mapping[str, Any]]) -> None:
    exists, manifest = report
    (store.put if exists else store.remove)("Pod", manifest)


@settings(max_examples=300, deadline=None)
@given(operations=operations, data=st.data())
def test_any_order_of_reports_lists_and_repetitions_gives_the_same_content(
    operations: list[tuple[str, bool]], data: st.DataObject
) -> None:
    reports, contents = history(operations)
    moments = data.draw(st.lists(st.integers(0, len(operations)), max_size=4))
    told: list[Any] = [*reports, *data.draw(st.lists(st.sampled_from(reports), max_size=5) if reports else st.just([]))]
    told = data.draw(st.permutations([*told, *moments]))
    store = Store()
    for each in told:
        if isinstance(each, int):
            store.replace("Pod", None, [pod(name, at) for name, at in contents[each].items()], each)
        else:
            tell(store, each)
    assert content(store) == {name: str(at) for name, at in contents[-1].items()}


@settings(max_examples=200, deadline=None)
@given(operations=operations, data=st.data())
def test_whatever_was_missed_one_list_at_the_end_repairs_and_names_all_of_it(
    operations: list[tuple[str, bool]], data: st.DataObject
) -> None:
    reports, contents = history(operations)
    heard = data.draw(
        st.lists(st.sampled_from(reports), unique_by=lambda each: each[1]["metadata"]["resourceVersion"])
        if reports
        else st.just([])
    )
    store = Store()
    for each in heard:
        tell(store, each)
    before, truth = content(store), {name: str(at) for name, at in contents[-1].items()}
    wrong = store.replace("Pod", None, [pod(name, at) for name, at in contents[-1].items()], len(operations))
    assert content(store) == truth
    assert {key.name for key in wrong} == {name for name in "abc" if before.get(name) != truth.get(name)}
    assert store.replace("Pod", None, [pod(name, at) for name, at in contents[-1].items()], len(operations)) == []
