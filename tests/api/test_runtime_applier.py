"""What only the API server can say of plans that are carried out."""

from typing import Any

import pytest
from widgets import WIDGET, widget

from cluster.apiserver import ControlPlane
from perennial.manifests.manifest import Manifest
from perennial.manifests.resources import SERVICE
from perennial.plan.actions import Apply, Emit, Plan
from perennial.runtime.applier import Applier
from perennial.runtime.client import Client
from perennial.runtime.clock import SystemClock
from perennial.runtime.errors import Terminal
from perennial.runtime.resources import Key
from perennial.runtime.results import CallResults
from perennial.runtime.store import Store

pytestmark = [pytest.mark.api, pytest.mark.usefixtures("widgets")]


class Untold:
    """Takes Events and tells nobody."""

    async def emit(self, regarding: Manifest, event: Emit) -> None:
        """Do nothing."""


def service(owner: Manifest, *ports: dict[str, Any]) -> dict[str, Any]:
    metadata = owner["metadata"]
    reference = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": metadata["name"]}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "namespace": metadata["namespace"],
            "name": "one",
            "ownerReferences": [{**reference, "uid": metadata["uid"], "controller": True}],
        },
        "spec": {"selector": {"app": "one"}, "ports": list(ports)},
    }


async def test_a_list_that_an_apply_cannot_mend_is_put_in_its_place(
    client: Client, control_plane: ControlPlane, namespace: str
) -> None:
    """Ports are told apart by their numbers: where one was changed, an apply would make a second one of its name."""
    owner = await client.create(WIDGET, widget(namespace, "w", parts=1))
    store, clock = Store(), SystemClock()
    store.put(WIDGET.kind, owner)

    async def no_calls(*_: object) -> dict[str, str]:
        raise AssertionError("nothing is called")

    applier = Applier(
        client=client,
        store=store,
        results=CallResults(clock),
        events=Untold(),
        calls=no_calls,
        clock=clock,
        take=lambda resource, manifest: store.put(resource.kind, manifest),
    )

    async def carry_out(*ports: dict[str, Any]) -> list[int]:
        plan = Plan(applies=(Apply(manifest=service(owner, *ports)),))
        await applier.run(Key(WIDGET.kind, namespace, "w"), WIDGET, plan, owner)
        live = control_plane.api.get(SERVICE.path(namespace, "one"))
        store.put(SERVICE.kind, live)
        return [port["port"] for port in live["spec"]["ports"]]

    http = {"name": "http", "port": 80}
    assert await carry_out(http) == [80]
    path = SERVICE.path(namespace, "one")
    changed = control_plane.api.call(
        "PATCH", path, {"spec": {"ports": [{**http, "port": 81}]}}, content_type="application/merge-patch+json"
    )
    store.put(SERVICE.kind, changed)
    assert await carry_out(http) == [80]

    with pytest.raises(Terminal, match="Duplicate value"):
        await carry_out(http, {"name": "http", "port": 82})  # an intent that was never taken is not forced
    assert [port["port"] for port in control_plane.api.get(path)["spec"]["ports"]] == [80]
