"""Weights for the routers: Envoy's runtime discovery (RTDS) over REST, as a long-poll.

A poll names the version it has applied; so the next poll after an answer is its acknowledgement. Versions are hashes of
the weights: whoever has a version has exactly these weights, whichever collector told them.
"""

import asyncio
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import get_args

from aiohttp import web

from perennial.api.messages.wire import Permille
from perennial.collector.bodies import BadInputError
from perennial.terms.words import Slot

HOLD_SECONDS = 8.0
"""Envoy gives up a poll after 10 s."""
ALIVE_SECONDS = 15.0
"""A router that has not polled for so long counts no more."""
_HEAD = 4096
_VERSION = re.compile(rb'"version_info"\s*:\s*"([^"]*)"')
_NODE = re.compile(rb'"node"\s*:\s*\{\s*"id"\s*:\s*"([^"]*)"')
_RUNTIME = "type.googleapis.com/envoy.service.runtime.v3.Runtime"


@dataclass(slots=True)
class _Router:
    version: str
    seen: float
    polls: int = 0


class WeightServer:
    """Answers the routers' polls and knows what each has acknowledged."""

    def __init__(self) -> None:
        self.desired: Mapping[Slot, Permille] | None = None
        self._version = ""
        self._body = b""
        self._routers: dict[str, _Router] = {}
        self._changed = asyncio.Event()
        self._closed = False
        self.on_acknowledged: Callable[[], None] = _nothing

    def set(self, weights: Mapping[Slot, Permille]) -> None:
        """Tell all routers these weights at once. Both slots are always told: a missing key would keep its value."""
        layer = {f"arms.{slot}": int(weights.get(slot, 0)) for slot in get_args(Slot)}
        version = hashlib.sha256(json.dumps(layer, sort_keys=True).encode()).hexdigest()[:16]
        self.desired = dict(weights)
        if version != self._version:
            resource = {"@type": _RUNTIME, "name": "weights", "layer": layer}
            self._version = version
            self._body = json.dumps({"version_info": version, "resources": [resource]}).encode()
            self._release()

    def close(self) -> None:
        """Let go of all held polls, for good."""
        self._closed = True
        self._release()

    def alive(self) -> int:
        """Return the number of routers that poll."""
        return len(self._alive())

    def verified(self, expected: int) -> Mapping[Slot, Permille] | None:
        """Return the weights if every router has acknowledged them; None while one has not, or none is known.

        Args:
            expected: how many routers there are by another account (the DNS): fewer that poll are not all.
        """
        routers = self._alive()
        if self.desired is None or not routers or len(routers) < expected:
            return None
        return self.desired if all(router.version == self._version for router in routers) else None

    async def poll(self, request: web.Request) -> web.Response:
        """Answer a poll: with the weights if the router has others, else after a while with "not modified"."""
        head = (await request.read())[:_HEAD]
        node, version = _NODE.search(head), _VERSION.search(head)
        if node is None:
            raise BadInputError("node.id: must be named in the first 4,096 bytes of a poll")
        applied = version[1].decode(errors="replace") if version else ""
        name = node[1].decode(errors="replace")
        router = self._routers.setdefault(name, _Router(applied, monotonic()))
        news = router.version != applied or router.polls == 0
        router.version, router.seen = applied, monotonic()
        router.polls += 1
        if news:
            self.on_acknowledged()
        try:
            await self._hold(request, applied)
        finally:
            router.polls -= 1
            router.seen = monotonic()
            if _gone(request) and router.polls == 0 and self._routers.get(name) is router:
                del self._routers[name]
        if self.desired is None or applied == self._version:
            return web.Response(status=304)
        return web.Response(body=self._body, content_type="application/json")

    async def _hold(self, request: web.Request, applied: str) -> None:
        until = monotonic() + HOLD_SECONDS
        while not self._closed and not _gone(request) and (self.desired is None or applied == self._version):
            left = until - monotonic()
            if left <= 0:
                return
            try:
                # Woken each second to notice a router that went away.
                async with asyncio.timeout(min(left, 1.0)):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _alive(self) -> list[_Router]:
        now = monotonic()
        for name in [n for n, r in self._routers.items() if r.polls == 0 and now - r.seen > ALIVE_SECONDS]:
            del self._routers[name]
        return list(self._routers.values())

    def _release(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _nothing() -> None:
    pass


def _gone(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()
