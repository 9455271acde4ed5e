"""From what the API server reports to keys in queues. It cannot fail and never waits: it stores and it enqueues."""

from collections.abc import Callable, Iterable, Mapping

from perennial.manifests.manifest import Manifest
from perennial.manifests.resources import Resource
from perennial.runtime.queue import WorkQueue
from perennial.runtime.resources import Key
from perennial.runtime.store import Store, controller_of, key_of
from perennial.runtime.trimming import same
from perennial.terms.names import KIND_LABEL, NAME_LABEL

Mapper = Callable[[Manifest], Iterable[Key]]
"""Which keys, beside its own and its owner's, look at an object and must be planned anew when it changes."""


class Intake:
    """Takes reports of one operator. `queues` are those of the reconciled kinds, `mappers` go by the reported kind.

    Where `leading` says no, only the cache is kept: whoever begins to lead plans everything anyway.
    """

    def __init__(
        self,
        store: Store,
        queues: Mapping[str, WorkQueue[Key]],
        mappers: Mapping[str, tuple[Mapper, ...]],
        *,
        leading: Callable[[], bool] = lambda: True,
    ) -> None:
        self._store = store
        self._queues = queues
        self._mappers = mappers
        self._leading = leading

    def put(self, resource: Resource, manifest: Manifest) -> bool:
        """Take an object's state, from a watch or from the answer to a write. Return whether it was news.

        What is no news brings no key: the watch's report of our own write, and what only has a newer version.
        """
        key = key_of(resource.kind, manifest)
        before = self._store.get(*key)
        if not self._store.put(resource.kind, manifest):
            return False
        after = self._store.get(*key)
        if before is not None and after is not None and same(before, after):
            return True
        if before is not None:
            self._enqueue_for(resource, before)
        self._enqueue_for(resource, manifest)
        return True

    def remove(self, resource: Resource, manifest: Manifest) -> None:
        """Take an object's end."""
        self._store.remove(resource.kind, manifest)
        self._enqueue_for(resource, manifest)

    def replace(
        self, resource: Resource, namespace: str | None, manifests: Iterable[Manifest], version: int
    ) -> list[Key]:
        """Take a complete list; return the keys on which the cache was wrong. Their dependants are enqueued."""
        before = {key: self._store.get(*key) for key in self._store.keys(resource.kind)}
        wrong = self._store.replace(resource.kind, namespace, manifests, version)
        for key in wrong:
            for manifest in (before.get(key), self._store.get(*key)):
                if manifest is not None:
                    self._enqueue_for(resource, manifest)
        return wrong

    def enqueue(self, keys: Iterable[Key]) -> None:
        """Enqueue keys of reconciled kinds because of a change; others are none of this operator's business."""
        if not self._leading():
            return
        for key in keys:
            queue = self._queues.get(key.kind)
            if queue is not None:
                queue.add(key)

    def enqueue_all(self) -> None:
        """Enqueue every object of the reconciled kinds, behind those that changed: the full round."""
        if not self._leading():
            return
        for kind, queue in self._queues.items():
            for key in self._store.keys(kind):
                queue.add(key, hurried=False)

    def _enqueue_for(self, resource: Resource, manifest: Manifest) -> None:
        self.enqueue((key_of(resource.kind, manifest), *owners(manifest)))
        for mapper in self._mappers.get(resource.kind, ()):
            self.enqueue(mapper(manifest))


def owners(manifest: Manifest) -> Iterable[Key]:
    """Yield the keys that own an object: its controller, and for grandchildren (pods) the one its labels name."""
    metadata = manifest["metadata"]
    controller = controller_of(manifest)
    if controller is not None:
        yield Key(controller["kind"], metadata["namespace"], controller["name"])
    labels = metadata.get("labels") or {}
    if KIND_LABEL in labels and NAME_LABEL in labels:
        yield Key(labels[KIND_LABEL], metadata["namespace"], labels[NAME_LABEL])
