"""Where reports come from: kopf's watches.

kopf lists, watches, reconnects and authenticates; of its handlers only `on.event` and `on.login` are used, which keep
no state on anybody's objects. It runs in a thread with an event loop of its own, for two reasons: it takes hold of
signals and of every task in its loop, and an error in a watch (other than 410) ends it — here it is simply started
again, while reconciliations, the lease and the probes go on.
"""

import asyncio
import logging
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import aiohttp
import kopf

from perennial.plan.actions import Manifest
from perennial.runtime.connection import Connection
from perennial.runtime.resources import SELECTOR, Resource

log = logging.getLogger(__name__)

_BEAT_SECONDS: Final = 5.0
_RESTART_SECONDS: Final = (1.0, 2.0, 5.0, 10.0, 30.0)
_STOP_SECONDS: Final = 5.0


class Sink(Protocol):
    """Who wants to know. Called in the main event loop only."""

    def put(self, resource: Resource, manifest: Manifest) -> None:
        """Take an object's state."""
        ...

    def remove(self, resource: Resource, manifest: Manifest) -> None:
        """Take an object's end."""
        ...


class Source(Protocol):
    """Reports changes of the watched resources to a sink."""

    async def run(self) -> None:
        """Watch until cancelled."""
        ...

    def restart(self) -> None:
        """Begin anew: the watches seem to be dead."""
        ...

    def silent_seconds(self) -> float:
        """Return how long ago the watching machinery showed that it lives."""
        ...


class KopfSource:
    """Watches by kopf.

    `on_listed` is called with a resource when kopf has listed it instead of watching it (at its start; after 410 Gone):
    deletions that happened meanwhile are not reported by kopf, so somebody has to compare.
    """

    def __init__(
        self,
        connection: Connection,
        resources: Sequence[Resource],
        namespaces: Sequence[str],
        sink: Sink,
        *,
        on_listed: Callable[[Resource], None],
        connect_timeout: float = 5.0,
        request_timeout: float = 30.0,
    ) -> None:
        self._connection = connection
        self._resources = resources
        self._namespaces = tuple(namespaces)
        self._sink = sink
        self._on_listed = on_listed
        self._connect_timeout = connect_timeout
        self._request_timeout = request_timeout
        self._restart = asyncio.Event()
        self._beat = time.monotonic()

    def restart(self) -> None:
        """Begin anew: the watches seem to be dead."""
        self._restart.set()

    def silent_seconds(self) -> float:
        """Return how long ago kopf's event loop showed that it lives."""
        return time.monotonic() - self._beat

    async def run(self) -> None:
        """Watch until cancelled; a kopf that ends is started again, at first after 1 s, at last every 30 s."""
        attempt = 0
        while True:
            self._restart.clear()
            started = time.monotonic()
            error = await self._one_life()
            attempt = 0 if time.monotonic() - started > _RESTART_SECONDS[-1] else attempt + 1
            delay = _RESTART_SECONDS[min(attempt, len(_RESTART_SECONDS)) - 1] if attempt else _RESTART_SECONDS[0]
            log.warning("watching begins anew", extra={"error": str(error), "after_seconds": delay})
            await asyncio.sleep(delay)
            for resource in self._resources:
                self._on_listed(resource)

    async def _one_life(self) -> BaseException | None:
        """Run kopf in a thread until it ends, is to be restarted, or this task is cancelled. Return what ended it."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[BaseException | None] = loop.create_future()
        stop = _Stop()
        thread = threading.Thread(target=self._thread, args=(loop, stop, ended), name="kopf", daemon=True)
        self._beat = time.monotonic()
        thread.start()
        restart = asyncio.create_task(self._restart.wait(), name="kopf restart")
        try:
            await asyncio.wait((ended, restart), return_when=asyncio.FIRST_COMPLETED)
        finally:
            restart.cancel()
            stop.set()
            # A thread that does not end is left behind: it is a daemon, and its reports change nothing that is wrong.
            await asyncio.wait((ended,), timeout=_STOP_SECONDS)
        return ended.result() if ended.done() else None

    def _thread(
        self, main: asyncio.AbstractEventLoop, stop: "_Stop", ended: "asyncio.Future[BaseException | None]"
    ) -> None:
        error: BaseException | None = None
        try:
            asyncio.run(self._watch(main, stop))
        except BaseException as raised:  # noqa: BLE001 - whatever ended kopf, the main loop decides
            error = raised
        if not main.is_closed():
            main.call_soon_threadsafe(_settle, ended, error)

    async def _watch(self, main: asyncio.AbstractEventLoop, stop: "_Stop") -> None:
        beating = asyncio.create_task(self._beating(), name="heartbeat")  # before kopf, which cancels later tasks
        sessions = _Sessions(self._connection)
        try:
            await kopf.operator(
                registry=self._registry(main, sessions),
                settings=self._settings(),
                stop_flag=stop.flag(),
                clusterwide=not self._namespaces,
                namespaces=self._namespaces,
                standalone=True,
            )
        finally:
            beating.cancel()
            await sessions.close()

    async def _beating(self) -> None:
        while True:
            self._beat = time.monotonic()
            await asyncio.sleep(_BEAT_SECONDS)

    def _settings(self) -> kopf.OperatorSettings:
        settings = kopf.OperatorSettings()
        settings.posting.enabled = False
        settings.scanning.disabled = True  # else it would ask to list CRDs and namespaces
        settings.networking.connect_timeout = self._connect_timeout
        settings.networking.request_timeout = self._request_timeout
        settings.queueing.error_delays = (1, 2, 5, 10)
        settings.process.ultimate_exiting_timeout = None  # kills the process, which is not kopf's to decide here
        for resource in self._resources:
            if resource.owned:
                where = (resource.group, resource.version, resource.plural)
                settings.watching.label_selectors[where] = SELECTOR
        return settings

    def _registry(self, main: asyncio.AbstractEventLoop, sessions: "_Sessions") -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()

        @kopf.on.login(registry=registry)
        async def login(**_: Any) -> kopf.AiohttpSession:
            return kopf.AiohttpSession(server=self._connection.server, aiohttp_session=sessions.open())

        for resource in self._resources:
            kopf.on.event(resource.group, resource.version, resource.plural, registry=registry, id=resource.plural)(
                self._handler(main, resource)
            )
        return registry

    def _handler(self, main: asyncio.AbstractEventLoop, resource: Resource) -> Callable[..., Any]:
        async def report(event: Any, **_: Any) -> None:
            main.call_soon_threadsafe(self._report, resource, event["type"], event["object"])

        return report

    def _report(self, resource: Resource, kind_of_event: str | None, manifest: Manifest) -> None:
        # Objects that kopf lists come without kind and apiVersion; watched ones have them. Make them equal.
        manifest = {"apiVersion": resource.api_version, "kind": resource.kind, **manifest}
        if kind_of_event == "DELETED":
            self._sink.remove(resource, manifest)
            return
        self._sink.put(resource, manifest)
        if kind_of_event is None:
            self._on_listed(resource)


def _settle(ended: "asyncio.Future[BaseException | None]", error: BaseException | None) -> None:
    if not ended.done():
        ended.set_result(error)


class _Sessions:
    """The HTTP sessions of one life of kopf, which opens one more whenever its credentials were refused.

    kopf closes its watch streams politely, which for TLS needs the server's answer, and its loop ends before that
    comes. So the streams are remembered, and cut off at the end.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._opened: list[aiohttp.ClientSession] = []
        self._streams: weakref.WeakSet[asyncio.Transport] = weakref.WeakSet()

    def open(self) -> aiohttp.ClientSession:
        """Open a session."""
        self._opened.append(self._connection.session(middlewares=(self._remember,)))
        return self._opened[-1]

    async def close(self) -> None:
        """Close everything, at once."""
        for session in self._opened:
            await session.close()
        for stream in list(self._streams):
            stream.abort()
        await asyncio.sleep(0)  # the sockets are closed by the loop's next turn

    async def _remember(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        response = await handler(request)
        if response.connection is not None and response.connection.transport is not None:
            self._streams.add(response.connection.transport)
        return response


class _Stop:
    """A flag for kopf, which it awaits in its own loop and which is set from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted = False
        self._flag: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def flag(self) -> asyncio.Event:
        """Return the flag; called once, in kopf's loop."""
        with self._lock:
            self._flag, self._loop = asyncio.Event(), asyncio.get_running_loop()
            if self._wanted:
                self._flag.set()
            return self._flag

    def set(self) -> None:
        """Set it, from anywhere, any number of times, also when kopf has ended already."""
        with self._lock:
            self._wanted = True
            if self._flag is not None and self._loop is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._flag.set)
