"""A kind that exists for tests, and an operator for it: all of the runtime, nothing of machine learning.

A Widget has `spec.parts` ConfigMaps, a run in a registry outside the cluster, and a status that tells of both. Run as a
program (`python -m widgets`, with the settings of `perennial.app`) it is an operator like the real one; its registry is
then a file, `WIDGETS_REGISTRY`, one line for each run that was ever made.
"""

import asyncio
import os
import signal
import sys
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from perennial import logs
from perennial.app import operator_settings
from perennial.manifests.manifest import Manifest
from perennial.manifests.resources import CONFIG_MAP, Resource
from perennial.plan.actions import Apply, Call, Delete, Emit, EnsureRun, Plan
from perennial.plan.observed import CallResult, Results
from perennial.runtime.connection import Connection, connect
from perennial.runtime.controller import Reconciler
from perennial.runtime.errors import PerennialError
from perennial.runtime.operator import Operator, OperatorSettings
from perennial.runtime.resources import Key
from perennial.runtime.store import Store
from perennial.settings import from_environment

WIDGET: Final = Resource("test.perennial.dev", "v1", "widgets", "Widget", owned=False)
OPEN: Final = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
DEFINITION: Final[dict[str, Any]] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"{WIDGET.plural}.{WIDGET.group}"},
    "spec": {
        "group": WIDGET.group,
        "scope": "Namespaced",
        "names": {"plural": WIDGET.plural, "singular": "widget", "kind": WIDGET.kind},
        "versions": [
            {
                "name": WIDGET.version,
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": OPEN, "status": OPEN}}},
            }
        ],
    },
}


def widget(namespace: str, name: str, **spec: Any) -> dict[str, Any]:
    metadata = {"namespace": namespace, "name": name}
    return {"apiVersion": WIDGET.api_version, "kind": WIDGET.kind, "metadata": metadata, "spec": spec}


@dataclass(frozen=True)
class Seen:
    widget: Manifest
    parts: tuple[Manifest, ...]
    run: CallResult | None


def run_of(seen: Manifest) -> EnsureRun:
    metadata = seen["metadata"]
    return EnsureRun(experiment="widgets", uid=metadata["uid"], run_name=metadata["name"], tags={})


def observe(store: Store, results: Results, namespace: str, name: str) -> Seen | None:
    found = store.get(WIDGET.kind, namespace, name)
    if found is None or "deletionTimestamp" in found["metadata"]:
        return None
    parts = tuple(store.children(found["metadata"]["uid"], CONFIG_MAP.kind))
    return Seen(found, parts, results.result(run_of(found)))


def plan(seen: Seen, _: datetime) -> Plan:
    metadata, spec = seen.widget["metadata"], seen.widget["spec"]
    old: Mapping[str, Any] = seen.widget.get("status", {})
    wanted = [part(seen.widget, number) for number in range(spec["parts"])]
    names = {each["metadata"]["name"] for each in wanted}
    applies = tuple(Apply(manifest=each) for each in wanted)
    run_id = old.get("runId") or (seen.run.value["runId"] if seen.run is not None and seen.run.value else None)
    if run_id is None and seen.run is None:
        return Plan(applies=applies, calls=(run_of(seen.widget),))
    there = sorted(each["metadata"]["name"] for each in seen.parts if each["metadata"]["name"] in names)
    complete = len(there) == len(names)
    status = {
        "observedGeneration": metadata["generation"],
        "parts": there,
        "conditions": [{"type": "Ready", "status": str(complete), "reason": "Counted", "message": ""}],
    }
    status |= {"runId": run_id} if run_id is not None else {"error": seen.run.error if seen.run is not None else None}
    events = (Emit(type="Normal", reason="Complete", message=f"{len(there)} parts"),)
    return Plan(
        applies=applies,
        status=status,
        events=events if complete and old.get("parts") != there else (),
        deletes=tuple(delete(each) for each in seen.parts if each["metadata"]["name"] not in names),
    )


def part(owner: Manifest, number: int) -> Manifest:
    metadata = owner["metadata"]
    reference = {"apiVersion": WIDGET.api_version, "kind": WIDGET.kind, "name": metadata["name"]}
    reference |= {"uid": metadata["uid"], "controller": True, "blockOwnerDeletion": True}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "namespace": metadata["namespace"],
            "name": f"{metadata['name']}-{number}",
            "labels": {"app.kubernetes.io/managed-by": "perennial"},
            "ownerReferences": [reference],
        },
        "data": {"number": str(number), "colour": owner["spec"].get("colour", "red"), **owner["spec"].get("more", {})},
    }


def delete(manifest: Manifest) -> Delete:
    metadata = manifest["metadata"]
    return Delete(
        api_version="v1",
        kind="ConfigMap",
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
    )


@dataclass
class Registry:
    """Runs outside the cluster, found by uid. `made` has every run that was ever made: more than one a uid is wrong."""

    made: list[str] = field(default_factory=list)
    runs: dict[str, str] = field(default_factory=dict)
    error: PerennialError | None = None

    async def ensure(self, _: Key, call: Call) -> Mapping[str, str]:
        assert isinstance(call, EnsureRun)
        if self.error is not None:
            raise self.error
        if call.uid not in self.runs:
            self.made.append(call.uid)
            self.runs[call.uid] = f"run-{len(self.made)}"
        return {"runId": self.runs[call.uid]}


class FileRegistry(Registry):
    """The same in a file, for operators that are killed. Each answer takes some seconds; then the uid is `answered`."""

    def __init__(self, path: Path, seconds: float = 0.0) -> None:
        super().__init__()
        self._path = path
        self._seconds = seconds
        lines = path.read_text().splitlines() if path.exists() else []
        self.made = list(lines)
        self.runs = {uid: f"run-{number}" for number, uid in enumerate(lines, 1)}

    async def ensure(self, key: Key, call: Call) -> Mapping[str, str]:
        known = len(self.made)
        outcome = await super().ensure(key, call)
        with self._path.open("a") as file:
            file.writelines(f"{uid}\n" for uid in self.made[known:])
        if self._seconds:
            await asyncio.sleep(self._seconds)
            self._path.with_suffix(".answered").touch()
        return outcome


def operator(
    connection: Connection, settings: OperatorSettings, registry: Registry, store: Store, **more: Any
) -> Operator:
    """Return an operator of Widgets."""

    def same_colour(changed: Manifest) -> Iterable[Key]:
        colour = changed["spec"].get("sameColourAs")
        if colour:
            yield Key(WIDGET.kind, changed["metadata"]["namespace"], colour)

    reconciler = Reconciler(resource=WIDGET, observe=lambda *where: observe(store, *where), plan=plan)
    return Operator(
        connection,
        settings,
        store=store,
        reconcilers=[reconciler],
        calls=registry.ensure,
        mappers={WIDGET.kind: (same_colour,)},
        watched=(WIDGET, CONFIG_MAP),
        **more,
    )


async def _main() -> None:
    settings = from_environment(os.environ)
    logs.configure(settings.log_level, settings.log_format)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    registry = FileRegistry(Path(os.environ["WIDGETS_REGISTRY"]), float(os.environ.get("WIDGETS_SECONDS", "0")))
    identity = f"widgets-{uuid.uuid4().hex[:8]}"
    await operator(
        await connect(), operator_settings(settings, identity), registry, Store(), on_lost=lambda: os._exit(1)
    ).run(stop)


if __name__ == "__main__":
    sys.exit(asyncio.run(_main()))
