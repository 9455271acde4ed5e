"""Kubernetes Events that read like a story, and never flood.

An Event's name is made from what it says, so the same thing said twice is one Event with a count (`series`), also after
a restart. An object may say 25 things at once and then one every 12 s; what is more is dropped and counted. Publishing
never fails a reconciliation: an Event that cannot be written is logged.
https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
"""

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from perennial.manifests.manifest import Manifest
from perennial.manifests.resources import EVENT
from perennial.plan.actions import Emit
from perennial.runtime.client import Client, NotFound
from perennial.runtime.clock import Clock
from perennial.runtime.errors import Conflict, LeadershipLost, PerennialError
from perennial.terms.names import CONTROLLER

log = logging.getLogger(__name__)

_BURST: Final = 25.0
_REFILL_SECONDS: Final = 12.0
_QUIET_SECONDS: Final = 360.0
"""An Event that repeats is written again at most so often (as client-go does)."""
_REMEMBERED: Final = 4096
_NOTE: Final = 1024
_TIME: Final = "%Y-%m-%dT%H:%M:%S.%fZ"


@dataclass(slots=True)
class _Said:
    """How often one thing was said, how often the API knows, and when it was told."""

    times: int
    written: int
    at: float


@dataclass(slots=True)
class _Bucket:
    """How many Events an object may still publish."""

    tokens: float
    at: float


class EventRecorder:
    """Publishes Events of one operator process.

    `instance` names the process (the pod). `on_told` is called with the object's kind and each Event, `on_dropped`
    where it is not published because the object has too many.
    """

    def __init__(
        self,
        client: Client,
        clock: Clock,
        *,
        instance: str,
        on_told: Callable[[str, Emit], None] = lambda _, __: None,
        on_dropped: Callable[[], None] = lambda: None,
    ) -> None:
        self._client = client
        self._on_told = on_told
        self._on_dropped = on_dropped
        self._clock = clock
        self._instance = instance[:128]
        self._said: OrderedDict[str, _Said] = OrderedDict()
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    async def emit(self, regarding: Manifest, event: Emit) -> None:
        """Publish one Event on an object, or add one to the count of an equal one.

        Raises:
            LeadershipLost: nothing else may be written either.
        """
        self._on_told(regarding["kind"], event)
        name = event_name(regarding, event)
        now = self._clock.monotonic()
        said = self._said.get(name)
        if said is not None:
            said.times += 1
            if now - said.at < _QUIET_SECONDS:
                return
        if not self._allowed(regarding["metadata"]["uid"], now):
            self._on_dropped()
            return
        try:
            times = await self._write(name, regarding, event, said)
        except LeadershipLost:
            raise
        except PerennialError as error:
            log.warning("an Event could not be written", extra={"reason": event.reason, "error": str(error)})
            return
        self._said[name] = _Said(times, times, now)
        self._said.move_to_end(name)
        if len(self._said) > _REMEMBERED:
            self._said.popitem(last=False)

    async def _write(self, name: str, regarding: Manifest, event: Emit, said: _Said | None) -> int:
        """Write a first or a repeated Event; return how often it was said, as the API knows it now."""
        namespace = regarding["metadata"]["namespace"]
        if said is None:
            try:
                await self._client.create(EVENT, self._manifest(name, regarding, event))
            except NotFound:
                raise
            except Conflict:
                # An earlier process said it. Reading takes no other permission than patching does.
                known = await self._client.merge(EVENT, namespace, name, {})
                count = int((known.get("series") or {}).get("count") or 1) + 1
            else:
                return 1
        else:
            count = said.times
        try:
            series = {"count": max(count, 2), "lastObservedTime": self._now()}
            await self._client.merge(EVENT, namespace, name, {"series": series})
        except NotFound:  # Events live for an hour
            await self._client.create(EVENT, self._manifest(name, regarding, event))
            return 1
        return count

    def _manifest(self, name: str, regarding: Manifest, event: Emit) -> dict[str, Any]:
        metadata = regarding["metadata"]
        return {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.kind,
            "metadata": {"name": name, "namespace": metadata["namespace"]},
            "eventTime": self._now(),
            "reportingController": CONTROLLER,
            "reportingInstance": self._instance,
            "action": event.action,
            "reason": event.reason,
            "type": event.type,
            "note": _clipped(event.message),
            "regarding": {
                "apiVersion": regarding["apiVersion"],
                "kind": regarding["kind"],
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
                "resourceVersion": metadata["resourceVersion"],
            },
        }

    def _allowed(self, uid: str, now: float) -> bool:
        bucket = self._buckets.setdefault(uid, _Bucket(_BURST, now))
        self._buckets.move_to_end(uid)
        if len(self._buckets) > _REMEMBERED:
            self._buckets.popitem(last=False)
        bucket.tokens = min(_BURST, bucket.tokens + (now - bucket.at) / _REFILL_SECONDS)
        bucket.at = now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True

    def _now(self) -> str:
        return self._clock.now().strftime(_TIME)


def event_name(regarding: Manifest, event: Emit) -> str:
    """Return the name of the Event that says this about this object: equal for equal things said."""
    metadata = regarding["metadata"]
    said = "\n".join((metadata["uid"], event.type, event.action, event.reason, _clipped(event.message)))
    return f"{metadata['name'][:200].rstrip('.-')}.{hashlib.sha256(said.encode()).hexdigest()[:16]}"


def _clipped(message: str) -> str:
    """Return a note of at most 1024 bytes, as the API counts them."""
    encoded = message.encode()
    if len(encoded) <= _NOTE:
        return message
    return encoded[: _NOTE - 3].decode(errors="ignore") + "…"
