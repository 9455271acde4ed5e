"""Where reports come from: kopf's watches.

kopf discovers, watches, reconnects and authenticates; of its handlers only `on.event` and `on.login` are used, which
keep no state on anybody's objects. It runs in a thread with an event loop of its own, for two reasons: it takes hold of
signals and of every task in its loop, and an error in a watch (other than 410) ends it — here it is simply started
again, while reconciliations, the lease and the probes go on.

Its HTTP sessions are ours, so two things are done on the way. Its lists are emptied: kopf would handle each object one
by one and never notice what is gone; instead `on_gap` is called, and `resync` makes the list, after kopf has got the
version from which it watches. And what comes through a watch is listened to: bookmarks and the end of a stream never
reach a handler, but they are what proves that a watch lives.
"""

import asyncio
import contextlib
import logging
import random
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import aiohttp
import kopf

from perennial.manifests.manifest import Manifest
from perennial.manifests.resources import Resource
from perennial.runtime.connection import Connection
from perennial.runtime.store import key_of, version_of
from perennial.runtime.watches import WATCH_SECONDS, Scope, Watches
from perennial.terms.names import SELECTOR

log = logging.getLogger(__name__)

_BEAT_SECONDS: Final = 5.0
_RESTART_SECONDS: Final = (1.0, 2.0, 5.0, 10.0, 30.0)
_STOP_SECONDS: Final = 2.0
_NOTHING: Final = "metadata.name=nothing.perennial.dev"


class Sink(Protocol):
    """Who wants to know. Called in the main event loop only."""

    def put(self, resource: Resource, manifest: Manifest) -> object:
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

    `on_gap` is called when a watch begins without knowing what was before (at the start; after 410 Gone), with the
    resourceVersion from which it watches. `traces` are told of each request, in another thread.
    """

    def __init__(
        self,
        connection: Connection,
        watches: Watches,
        sink: Sink,
        *,
        on_gap: Callable[[Scope, int], None],
        traces: Sequence[aiohttp.TraceConfig] = (),
        connect_timeout: float = 5.0,
        request_timeout: float = 30.0,
    ) -> None:
        self._connection = connection
        self._watches = watches
        self._resources = list(dict.fromkeys(scope.resource for scope in watches.scopes))
        self._namespaces = sorted({scope.namespace for scope in watches.scopes if scope.namespace is not None})
        self._sink = sink
        self._on_gap = on_gap
        self._traces = traces
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

    async def _one_life(self) -> BaseException | None:
        """Run kopf in a thread until it fails, is to be restarted, or this task is cancelled. Return what failed.

        A kopf that fails does not always end: its tasks wait for one another. So the failure of the first counts.
        """
        loop = asyncio.get_running_loop()
        life = _Life(loop)
        thread = threading.Thread(target=self._thread, args=(life,), name="kopf", daemon=True)
        self._beat = time.monotonic()
        thread.start()
        restart = asyncio.create_task(self._restart.wait(), name="kopf restart")
        try:
            await asyncio.wait((life.failed, restart), return_when=asyncio.FIRST_COMPLETED)
        finally:
            restart.cancel()
            life.stop()
            # A thread that does not end is left behind: it is a daemon, and what it reports is true or old news.
            await asyncio.wait((life.ended,), timeout=_STOP_SECONDS + 1)
        return life.failed.result() if life.failed.done() else None

    def _thread(self, life: "_Life") -> None:
        try:
            asyncio.run(self._watch(life))
        except BaseException as raised:  # noqa: BLE001 - whatever ended kopf, the main loop decides
            life.tell(life.failed, raised)
        life.tell(life.failed, None)
        life.tell(life.ended, None)

    async def _watch(self, life: "_Life") -> None:
        beating = asyncio.create_task(self._beating(), name="heartbeat")
        before = urlsplit(self._connection.server).path  # where many clusters are served at one address
        paths = {before + scope.resource.path(scope.namespace): scope for scope in self._watches.scopes}
        sessions = _Sessions(
            self._connection, paths, self._watches, lambda *gap: life.call(self._on_gap, *gap), self._traces
        )
        ours = asyncio.all_tasks()  # kopf cancels all others at its end
        roots = await kopf.spawn_tasks(
            registry=self._registry(life, sessions),
            settings=self._settings(),
            stop_flag=life.flag(),
            clusterwide=not self._namespaces,
            namespaces=self._namespaces,
            standalone=True,
        )
        running = asyncio.create_task(kopf.run_tasks(roots, ignored=ours), name="kopf")
        try:
            done, _ = await asyncio.wait(roots, return_when=asyncio.FIRST_COMPLETED)
            errors = [task.exception() for task in done if not task.cancelled()]
            life.tell(life.failed, next((error for error in errors if error is not None), None))
            await asyncio.wait((running,), timeout=_STOP_SECONDS)
        finally:
            beating.cancel()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
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
        settings.networking.error_backoffs = (1, 1, 2, 3, *[5] * 20)  # by default up to 21 s after an outage's end
        settings.queueing.error_delays = (1, 2, 5, 10)
        settings.persistence.diffbase_storage = _NoDiffBase()
        settings.persistence.progress_storage = _NoProgress()
        settings.process.ultimate_exiting_timeout = None  # kills the process, which is not kopf's to decide here
        for resource in self._resources:
            if resource.owned:
                where = (resource.group, resource.version, resource.plural)
                settings.watching.label_selectors[where] = SELECTOR
        return settings

    def _registry(self, life: "_Life", sessions: "_Sessions") -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()

        @kopf.on.login(registry=registry)
        async def login(**_: Any) -> kopf.AiohttpSession:
            return kopf.AiohttpSession(server=self._connection.server, aiohttp_session=sessions.open())

        for resource in self._resources:
            kopf.on.event(resource.group, resource.version, resource.plural, registry=registry, id=resource.plural)(
                self._handler(life.main, resource)
            )
        return registry

    def _handler(self, main: asyncio.AbstractEventLoop, resource: Resource) -> Callable[..., Any]:
        async def report(event: Any, **_: Any) -> None:
            main.call_soon_threadsafe(self._report, resource, event["type"], event["object"])

        return report

    def _report(self, resource: Resource, kind_of_event: str | None, manifest: Manifest) -> None:
        self._watches.reported(key_of(resource.kind, manifest), version_of(manifest))
        if kind_of_event == "DELETED":
            self._sink.remove(resource, manifest)
        else:
            self._sink.put(resource, manifest)


class _NoDiffBase(kopf.DiffBaseStorage):
    """Keeps nothing of an object. kopf would copy every object that is reported, several times, to see what changed."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        pass


class _NoProgress(kopf.ProgressStorage):
    """Keeps no progress of handlers: there are none that have any."""

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        pass

    def purge(self, **_: Any) -> None:
        pass

    def touch(self, **_: Any) -> None:
        pass

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        return essence


class _Sessions:
    """The HTTP sessions of one life of kopf, which opens one more whenever its credentials were refused.

    kopf closes its watch streams politely, which for TLS needs the server's answer, and its loop ends before that
    comes. So the streams are remembered, and cut off at the end.

    `paths` says which requests are lists and watches of what; `on_gap` is called after each list.
    """

    def __init__(
        self,
        connection: Connection,
        paths: Mapping[str, Scope],
        watches: Watches,
        on_gap: Callable[[Scope, int], None],
        traces: Sequence[aiohttp.TraceConfig] = (),
    ) -> None:
        self._connection = connection
        self._traces = traces
        self._paths = paths
        self._watches = watches
        self._on_gap = on_gap
        self._opened: list[aiohttp.ClientSession] = []
        self._streams: weakref.WeakSet[asyncio.Transport] = weakref.WeakSet()

    def open(self) -> aiohttp.ClientSession:
        """Open a session."""
        self._opened.append(self._connection.session(*self._traces, middlewares=(self._remember, self._listen)))
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

    async def _listen(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        scope = self._paths.get(request.url.path)
        if scope is None:
            return await handler(request)
        watch = request.url.query.get("watch") == "true"
        # Not all for as long, lest those of a hundred namespaces come back in the same second for ever.
        seconds = max(1, round(WATCH_SECONDS * random.uniform(0.8, 1)))  # noqa: S311 - no secret
        request.url = request.url.update_query({"timeoutSeconds": seconds} if watch else {"fieldSelector": _NOTHING})
        response = await handler(request)
        if watch and response.ok:
            response.content = _Heard(response.content, scope, self._watches)  # type: ignore[assignment]
        elif response.ok:
            # Read here already, for its version; kopf gets it from the response, which keeps it.
            self._on_gap(scope, int((await response.json())["metadata"]["resourceVersion"]))
        return response


class _Heard:
    """The content of a watch's response, read as kopf does (`iter_chunked`); that something comes is noted."""

    def __init__(self, content: aiohttp.StreamReader, scope: Scope, watches: Watches) -> None:
        self._content = content
        self._scope = scope
        self._watches = watches

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        """Yield what has come."""
        async for chunk in self._content.iter_chunked(size):
            self._watches.heard(self._scope)
            yield chunk
        self._watches.heard(self._scope)  # an orderly end; a connection that breaks raises

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)


class _Life:
    """One life of kopf, as two event loops share it.

    `failed` is done when kopf begins to end, with the reason if it is an error; `ended` when its thread is over.
    """

    def __init__(self, main: asyncio.AbstractEventLoop) -> None:
        self.main = main
        self.failed: asyncio.Future[BaseException | None] = main.create_future()
        self.ended: asyncio.Future[BaseException | None] = main.create_future()
        self._lock = threading.Lock()
        self._stopped = False
        self._flag: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def flag(self) -> asyncio.Event:
        """Return kopf's stop flag; called once, in kopf's loop."""
        with self._lock:
            self._flag, self._loop = asyncio.Event(), asyncio.get_running_loop()
            if self._stopped:
                self._flag.set()
            return self._flag

    def stop(self) -> None:
        """Ask kopf to end, from the main loop, any number of times, also when it has ended already."""
        with self._lock:
            self._stopped = True
            if self._flag is not None and self._loop is not None:
                with contextlib.suppress(RuntimeError):  # its loop is closed
                    self._loop.call_soon_threadsafe(self._flag.set)

    def call(self, what: Callable[[Scope, int], None], scope: Scope, version: int) -> None:
        """Call something in the main loop, from kopf's thread."""
        with contextlib.suppress(RuntimeError):  # the main loop is closed
            self.main.call_soon_threadsafe(what, scope, version)

    def tell(self, moment: "asyncio.Future[BaseException | None]", error: BaseException | None) -> None:
        """Let the main loop know, from kopf's thread. Only the first time counts."""
        with contextlib.suppress(RuntimeError):  # the main loop is closed: nobody cares any more
            self.main.call_soon_threadsafe(_settle, moment, error)


def _settle(moment: "asyncio.Future[BaseException | None]", error: BaseException | None) -> None:
    if not moment.done():
        moment.set_result(error)
