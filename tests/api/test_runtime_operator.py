"""One operator process in this process: watches, lists, plans, lease and probes against a real API server."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from waiting import eventually
from widgets import WIDGET, Registry, operator, widget

from cluster.apiserver import ControlPlane
from perennial.manifests.manifest import Manifest
from perennial.manifests.resources import CONFIG_MAP
from perennial.runtime.client import Client
from perennial.runtime.connection import Connection
from perennial.runtime.errors import LeadershipLost, Unavailable
from perennial.runtime.leader import LeaseSettings
from perennial.runtime.operator import Operator, OperatorSettings
from perennial.runtime.resources import Key
from perennial.runtime.store import Store

pytestmark = [pytest.mark.api, pytest.mark.usefixtures("widgets")]


def settings_of(namespace: str, identity: str = "one", **more: Any) -> OperatorSettings:
    lease = LeaseSettings(
        namespace=namespace,
        name="widgets",
        identity=identity,
        duration_seconds=15,
        renew_deadline_seconds=10,
        retry_period_seconds=0.5,
    )
    ports = {"bind": "127.0.0.1", "health_port": 0, "metrics_port": 0}
    return OperatorSettings(lease=lease, namespaces=(namespace,), **ports, **more)


@dataclass
class Running:
    """An operator that runs as a task."""

    operator: Operator
    store: Store
    registry: Registry
    stop: asyncio.Event
    task: asyncio.Task[None]


@contextlib.asynccontextmanager
async def running(
    connection: Connection, settings: OperatorSettings, registry: Registry | None = None
) -> AsyncIterator[Running]:
    """Run an operator of Widgets; it is stopped cleanly, and must not have failed."""
    store, stop, registry = Store(), asyncio.Event(), registry or Registry()
    one = operator(connection, settings, registry, store)
    task = asyncio.create_task(one.run(stop))
    try:
        yield Running(one, store, registry, stop, task)
    finally:
        stop.set()
        async with asyncio.timeout(20):
            await task


@dataclass
class Cluster:
    """The test's namespace, seen without any cache."""

    control_plane: ControlPlane
    namespace: str

    def create(self, name: str, **spec: Any) -> Manifest:
        return self.control_plane.api.call("POST", WIDGET.path(self.namespace), widget(self.namespace, name, **spec))

    def get(self, name: str) -> Manifest:
        return self.control_plane.api.get(WIDGET.path(self.namespace, name))

    def update(self, name: str, **spec: Any) -> Manifest:
        changed = {**self.get(name), "spec": spec}
        return self.control_plane.api.call("PUT", WIDGET.path(self.namespace, name), changed)

    def delete(self, name: str) -> None:
        self.control_plane.api.call("DELETE", WIDGET.path(self.namespace, name))

    def parts(self) -> dict[str, Manifest]:
        items = self.control_plane.api.get(CONFIG_MAP.path(self.namespace))["items"]
        return {each["metadata"]["name"]: each for each in items if each["metadata"]["name"] != "kube-root-ca.crt"}

    def ready(self, name: str, parts: int) -> Callable[[], bool]:
        def look() -> bool:
            seen = self.get(name)
            status = seen.get("status", {})
            current = status.get("observedGeneration") == seen["metadata"]["generation"]
            return current and len(status.get("parts", [])) == parts and bool(status.get("runId"))

        return look

    def versions(self) -> dict[str, str]:
        widgets = self.control_plane.api.get(WIDGET.path(self.namespace))["items"]
        return {
            f"{each.get('kind', 'Widget')} {each['metadata']['name']}": each["metadata"]["resourceVersion"]
            for each in (*widgets, *self.parts().values())
        }

    def requests(self) -> list[tuple[str, str, str]]:
        """Return what the operator asked about this namespace: verb, resource, name; the lease is left out."""
        found = []
        for line in self.control_plane.audit_log.read_text().splitlines():
            event = json.loads(line)
            about = event.get("objectRef", {})
            if not event.get("userAgent", "").startswith("perennial") or about.get("namespace") != self.namespace:
                continue
            if about.get("resource") != "leases":
                resource = "/".join(filter(None, (about["resource"], about.get("subresource"))))
                found.append((event["verb"], resource, about.get("name", "")))
        return found


@pytest.fixture
def cluster(control_plane: ControlPlane, namespace: str) -> Cluster:
    return Cluster(control_plane, namespace)


async def test_an_object_gets_its_children_its_call_and_its_status(connection: Connection, cluster: Cluster) -> None:
    cluster.create("early", parts=2)
    async with running(connection, settings_of(cluster.namespace)) as one:
        await eventually("the early one is ready", cluster.ready("early", 2))
        cluster.create("late", parts=1)
        await eventually("the late one is ready", cluster.ready("late", 1))
        assert len(one.registry.made) == 2
    assert set(cluster.parts()) == {"early-0", "early-1", "late-0"}


async def test_a_change_of_spec_is_followed_and_costs_what_it_changes(connection: Connection, cluster: Cluster) -> None:
    cluster.create("w", parts=3)
    async with running(connection, settings_of(cluster.namespace)) as one:
        await eventually("three parts", cluster.ready("w", 3))
        await quiet(one)
        before = len(cluster.requests())
        cluster.update("w", parts=2)
        await eventually("two parts", cluster.ready("w", 2))
        await eventually("the third is deleted", lambda: set(cluster.parts()) == {"w-0", "w-1"})
        await quiet(one)
        asked = [request[:2] for request in cluster.requests()[before:] if request[0] not in ("list", "watch")]
        assert asked == [("patch", "widgets/status"), ("create", "events"), ("delete", "configmaps")]


async def test_a_steady_cluster_costs_nothing_but_the_lease(connection: Connection, cluster: Cluster) -> None:
    for name in ("a", "b"):
        cluster.create(name, parts=2)
    async with running(connection, settings_of(cluster.namespace)) as one:
        await eventually("a is ready", cluster.ready("a", 2))
        await eventually("b is ready", cluster.ready("b", 2))
        await quiet(one)
        before, versions = len(cluster.requests()), cluster.versions()
        one.operator.intake.enqueue_all()
        await quiet(one)
        assert [request for request in cluster.requests()[before:] if request[0] != "watch"] == []
        assert cluster.versions() == versions
    # The next process finds everything done, too.
    async with running(connection, settings_of(cluster.namespace, "two")) as two:
        async with asyncio.timeout(20):
            await two.operator.leading.wait()
        await quiet(two)
        writes = [request for request in cluster.requests()[before:] if request[0] not in ("list", "watch", "get")]
        assert writes == []
        assert cluster.versions() == versions


async def quiet(one: Running) -> None:
    """Wait until every object was planned with everything that was reported, and nothing is queued."""
    figures = one.operator.metrics.registry

    def planned() -> float:
        return sum(
            figures.get_sample_value("controller_runtime_reconcile_total", {"controller": "Widget", "result": result})
            or 0
            for result in ("success", "requeue_after", "requeue", "error")
        )

    last, same = -1.0, 0
    while same < 10:
        last, same = (planned(), 0) if planned() != last or not one.operator.idle else (last, same + 1)
        await asyncio.sleep(0.05)


async def test_a_child_that_somebody_changes_or_deletes_is_repaired(connection: Connection, cluster: Cluster) -> None:
    cluster.create("w", parts=2)
    async with running(connection, settings_of(cluster.namespace)):
        await eventually("it is ready", cluster.ready("w", 2))
        path = CONFIG_MAP.path(cluster.namespace, "w-0")
        changed = cluster.parts()["w-0"] | {"data": {"number": "0", "colour": "green", "theirs": "1"}}
        cluster.control_plane.api.call("PUT", path, changed)
        await eventually("the colour is back", lambda: cluster.parts()["w-0"]["data"]["colour"] == "red", seconds=10)
        assert cluster.parts()["w-0"]["data"]["theirs"] == "1", "what is not ours was touched"
        uid = cluster.parts()["w-1"]["metadata"]["uid"]
        cluster.control_plane.api.call("DELETE", CONFIG_MAP.path(cluster.namespace, "w-1"))
        new = await eventually("w-1 is back", lambda: cluster.parts().get("w-1"), seconds=10)
        assert new["metadata"]["uid"] != uid


async def test_a_child_whose_label_was_taken_is_found_and_labelled_again(
    connection: Connection, cluster: Cluster
) -> None:
    """Without the label it vanishes from the watch, as if it had been deleted."""
    cluster.create("w", parts=1)
    async with running(connection, settings_of(cluster.namespace)):
        await eventually("it is ready", cluster.ready("w", 1))
        bare = cluster.parts()["w-0"]
        uid = bare["metadata"]["uid"]
        del bare["metadata"]["labels"]
        cluster.control_plane.api.call("PUT", CONFIG_MAP.path(cluster.namespace, "w-0"), bare)
        await eventually("the label is back", lambda: cluster.parts()["w-0"]["metadata"].get("labels"), seconds=10)
        assert cluster.parts()["w-0"]["metadata"]["uid"] == uid


async def test_somebody_elses_object_is_left_alone_and_the_owner_says_so(
    connection: Connection, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "w-0"}, "data": {"precious": "yes"}}
    cluster.control_plane.api.call("POST", CONFIG_MAP.path(cluster.namespace), theirs)
    cluster.create("w", parts=1)

    def stalled() -> dict[str, Any] | None:
        conditions = cluster.get("w").get("status", {}).get("conditions", [])
        return next((each for each in conditions if each["type"] == "Stalled"), None)

    monkeypatch.setattr("perennial.runtime.errors._BLOCKED_SECONDS", 1.0)
    async with running(connection, settings_of(cluster.namespace)):
        condition = await eventually("it is stalled", stalled)
        assert condition["reason"] == "NameTaken"
        assert "delete it or rename" in condition["message"]
        assert cluster.parts()["w-0"]["data"] == {"precious": "yes"}
        assert "ownerReferences" not in cluster.parts()["w-0"]["metadata"]
        cluster.control_plane.api.call("DELETE", CONFIG_MAP.path(cluster.namespace, "w-0"))
        await eventually("the next look goes on", cluster.ready("w", 1))
        assert stalled() is None


async def test_what_the_api_refuses_is_asked_for_once_until_the_object_changes(
    connection: Connection, cluster: Cluster
) -> None:
    cluster.create("w", parts=1, more={"no key of a ConfigMap": "x"})

    def stalled() -> dict[str, Any] | None:
        conditions = cluster.get("w").get("status", {}).get("conditions", [])
        return next((each for each in conditions if each["type"] == "Stalled"), None)

    def tries() -> int:
        return sum(request[:2] == ("patch", "configmaps") for request in cluster.requests())

    async with running(connection, settings_of(cluster.namespace)) as one:
        condition = await eventually("it is stalled", stalled)
        assert (condition["reason"], condition["observedGeneration"]) == ("Invalid", 1)
        assert "a valid config key must consist of" in condition["message"]
        for _ in range(3):
            one.operator.intake.enqueue_all()
            await quiet(one)
        assert tries() == 1
        terminal = "controller_runtime_terminal_reconcile_errors_total"
        assert one.operator.metrics.registry.get_sample_value(terminal, {"controller": "Widget"}) >= 4
        cluster.update("w", parts=1)
        await eventually("the change is taken up", cluster.ready("w", 1))
        assert stalled() is None


async def test_an_outage_outside_is_told_and_its_end_noticed(
    connection: Connection, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perennial.runtime.applier.ERROR_SECONDS", 1.0)
    registry = Registry(error=Unavailable("MLflow", "connection refused"))
    cluster.create("w", parts=1)
    async with running(connection, settings_of(cluster.namespace), registry):
        status = await eventually("the error is told", lambda: cluster.get("w").get("status", {}).get("error"))
        assert status == "MLflow is unavailable: connection refused"
        assert set(cluster.parts()) == {"w-0"}, "the children do not wait for MLflow"
        registry.error = None
        await eventually("it is ready", cluster.ready("w", 1))
        assert len(registry.made) == 1


async def test_events_are_on_the_object_once(connection: Connection, cluster: Cluster) -> None:
    cluster.create("w", parts=2)
    async with running(connection, settings_of(cluster.namespace)):
        await eventually("it is ready", cluster.ready("w", 2))

        def events() -> list[dict[str, Any]]:
            items = cluster.control_plane.api.get(f"/apis/events.k8s.io/v1/namespaces/{cluster.namespace}/events")[
                "items"
            ]
            return [each for each in items if each["regarding"]["name"] == "w"]

        (event,) = await eventually("there is an Event", events)
        assert (event["reason"], event["note"]) == ("Complete", "2 parts")
        assert event["regarding"]["uid"] == cluster.get("w")["metadata"]["uid"]
        assert event["reportingController"] == "perennial.dev/operator"


async def test_a_deleted_object_is_forgotten_and_its_children_go(connection: Connection, cluster: Cluster) -> None:
    cluster.create("w", parts=1)
    async with running(connection, settings_of(cluster.namespace)) as one:
        await eventually("it is ready", cluster.ready("w", 1))
        cluster.delete("w")
        await eventually("the cache knows", lambda: one.store.get("Widget", cluster.namespace, "w") is None)
        await eventually("the part is collected", lambda: not cluster.parts(), seconds=90)
        await eventually("the cache is empty", lambda: len(one.store) == 0)


async def test_objects_without_the_label_are_not_even_sent(connection: Connection, cluster: Cluster) -> None:
    stranger = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "stranger"}}
    async with running(connection, settings_of(cluster.namespace)) as one:
        async with asyncio.timeout(20):
            await one.operator.leading.wait()
        cluster.control_plane.api.call("POST", CONFIG_MAP.path(cluster.namespace), stranger)
        cluster.create("w", parts=1)
        await eventually("it is ready", cluster.ready("w", 1))
        known = {key.name for key in one.store.keys("ConfigMap")}
        assert known == {"w-0"}


async def test_other_namespaces_are_none_of_its_business(
    connection: Connection, cluster: Cluster, control_plane: ControlPlane
) -> None:
    other = Cluster(control_plane, f"{cluster.namespace}-other")
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other.namespace}}
    control_plane.api.call("POST", "/api/v1/namespaces", manifest)
    try:
        other.create("w", parts=1)
        cluster.create("w", parts=1)
        async with running(connection, settings_of(cluster.namespace)) as one:
            await eventually("ours is ready", cluster.ready("w", 1))
            await quiet(one)
            assert {key.namespace for key in one.store.keys("Widget")} == {cluster.namespace}
        assert other.parts() == {}
    finally:
        control_plane.api.call("DELETE", f"/api/v1/namespaces/{other.namespace}")


async def test_a_cluster_wide_operator_serves_every_namespace(connection: Connection, cluster: Cluster) -> None:
    settings = replace(settings_of(cluster.namespace), namespaces=())
    async with running(connection, settings):
        cluster.create("w", parts=1)
        await eventually("it is ready", cluster.ready("w", 1))


async def test_probes_and_metrics_tell_how_it_is(connection: Connection, cluster: Cluster, session: Any) -> None:
    cluster.create("w", parts=1)
    async with running(connection, settings_of(cluster.namespace)) as one:
        await eventually("it is ready", cluster.ready("w", 1))
        for path in ("healthz", "readyz"):
            async with session.get(f"http://127.0.0.1:{one.operator.ports['health']}/{path}") as response:
                assert (response.status, await response.text()) == (200, "ok\n")
        async with session.get(f"http://127.0.0.1:{one.operator.ports['metrics']}/metrics") as response:
            text = await response.text()
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(lines['controller_runtime_reconcile_total{controller="Widget",result="success"}']) >= 1
    assert float(lines['controller_runtime_reconcile_errors_total{controller="Widget"}']) == 0
    assert float(lines['workqueue_adds_total{controller="Widget",name="Widget"}']) >= 1
    assert float(lines['workqueue_depth{controller="Widget",name="Widget",priority="0"}']) == 0
    assert float(lines['leader_election_master_status{name="widgets"}']) == 1
    assert float(lines["perennial_cached_objects"]) == 2
    assert any(line.startswith('rest_client_requests_total{code="200"') for line in lines)
    assert float(lines['controller_runtime_max_concurrent_reconciles{controller="Widget"}']) == 16
    assert float(lines['controller_runtime_active_workers{controller="Widget"}']) == 0
    assert float(lines['workqueue_longest_running_processor_seconds{controller="Widget",name="Widget"}']) == 0
    assert float(lines['perennial_events_total{kind="Widget",reason="Complete",type="Normal"}']) == 1
    assert float(lines['perennial_watch_silent_seconds{resource="widgets"}']) < 60
    page = (Path(__file__).parents[2] / "docs" / "reference" / "metrics.md").read_text()
    for line in text.splitlines():
        if line.startswith("# HELP ") and not line.startswith(("# HELP process_", "# HELP python_")):
            name = line.split()[2]
            assert name.endswith("_created") or f"| `{name}` |" in page, f"{name} is documented nowhere"


async def test_a_list_finds_what_the_watch_never_told(connection: Connection, cluster: Cluster) -> None:
    """A cache that believes in a child that is gone, and does not know of an object, is put right by the next round."""
    cluster.create("w", parts=1)
    async with running(connection, settings_of(cluster.namespace, resync_seconds=5)) as one:
        await eventually("it is ready", cluster.ready("w", 1))
        await quiet(one)
        ghost = widget(cluster.namespace, "ghost", parts=1)
        ghost["metadata"] |= {"uid": "ghost", "resourceVersion": "1", "generation": 1}
        one.store._objects[Key("Widget", cluster.namespace, "ghost")] = ghost
        lost = one.store._objects.pop(Key("Widget", cluster.namespace, "w"))
        await eventually("the ghost is gone", lambda: one.store.get("Widget", cluster.namespace, "ghost") is None)
        await eventually("the lost one is back", lambda: one.store.get("Widget", cluster.namespace, "w"))
        assert one.store.get("Widget", cluster.namespace, "w") == lost
        missed = one.operator.metrics.registry.get_sample_value("perennial_watch_missed_total", {"resource": "widgets"})
        assert missed == 2


async def test_watching_goes_on_after_kopf_has_ended(connection: Connection, cluster: Cluster) -> None:
    async with running(connection, settings_of(cluster.namespace)) as one:
        async with asyncio.timeout(20):
            await one.operator.leading.wait()
        cluster.create("before", parts=1)
        await eventually("the first is ready", cluster.ready("before", 1))
        one.operator.restart_watches()
        cluster.create("meanwhile", parts=1)
        await eventually("the second is ready", cluster.ready("meanwhile", 1))
        cluster.create("after", parts=1)
        await eventually("the third is ready", cluster.ready("after", 1))


async def test_two_operators_one_writes_and_the_other_takes_over(connection: Connection, cluster: Cluster) -> None:
    cluster.create("a", parts=1)
    registry = Registry()
    async with running(connection, settings_of(cluster.namespace, "one"), registry) as one:
        async with asyncio.timeout(20):
            await one.operator.leading.wait()
        async with running(connection, settings_of(cluster.namespace, "two"), registry) as two:
            await eventually("a is ready", cluster.ready("a", 1))
            await eventually("the second has a full cache", lambda: len(two.store) == 2)
            assert not two.operator.leading.is_set()
            one.stop.set()
            async with asyncio.timeout(10):
                await one.task
            started = asyncio.get_running_loop().time()
            async with asyncio.timeout(10):
                await two.operator.leading.wait()
            assert asyncio.get_running_loop().time() - started < 2
            cluster.create("b", parts=1)
            await eventually("b is ready", cluster.ready("b", 1))
    assert len(registry.made) == 2


async def test_losing_the_lease_ends_the_process_and_its_writes(
    connection: Connection, cluster: Cluster, client: Client
) -> None:
    from perennial.runtime.resources import LEASE

    store, stop = Store(), asyncio.Event()
    ended: list[str] = []
    one = operator(
        connection, settings_of(cluster.namespace), Registry(), store, on_lost=lambda: ended.append("at once")
    )
    task = asyncio.create_task(one.run(stop))
    async with asyncio.timeout(20):
        await one.leading.wait()

    async def usurp() -> bool:
        lease = await client.get(LEASE, cluster.namespace, "widgets")
        assert lease is not None
        spec = {**lease["spec"], "holderIdentity": "usurper", "leaseDurationSeconds": 3600}
        with contextlib.suppress(Exception):
            await client.update(LEASE, {**lease, "spec": spec})
            return True
        return False

    while not await usurp():
        pass
    with pytest.raises(LeadershipLost):
        async with asyncio.timeout(10):
            await task
    assert ended, "nobody was told at once"
    before = len(cluster.requests())
    cluster.create("w", parts=1)
    await asyncio.sleep(1)
    assert [request for request in cluster.requests()[before:] if request[0] not in ("list", "watch", "get")] == []
    assert cluster.parts() == {}
