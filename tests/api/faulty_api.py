"""The API server behind a line that fails as told: requests refused, replies lost, watches that lie."""

import asyncio
import contextlib
import json
import ssl
import weakref
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web
from kubernetes.aio.client import Configuration

from cluster.apiserver import ControlPlane
from perennial.runtime.connection import Connection


@dataclass(frozen=True)
class Request:
    """One request of the operator. `number` counts those that write, but for the lease, from 1."""

    method: str
    path: str
    watch: bool
    number: int = 0

    @property
    def writes(self) -> bool:
        return self.number > 0


@dataclass(frozen=True)
class Answer:
    """The API server is not asked; this is answered instead."""

    status: int
    reason: str = "InternalError"
    headers: dict[str, str] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Cut:
    """The connection breaks without an answer, before the API server has the request or after it has done it."""

    done: bool
    then: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Late:
    """The request is passed on so many seconds later."""

    seconds: float


Fault = Answer | Cut | Late | None
Line = bytes | None
"""A line of a watch; None ends the stream."""


@dataclass
class FaultyApi:
    """A proxy on the loopback interface. `fault` and `watched` may be exchanged at any time."""

    control_plane: ControlPlane
    fault: Callable[[Request], Fault] = lambda _: None
    watched: Callable[[str, bytes], AsyncIterator[Line]] | None = None
    log: list[tuple[Request, int]] = field(default_factory=list)
    """Requests that were answered by the API server, with the status."""
    asked: list[Request] = field(default_factory=list)
    writes: int = 0
    url: str = ""
    _streams: "weakref.WeakSet[asyncio.Transport]" = field(default_factory=weakref.WeakSet)

    def connection(self) -> Connection:
        """Return the way for an operator through this line."""
        configuration = Configuration()
        configuration.host = self.url
        configuration.verify_ssl = False
        return Connection(configuration)

    def created(self, plural: str, name: str) -> int:
        """Return how often an object of this name came into being."""
        return sum(status == 201 and f"/{plural}/{name}" in request.path for request, status in self.log)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["FaultyApi"]:
        credentials = self.control_plane.kubeconfig
        context = ssl.create_default_context(cafile=str(self.control_plane.authority))
        pair = self.control_plane._started.credentials.admin
        context.load_cert_chain(pair.certificate, pair.key)
        assert credentials.exists()
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context, limit=0), timeout=timeout, read_bufsize=2**21
        ) as self._session:
            app = web.Application(client_max_size=2**24)
            app.router.add_route("*", "/{path:.*}", self._pass)
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
        writes = incoming.method != "GET" and "/leases" not in incoming.path
        self.writes += writes
        watch = incoming.query.get("watch") == "true"
        request = Request(incoming.method, incoming.path, watch, self.writes if writes else 0)
        self.asked.append(request)
        fault = self.fault(request)
        match fault:
            case Answer():
                status = {"kind": "Status", "status": "Failure", "code": fault.status, "reason": fault.reason}
                status |= {"message": f"injected {fault.reason}", "details": fault.details}
                return web.json_response(status, status=fault.status, headers=fault.headers)
            case Cut(done=False):
                raise self._cut(incoming, fault)
            case Late(seconds):
                await asyncio.sleep(seconds)
        headers = {
            name: incoming.headers[name]
            for name in ("Accept", "Content-Type", "User-Agent")
            if name in incoming.headers
        }
        url = f"{self.control_plane.url}{incoming.raw_path}"
        async with self._session.request(incoming.method, url, data=body or None, headers=headers) as upstream:
            self.log.append((request, upstream.status))
            if upstream.connection is not None and upstream.connection.transport is not None:
                self._streams.add(upstream.connection.transport)
            if isinstance(fault, Cut):
                await upstream.read()
                raise self._cut(incoming, fault)
            answer = web.StreamResponse(status=upstream.status)
            answer.content_type = upstream.content_type
            await answer.prepare(incoming)
            if not watch:
                await answer.write(await upstream.read())
                return answer
            await self._stream(incoming.path, upstream, answer)
            return answer

    def _cut(self, incoming: web.Request, fault: Cut) -> Exception:
        fault.then()
        if incoming.transport is not None:
            incoming.transport.abort()
        return ConnectionResetError("cut")

    async def _stream(self, path: str, upstream: aiohttp.ClientResponse, answer: web.StreamResponse) -> None:
        while line := await upstream.content.readline():
            if self.watched is None:
                await answer.write(line)
                continue
            async for told in self.watched(path, line):
                if told is None:
                    return
                await answer.write(told)


def error_line(code: int, reason: str) -> bytes:
    """Return the line by which a watch tells of an error."""
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": reason,
    }
    return json.dumps({"type": "ERROR", "object": status}).encode() + b"\n"
