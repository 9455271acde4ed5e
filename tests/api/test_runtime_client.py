"""The operator's requests, judged by the API server itself."""

import asyncio
from typing import Any

import pytest
from widgets import WIDGET, widget

from cluster.apiserver import ControlPlane
from perennial.manifests.manifest import Manifest
from perennial.manifests.resources import CONFIG_MAP, DEPLOYMENT, Resource
from perennial.plan.actions import Delete
from perennial.runtime.client import Client, NotFound
from perennial.runtime.connection import Connection
from perennial.runtime.drift import differences, stamped
from perennial.runtime.errors import Blocked, Conflict, LeadershipLost, Terminal, Unavailable

pytestmark = [pytest.mark.api, pytest.mark.usefixtures("widgets")]


def config_map(namespace: str, name: str = "one", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": namespace, "name": name}, "data": data}


def deletion(manifest: Manifest, **other: str) -> Delete:
    metadata = manifest["metadata"]
    values = {"uid": metadata["uid"], "resource_version": metadata["resourceVersion"], **other}
    return Delete(
        api_version=manifest["apiVersion"],
        kind=manifest["kind"],
        namespace=metadata["namespace"],
        name=metadata["name"],
        **values,
    )


async def test_the_same_intent_applied_twice_changes_nothing(client: Client, namespace: str) -> None:
    first = await client.apply(config_map(namespace, a="1"))
    second = await client.apply(config_map(namespace, a="1"))
    assert first["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]
    assert {each["manager"] for each in second["metadata"]["managedFields"]} == {"perennial"}


async def test_what_is_no_more_intended_goes_and_what_others_added_stays(
    client: Client, control_plane: ControlPlane, namespace: str
) -> None:
    await client.apply(config_map(namespace, a="1", b="2"))
    path = CONFIG_MAP.path(namespace, "one")
    control_plane.api.apply(path, config_map(namespace, theirs="3"), manager="somebody")
    assert (await client.apply(config_map(namespace, a="1")))["data"] == {"a": "1", "theirs": "3"}


async def test_what_somebody_else_holds_is_taken_back(
    client: Client, control_plane: ControlPlane, namespace: str
) -> None:
    await client.apply(config_map(namespace, a="1"))
    changed = control_plane.api.get(CONFIG_MAP.path(namespace, "one")) | {"data": {"a": "mine"}}
    control_plane.api.call("PUT", CONFIG_MAP.path(namespace, "one"), changed)
    assert (await client.apply(config_map(namespace, a="1")))["data"] == {"a": "1"}


async def test_a_status_is_replaced_as_a_whole_and_the_spec_is_not_touched(client: Client, namespace: str) -> None:
    created = await client.create(WIDGET, widget(namespace, "w", parts=1))
    first = await client.write_status(WIDGET, created, {"old": {"a": 1, "b": 2}, "kept": [1]})
    second = await client.write_status(WIDGET, first, {"old": {"a": 1}, "new": True})
    assert second["status"] == {"old": {"a": 1}, "new": True}
    assert second["spec"] == created["spec"]
    assert second["metadata"]["generation"] == created["metadata"]["generation"]


async def test_the_same_status_again_is_no_new_version(client: Client, namespace: str) -> None:
    created = await client.create(WIDGET, widget(namespace, "w", parts=1))
    first = await client.write_status(WIDGET, created, {"a": 1})
    second = await client.write_status(WIDGET, first, {"a": 1})
    assert first["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]


async def test_a_status_for_a_spec_that_has_changed_since_is_refused(client: Client, namespace: str) -> None:
    created = await client.create(WIDGET, widget(namespace, "w", parts=1))
    await client.merge(WIDGET, namespace, "w", {"spec": {"parts": 2}})
    with pytest.raises(Conflict):
        await client.write_status(WIDGET, created, {"observedGeneration": 1})
    seen = await client.get(WIDGET, namespace, "w")
    assert seen is not None
    assert "status" not in seen


async def test_a_status_of_an_object_that_was_deleted_and_made_again_is_refused(
    client: Client, control_plane: ControlPlane, namespace: str
) -> None:
    old = await client.create(WIDGET, widget(namespace, "w", parts=1))
    control_plane.api.call("DELETE", WIDGET.path(namespace, "w"))
    with pytest.raises(NotFound):
        await client.write_status(WIDGET, old, {"a": 1})
    await client.create(WIDGET, widget(namespace, "w", parts=1))
    with pytest.raises(Conflict):
        await client.write_status(WIDGET, old, {"a": 1})


async def test_only_the_object_that_was_seen_is_deleted(client: Client, namespace: str) -> None:
    seen = await client.apply(config_map(namespace, a="1"))
    with pytest.raises(Conflict):
        await client.delete(deletion(seen, uid="0d2e6d2e-0000-4000-8000-000000000000"))
    changed = await client.apply(config_map(namespace, a="2"))
    with pytest.raises(Conflict):
        await client.delete(deletion(seen))
    assert await client.delete(deletion(changed)) is None
    assert await client.get(CONFIG_MAP, namespace, "one") is None
    assert await client.delete(deletion(changed)) is None, "deleting what is gone is done"


async def test_an_object_that_a_finalizer_holds_is_told_to_be_still_there(client: Client, namespace: str) -> None:
    held = config_map(namespace)
    held["metadata"]["finalizers"] = ["test.perennial.dev/held"]
    left = await client.delete(deletion(await client.apply(held)))
    assert left is not None
    assert left["metadata"]["deletionTimestamp"]
    await client.merge(CONFIG_MAP, namespace, "one", {"metadata": {"finalizers": []}})


async def test_long_lists_are_read_whole_at_one_version(
    client: Client, control_plane: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perennial.runtime.client._PAGE", 3)
    for number in range(10):
        await client.apply(config_map(namespace, f"page-{number}"))
    listing = await client.list(CONFIG_MAP, namespace)
    names = {each["metadata"]["name"] for each in listing.items}
    assert {f"page-{number}" for number in range(10)} <= names
    assert all(each["kind"] == "ConfigMap" and each["apiVersion"] == "v1" for each in listing.items)
    newest = max(int(each["metadata"]["resourceVersion"]) for each in listing.items)
    assert listing.version >= newest
    assert control_plane.api.get(CONFIG_MAP.path(namespace, "page-0"))["metadata"]["name"] == "page-0"


async def test_what_the_api_refuses_is_said_in_its_words(client: Client, namespace: str) -> None:
    wrong = config_map(namespace, "Not_A_Name")
    with pytest.raises(Terminal, match="Not_A_Name") as refused:
        await client.apply(wrong)
    assert refused.value.reason == "Invalid"


async def test_a_namespace_that_is_not_there_is_a_thing_not_found(client: Client) -> None:
    with pytest.raises(NotFound):
        await client.apply(config_map("nowhere-to-be-found"))


async def test_a_kind_that_is_not_installed_is_a_thing_not_found(client: Client, namespace: str) -> None:
    with pytest.raises(NotFound):
        await client.list(Resource("test.perennial.dev", "v1", "gadgets", "Gadget"), namespace)


async def test_a_namespace_that_is_going_takes_nothing_new_and_says_so(
    client: Client, control_plane: ControlPlane, namespace: str
) -> None:
    name = f"{namespace}-going"
    held = config_map(name)
    held["metadata"]["finalizers"] = ["test.perennial.dev/held"]
    control_plane.api.call(
        "POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    )
    await client.apply(held)
    control_plane.api.call("DELETE", f"/api/v1/namespaces/{name}")
    try:
        with pytest.raises(Blocked) as refused:
            await client.apply(config_map(name, "two"))
        assert refused.value.reason == "NamespaceTerminating"
    finally:
        await client.merge(CONFIG_MAP, name, "one", {"metadata": {"finalizers": []}})


async def test_missing_rights_are_named(client: Client, control_plane: ControlPlane, namespace: str) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "powerless"}}
    control_plane.api.call("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", account)
    from kubernetes.aio import config
    from kubernetes.aio.client import Configuration

    configuration = Configuration()
    path = control_plane.service_account_kubeconfig(namespace, "powerless")
    await config.load_kube_config(config_file=str(path), client_configuration=configuration, persist_config=False)
    powerless = Connection(configuration)
    async with powerless.session() as session:
        with pytest.raises(Blocked, match="powerless") as refused:
            await Client(session, powerless.server).apply(config_map(namespace))
    assert refused.value.reason == "Forbidden"


async def test_a_policy_that_refuses_is_in_the_way_and_no_fault_of_the_object(
    client: Client, control_plane: ControlPlane, namespace: str
) -> None:
    """The same intent may pass tomorrow, while what is invalid stays so."""
    policies, name = "/apis/admissionregistration.k8s.io/v1", f"{namespace}-no-red"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
    refuse = {"expression": "!has(object.data) || object.data.?colour.orValue('') != 'red'", "message": "no red here"}
    spec = {"matchConstraints": {"resourceRules": [rule]}, "validations": [refuse]}
    where = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
    binding = {"policyName": name, "validationActions": ["Deny"], "matchResources": where}
    for plural, content in (
        ("validatingadmissionpolicies", spec),
        ("validatingadmissionpolicybindings", binding),
    ):
        control_plane.api.call("POST", f"{policies}/{plural}", {"metadata": {"name": name}, "spec": content})
    red = config_map(namespace, "red") | {"data": {"colour": "red"}}
    try:

        async def refused() -> Blocked | None:
            try:
                await client.apply(red)
            except Blocked as error:
                return error
            await client._request("DELETE", CONFIG_MAP.path(namespace, "red"))
            return None

        async with asyncio.timeout(30):
            while (error := await refused()) is None:
                pass  # a policy takes a moment to be in force
        assert error.reason == "Denied"
        assert "no red here" in error.message
        assert error.after > 0
    finally:
        for plural in ("validatingadmissionpolicies", "validatingadmissionpolicybindings"):
            control_plane.api.call("DELETE", f"{policies}/{plural}/{name}")


async def test_a_server_that_is_not_there_is_unavailable(connection: Connection) -> None:
    async with connection.session() as session:
        with pytest.raises(Unavailable):
            await Client(session, "https://127.0.0.1:9").get(CONFIG_MAP, "default", "one")


async def test_nothing_is_written_through_a_closed_fence(
    connection: Connection, client: Client, namespace: str
) -> None:
    def closed() -> None:
        raise LeadershipLost("not the leader")

    seen = await client.create(WIDGET, widget(namespace, "w", parts=1))
    there = await client.apply(config_map(namespace, "there"))
    async with connection.session() as session:
        fenced = Client(session, connection.server, fence=closed)
        assert await fenced.get(WIDGET, namespace, "w") is not None
        for write in (
            lambda: fenced.apply(config_map(namespace)),
            lambda: fenced.write_status(WIDGET, seen, {"a": 1}),
            lambda: fenced.delete(deletion(there)),
            lambda: fenced.create(CONFIG_MAP, config_map(namespace, "two")),
            lambda: fenced.update(WIDGET, seen),
            lambda: fenced.merge(WIDGET, namespace, "w", {"spec": {"parts": 9}}),
        ):
            with pytest.raises(LeadershipLost):
                await write()
    unchanged = await client.get(WIDGET, namespace, "w")
    assert unchanged is not None
    assert unchanged["metadata"]["resourceVersion"] == seen["metadata"]["resourceVersion"]
    names = {each["metadata"]["name"] for each in (await client.list(CONFIG_MAP, namespace)).items}
    assert "there" in names
    assert not {"one", "two"} & names


async def test_what_the_server_makes_of_an_intent_still_contains_it(client: Client, namespace: str) -> None:
    """Quantities, defaults, empty values: else every reconciliation would apply the child again."""
    labels = {"app": "x"}
    container = {
        "name": "main",
        "image": "example.org/image:1",
        "command": ["run"],
        "args": [],
        "env": [{"name": "EMPTY", "value": ""}, {"name": "ONE", "value": "1"}],
        "ports": [{"name": "http", "containerPort": 8080}],
        "resources": {"requests": {"cpu": "1000m", "memory": "1024Mi"}, "limits": {"memory": "2048Mi", "cpu": "1.5"}},
        "securityContext": {"runAsNonRoot": True, "privileged": False, "capabilities": {"drop": ["ALL"]}},
        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 5},
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp", "readOnly": False}],
    }
    volumes = [{"name": "tmp", "emptyDir": {}}, {"name": "data", "emptyDir": {"sizeLimit": "512Mi"}}]
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container], "volumes": volumes}}
    intent = {
        "apiVersion": DEPLOYMENT.api_version,
        "kind": DEPLOYMENT.kind,
        "metadata": {"namespace": namespace, "name": "x", "labels": labels},
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template},
    }
    rendered = await client.apply(stamped(intent))
    assert list(differences(intent, rendered)) == []
