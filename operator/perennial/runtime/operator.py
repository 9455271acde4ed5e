"""One operator process: cache, watches, lease, controllers, probes — for any kinds and planners."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import aiohttp

from perennial.manifests.resources import Resource
from perennial.plan.actions import Call
from perennial.plan.kind import Kind
from perennial.plan.rights import WATCHED
from perennial.runtime import health
from perennial.runtime.applier import Applier, CallHandler
from perennial.runtime.client import Client
from perennial.runtime.clock import Clock, SystemClock
from perennial.runtime.connection import Connection
from perennial.runtime.controller import Controller, Reconciler
from perennial.runtime.errors import LeadershipLost
from perennial.runtime.events import EventRecorder
from perennial.runtime.figures import ObjectFigures
from perennial.runtime.intake import Intake, Mapper
from perennial.runtime.leader import Leader, LeaseSettings
from perennial.runtime.metrics import Metrics
from perennial.runtime.queue import WorkQueue
from perennial.runtime.resources import Key
from perennial.runtime.results import CallResults
from perennial.runtime.resync import Resync
from perennial.runtime.source import KopfSource
from perennial.runtime.store import Store
from perennial.runtime.watches import Watches
from perennial.terms.names import HEALTH_PORT, METRICS_PORT

log = logging.getLogger(__name__)

_DRAIN_SECONDS: Final = 1.0
_SILENT_SECONDS: Final = 60.0
_STUCK_SECONDS: Final = 120.0
_MISSED_IN_A_ROW: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorSettings:
    """How one process runs. Durations are seconds; see `perennial.settings` for what each trades."""

    lease: LeaseSettings
    namespaces: tuple[str, ...] = ()
    workers: int = 16
    reconcile_limit_seconds: float = 60.0
    resync_seconds: float = 36_000.0
    max_backoff_seconds: float = 12.0
    bind: str = ""
    metrics_port: int = METRICS_PORT
    health_port: int = HEALTH_PORT


class Operator:
    """Runs reconcilers against one cluster.

    `kinds` are those about whose objects there are figures. `on_lost` is called the moment this process has lost the
    lease, after which it may not do anything any more.
    """

    def __init__(
        self,
        connection: Connection,
        settings: OperatorSettings,
        *,
        store: Store,
        reconcilers: Sequence[Reconciler[Any]],
        calls: CallHandler,
        mappers: Mapping[str, tuple[Mapper, ...]],
        kinds: Sequence[Kind[Any]] = (),
        watched: Sequence[Resource] = WATCHED,
        clock: Clock | None = None,
        on_lost: Callable[[], None] = lambda: None,
    ) -> None:
        self._connection = connection
        self._settings = settings
        self._store = store
        self._reconcilers = reconcilers
        self._calls = calls
        self._watched = watched
        self._clock = clock if clock is not None else SystemClock()
        self._on_lost = on_lost
        self.metrics = Metrics(each.resource.kind for each in reconcilers)
        self.metrics.cached(lambda: len(store))
        self._queues: dict[str, WorkQueue[Key]] = {
            each.resource.kind: WorkQueue(
                max_delay=settings.max_backoff_seconds, metrics=self.metrics.queue(each.resource.kind)
            )
            for each in reconcilers
        }
        for kind, queue in self._queues.items():
            self.metrics.unfinished(kind, queue.unfinished)
        self._source: KopfSource | None = None
        self.ports: dict[str, int] = {}
        """The ports of `health` and `metrics`, once they are served."""
        self.leading = asyncio.Event()
        """Set when this process leads."""
        self.metrics.registry.register(ObjectFigures(store, kinds, self.leading.is_set))
        self.intake = Intake(store, self._queues, mappers, leading=self.leading.is_set)

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set.

        Raises:
            LeadershipLost: somebody else may lead by now; this process must end.
        """
        try:
            async with self._connection.session(self.metrics.requests()) as session:
                await self._run(session, stop)
        except BaseExceptionGroup as group:
            if group.subgroup(LeadershipLost) is not None:
                raise LeadershipLost("another process may lead by now") from group
            raise

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be reconciled now and nothing is being. What is due later does not count."""
        return all(queue.idle for queue in self._queues.values())

    def restart_watches(self) -> None:
        """Begin watching anew. Nothing is lost: everything is listed again."""
        if self._source is not None:
            self._source.restart()

    async def _run(self, session: aiohttp.ClientSession, stop: asyncio.Event) -> None:
        settings, server = self._settings, self._connection.server
        leader = Leader(
            Client(session, server), settings.lease, self._clock, on_change=self.metrics.leading(settings.lease.name)
        )
        client = Client(session, server, fence=leader.check)
        watches = self._watches()
        controllers = self._controllers(client, self._fenced(leader), watches)
        self._source = source = KopfSource(
            self._connection,
            watches,
            self.intake,
            on_gap=lambda scope, version: resync.gap(scope, version),  # noqa: PLW0108 - it is made below
            traces=(self.metrics.requests(),),
        )
        resync = Resync(
            client=client,
            store=self._store,
            intake=self.intake,
            watches=watches,
            clock=self._clock,
            seconds=settings.resync_seconds,
            on_missed=self.metrics.missed,
            on_dead_watch=source.restart,
        )
        async with self._served(resync, source, watches), asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._connection.keep_fresh(), name="credentials")]
            tasks.append(group.create_task(self._work(source, resync, leader, controllers), name="operator"))
            await stop.wait()
            log.info("stopping")
            await asyncio.gather(*(each.drain(_DRAIN_SECONDS) for each in controllers))
            await leader.release()
            for task in tasks:
                task.cancel()

    async def _work(
        self, source: KopfSource, resync: Resync, leader: Leader, controllers: Sequence[Controller[Any]]
    ) -> None:
        await resync.served()
        async with asyncio.TaskGroup() as group:
            group.create_task(source.run(), name="source")
            group.create_task(resync.run(), name="resync")
            await resync.filled()
            await leader.acquire()
            self.leading.set()
            self.intake.enqueue_all()
            for controller in controllers:
                group.create_task(self._unless_lost(controller.run(self._settings.workers)), name=controller.kind)
            group.create_task(self._unless_lost(leader.hold()), name="lease")

    async def _unless_lost(self, working: Any) -> None:
        try:
            await working
        except LeadershipLost as error:
            log.error("leadership is lost", extra={"error": str(error)})  # noqa: TRY400 - no fault of the code
            self._on_lost()
            raise

    def _fenced(self, leader: Leader) -> CallHandler:
        """Return the handler of calls with the same fence that writes to the API server have.

        A leader that was frozen for longer than its lease would tell a collector what is no longer wanted: what it
        remembers is old, and no resourceVersion protects the world outside the cluster.
        """

        async def carry_out(key: Key, call: Call) -> Mapping[str, str]:
            leader.check()
            return await self._calls(key, call)

        return carry_out

    def _watches(self) -> Watches:
        watches = Watches(self._watched, self._settings.namespaces, self._clock)
        for resource in self._watched:
            self.metrics.silent(resource.plural, partial(watches.longest_silence, resource))
        return watches

    def _controllers(self, client: Client, calls: CallHandler, watches: Watches) -> list[Controller[Any]]:
        results = CallResults(self._clock)
        events = EventRecorder(
            client,
            self._clock,
            instance=self._settings.lease.identity,
            on_told=self.metrics.told,
            on_dropped=self.metrics.dropped,
        )
        applier = Applier(
            client=client,
            store=self._store,
            results=results,
            events=events,
            calls=calls,
            clock=self._clock,
            take=self.intake.put,
            on_written=watches.wrote,
            on_conflict=watches.missing,
        )
        return [
            Controller(
                each,
                queue=self._queues[each.resource.kind],
                store=self._store,
                results=results,
                applier=applier,
                clock=self._clock,
                metrics=self.metrics,
                limit_seconds=self._settings.reconcile_limit_seconds,
            )
            for each in self._reconcilers
        ]

    @contextlib.asynccontextmanager
    async def _served(self, resync: Resync, source: KopfSource, watches: Watches) -> AsyncIterator[None]:
        """Serve probes and metrics."""

        def lists() -> str | None:
            silent = resync.silent_seconds()
            return (
                f"the loop that looks after the watches is stuck for {silent:.0f} s"
                if silent > _STUCK_SECONDS
                else None
            )

        def watching() -> str | None:
            silent = source.silent_seconds()
            return f"kopf's event loop is silent for {silent:.0f} s" if silent > _SILENT_SECONDS else None

        def watched() -> str | None:
            missed, dead = resync.missed_in_a_row(), watches.dead()
            if missed >= _MISSED_IN_A_ROW:
                return f"{missed} lists in a row found changes that no watch reported"
            if dead is not None:
                return f"the watch on {dead} is silent for {watches.silent_seconds(dead):.0f} s, though the API answers"
            return None

        def filled() -> str | None:
            return None if resync.synced else "the cache is not filled yet"

        settings = self._settings
        probes = health.probes({"lists": lists, "kopf": watching, "watches": watched}, {"cache": filled})
        runners = {
            "health": await health.serve(probes, settings.bind, settings.health_port),
            "metrics": await health.serve(health.metrics(self.metrics.registry), settings.bind, settings.metrics_port),
        }
        self.ports = {name: runner.addresses[0][1] for name, runner in runners.items()}
        log.info("serving", extra=dict(self.ports))
        try:
            yield
        finally:
            await asyncio.gather(*(runner.cleanup() for runner in runners.values()))
