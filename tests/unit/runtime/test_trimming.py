"""The cache keeps what planners look at."""

import json
from typing import Any

import pytest

from perennial.runtime.trimming import same, trimmed

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def seen(kind: str = "Pod", **parts: Any) -> dict[str, Any]:
    metadata = {"namespace": "ns", "name": "one", "resourceVersion": "5", "managedFields": [{"manager": "kubelet"}]}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **parts}


def test_a_pod_keeps_its_status_and_no_spec() -> None:
    pod = seen(spec={"containers": []}, status={"phase": "Running"})
    assert trimmed(pod) == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": "ns", "name": "one", "resourceVersion": "5"},
        "status": {"phase": "Running"},
    }
    assert "spec" in pod
    assert "managedFields" in pod["metadata"], "somebody else's object was changed"


def test_a_job_keeps_whether_it_is_suspended_and_how_it_ended() -> None:
    ended = [{"type": "Complete", "status": "True"}]
    status = {"conditions": ended, "startTime": "t", "completionTime": "u", "active": 1, "ready": 0}
    job = trimmed(seen("Job", spec={"suspend": True, "activeDeadlineSeconds": 9, "template": {}}, status=status))
    assert job["spec"] == {"suspend": True, "activeDeadlineSeconds": 9}
    assert job["status"] == {"conditions": ended, "startTime": "t", "completionTime": "u"}


@pytest.mark.parametrize("kind", ["Deployment", "ConfigMap", "TrainingRun"])
def test_what_is_compared_with_an_intent_or_planned_for_is_kept_whole(kind: str) -> None:
    whole = seen(kind, spec={"template": {"spec": {}}}, status={"replicas": 1})
    assert {part: trimmed(whole)[part] for part in ("spec", "status")} == {
        part: whole[part] for part in ("spec", "status")
    }


def test_kubectls_copy_of_a_manifest_is_dropped_and_other_annotations_are_kept() -> None:
    annotated = seen("TrainingRun")
    annotated["metadata"]["annotations"] = {LAST_APPLIED: "{}", "team": "data"}
    assert trimmed(annotated)["metadata"]["annotations"] == {"team": "data"}


def test_the_words_that_all_objects_have_are_in_memory_once() -> None:
    texts = [json.dumps(seen(status={"phase": "Running", "conditions": [{"type": "Ready"}]})) for _ in range(2)]
    one, other = (trimmed(json.loads(text)) for text in texts)
    assert one["status"]["phase"] is other["status"]["phase"]
    assert next(iter(one["status"])) is next(iter(other["status"]))


@pytest.mark.parametrize("kind", ["Pod", "Job", "Deployment"])
def test_trimming_twice_changes_nothing(kind: str) -> None:
    once = trimmed(seen(kind, spec={"template": {}}, status={"active": 1}))
    assert trimmed(once) == once


def test_two_states_are_the_same_if_only_their_versions_differ() -> None:
    before = trimmed(seen(status={"phase": "Running"}))
    for after, equal in (
        ({**before, "metadata": {**before["metadata"], "resourceVersion": "6"}}, True),
        ({**before, "metadata": {**before["metadata"], "labels": {"a": "b"}}}, False),
        ({**before, "status": {"phase": "Failed"}}, False),
        ({name: part for name, part in before.items() if name != "status"}, False),
    ):
        assert same(before, after) is equal
        assert same(after, before) is equal
