"""What the operator may do is what it does: its rights in the cluster against its requests in the audit log.

Named so that it runs last, after all stories of the other modules.
"""

import json
from typing import Any

import pytest
from kube import Kube

from perennial.manifests.resources import CORE_EVENT, EVENT
from perennial.plan.kinds import MODEL_DEPLOYMENT
from perennial.plan.rights import OWN_RIGHTS, RIGHTS, Right

pytestmark = pytest.mark.e2e

Need = tuple[str, str, str]
"""A verb, and the group and resource (with subresource) that it is for."""
SYSTEM = "perennial-system"
WRITES = {"create", "update", "patch", "delete"}
STORIES = {"test_deployment.py", "test_training.py"}
SHOWN_ELSEWHERE: dict[Need, str] = {
    # The same words once more, which no story promises.
    ("patch", EVENT.group, EVENT.plural): "tests/api/test_runtime_events.py",
    # Of Jobs that may have no pods, which there is none of in a story.
    ("list", CORE_EVENT.group, CORE_EVENT.plural): "tests/api/test_refused_pods.py",
}
DISCOVERY = ("/api", "/apis", "/openid/v1/jwks", "/.well-known/openid-configuration", "/version")


def granted(rights: tuple[Right, ...]) -> set[Need]:
    return {
        (verb, right.resource.group, "/".join(filter(None, (right.resource.plural, right.subresource))))
        for right in rights
        for verb in right.verbs
    }


def needs(event: dict[str, Any]) -> set[Need]:
    """Return what a request needed. Server-side apply is a patch, which is also a `create` where nothing was there."""
    about = event["objectRef"]
    resource = "/".join(filter(None, (about["resource"], about.get("subresource"))))
    verbs = {event["verb"]} | (
        {"create"} if event["verb"] == "patch" and event["responseStatus"]["code"] == 201 else set()
    )
    return {(verb, about.get("apiGroup", ""), resource) for verb in verbs}


@pytest.fixture
def requests(audit: Any, request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """The operator's requests in the stories that every right is there for."""
    ran = {item.path.name for item in request.session.items}
    if not ran >= STORIES:
        pytest.skip(f"only after the stories that need the rights: {', '.join(sorted(STORIES))}")
    found, bound = [], True
    for event in map(json.loads, audit.log.read_text().splitlines()):
        about = event.get("objectRef", {})
        if (about.get("resource"), about.get("namespace")) == ("rolebindings", SYSTEM) and event["verb"] in WRITES:
            bound = event["verb"] != "delete"  # a story uninstalls the chart; the operator goes after its rights
        if bound and event["user"].get("username") == audit.user:
            found.append(event)
    return found


def test_every_right_is_used_and_nothing_else_is_tried(requests: list[dict[str, Any]]) -> None:
    assert len(requests) > 100
    used = {
        need for event in requests if "objectRef" in event for need in needs(event) if "resource" in event["objectRef"]
    }
    # No request: admission asks for it whenever an owner reference blocks deletion, and refuses the write without it.
    asked_by_admission = granted(tuple(right for right in RIGHTS if right.subresource == "finalizers"))
    assert len(asked_by_admission) == 3
    unused = granted((*RIGHTS, *OWN_RIGHTS)) - asked_by_admission - SHOWN_ELSEWHERE.keys() - used
    assert unused == set(), f"granted and never used: {sorted(unused)}"
    tried = used - granted((*RIGHTS, *OWN_RIGHTS))
    assert tried == set(), f"tried without a right: {sorted(tried)}"
    elsewhere = {event["requestURI"].partition("?")[0] for event in requests if "objectRef" not in event}
    assert {path for path in elsewhere if not path.startswith(DISCOVERY)} == set()


def test_nothing_it_tried_was_forbidden(requests: list[dict[str, Any]]) -> None:
    forbidden = [
        event["requestURI"]
        for event in requests
        if event.get("annotations", {}).get("authorization.k8s.io/decision") == "forbid"
    ]
    assert forbidden == []


def test_the_right_that_admission_asks_for_is_really_asked_for(system: Kube) -> None:
    """The cluster runs OwnerReferencesPermissionEnforcement, so the stories would have failed without it."""
    who = f"--as=system:serviceaccount:{system.namespace}:default"
    kind = f"{MODEL_DEPLOYMENT.resource.plural}.{MODEL_DEPLOYMENT.resource.group}"
    assert system("auth", "can-i", "update", kind, "--subresource=finalizers", who, check=False).strip() == "no"
    owner = {
        "apiVersion": MODEL_DEPLOYMENT.resource.api_version,
        "kind": MODEL_DEPLOYMENT.name,
        "name": "m",
        "uid": "1",
    }
    metadata = {"name": "owned", "ownerReferences": [{**owner, "blockOwnerDeletion": True}]}
    ours = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    system("create", "role", "maker", "--verb=create", "--resource=configmaps")
    system("create", "rolebinding", "maker", "--role=maker", f"--serviceaccount={system.namespace}:default")
    with pytest.raises(AssertionError, match="cannot set blockOwnerDeletion"):
        system("create", who, "--filename", "-", text=json.dumps(ours))
