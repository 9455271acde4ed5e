"""The users of the bench: teams with a namespace, a Dataset and some TrainingRuns each, who apply and watch."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client import Configuration
from stage import SAID

from perennial.manifests.manifest import Manifest
from perennial.manifests.resources import CLAIM, POD, Resource
from perennial.plan.kinds import DATASET, TRAINING_RUN
from perennial.runtime.client import Client
from perennial.runtime.connection import Connection
from perennial.runtime.resources import Key
from perennial.runtime.store import key_of

_AT_ONCE: Final = 16
_METADATA_ONLY: Final = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
_VOLUME: Final = {
    "capacity": {"storage": "100Gi"},
    "accessModes": ["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany"],
    "hostPath": {"path": "/nowhere"},
    "persistentVolumeReclaimPolicy": "Retain",
}


def dataset(namespace: str) -> dict[str, Any]:
    """Return a team's Dataset."""
    columns = [{"name": "late", "type": "Boolean"}, {"name": "scheduled", "type": "Timestamp"}]
    return {
        "apiVersion": DATASET.resource.api_version,
        "kind": DATASET.name,
        "metadata": {"namespace": namespace, "name": "flights"},
        "spec": {
            "source": {"uri": "pvc://lake/flights"},
            "schema": {"target": "late", "time": "scheduled", "columns": columns},
            "expectations": [{"name": "labelled", "column": "late", "notNull": {}}],
            "split": {"byTime": {"lastSeconds": 604800}},
        },
    }


def training_run(namespace: str, name: str, *, seconds: int) -> dict[str, Any]:
    """Return a TrainingRun with a gate, whose training takes so many seconds."""
    return {
        "apiVersion": TRAINING_RUN.resource.api_version,
        "kind": TRAINING_RUN.name,
        "metadata": {"namespace": namespace, "name": name},
        "spec": {
            "datasetRef": {"name": "flights"},
            "model": {"name": f"delay-{namespace}"},
            "trainer": {"image": "registry.example/trainer:1", "args": ["--data", "$(PERENNIAL_DATA)"]},
            "parameters": {"duration": f"{seconds}s", "numLeaves": "63"},
            "gate": {"metrics": [{"name": "misses", "falseNegativeRate": {}, "max": "0.2"}]},
        },
    }


@dataclass
class Watch:
    """What was seen of a kind, in the order and at the moment (`time.monotonic`) it was seen."""

    resource: Resource
    objects: dict[Key, Manifest] = field(default_factory=dict)
    first: dict[Key, float] = field(default_factory=dict)
    """When an object was seen for the first time that met the watch's condition."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    task: "asyncio.Task[None] | None" = None

    def take(self, kind_of_event: str, seen: Manifest, met: Callable[[Manifest], bool]) -> None:
        """Take an event."""
        key = key_of(self.resource.kind, seen)
        if kind_of_event == "DELETED":
            self.objects.pop(key, None)
        else:
            self.objects[key] = seen
            if key not in self.first and met(seen):
                self.first[key] = time.monotonic()
        self.changed.set()


class Fleet:
    """Acts as the users. Their requests are the administrator's, so the audit log can tell them from the operator's."""

    def __init__(self, client: Client, session: aiohttp.ClientSession, server: str) -> None:
        self.client = client
        self._session = session
        self._server = server

    @classmethod
    @asynccontextmanager
    async def at(cls, kubeconfig: Path) -> AsyncIterator[Self]:
        """Open the users' connection to a cluster."""
        configuration = Configuration()
        loader = await config.load_kube_config(
            config_file=str(kubeconfig), client_configuration=configuration, persist_config=False
        )
        connection = Connection(configuration, loader)
        async with connection.session() as session:
            yield cls(Client(session, connection.server), session, connection.server)

    async def settle(self, teams: Sequence[str]) -> None:
        """Make the teams' namespaces, volumes and Datasets, and wait until the Datasets are ready."""
        await self.all(self._team(team) for team in teams)
        wanted = [Key(DATASET.name, team, "flights") for team in teams]
        async with self.watching(DATASET.resource, lambda seen: truth(seen, "Ready") == "True") as watch:
            await self.until("all Datasets are ready", watch, lambda: all(key in watch.first for key in wanted))

    @asynccontextmanager
    async def playing_pods(self) -> AsyncIterator[None]:
        """Let every pod succeed as soon as it is there, where there is no node."""
        async with self.watching(POD, lambda _: True) as pods:
            task = asyncio.create_task(self._play(pods))
            try:
                yield
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def _play(self, pods: Watch) -> None:
        played: set[Key] = set()
        while True:
            await pods.changed.wait()
            pods.changed.clear()
            for key in pods.first.keys() - played:
                played.add(key)
                words = SAID.get(pods.objects[key]["metadata"]["labels"]["app.kubernetes.io/component"])
                ended = {"exitCode": 0, "reason": "Completed", "message": json.dumps(words) if words else ""}
                containers = pods.objects[key]["spec"]["containers"]
                statuses = [
                    {"name": each["name"], "image": each["image"], "imageID": "", "ready": False, "restartCount": 0}
                    | {"state": {"terminated": ended}}
                    for each in containers
                ]
                path = POD.path(key.namespace, key.name, "status")
                await self._send("PATCH", path, {"status": {"phase": "Succeeded", "containerStatuses": statuses}})

    async def apply(self, runs: Iterable[Manifest]) -> None:
        """Create TrainingRuns, some at once."""
        await self.all(self.client.create(TRAINING_RUN.resource, run) for run in runs)

    @asynccontextmanager
    async def watching(
        self, resource: Resource, met: Callable[[Manifest], bool], *, metadata_only: bool = False
    ) -> AsyncIterator[Watch]:
        """Watch a kind in all namespaces; `met` says when an object has arrived where it should."""
        watch = Watch(resource)
        listed = asyncio.Event()
        watch.task = asyncio.create_task(self._watch(watch, met, listed, metadata_only=metadata_only))
        watch.task.add_done_callback(lambda _: (listed.set(), watch.changed.set()))
        await listed.wait()
        try:
            yield watch
        finally:
            watch.task.cancel()
            await asyncio.gather(watch.task, return_exceptions=True)

    async def until(self, what: str, watch: Watch, holds: Callable[[], bool], *, seconds: float = 120) -> None:
        """Wait until something holds of what a watch saw."""
        try:
            async with asyncio.timeout(seconds):
                while not holds():
                    if watch.task is not None and watch.task.done():
                        watch.task.result()
                        raise AssertionError(f"the watch of {watch.resource.plural} ended")
                    watch.changed.clear()
                    await watch.changed.wait()
        except TimeoutError:
            raise AssertionError(f"waited {seconds:g} s until {what}; saw {len(watch.first)} there") from None

    async def all(self, work: Iterable[Any]) -> None:
        """Do many things, some at once."""
        waiting = iter(list(work))

        async def worker() -> None:
            for each in waiting:
                await each

        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(worker())

    async def _team(self, name: str) -> None:
        await self._post("/api/v1/namespaces", {"metadata": {"name": name}})
        for claim in ("lake", "flights-snapshots"):
            reference = {"claimRef": {"namespace": name, "name": claim}}
            manifest = {"metadata": {"name": f"{name}-{claim}"}, "spec": _VOLUME | reference}
            await self._post("/api/v1/persistentvolumes", manifest)
        claim_of_lake = {
            "metadata": {"namespace": name, "name": "lake"},
            "spec": {"accessModes": ["ReadOnlyMany"], "resources": {"requests": {"storage": "1Gi"}}},
        }
        await self._post(CLAIM.path(name), claim_of_lake)
        await self.client.create(DATASET.resource, dataset(name))

    async def _post(self, path: str, body: Mapping[str, Any]) -> None:
        await self._send("POST", path, body)

    async def _send(self, method: str, path: str, body: Mapping[str, Any]) -> None:
        content = "application/merge-patch+json" if method == "PATCH" else "application/json"
        headers = {"Content-Type": content}
        async with self._session.request(
            method, self._server + path, data=json.dumps(body), headers=headers
        ) as response:
            if response.status >= 400:
                raise AssertionError(f"{method} {path}: {response.status} {await response.text()}")

    async def _watch(
        self, watch: Watch, met: Callable[[Manifest], bool], listed: asyncio.Event, *, metadata_only: bool
    ) -> None:
        """Watch, and begin anew where the server ends it, as it does with clients that are too slow."""
        headers = {"Accept": _METADATA_ONLY} if metadata_only else {}
        query = {"watch": "1", "sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
        query |= {"allowWatchBookmarks": "true", "timeoutSeconds": "3600"}
        limits = aiohttp.ClientTimeout(total=None)
        url = self._server + watch.resource.path(None)
        while True:
            async with self._session.get(url, params=query, headers=headers, timeout=limits) as response:
                response.raise_for_status()
                async for line in _lines(response.content):
                    event = json.loads(line)
                    if event["type"] == "BOOKMARK":
                        listed.set()
                    elif event["type"] == "ERROR":
                        break
                    else:
                        watch.take(event["type"], event["object"], met)


async def _lines(stream: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Yield lines of any length."""
    rest = b""
    async for chunk in stream.iter_any():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line


def truth(seen: Manifest, type_: str) -> str | None:
    """Return the status of a condition; None where the object does not have it."""
    conditions = (seen.get("status") or {}).get("conditions") or ()
    return next((each["status"] for each in conditions if each["type"] == type_), None)
