"""The one loop that all kinds share: take a key, look, plan, carry out.

It is level-based: a reconciliation acts on the state of the world as it is, never on the event that brought the key.
Running it once more than needed changes nothing, and whatever was missed is made up for by the next run.
"""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Generic, Literal, Protocol, TypeVar

from pydantic import ValidationError

from perennial.logs import bound
from perennial.manifests.manifest import Manifest
from perennial.manifests.resources import Resource
from perennial.plan.actions import Plan
from perennial.plan.kind import Unreadable
from perennial.plan.observed import Results
from perennial.runtime.applier import Applier, CallFailed, Gone
from perennial.runtime.clock import Clock
from perennial.runtime.errors import Blocked, Conflict, LeadershipLost, Retryable, Terminal
from perennial.runtime.queue import WorkQueue
from perennial.runtime.resources import Key
from perennial.runtime.results import CallResults
from perennial.runtime.store import Store
from perennial.terms import reasons
from perennial.terms.text import complaint

log = logging.getLogger(__name__)

O = TypeVar("O")  # noqa: E741 - Observed: whatever the kind's planner looks at

_OWN_WRITES_SECONDS: Final = 5.0
"""How long a key waits for the cache to see its last deletion before it plans anyway: deletions have preconditions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciler(Generic[O]):
    """How one kind is reconciled.

    `observe` looks into caches only (fast, never blocks) and returns None where there is no such object any more.
    `plan` is pure. `gone` is told that an object is no more, maybe several times. Where what was observed can't be
    read, `unreadable` says why if it is the object's own spec, and `ended` whether the object may be left as it is.
    """

    resource: Resource
    observe: Callable[[Results, str, str], O | None]
    plan: Callable[[O, datetime], Plan]
    gone: Callable[[Key], None] = lambda _: None
    unreadable: Callable[[Manifest], Unreadable | None] = lambda _: None
    ended: Callable[[Manifest], bool] = lambda _: False


class ReconcileMetrics(Protocol):
    """What a controller reports of itself."""

    def workers(self, controller: str, count: int) -> None:
        """Take note of how many keys are reconciled at a time, at most."""
        ...

    def active(self, controller: str, change: int) -> None:
        """Take note that a worker is busy (1), or is not any more (-1)."""
        ...

    def reconciled(self, controller: str, result: str, seconds: float) -> None:
        """Take note of one reconciliation.

        `success`; `requeue_after`: it comes back at a time; `requeue`: it comes back at once, for a call's outcome or
        since somebody else was faster; `error`.
        """
        ...

    def failed(self, controller: str, why: Literal["terminal", "timeout", "panic"]) -> None:
        """Take note of why a reconciliation ended in `error`, where that is special."""
        ...


class Controller(Generic[O]):
    """Reconciles the keys of one kind.

    `limit_seconds` bounds one reconciliation; one that takes longer is cut off and tried again with back-off, so a
    service that hangs holds up a worker, never a kind.
    """

    def __init__(
        self,
        reconciler: Reconciler[O],
        *,
        queue: WorkQueue[Key],
        store: Store,
        results: CallResults,
        applier: Applier,
        clock: Clock,
        metrics: ReconcileMetrics,
        limit_seconds: float = 60.0,
    ) -> None:
        self.queue = queue
        self._reconciler = reconciler
        self._store = store
        self._results = results
        self._applier = applier
        self._clock = clock
        self._metrics = metrics
        self._limit_seconds = limit_seconds
        self._unseen: dict[Key, tuple[Gone, ...]] = {}
        self._workers: set[asyncio.Task[None]] = set()
        self._busy: set[asyncio.Task[None]] = set()
        self._draining = False

    @property
    def kind(self) -> str:
        """The kind whose objects this controller reconciles."""
        return self._reconciler.resource.kind

    async def run(self, workers: int) -> None:
        """Reconcile with so many keys at a time, until cancelled, drained, or leadership is lost.

        Raises:
            LeadershipLost: a write was refused because this process does not lead any more.
        """
        self._metrics.workers(self.kind, workers)
        self._workers = {asyncio.create_task(self._work(), name=f"{self.kind} worker {n}") for n in range(workers)}
        try:
            # Not `gather`, which ends with the first idle worker that a drain cancels, and the busy ones with it.
            ended, _ = await asyncio.wait(self._workers, return_when=asyncio.FIRST_EXCEPTION)
            for task in ended:
                if not task.cancelled():
                    task.result()
        finally:
            for task in self._workers:
                task.cancel()
            await asyncio.gather(*self._workers, return_exceptions=True)

    async def drain(self, seconds: float) -> None:
        """End: take no more keys, give what is being reconciled some seconds, then cut it off."""
        self._draining = True
        for task in self._workers - self._busy:
            task.cancel()
        busy = set(self._busy)
        if busy:
            await asyncio.wait(busy, timeout=seconds)
        for task in busy:
            task.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    async def _work(self) -> None:
        this = asyncio.current_task()
        assert this is not None
        while not self._draining:
            key = await self.queue.get()
            self._busy.add(this)
            self._metrics.active(self.kind, 1)
            try:
                await self.reconcile(key)
            finally:
                self._busy.discard(this)
                self._metrics.active(self.kind, -1)
                self.queue.done(key)

    async def reconcile(self, key: Key) -> None:
        """Reconcile one key and put it back into the queue as its outcome asks for. Raises `LeadershipLost` alone."""
        known = self._store.get(*key)
        fields = {"kind": key.kind, "namespace": key.namespace, "name": key.name, "reconcile_id": uuid.uuid4().hex[:12]}
        if known is not None:
            fields["generation"] = known["metadata"]["generation"]
        started = self._clock.monotonic()
        with bound(**fields):
            result = await self._outcome(key)
        self._metrics.reconciled(self.kind, result, self._clock.monotonic() - started)

    async def _outcome(self, key: Key) -> str:
        """Reconcile, and decide when the key comes back."""
        try:
            async with asyncio.timeout(self._limit_seconds):
                again, requeue_after = await self._once(key)
        except LeadershipLost:
            raise
        except Exception as error:  # noqa: BLE001 - the one place: whatever a planner or a service does, the loop goes on
            return self._failed(key, error)
        if again:
            # With back-off, lest a planner that repeats a call for ever spins.
            self.queue.add_rate_limited(key)
        else:
            self.queue.forget(key)
        if requeue_after is not None:
            self.queue.add_after(key, requeue_after)
        return "requeue" if again else "success" if requeue_after is None else "requeue_after"

    def _failed(self, key: Key, error: Exception) -> str:
        """Log an error and put the key back as it asks for."""
        if isinstance(error, Terminal):
            # Not put back: a change of the object or of a child brings it back.
            log.warning("cannot go on until somebody acts", extra={"reason": error.reason, "error": error.message})
            self.queue.forget(key)
            self._metrics.failed(self.kind, "terminal")
            return "error"
        delay = self.queue.add_rate_limited(key, at_least=error.after if isinstance(error, Retryable) else 0.0)
        fields = {"error": str(error), "after_seconds": round(delay, 2), "failures": self.queue.failures(key)}
        match error:
            case Conflict():
                # Nothing is wrong: somebody else was faster, and what they did is on its way to the cache.
                log.debug("the object changed meanwhile", extra=fields)
                return "requeue"
            case Blocked():
                log.warning("blocked until somebody acts", extra=fields)
            case CallFailed():
                log.warning("a call failed", extra=fields)
            case Retryable():
                log.warning("will be tried again", extra=fields)
            case TimeoutError():
                self._metrics.failed(self.kind, "timeout")
                log.warning("reconciling took too long", extra={**fields, "limit_seconds": self._limit_seconds})
            case _:
                self._metrics.failed(self.kind, "panic")
                log.error("reconciling failed unexpectedly", extra=fields, exc_info=error)
        return "error"

    async def _once(self, key: Key) -> tuple[bool, float | None]:
        """Reconcile; return whether calls brought something to be recorded now, and when the key is due anyway."""
        await self._own_writes(key)
        observed = self._store.get(*key)
        try:
            seen = self._reconciler.observe(self._results.of(key), key.namespace, key.name)
            plan = self._reconciler.plan(seen, self._clock.now()) if seen is not None else None
        except ValidationError as error:
            if observed is not None and self._reconciler.ended(observed):
                return False, None
            # The CRD let something pass that the models refuse: the user must know, and can change it.
            found = self._reconciler.unreadable(observed) if observed is not None else None
            refused = (
                Terminal(found.reason, found.message)
                if found is not None
                else Terminal(reasons.INVALID_OBJECT, f"{error.title}: {complaint(error.errors()[:3])}")
            )
            summary = found.summary if found is not None else None
            await self._applier.stall(key, self._reconciler.resource, refused, summary=summary)
            raise refused from None
        if plan is None or observed is None:
            self._results.forget(key)
            self._reconciler.gone(key)
            return False, None
        unseen = await self._applier.run(key, self._reconciler.resource, plan, observed)
        if unseen:
            self._unseen[key] = unseen
        # A planner that holds on a failed call need not think of the time: the key comes back when the error has gone.
        soon = [each for each in (plan.requeue_after, self._results.until_next_call(key)) if each is not None]
        return bool(plan.calls), min(soon, default=None)

    async def _own_writes(self, key: Key) -> None:
        """Wait until the cache has seen what this key wrote last, so that no plan repeats or contradicts it."""
        unseen = self._unseen.pop(key, ())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_OWN_WRITES_SECONDS):
                for gone in unseen:
                    await self._store.wait_until(gone.key, gone.seen)
