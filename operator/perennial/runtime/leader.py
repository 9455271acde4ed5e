"""Leader election by a Lease, so that one process writes.

The rules are client-go's. A candidate takes the Lease where nobody holds it, or where its holder has not renewed it for
the whole lease duration *since this candidate saw it last change, by its own monotonic clock*: nobody's wall clock is
trusted. Every write carries the resourceVersion that was read, so of two candidates one gets a conflict. A leader that
could not renew for `renew_deadline_seconds` stops, which is before anybody else may start; it also stops writing by
itself (`check`) where its process was frozen for that long and has not noticed yet.

https://kubernetes.io/docs/concepts/architecture/leases/
"""

import asyncio
import contextlib
import logging
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from perennial.manifests.manifest import Manifest
from perennial.manifests.resources import LEASE
from perennial.runtime.client import Client
from perennial.runtime.clock import Clock
from perennial.runtime.errors import Conflict, LeadershipLost, PerennialError

log = logging.getLogger(__name__)

_TIME: Final = "%Y-%m-%dT%H:%M:%S.%fZ"


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseSettings:
    """Whose lease, and how patient. duration > renew deadline > 2 · retry period must hold.

    A crash is noticed after `duration_seconds` (+ half a retry period); the API server may be away for
    `renew_deadline_seconds` before a healthy leader gives up.
    """

    namespace: str
    name: str
    identity: str
    duration_seconds: float = 15.0
    renew_deadline_seconds: float = 10.0
    retry_period_seconds: float = 2.0

    def __post_init__(self) -> None:
        if not self.duration_seconds > self.renew_deadline_seconds > 2 * self.retry_period_seconds > 0:
            raise ValueError("lease: duration > renew deadline > 2 x retry period > 0 must hold")


class Leader:
    """One candidate. `acquire` returns as the leader, `hold` raises when it is not any more, `release` steps down."""

    def __init__(
        self,
        client: Client,
        settings: LeaseSettings,
        clock: Clock,
        *,
        on_change: Callable[[bool], None] = lambda _: None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._client = client
        self._settings = settings
        self._clock = clock
        self._on_change = on_change
        self._jitter = jitter
        self._seen: Manifest | None = None
        self._seen_changed = clock.monotonic()
        self._lock = asyncio.Lock()  # one request about the lease at a time
        self._resigned = False
        self._written = False  # whether `_seen` is what we wrote last, and nothing failed since
        self._renewed: float | None = None
        on_change(False)

    @property
    def leading(self) -> bool:
        """Whether this process may write now."""
        return self._left() > 0

    def check(self) -> None:
        """Let a write pass.

        Raises:
            LeadershipLost: this process does not lead, or cannot know whether it still does.
        """
        if not self.leading:
            raise LeadershipLost(f"the lease could not be renewed in time; {self._holder() or 'nobody'} holds it")

    async def acquire(self) -> None:
        """Try until this process leads."""
        while not await self._try():
            # Twice as often as a leader renews: a look is a read, and a lease that was given back should not lie idle.
            await self._pause(self._settings.retry_period_seconds / 2, at_most=self._until_free())
        log.info("leading", extra={"identity": self._settings.identity})
        self._on_change(True)

    async def hold(self) -> None:
        """Renew until that fails for too long or somebody else has the lease. Returns only after `release`.

        Raises:
            LeadershipLost: whatever this process is doing must end at once.
        """
        try:
            while not self._resigned:
                # The deadline is over then, not almost.
                await self._pause(self._settings.retry_period_seconds, at_most=self._left() + 0.01)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._left()):
                        await self._try()
                if self._resigned:
                    return
                self.check()
        except LeadershipLost:
            self._step_down()
            raise

    async def release(self) -> None:
        """Give the lease back, so that another process takes over at its next look. Never fails."""
        self._resigned = True
        async with self._lock:
            if not self.leading or self._seen is None:
                return
            self._step_down()
            await self._give_back(self._seen)

    async def _give_back(self, lease: Manifest) -> None:
        spec = {**lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": self._now()}
        try:
            async with asyncio.timeout(self._settings.retry_period_seconds):
                await self._client.update(LEASE, {**lease, "spec": spec})
        except (PerennialError, TimeoutError) as error:
            log.warning("the lease could not be released", extra={"error": str(error)})

    async def _try(self) -> bool:
        """Take or renew the lease once; return whether it is ours. Failures and refusals count as no."""
        async with self._lock:
            return False if self._resigned else await self._take()

    async def _take(self) -> bool:
        started = self._clock.monotonic()
        try:
            # Bounded, so that one request that hangs does not use up the whole deadline.
            async with asyncio.timeout(self._settings.renew_deadline_seconds / 2):
                if not self._written:  # else nobody can have changed it without our next write failing
                    self._observe(await self._client.get(LEASE, self._settings.namespace, self._settings.name))
                    if not self._free():
                        self._renewed = None
                        return False
                self._written = False
                self._seen = await self._write(self._seen)
        except Conflict:
            return False
        except (PerennialError, TimeoutError) as error:
            log.warning("the lease could not be reached", extra={"error": str(error) or "timeout"})
            return False
        self._written = True
        # From the start of the request on: the server may have taken it before we heard of it, never earlier.
        self._renewed = self._seen_changed = started
        return True

    def _left(self) -> float:
        """Return the seconds for which this process may still write, if it cannot renew."""
        if self._renewed is None:
            return 0.0
        return max(0.0, self._settings.renew_deadline_seconds - (self._clock.monotonic() - self._renewed))

    def _observe(self, lease: Manifest | None) -> None:
        if _version(lease) != _version(self._seen):
            self._seen, self._seen_changed = lease, self._clock.monotonic()

    def _free(self) -> bool:
        """Say whether we may write the lease: nobody's, ours, or run out by our own clock since it last changed."""
        if self._seen is None or self._holder() in (None, self._settings.identity):
            return True
        return self._clock.monotonic() - self._seen_changed >= self._duration(self._seen)

    def _until_free(self) -> float:
        """Return the seconds until the lease that was seen runs out, if nobody renews it: looking then saves a period.

        At least a tenth of the period, so that nobody asks without a pause.
        """
        if self._seen is None:
            return math.inf
        left = self._duration(self._seen) - (self._clock.monotonic() - self._seen_changed)
        return max(left, self._settings.retry_period_seconds / 10)

    def _duration(self, lease: Manifest) -> float:
        return float(lease["spec"].get("leaseDurationSeconds") or self._settings.duration_seconds)

    async def _write(self, lease: Manifest | None) -> Manifest:
        now, settings = self._now(), self._settings
        old: dict[str, Any] = dict(lease.get("spec") or {}) if lease is not None else {}
        mine = old.get("holderIdentity") == settings.identity
        spec = old | {
            "holderIdentity": settings.identity,
            "leaseDurationSeconds": max(1, round(settings.duration_seconds)),
            "renewTime": now,
            "acquireTime": old.get("acquireTime") if mine else now,
            "leaseTransitions": int(old.get("leaseTransitions") or 0) + (0 if mine or lease is None else 1),
        }
        if lease is not None:
            return await self._client.update(LEASE, {**lease, "spec": spec})
        metadata = {"namespace": settings.namespace, "name": settings.name}
        manifest = {"apiVersion": LEASE.api_version, "kind": LEASE.kind, "metadata": metadata, "spec": spec}
        return await self._client.create(LEASE, manifest)

    def _holder(self) -> str | None:
        return (self._seen["spec"].get("holderIdentity") or None) if self._seen is not None else None

    def _step_down(self) -> None:
        self._renewed = None
        self._on_change(False)

    async def _pause(self, seconds: float, *, at_most: float) -> None:
        await asyncio.sleep(min(seconds * (0.5 + self._jitter() / 2), at_most))

    def _now(self) -> str:
        return self._clock.now().strftime(_TIME)


def _version(lease: Manifest | None) -> str | None:
    return None if lease is None else str(lease["metadata"]["resourceVersion"])
