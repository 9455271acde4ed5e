"""A work queue with the semantics of client-go's, for one event loop.

A key is in the queue at most once. A key that is being worked on is never given out a second time: added meanwhile, it
comes back as soon as the worker is done with it. So any number of changes cost one or two reconciliations, and no two
workers ever meet on one object.

There are two lanes, as in controller-runtime's priority queue: keys that changed overtake those that are only looked at
once more (a start, a full round), so a user does not wait for five thousand objects that are as they should be.
"""

import asyncio
import random
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar

K = TypeVar("K", bound=Hashable)


class QueueMetrics(Protocol):
    """What a queue reports of itself; `perennial.runtime.metrics` counts it for Prometheus."""

    def added(self) -> None:
        """Take note that a key was put into the queue."""
        ...

    def retried(self) -> None:
        """Take note that a key waits for its next try."""
        ...

    def depth(self, changed: int, unhurried: int) -> None:
        """Take note of how many keys of either lane wait to be worked on."""
        ...

    def started(self, waited_seconds: float) -> None:
        """Take note that a worker got a key that had waited this long."""
        ...

    def finished(self, worked_seconds: float) -> None:
        """Take note that a worker is done with a key after this long."""
        ...


class NoQueueMetrics:
    """Takes no notes."""

    def added(self) -> None:
        """Do nothing."""

    def retried(self) -> None:
        """Do nothing."""

    def depth(self, changed: int, unhurried: int) -> None:
        """Do nothing."""

    def started(self, waited_seconds: float) -> None:
        """Do nothing."""

    def finished(self, worked_seconds: float) -> None:
        """Do nothing."""


class WorkQueue(Generic[K]):
    """Keys to be worked on.

    `base_delay` and `max_delay` (seconds) bound the exponential back-off of `add_rate_limited`: the n-th failure in a
    row waits base · 2ⁿ⁻¹, at most max, of which a random half is taken off, so that keys that failed together (in an
    outage) do not come back together. `jitter` returns the share of that half in [0, 1).
    """

    def __init__(
        self,
        *,
        base_delay: float = 0.1,
        max_delay: float = 12.0,
        metrics: QueueMetrics | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._base_delay = base_delay
        self._max_delay = max_delay
        self._metrics = metrics if metrics is not None else NoQueueMetrics()
        self._jitter = jitter
        self._ready: deque[K] = deque()
        self._unhurried: OrderedDict[K, None] = OrderedDict()  # they wait until `_ready` is empty
        self._added: dict[K, float] = {}  # keys that are to be worked on → since when
        self._hurried: set[K] = set()  # those of `_added` that changed
        self._working: dict[K, float] = {}  # keys that are worked on → since when
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._failures: dict[K, int] = {}
        self._wakeup = asyncio.Event()

    def __len__(self) -> int:
        return len(self._ready) + len(self._unhurried)

    @property
    def idle(self) -> bool:
        """Whether no key waits to be worked on and none is. Keys that are due later do not count."""
        return not self and not self._working

    def unfinished(self) -> list[float]:
        """Return for each key that is worked on how many seconds ago that began."""
        now = _now()
        return [now - started for started in self._working.values()]

    def add(self, key: K, *, hurried: bool = True) -> None:
        """Put a key in, unless it is in already. `hurried`: it changed, so it overtakes all that did not."""
        if key not in self._added:
            self._added[key] = _now()
            self._metrics.added()
        elif not hurried or key in self._hurried:
            return
        if hurried:
            self._hurried.add(key)
        if key not in self._working:
            self._give_out(key)

    def add_after(self, key: K, seconds: float) -> None:
        """Put a key in after a delay. Of several delays of one key, the one that ends first counts."""
        if seconds <= 0:
            self.add(key)
            return
        timer = self._timers.get(key)
        due = _now() + seconds
        if timer is not None:
            if timer.when() <= due:
                return
            timer.cancel()
        self._timers[key] = asyncio.get_running_loop().call_at(due, self._due, key)

    def add_rate_limited(self, key: K, *, at_least: float = 0.0) -> float:
        """Put a key in after its back-off, at least after `at_least` seconds. Return the delay in seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        # Beyond 2³² every sensible base is over every sensible maximum; the float must not overflow on the way.
        delay = min(self._base_delay * 2.0 ** min(failures, 32), self._max_delay)
        delay = max(delay * (1 - self._jitter() / 2), at_least)
        self._metrics.retried()
        self.add_after(key, delay)
        return delay

    def forget(self, key: K) -> None:
        """Take note of a success: the next failure is the first again. Does not take the key out."""
        self._failures.pop(key, None)

    def failures(self, key: K) -> int:
        """Return how often in a row the key has failed."""
        return self._failures.get(key, 0)

    async def get(self) -> K:
        """Wait for a key and take it. The caller must call `done` with it, whatever happens."""
        while not self:
            self._wakeup.clear()
            await self._wakeup.wait()
        key = self._ready.popleft() if self._ready else self._unhurried.popitem(last=False)[0]
        now = _now()
        self._report_depth()
        self._metrics.started(now - self._added.pop(key))
        self._hurried.discard(key)
        self._working[key] = now
        return key

    def done(self, key: K) -> None:
        """Say that the work on a key has ended. If it was added meanwhile, it is given out again."""
        self._metrics.finished(_now() - self._working.pop(key))
        if key in self._added:
            self._give_out(key)

    def close(self) -> None:
        """Drop everything that waits, now or for later."""
        for timer in self._timers.values():
            timer.cancel()
        for waiting in (self._timers, self._ready, self._unhurried, self._added, self._hurried):
            waiting.clear()

    def _give_out(self, key: K) -> None:
        if key in self._hurried:
            self._unhurried.pop(key, None)
            self._ready.append(key)
        else:
            self._unhurried[key] = None
        self._report_depth()
        self._wakeup.set()

    def _report_depth(self) -> None:
        self._metrics.depth(len(self._ready), len(self._unhurried))

    def _due(self, key: K) -> None:
        del self._timers[key]
        self.add(key)


def _now() -> float:
    return asyncio.get_running_loop().time()
