"""Lists of everything, from time to time: they repair what watches have missed, and prove that watches live."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from perennial.plan.actions import Manifest
from perennial.runtime.client import Client, NotFound
from perennial.runtime.clock import Clock
from perennial.runtime.errors import Retryable
from perennial.runtime.intake import Intake
from perennial.runtime.resources import SELECTOR, Key, Resource
from perennial.runtime.store import Store

log = logging.getLogger(__name__)

_GRACE_SECONDS: Final = 2.0
"""How far a watch may lag behind a list before a difference counts as missed."""
_DEBOUNCE_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = 5.0
_DEAD_AFTER: Final = 2
"""So many lists in a row that find missed changes of one kind: its watch is dead."""


class Resync:
    """Keeps the cache honest.

    `seconds` is the time between full rounds. `on_missed` is told of a kind and the number of its differences;
    `on_dead_watch` is called where lists of a kind keep finding changes that its watch did not report.
    """

    def __init__(
        self,
        *,
        client: Client,
        store: Store,
        intake: Intake,
        resources: Sequence[Resource],
        namespaces: Sequence[str],
        clock: Clock,
        seconds: float,
        on_dead_watch: Callable[[], None],
        on_missed: Callable[[str, int], None] = lambda _, __: None,
        grace_seconds: float = _GRACE_SECONDS,
    ) -> None:
        self._client = client
        self._store = store
        self._intake = intake
        self._resources = resources
        self._scopes: Sequence[str | None] = tuple(namespaces) or (None,)
        self._clock = clock
        self._seconds = seconds
        self._on_dead_watch = on_dead_watch
        self._on_missed = on_missed
        self._grace_seconds = grace_seconds
        self._dirty: set[Resource] = set()
        self._wakeup = asyncio.Event()
        self._missed: dict[Resource, int] = {}
        self._last_round = clock.monotonic()
        self.synced = False

    def request(self, resource: Resource) -> None:
        """Ask for a list of one kind soon: its watch had a gap."""
        if self.synced:
            self._dirty.add(resource)
            self._wakeup.set()

    def missed_in_a_row(self) -> int:
        """Return the worst kind's number of lists in a row that found changes its watch did not report."""
        return max(self._missed.values(), default=0)

    def silent_seconds(self) -> float:
        """Return how long ago a round was last tried. A round that failed counts: that is the API server's affair."""
        return self._clock.monotonic() - self._last_round

    async def first(self) -> None:
        """Fill the cache. Returns when every kind has been listed; waits for CRDs that are not installed yet."""
        for resource in self._resources:
            for scope in self._scopes:
                version, items = await self._list_patiently(resource, scope)
                self._intake.replace(resource, scope, items, version)
        self._last_round = self._clock.monotonic()
        self.synced = True
        log.info("the cache is filled", extra={"objects": len(self._store)})

    async def run(self) -> None:
        """Make rounds until cancelled. Call `first` before."""
        due = self._clock.monotonic() + self._seconds
        while True:
            try:
                async with asyncio.timeout(max(0.0, due - self._clock.monotonic())):
                    await self._wakeup.wait()
            except TimeoutError:
                await self._round(self._resources)
                self._intake.enqueue_all()
                due = self._clock.monotonic() + self._seconds
                continue
            await asyncio.sleep(_DEBOUNCE_SECONDS)
            self._wakeup.clear()
            dirty, self._dirty = self._dirty, set()
            await self._round(sorted(dirty, key=lambda resource: resource.plural))

    async def _round(self, resources: Sequence[Resource]) -> None:
        for resource in resources:
            try:
                await self._repair(resource)
            except Retryable as error:
                log.warning("a list failed", extra={"resource": resource.plural, "error": str(error)})
                self.request(resource)
                await asyncio.sleep(_RETRY_SECONDS)
        self._last_round = self._clock.monotonic()

    async def _repair(self, resource: Resource) -> None:
        wrong: list[Key] = []
        for scope in self._scopes:
            listing = await self._client.list(resource, scope, selector=_selector(resource))
            await asyncio.sleep(self._grace_seconds)
            wrong += self._intake.replace(resource, scope, listing.items, listing.version)
        stale = [key for key in wrong if self._store.get(*key) is not None]
        if wrong:
            extra = {"resource": resource.plural, "changes": len(stale), "deletions": len(wrong) - len(stale)}
            log.warning("the watch had missed something", extra=extra)
            self._on_missed(resource.plural, len(wrong))
        # A deletion may fall into the gap of a 410; a change that no watch reported within the grace cannot.
        self._missed[resource] = self._missed.get(resource, 0) + 1 if stale else 0
        if self._missed[resource] >= _DEAD_AFTER:
            self._on_dead_watch()

    async def _list_patiently(self, resource: Resource, scope: str | None) -> tuple[int, list[Manifest]]:
        while True:
            try:
                self._last_round = self._clock.monotonic()
                listing = await self._client.list(resource, scope, selector=_selector(resource))
            except NotFound:
                log.warning(
                    "waiting for a CRD to be installed", extra={"resource": f"{resource.plural}.{resource.group}"}
                )
            except Retryable as error:
                log.warning("waiting for the Kubernetes API", extra={"error": str(error)})
            else:
                return listing.version, listing.items
            await asyncio.sleep(_RETRY_SECONDS)


def _selector(resource: Resource) -> str:
    return SELECTOR if resource.owned else ""
