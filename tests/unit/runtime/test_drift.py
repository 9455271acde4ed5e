"""A live object is compared with the intent as the API server renders it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.runtime.drift import differences, intent_hash, lists_changed, stamped
from perennial.terms.names import APPLIED


@pytest.mark.parametrize(
    ("intent", "live"),
    [
        pytest.param({"replicas": 1}, {"replicas": 1, "strategy": "RollingUpdate"}, id="defaults are added"),
        pytest.param({"resources": {"limits": {"cpu": "1000m"}}}, {"resources": {"limits": {"cpu": "1"}}}, id="milli"),
        pytest.param({"emptyDir": {"sizeLimit": "1024Mi"}}, {"emptyDir": {"sizeLimit": "1Gi"}}, id="binary units"),
        pytest.param({"a": {"requests": {"x": "0.5"}}}, {"a": {"requests": {"x": "500m"}}}, id="decimal fraction"),
        pytest.param({"emptyDir": {}, "args": [], "stdin": False, "env": ""}, {}, id="empty is absent"),
        pytest.param(
            {"containers": [{"name": "main", "image": "i"}]},
            {"containers": [{"name": "sidecar"}, {"name": "main", "image": "i", "ports": []}]},
            id="an injected sidecar",
        ),
        pytest.param({"labels": {"a": "1"}}, {"labels": {"a": "1", "theirs": "2"}}, id="others' labels"),
        pytest.param({"command": ("a", "b")}, {"command": ["a", "b"]}, id="tuples are lists"),
    ],
)
def test_what_the_server_and_others_add_is_no_drift(intent: Any, live: Any) -> None:
    assert list(differences(intent, live)) == []


@pytest.mark.parametrize(
    ("intent", "live", "path"),
    [
        ({"spec": {"replicas": 2}}, {"spec": {"replicas": 3}}, "spec.replicas"),
        ({"spec": {"replicas": 0}}, {"spec": {"replicas": 3}}, "spec.replicas"),
        ({"spec": {"replicas": 2}}, {}, "spec.replicas"),
        ({"command": ["a", "b"]}, {"command": ["b", "a"]}, "command[0]"),
        ({"command": ["a", "b"]}, {"command": ["a", "b", "c"]}, "command"),
        ({"ports": [{"port": 80}]}, {"ports": [{"port": 81}]}, "ports[0].port"),
        ({"data": {"envoy.yaml": "a"}}, {"data": {"envoy.yaml": "b"}}, "data.envoy.yaml"),
        ({"c": [{"name": "m", "image": "1"}]}, {"c": [{"name": "m", "image": "2"}]}, "c[m].image"),
        ({"c": [{"name": "m", "image": "1"}]}, {"c": []}, "c[m].name"),
        ({"env": {"value": "1"}}, {"env": {"value": "1.0"}}, "env.value"),
        ({"a": {"limits": {"cpu": "1"}}}, {"a": {"limits": {"cpu": "1001m"}}}, "a.limits.cpu"),
    ],
)
def test_what_somebody_changed_is_drift_and_named(intent: Any, live: Any, path: str) -> None:
    assert next(iter(differences(intent, live))) == path


def test_the_patch_of_lists_has_those_that_changed_whole_and_nothing_else() -> None:
    ports, items = [{"name": "http", "port": 80}, {"name": "admin", "port": 90}], ["a"]
    intent = {"spec": {"replicas": 1, "ports": ports, "items": items, "inner": {"args": ["x"]}}, "data": {"k": "v"}}
    live = {"spec": {"replicas": 2, "ports": [{**ports[0], "port": 81}, ports[1]], "items": items}, "data": {}}
    assert lists_changed(intent, live) == {"spec": {"ports": ports}}
    assert lists_changed(intent, intent) == {}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)


@given(value=st.dictionaries(st.text(max_size=4), json_values, max_size=4))
def test_an_object_contains_itself(value: dict[str, Any]) -> None:
    assert list(differences(value, value)) == []


def test_the_hash_knows_no_order_of_keys_and_is_an_annotation_beside_others() -> None:
    one = {"metadata": {"name": "a", "annotations": {"x": "y"}}, "data": {"a": "1", "b": "2"}}
    other = {"data": {"b": "2", "a": "1"}, "metadata": {"annotations": {"x": "y"}, "name": "a"}}
    assert intent_hash(one) == intent_hash(other)
    assert intent_hash(one) != intent_hash({**one, "data": {"a": "1"}})
    assert stamped(one)["metadata"]["annotations"] == {"x": "y", APPLIED: intent_hash(one)}
    assert "annotations" in one["metadata"]
    assert APPLIED not in one["metadata"]["annotations"], "the intent itself was changed"
