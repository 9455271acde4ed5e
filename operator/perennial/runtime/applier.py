"""Carries out plans. The order is that of `perennial.plan.actions.Plan`; what fails stops what follows."""

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol, assert_never

from perennial.manifests.manifest import Manifest
from perennial.manifests.resources import Resource
from perennial.plan.actions import Apply, Call, Change, Create, Delete, Emit, Plan
from perennial.runtime.client import Client, NotFound
from perennial.runtime.clock import Clock
from perennial.runtime.drift import differences, intent_hash, lists_changed, stamped
from perennial.runtime.errors import Blocked, Conflict, LeadershipLost, PerennialError, Retryable, Terminal
from perennial.runtime.refusals import Refusals
from perennial.runtime.resources import Key, resource_of
from perennial.runtime.results import ERROR_SECONDS, REFUSED_SECONDS, CallResults
from perennial.runtime.store import Store, controller_of, key_of, version_of
from perennial.terms import reasons
from perennial.terms.names import APPLIED

log = logging.getLogger(__name__)

CallHandler = Callable[[Key, Call], Awaitable[Mapping[str, str]]]
"""Makes one call of whatever type for a key, idempotently; returns its outcome as flat data.

Raises `Unavailable` where nobody knows whether it was done, `Terminal` where it was refused.
"""


class Events(Protocol):
    """Publishes Kubernetes Events; never fails, because a story is not worth a repair."""

    async def emit(self, regarding: Manifest, event: Emit) -> None:
        """Publish one Event on an object, or add one to the count of an equal one."""
        ...


class CallFailed(Retryable):
    """A call outside the cluster failed. The planner sees why, plans without the call, and tells of it in status."""


@dataclass(frozen=True, slots=True)
class Gone:
    """A deletion whose end the cache has not seen yet: this uid under this key."""

    key: Key
    uid: str

    def seen(self, manifest: Manifest | None) -> bool:
        """Say whether the cache knows of the deletion."""
        if manifest is None or manifest["metadata"]["uid"] != self.uid:
            return True
        return "deletionTimestamp" in manifest["metadata"]


_RENDERED_LIMIT: Final = 20_000


class Applier:
    """Makes the cluster and the services around it what a plan says.

    Every answer of the API server to a write goes into the cache at once, so the next plan of the key sees its own
    writes; only the end of a deleted object is known by the watch alone (see `run`). `take` puts the answers there, as
    `Intake.put` does, which brings back the keys that they are news to. `on_written` is told what the watch has to
    report now: a key, and its least resourceVersion; `on_conflict`, what it has kept to itself so far.
    """

    def __init__(
        self,
        *,
        client: Client,
        store: Store,
        results: CallResults,
        events: Events,
        calls: CallHandler,
        clock: Clock,
        take: Callable[[Resource, Manifest], bool],
        on_written: Callable[[Key, int], None] = lambda _, __: None,
        on_conflict: Callable[[Key, int], None] = lambda _, __: None,
    ) -> None:
        self._client = client
        self._store = store
        self._results = results
        self._events = events
        self._calls = calls
        self._clock = clock
        self._take = take
        self._on_written = on_written
        self._on_conflict = on_conflict
        self._refusals = Refusals()
        # How the server rendered an intent that it normalised: (uid, hash) → paths that differ ever since.
        self._rendered: OrderedDict[tuple[str, str], frozenset[str]] = OrderedDict()

    async def run(self, key: Key, resource: Resource, plan: Plan, observed: Manifest) -> tuple[Gone, ...]:
        """Carry out one plan of the object under `key`. Return the deletions that the cache has yet to see.

        `observed` is the object that the plan was made from. The cache may know a newer one by the time that the status
        is written, and that one's status is not this plan's to replace.

        Raises:
            Conflict: the object has changed since it was observed.
            Retryable: something failed that may work later.
            Terminal: a child was refused, now or before with the same intent for the same generation.
            Blocked: a child cannot be written for now. In both cases the object's `Stalled` condition says why.
                Or the status was refused, which only the log can say.
        """
        try:
            for each in plan.applies:
                await self._bring_about(each, observed["metadata"]["generation"])
        except (Terminal, Blocked) as error:
            await self.stall(key, resource, error, plan)
            raise
        for call in plan.calls:
            await self._call(key, call)
        if plan.status is not None:
            await self._write_status(key, resource, plan.status, observed)
        await self._emit(key, plan.events)
        gone = [await self._delete(delete) for delete in plan.deletes]
        self._results.settle(key, plan.calls)
        return tuple(each for each in gone if each is not None)

    async def _bring_about(self, child: Apply | Create | Change, generation: int) -> None:
        match child:
            case Apply():
                await self._apply(child.manifest, generation)
            case Create():
                await self._create(child.manifest, generation)
            case Change():
                await self._change(child.manifest, generation)
            case _:
                assert_never(child)

    async def _create(self, intent: Manifest, generation: int) -> None:
        resource, metadata = resource_of(intent["apiVersion"], intent["kind"]), intent["metadata"]
        found = self._store.get(resource.kind, metadata["namespace"], metadata["name"])
        if found is None:
            try:
                with self._refusals.once(key_of(resource.kind, intent), intent, generation):
                    found = await self._client.create(resource, stamped(intent))
            except NotFound:
                raise
            except Conflict:
                # Made before, by a request whose answer was lost; or somebody else's.
                found = await self._client.get(resource, metadata["namespace"], metadata["name"])
                if found is None:
                    raise
            _refuse_foreign(intent, found)
            self._wrote(resource, found)
        elif "deletionTimestamp" not in found["metadata"]:
            _refuse_foreign(intent, found)

    async def _change(self, fields: Manifest, generation: int) -> None:
        resource, metadata = resource_of(fields["apiVersion"], fields["kind"]), fields["metadata"]
        with self._refusals.once(key_of(resource.kind, fields), fields, generation):
            changed = await self._client.merge(resource, metadata["namespace"], metadata["name"], fields)
        self._wrote(resource, changed)

    async def _apply(self, intent: Manifest, generation: int) -> None:
        resource, metadata = resource_of(intent["apiVersion"], intent["kind"]), intent["metadata"]
        live = self._store.get(resource.kind, metadata["namespace"], metadata["name"])
        if live is not None and "deletionTimestamp" in live["metadata"]:
            return  # on its way out: applying cannot keep it, and its end brings the key back
        if live is not None and not self._drifted(intent, live):
            return
        with self._refusals.once(key_of(resource.kind, intent), intent, generation):
            if live is None:
                # Server-side apply would silently take over somebody else's object; and the watches only show what
                # carries the operator's label, so the cache cannot know.
                found = await self._client.get(resource, metadata["namespace"], metadata["name"])
                if found is not None:
                    _refuse_foreign(intent, found)
            try:
                rendered = await self._client.apply(stamped(intent))
            except Terminal:
                if live is None or _applied(live) != intent_hash(intent):
                    raise
                # It was taken before, so what somebody changed is in the way. Items of a list are told apart by a key:
                # where that was changed, their item stays beside ours. So the list is put in its place first.
                lists = lists_changed(intent, live)
                if not lists:
                    raise
                await self._client.merge(resource, metadata["namespace"], metadata["name"], lists)
                rendered = await self._client.apply(stamped(intent))
        left = frozenset(differences(intent, rendered))
        if left:
            self._rendered[rendered["metadata"]["uid"], intent_hash(intent)] = left
            if len(self._rendered) > _RENDERED_LIMIT:
                self._rendered.popitem(last=False)
        self._wrote(resource, rendered)

    def _drifted(self, intent: Manifest, live: Manifest) -> bool:
        wanted = intent_hash(intent)
        if _applied(live) != wanted:
            return True
        rendered = self._rendered.get((live["metadata"]["uid"], wanted), frozenset())
        first = next((path for path in differences(intent, live) if path not in rendered), None)
        if first is not None:
            name = f"{live['kind']} {live['metadata']['name']}"
            log.info("repairing a child that was changed", extra={"child": name, "field": first})
        return first is not None

    async def _call(self, key: Key, call: Call) -> None:
        try:
            value = await self._calls(key, call)
        except LeadershipLost:
            raise
        except Terminal as error:
            self._results.failed(key, call, error.message, seconds=REFUSED_SECONDS)
            raise CallFailed(str(error)) from error
        except PerennialError as error:
            after = error.after if isinstance(error, Retryable) else 0.0
            self._results.failed(key, call, str(error), seconds=max(ERROR_SECONDS, after))
            raise CallFailed(str(error)) from error
        self._results.succeeded(key, call, value)

    async def _write_status(self, key: Key, resource: Resource, status: Manifest, observed: Manifest) -> bool:
        """Write a status that differs from the observed one. Return whether it was written."""
        if observed.get("status") == status or self._store.get(*key) is None:
            return False
        with self._newer(key, version_of(observed)):
            try:
                written = await self._client.write_status(resource, observed, status)
            except Terminal as error:
                # Nothing but the log can say so, and no change of the spec would be the cure: it is tried again.
                raise Blocked(error.reason, f"the status was refused: {error.message}") from error
        self._wrote(resource, written)
        if written.get("status") != status:
            lost = ", ".join(differences(status, written.get("status"))) or "a default was added"
            log.warning("the API server changed a status: the CRD does not know it as written", extra={"fields": lost})
        return True

    async def stall(
        self,
        key: Key,
        resource: Resource,
        error: Terminal | Blocked,
        plan: Plan | None = None,
        *,
        summary: tuple[str, str] | None = None,
    ) -> None:
        """Say in the object's conditions that somebody must act: the planner's status cannot be written now.

        What was said before stays; where nothing was, the plan's conditions are said, so that the first status has all.
        The planner's next status that is written, whole, takes it away again. `summary` is a further condition that is
        said, with its status.
        """
        observed = self._store.get(*key)
        if observed is None or error.reason == reasons.NAMESPACE_TERMINATING:
            return
        generation = observed["metadata"]["generation"]
        status: Mapping[str, Any] = observed.get("status") or {}
        planned = plan.status if plan is not None and plan.status is not None else {}
        conditions = {each["type"]: each for each in status.get("conditions") or planned.get("conditions") or ()}
        now = self._clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        # kstatus looks at both, and an object that waits for somebody is not on its way.
        said = [("Reconciling", "False")] if "Reconciling" in conditions else []
        for type_, truth in (*said, ("Stalled", "True"), *((summary,) if summary is not None else ())):
            old = conditions.get(type_)
            same = old is not None and old["status"] == truth
            conditions[type_] = {
                "type": type_,
                "status": truth,
                "reason": error.reason,
                "message": error.message[:32768],
                "observedGeneration": generation,
                "lastTransitionTime": old["lastTransitionTime"] if old is not None and same else now,
            }
        stalled = {**status, "observedGeneration": generation, "conditions": list(conditions.values())}
        if await self._write_status(key, resource, stalled, observed):
            await self._emit(key, (Emit(type="Warning", reason=error.reason, message=error.message),))

    async def _emit(self, key: Key, events: tuple[Emit, ...]) -> None:
        regarding = self._store.get(*key)
        if regarding is not None:
            for event in events:
                await self._events.emit(regarding, event)

    async def _delete(self, delete: Delete) -> Gone | None:
        gone = Gone(Key(delete.kind, delete.namespace, delete.name), delete.uid)
        with self._newer(gone.key, int(delete.resource_version)):
            left = await self._client.delete(delete)
        if left is not None:
            self._wrote(resource_of(delete.api_version, delete.kind), left)
        elif self._store.get(*gone.key) is not None:
            self._on_written(gone.key, int(delete.resource_version) + 1)
        return None if gone.seen(self._store.get(*gone.key)) else gone

    @contextmanager
    def _newer(self, key: Key, version: int) -> Iterator[None]:
        """Let a conflict tell that the object is newer than this resourceVersion, unless the cache knows it by now."""
        try:
            yield
        except Conflict:
            known = self._store.get(*key)
            if known is not None and version_of(known) <= version:
                self._on_conflict(key, version + 1)
            raise

    def _wrote(self, resource: Resource, manifest: Manifest) -> None:
        """Put the answer to a write into the cache, unless the watch was faster."""
        if self._take(resource, manifest):
            self._on_written(key_of(resource.kind, manifest), version_of(manifest))


def _applied(live: Manifest) -> str | None:
    """Return the hash of the intent that an object was last applied with."""
    hashed: str | None = (live["metadata"].get("annotations") or {}).get(APPLIED)
    return hashed


def _refuse_foreign(intent: Manifest, found: Manifest) -> None:
    """Hold that an object of the intended name belongs to the intended owner.

    Raises:
        Blocked: the name is taken by an object that this owner does not control.
    """
    mine, its = controller_of(intent), controller_of(found)
    if mine is None or its is None or mine["uid"] != its["uid"]:
        what = f"{intent['kind']} {intent['metadata']['name']}"
        owner = f"{mine['kind']} {mine['name']}" if mine is not None else "Perennial"
        raise Blocked(reasons.NAME_TAKEN, f"{what} exists and does not belong to {owner}; delete it or rename {owner}")
