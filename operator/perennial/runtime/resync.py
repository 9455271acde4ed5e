"""Lists, where a watch had a gap or is suspected of one: they fill the cache, repair it, and convict dead watches.

A watch that does what it must is believed (see `watches`), so a steady cluster is not listed at all, but for a full
round now and then.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from itertools import chain, repeat
from types import MappingProxyType
from typing import Final

from perennial.manifests.resources import Resource
from perennial.runtime.client import Client, NotFound
from perennial.runtime.clock import Clock
from perennial.runtime.errors import Retryable
from perennial.runtime.intake import Intake
from perennial.runtime.store import Store
from perennial.runtime.watches import Scope, Watches
from perennial.terms.names import NOTHING, SELECTOR

log = logging.getLogger(__name__)

_GRACE_SECONDS: Final = 2.0
"""How far a watch may lag behind a list before a difference counts as missed."""
_DEBOUNCE_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 2.0
_RETRY_SECONDS: Final = 5.0
_UNSERVED_SECONDS: Final = (1.0, 2.0)
"""Soon, and then less often: until a list works, a process does nothing else, not even wait for the lease."""
_DEAD_AFTER: Final = 2
"""So many lists in a row that find missed changes of one kind: its watch is dead."""


class Resync:
    """Keeps the cache honest.

    `seconds` is the time between full rounds. `on_missed` is told of a kind and the number of its differences;
    `on_dead_watch` is called where a watch is silent, or where lists keep finding changes that it did not report.
    """

    def __init__(
        self,
        *,
        client: Client,
        store: Store,
        intake: Intake,
        watches: Watches,
        clock: Clock,
        seconds: float,
        on_dead_watch: Callable[[], None],
        on_missed: Callable[[str, int], None] = lambda _, __: None,
        grace_seconds: float = _GRACE_SECONDS,
    ) -> None:
        self._client = client
        self._store = store
        self._intake = intake
        self._watches = watches
        self._clock = clock
        self._seconds = seconds
        self._on_dead_watch = on_dead_watch
        self._on_missed = on_missed
        self._grace_seconds = grace_seconds
        self._gaps: dict[Scope, int] = {}
        self._never_listed = set(watches.scopes)
        self._wakeup = asyncio.Event()
        self._filled = asyncio.Event()
        self._missed: dict[Scope, int] = {}
        self._last_try = clock.monotonic()

    @property
    def synced(self) -> bool:
        """Whether everything that is watched has been listed."""
        return self._filled.is_set()

    def gap(self, scope: Scope, version: int = 0) -> None:
        """Ask for a list soon: a watch begins at this resourceVersion, and knows nothing of what was before."""
        self._gaps[scope] = max(version, self._gaps.get(scope, 0))
        self._wakeup.set()

    def missed_in_a_row(self) -> int:
        """Return the worst watch's number of lists in a row that found changes it did not report."""
        return max(self._missed.values(), default=0)

    def silent_seconds(self) -> float:
        """Return how long ago this loop showed that it lives. A list that failed counts: that is the API's affair."""
        return self._clock.monotonic() - self._last_try

    async def served(self) -> None:
        """Return when the API knows all kinds; waits for CRDs that are not installed yet."""
        for resource, namespace in {scope.resource: scope.namespace for scope in self._watches.scopes}.items():
            await self._until_served(resource, namespace)

    async def filled(self) -> None:
        """Return when the cache has all that there was after the watches had begun. Needs `run`."""
        await self._filled.wait()
        log.info("the cache is filled", extra={"objects": len(self._store)})

    async def run(self) -> None:
        """List what has to be, until cancelled."""
        due = self._clock.monotonic() + self._seconds
        while True:
            self._last_try = self._clock.monotonic()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(_LOOK_SECONDS, max(0.0, due - self._last_try))):
                    await self._wakeup.wait()
            if self._clock.monotonic() >= due:
                await self._round(self._watches.scopes, self._compare)
                self._intake.enqueue_all()
                due = self._clock.monotonic() + self._seconds
            await self._look()

    async def _look(self) -> None:
        """List where a watch begins, is silent, or has kept a write of ours to itself."""
        if self._gaps and self.synced:
            await asyncio.sleep(_DEBOUNCE_SECONDS)
        self._wakeup.clear()
        gaps, self._gaps = self._gaps, {}
        begun = [scope for scope in self._watches.scopes if scope in gaps]
        await self._round(begun, lambda scope: self._take(scope, gaps[scope]), gaps)
        silent = self._watches.silent()
        if silent:
            extra = {
                "watches": ", ".join(map(str, silent[:5])),
                "seconds": round(self._watches.silent_seconds(silent[0])),
            }
            log.warning("a watch is silent", extra=extra)
            await self._round(silent, self._take)
            if any(map(self._watches.answered, silent)):  # else the API server is away, and kopf asks for it already
                self._on_dead_watch()
        await self._round(self._watches.unechoed(), self._compare)

    async def _round(
        self,
        scopes: Iterable[Scope],
        act: Callable[[Scope], Awaitable[None]],
        since: Mapping[Scope, int] = MappingProxyType({}),
    ) -> None:
        """Act on some watches; where that fails, ask for a list that is no older than `since`."""
        for scope in scopes:
            self._last_try = self._clock.monotonic()
            try:
                await act(scope)
            except Retryable as error:
                log.warning("a list failed", extra={"list": str(scope), "error": str(error)})
                self.gap(scope, since.get(scope, 0))
                await asyncio.sleep(_RETRY_SECONDS)

    async def _take(self, scope: Scope, since: int = 0) -> None:
        """Put the cache right by a list.

        Raises:
            Retryable: the list failed, or is from before the watch began (`since`): what came between would be lost.
        """
        asked = self._clock.monotonic()
        listing = await self._client.list(scope.resource, scope.namespace, selector=_selector(scope.resource))
        if listing.version < since:
            raise Retryable(f"it is of version {listing.version}, and its watch began at {since}")
        self._intake.replace(scope.resource, scope.namespace, listing.items, listing.version)
        self._watches.compared(scope, asked)
        self._never_listed.discard(scope)
        if not self._never_listed:
            self._filled.set()

    async def _compare(self, scope: Scope) -> None:
        """Put the cache right, and judge the watch by what it should have reported before the list was made."""
        asked = self._clock.monotonic()
        listing = await self._client.list(scope.resource, scope.namespace, selector=_selector(scope.resource))
        await asyncio.sleep(self._grace_seconds)
        wrong = self._intake.replace(scope.resource, scope.namespace, listing.items, listing.version)
        self._watches.compared(scope, asked)
        stale = [key for key in wrong if self._store.get(*key) is not None]
        if wrong:
            extra = {"watch": str(scope), "changes": len(stale), "deletions": len(wrong) - len(stale)}
            log.warning("the watch had missed something", extra=extra)
            self._on_missed(scope.resource.plural, len(wrong))
        # A deletion may fall into the gap of a 410; and a watch that goes on reporting is late, not dead.
        convicted = stale and self._watches.last_report(scope) < asked
        self._missed[scope] = self._missed.get(scope, 0) + 1 if convicted else 0
        if self._missed[scope] >= _DEAD_AFTER:
            self._on_dead_watch()

    async def _until_served(self, resource: Resource, namespace: str | None) -> None:
        for pause in chain(_UNSERVED_SECONDS, repeat(_UNSERVED_SECONDS[-1])):
            self._last_try = self._clock.monotonic()
            try:
                await self._client.list(resource, namespace, selector=NOTHING)
            except NotFound:
                name = f"{resource.plural}.{resource.group}"
                log.warning("waiting for a CRD to be installed", extra={"resource": name})
            except Retryable as error:
                log.warning("waiting for the Kubernetes API", extra={"error": str(error)})
            else:
                return
            await asyncio.sleep(pause)


def _selector(resource: Resource) -> str:
    return SELECTOR if resource.owned else ""
