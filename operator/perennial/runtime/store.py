"""The watched objects, as the API server last reported them.

Reports come from several sides (the watch, a list from time to time, the answers to the operator's own writes) and in
any order. The store takes each for what it is: the state of one name at one resourceVersion, or its absence at one.
The highest resourceVersion wins, so the content does not depend on the order of the reports, and a report that comes
twice or late changes nothing. resourceVersions of one resource are ordered numbers (KEP-5504; true of every etcd-backed
API server before it, too).

Objects are shared, never copied: whoever reads one treats it as frozen, as its type `Mapping` says.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeVar

from perennial.manifests.manifest import Manifest
from perennial.runtime.resources import Key
from perennial.runtime.trimming import trimmed

Keys = list[Key]
W = TypeVar("W")
V = TypeVar("V")

CLUSTER: Final = None
"""The scope of a list over all namespaces."""


def version_of(manifest: Manifest) -> int:
    """Return an object's resourceVersion as the number it is."""
    return int(manifest["metadata"]["resourceVersion"])


def key_of(kind: str, manifest: Manifest) -> Key:
    """Return the key of an object. Objects of the watched kinds always have a namespace."""
    metadata = manifest["metadata"]
    return Key(kind, metadata["namespace"], metadata["name"])


def controller_of(manifest: Manifest) -> Mapping[str, str] | None:
    """Return the owner reference of an object's controller (its `uid`, `kind`, `name`, `apiVersion`), or None."""
    references: Iterable[Mapping[str, str]] = manifest["metadata"].get("ownerReferences") or ()
    return next((each for each in references if each.get("controller")), None)


class Store:
    """An in-memory cache with an index by controller and by namespace. Implements `perennial.plan.observed.Cache`.

    Memory: each object once, without what nobody reads (`perennial.runtime.trimming`); a deletion is remembered until
    the next list that is newer.
    """

    def __init__(self) -> None:
        self._objects: dict[Key, Manifest] = {}
        self._names: dict[tuple[str, str], set[str]] = defaultdict(set)
        self._children: dict[tuple[str, str], set[Key]] = defaultdict(set)
        self._deleted: dict[Key, int] = {}
        self._listed: dict[tuple[str, str | None], int] = {}
        self._waiters: dict[Key, list[asyncio.Event]] = {}

    # Reading: what planners see.

    def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """Return the object, or None."""
        return self._objects.get(Key(kind, namespace, name))

    def list(self, kind: str, namespace: str) -> Sequence[Manifest]:
        """Return the namespace's objects of a kind, sorted by name."""
        names = self._names.get((kind, namespace), ())
        return [self._objects[Key(kind, namespace, name)] for name in sorted(names)]

    def children(self, uid: str, kind: str) -> Sequence[Manifest]:
        """Return the objects of a kind whose controller owner has this uid, sorted by name."""
        return [self._objects[key] for key in sorted(self._children.get((uid, kind), ()))]

    def keys(self, kind: str) -> Iterator[Key]:
        """Yield the keys of all objects of a kind, in all namespaces."""
        return iter([key for key in self._objects if key.kind == kind])

    def __len__(self) -> int:
        return len(self._objects)

    # Writing: what the API server reported.

    def put(self, kind: str, manifest: Manifest) -> bool:
        """Take the state of an object. Return False if the store knew that, or something newer, already."""
        return self._put(kind, trimmed(manifest))

    def _put(self, kind: str, manifest: Manifest) -> bool:
        key, version = key_of(kind, manifest), version_of(manifest)
        known = self._objects.get(key)
        if version <= (version_of(known) if known is not None else self._absent_at(key)):
            return False
        self._unlink(key)
        self._deleted.pop(key, None)
        self._objects[key] = manifest
        self._names[kind, key.namespace].add(key.name)
        owner = controller_of(manifest)
        if owner is not None:
            self._children[owner["uid"], kind].add(key)
        self._wake(key)
        return True

    def remove(self, kind: str, manifest: Manifest) -> bool:
        """Take the end of an object, with its last state. Return False if the store knew that, or newer, already."""
        return self._remove(key_of(kind, manifest), version_of(manifest))

    def replace(self, kind: str, namespace: str | None, manifests: Iterable[Manifest], version: int) -> Keys:
        """Take a complete list of a kind, trimmed, at a resourceVersion; return the keys on which the store was wrong.

        `namespace` None: the list is over all namespaces. Objects that the store knows and the list has not are gone,
        unless the store has heard of them after the list was made.
        """
        listed = {key_of(kind, manifest): manifest for manifest in manifests}
        wrong = [key for key, manifest in listed.items() if self._put(kind, manifest)]
        scope = [key for key in self._objects if key.kind == kind and namespace in (CLUSTER, key.namespace)]
        wrong += [key for key in scope if key not in listed and self._remove(key, version)]
        floor = max(version, self._listed.get((kind, namespace), 0))
        self._listed[kind, namespace] = floor
        forgotten = [
            key
            for key, deleted in self._deleted.items()
            if key.kind == kind and namespace in (CLUSTER, key.namespace) and deleted <= floor
        ]
        for key in forgotten:
            del self._deleted[key]
        return wrong

    async def wait_until(self, key: Key, seen: Callable[[Manifest | None], bool]) -> None:
        """Return as soon as `seen` holds for the object under this key (None: it is gone)."""
        while not seen(self._objects.get(key)):
            changed = asyncio.Event()
            waiters = self._waiters.setdefault(key, [])
            waiters.append(changed)
            try:
                await changed.wait()
            finally:
                if changed in waiters:
                    waiters.remove(changed)
                if not waiters and self._waiters.get(key) is waiters:
                    del self._waiters[key]

    def _absent_at(self, key: Key) -> int:
        """Return the newest version at which this name is known not to have existed.

        A list proves absence for all it does not contain, so a deletion need be remembered only until the next one.
        """
        return max(
            self._deleted.get(key, 0),
            self._listed.get((key.kind, key.namespace), 0),
            self._listed.get((key.kind, CLUSTER), 0),
        )

    def _remove(self, key: Key, version: int) -> bool:
        known = self._objects.get(key)
        if known is not None and version < version_of(known):
            return False
        if version > self._absent_at(key):
            self._deleted[key] = version
        if known is None:
            return False
        self._unlink(key)
        self._wake(key)
        return True

    def _unlink(self, key: Key) -> None:
        known = self._objects.pop(key, None)
        if known is None:
            return
        _discard(self._names, (key.kind, key.namespace), key.name)
        owner = controller_of(known)
        if owner is not None:
            _discard(self._children, (owner["uid"], key.kind), key)

    def _wake(self, key: Key) -> None:
        for changed in self._waiters.pop(key, ()):
            changed.set()


def _discard(index: dict[W, set[V]], where: W, value: V) -> None:
    """Take a value out of an index; an entry without values goes too, so that the index does not grow for ever."""
    values = index[where]
    values.discard(value)
    if not values:
        del index[where]
