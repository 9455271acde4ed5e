"""A small API server in memory: resourceVersions, preconditions, conflicts, and faults on demand.

Server-side apply is reduced to "the intent replaces what was there"; what the real one does is shown in tests/api.
"""

import asyncio
import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from perennial.manifests.manifest import Manifest
from perennial.manifests.resources import Resource
from perennial.plan.actions import Delete
from perennial.runtime.client import Client, NotFound
from perennial.runtime.errors import Conflict, PerennialError, Terminal
from perennial.runtime.resources import Key


class Request(NamedTuple):
    verb: str
    kind: str
    name: str


@dataclass
class MemoryApi:
    """The objects, and what was asked. `fail` may return an error for a request; `seconds` is how long each takes."""

    fail: Callable[[Request], Exception | None] = lambda _: None
    seconds: float = 0.0
    objects: dict[Key, dict[str, Any]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    version: int = 100

    @property
    def writes(self) -> list[Request]:
        return [request for request in self.requests if request.verb != "get"]

    def seed(self, manifest: Manifest) -> dict[str, Any]:
        """Put an object there as somebody else would."""
        key = Key(manifest["kind"], manifest["metadata"]["namespace"], manifest["metadata"]["name"])
        return copy.deepcopy(self._store(key, dict(manifest)))

    async def asked(self, verb: str, kind: str, name: str) -> None:
        request = Request(verb, kind, name)
        self.requests.append(request)
        if self.seconds:
            await asyncio.sleep(self.seconds)
        error = self.fail(request)
        if error is not None:
            raise error

    def stored(self, key: Key) -> dict[str, Any]:
        if key not in self.objects:
            raise NotFound(f"{key} not found")
        return self.objects[key]

    def _store(self, key: Key, manifest: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        old = self.objects.get(key)
        uid = old["metadata"]["uid"] if old else manifest["metadata"].get("uid", f"uid-{self.version}")
        generation = 1
        if old is not None:
            generation = old["metadata"]["generation"] + (old.get("spec") != manifest.get("spec"))
        metadata = {**manifest["metadata"], "uid": uid, "generation": generation, "resourceVersion": str(self.version)}
        self.objects[key] = {**manifest, "metadata": metadata}
        return self.objects[key]

    def client(self, fence: Callable[[], None] = lambda: None) -> "MemoryClient":
        return MemoryClient(self, fence)


class MemoryClient(Client):
    """`perennial.runtime.client.Client` against the memory."""

    def __init__(self, api: MemoryApi, fence: Callable[[], None]) -> None:
        self._api = api
        self._fence = fence

    async def get(self, resource: Resource, namespace: str, name: str) -> Manifest | None:
        await self._api.asked("get", resource.kind, name)
        return copy.deepcopy(self._api.objects.get(Key(resource.kind, namespace, name)))

    async def apply(self, manifest: Manifest) -> Manifest:
        self._fence()
        key = _key(manifest["kind"], manifest)
        await self._api.asked("apply", key.kind, key.name)
        old = self._api.objects.get(key)
        if old is not None and "status" in old:
            manifest = {**manifest, "status": old["status"]}
        return copy.deepcopy(self._api._store(key, copy.deepcopy(dict(manifest))))

    async def write_status(self, resource: Resource, observed: Manifest, status: Manifest) -> Manifest:
        self._fence()
        key = _key(resource.kind, observed)
        await self._api.asked("status", key.kind, key.name)
        old = self._api.stored(key)
        _same_version(old, observed)
        return copy.deepcopy(self._api._store(key, {**old, "status": copy.deepcopy(dict(status))}))

    async def delete(self, what: Delete) -> Manifest | None:
        self._fence()
        key = Key(what.kind, what.namespace, what.name)
        await self._api.asked("delete", key.kind, key.name)
        if key not in self._api.objects:
            return None
        metadata = self._api.objects[key]["metadata"]
        if (metadata["uid"], metadata["resourceVersion"]) != (what.uid, what.resource_version):
            raise Conflict("precondition failed")
        del self._api.objects[key]
        return None

    async def create(self, resource: Resource, manifest: Manifest) -> Manifest:
        self._fence()
        key = _key(resource.kind, manifest)
        await self._api.asked("create", key.kind, key.name)
        if key in self._api.objects:
            raise Conflict("already exists")
        return copy.deepcopy(self._api._store(key, copy.deepcopy(dict(manifest))))

    async def update(self, resource: Resource, manifest: Manifest) -> Manifest:
        self._fence()
        key = _key(resource.kind, manifest)
        await self._api.asked("update", key.kind, key.name)
        _same_version(self._api.stored(key), manifest)
        return copy.deepcopy(self._api._store(key, copy.deepcopy(dict(manifest))))

    async def merge(self, resource: Resource, namespace: str, name: str, change: Manifest) -> Manifest:
        self._fence()
        key = Key(resource.kind, namespace, name)
        await self._api.asked("merge", key.kind, key.name)
        old = self._api.stored(key)
        if not change:
            return copy.deepcopy(old)
        return copy.deepcopy(self._api._store(key, {**old, **copy.deepcopy(dict(change))}))


def _key(kind: str, manifest: Manifest) -> Key:
    return Key(kind, manifest["metadata"]["namespace"], manifest["metadata"]["name"])


def _same_version(old: Manifest, new: Manifest) -> None:
    if old["metadata"]["resourceVersion"] != new["metadata"]["resourceVersion"]:
        raise Conflict("the object has been modified")


def always(error: PerennialError) -> Callable[[Request], PerennialError]:
    """Fail every request with this error."""
    return lambda _: error


REFUSED = Terminal("Invalid", "spec.replicas must be at least 0")
