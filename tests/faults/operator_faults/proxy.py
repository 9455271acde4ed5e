"""A line to the API server that fails as told: requests refused, late or lost, replies lost, watches that lie.

Each process of the operator has its own way in (`address(who)`, a prefix of the path), so that one that was killed is
silent at once, and the log says who asked for what.
"""

import asyncio
import contextlib
import json
import re
import time
import weakref
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
from aiohttp import web

from operator_faults.upstream import Upstream

_PASSED_ON = ("Accept", "Content-Type", "User-Agent", "Authorization")


@dataclass(frozen=True, slots=True)
class Request:
    """One request of the operator. `number` counts the writes from 1; what does not count has 0 (see `FaultProxy`)."""

    who: str
    method: str
    path: str
    query: str = ""
    watch: bool = False
    number: int = 0

    @property
    def writes(self) -> bool:
        """Whether it counts as a write."""
        return self.number > 0

    @property
    def lists(self) -> bool:
        """Whether it reads a whole collection once."""
        return self.method == "GET" and not self.watch and self.plural == self.path.rsplit("/", 1)[-1]

    @property
    def plural(self) -> str:
        """The resource, `jobs` for example; empty for what is none (discovery)."""
        parts = re.sub(r"^/(api/[^/]+|apis/[^/]+/[^/]+)(/namespaces/[^/]+(?=/))?", "", self.path).split("/")
        return parts[1] if len(parts) > 1 else ""


@dataclass(frozen=True, slots=True)
class Answer:
    """The API server is not asked; this is answered instead. `body`: instead of a Status."""

    status: int
    reason: str = "InternalError"
    headers: dict[str, str] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class Cut:
    """The connection breaks without an answer: before the API server has the request, or after it has done it."""

    done: bool
    then: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class Late:
    """The request is passed on so many seconds later."""

    seconds: float


Fault = Answer | Cut | Late | None
Rule = Callable[[Request], Fault]


class Reset:
    """Ends a watch without an end of its stream: the connection breaks."""


RESET: Final = Reset()
Line = bytes | None | Reset
"""A line of a watch; None ends the stream in good order."""
WatchRule = Callable[[Request, bytes], AsyncIterator[Line]]


@dataclass(slots=True)
class Exchange:
    """What became of a request. `status` 0: the API server was not asked, or has not answered."""

    at: float
    request: Request
    status: int = 0
    fault: str = ""
    seconds: float = 0.0


def told(fault: Fault) -> str:
    """Return a fault in some words."""
    match fault:
        case Answer():
            return f"answered {fault.status} {fault.reason}"
        case Cut():
            return "reply lost" if fault.done else "request lost"
        case Late():
            return f"late by {fault.seconds:g} s"
    return ""


class FaultProxy:
    """A proxy on the loopback interface. `rule` and `watched` may be exchanged at any time.

    `counts` says which of the requests that are no GET count as writes; by default all but those on Leases.
    """

    def __init__(
        self, upstream: Upstream, *, counts: Callable[[str, str], bool] = lambda _, path: "/leases" not in path
    ) -> None:
        self.rule: Rule = lambda _: None
        self.watched: WatchRule | None = None
        self.altered: Callable[[Request, bytes], bytes] = lambda _, content: content
        """Changes what is answered to a request that is no watch."""
        self.seen: Callable[[Exchange], None] = lambda _: None
        """Told of each exchange when it is over (a watch: when it begins)."""
        self.log: list[Exchange] = []
        self.notes: list[tuple[float, str]] = []
        """What else happened: processes that began and ended."""
        self.writes = 0
        self.url = ""
        self._upstream = upstream
        self._counts = counts
        self._dead: set[str] = set()
        self._streams: weakref.WeakSet[asyncio.Transport] = weakref.WeakSet()

    def address(self, who: str) -> str:
        """Return the API server's URL for one process."""
        return f"{self.url}/{who}"

    def silence(self, who: str) -> None:
        """Take nothing more from a process: it is dead."""
        self._dead.add(who)

    def note(self, text: str) -> None:
        """Remember that something happened now."""
        self.notes.append((time.time(), text))

    def quiet_seconds(self) -> float:
        """Return for how long nobody has asked for anything but watches and what does not count."""
        last = max((each.at + each.seconds for each in self.log if self._matters(each.request)), default=0.0)
        return time.time() - last

    def _matters(self, request: Request) -> bool:
        return not request.watch and self._counts(request.method, request.path)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["FaultProxy"]:
        """Serve on a free port."""
        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/{who}/{path:.*}", self._pass)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        try:
            yield self
        finally:
            await runner.cleanup()
            for stream in list(self._streams):
                stream.abort()  # else TLS waits for the server's goodbye, and nobody waits for TLS
            await asyncio.sleep(0)

    async def _pass(self, incoming: web.Request) -> web.StreamResponse:
        body = await incoming.read()
        request = self._request(incoming)
        if request.who in self._dead:
            return _cut(incoming)
        fault = self.rule(request)
        exchange = Exchange(time.time(), request, fault=told(fault))
        self.log.append(exchange)
        started = time.monotonic()
        try:
            return await self._answer(incoming, request, fault, body, exchange)
        finally:
            if not request.watch:
                exchange.seconds = time.monotonic() - started
                self.seen(exchange)

    def _request(self, incoming: web.Request) -> Request:
        who, path = incoming.match_info["who"], "/" + incoming.match_info["path"]
        writes = incoming.method != "GET" and self._counts(incoming.method, path)
        if writes and who not in self._dead:
            self.writes += 1
        watch = incoming.query.get("watch") in {"true", "1"}
        return Request(who, incoming.method, path, incoming.query_string, watch, self.writes if writes else 0)

    async def _answer(
        self, incoming: web.Request, request: Request, fault: Fault, body: bytes, exchange: Exchange
    ) -> web.StreamResponse:
        match fault:
            case Answer(body=None):
                status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": fault.status}
                status |= {"reason": fault.reason, "message": f"injected {fault.reason}", "details": fault.details}
                return web.json_response(status, status=fault.status, headers=fault.headers)
            case Answer():
                return web.Response(body=fault.body, status=fault.status, content_type="application/json")
            case Cut(done=False):
                fault.then()
                return _cut(incoming)
            case Late(seconds):
                await asyncio.sleep(seconds)
        headers = {name: incoming.headers[name] for name in _PASSED_ON if name in incoming.headers}
        url = self._upstream.url + incoming.raw_path.removeprefix(f"/{request.who}")
        async with self._upstream.session.request(
            incoming.method,
            url,
            data=body or None,
            headers=headers,
            skip_auto_headers=_PASSED_ON,  # what the operator did not say is not said for it
            timeout=aiohttp.ClientTimeout(total=None),
        ) as upstream:
            exchange.status = upstream.status
            if request.watch:
                return await self._watch(incoming, request, upstream)
            content = self.altered(request, await upstream.read())
            if isinstance(fault, Cut):
                fault.then()
                return _cut(incoming)
            passed = {name: upstream.headers[name] for name in ("Retry-After",) if name in upstream.headers}
            return web.Response(
                body=content, status=upstream.status, content_type=upstream.content_type, headers=passed
            )

    async def _watch(
        self, incoming: web.Request, request: Request, upstream: aiohttp.ClientResponse
    ) -> web.StreamResponse:
        if upstream.connection is not None and upstream.connection.transport is not None:
            self._streams.add(upstream.connection.transport)
        answer = web.StreamResponse(status=upstream.status)
        answer.content_type = upstream.content_type
        await answer.prepare(incoming)
        with contextlib.suppress(aiohttp.ClientError, ConnectionError):  # either side is gone
            while line := await upstream.content.readline():
                if request.who in self._dead:
                    return _cut(incoming)
                if self.watched is None:
                    await answer.write(line)
                    continue
                async for changed in self.watched(request, line):
                    if isinstance(changed, Reset):
                        return _cut(incoming)
                    if changed is None:
                        return answer
                    await answer.write(changed)
        return answer


def _cut(incoming: web.Request) -> web.Response:
    """Break the connection. The response that is returned reaches nobody."""
    if incoming.transport is not None:
        incoming.transport.abort()
    return web.Response(status=502)


def error_line(code: int, reason: str) -> bytes:
    """Return the line by which a watch tells of an error."""
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code}
    return json.dumps({"type": "ERROR", "object": {**status, "reason": reason, "message": reason}}).encode() + b"\n"
