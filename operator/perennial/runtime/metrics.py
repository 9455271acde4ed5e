"""The operator's own figures for Prometheus, under the names that controller-runtime gave them.

Dashboards and alerts that know controller-runtime know this operator. All series of known labels exist from the start
with 0, so that `rate()` sees the first failure. https://book.kubebuilder.io/reference/metrics-reference
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final, Literal

import aiohttp
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from perennial.plan.actions import Emit

_SECONDS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_RESULTS: Final = ("success", "requeue_after", "requeue", "error")
_CHANGED: Final = "0"
_UNHURRIED: Final = "-100"
"""controller-runtime's numbers for the two priorities."""


@dataclass(frozen=True, slots=True)
class Described:
    """One metric, as people look it up."""

    name: str
    type: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    text: str


class Metrics:
    """All metrics of one operator process, in a registry of their own.

    Each names its controller (the kind) in the labels that controller-runtime gives it, for queues twice.
    `described` has all but those of the process (`process_…`, `python_info`) and of objects (`figures`).
    """

    def __init__(self, controllers: Iterable[str]) -> None:
        self.registry = CollectorRegistry()
        self.described: list[Described] = []
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        queue = ("name", "controller")
        self._depth = self._gauge(
            "workqueue_depth",
            "Keys that wait; -100: those that did not change.",
            *queue,
            "priority",
        )
        self._adds = self._counter("workqueue_adds", "Keys put into the queue.", *queue)
        self._retries = self._counter("workqueue_retries", "Keys put back with back-off.", *queue)
        self._waited = self._histogram("workqueue_queue_duration_seconds", "How long keys waited.", *queue)
        self._worked = self._histogram("workqueue_work_duration_seconds", "How long work on a key took.", *queue)
        self._unfinished = self._gauge(
            "workqueue_unfinished_work_seconds", "Work in progress, all of it added up.", *queue
        )
        self._longest = self._gauge(
            "workqueue_longest_running_processor_seconds", "The longest work in progress.", *queue
        )
        self._reconciled = self._counter(
            "controller_runtime_reconcile",
            "Reconciliations: `success`; `requeue_after`, it comes back at a time; `requeue`, at once, since a call"
            " brought something or somebody else was faster; `error`.",
            "controller",
            "result",
        )
        self._errors = self._counter(
            "controller_runtime_reconcile_errors", "Reconciliations that failed.", "controller"
        )
        self._terminal = self._counter(
            "controller_runtime_terminal_reconcile_errors",
            "Of those that failed: not tried again until something changes.",
            "controller",
        )
        self._panics = self._counter(
            "controller_runtime_reconcile_panics",
            "Of those that failed: as nobody foresaw, an error of the operator. Please report it.",
            "controller",
        )
        self._timeouts = self._counter(
            "controller_runtime_reconcile_timeouts", "Of those that failed: cut off at their time limit.", "controller"
        )
        self._seconds = self._histogram(
            "controller_runtime_reconcile_time_seconds", "How long reconciliations took.", "controller"
        )
        self._workers = self._gauge(
            "controller_runtime_max_concurrent_reconciles", "Keys reconciled at a time, at most.", "controller"
        )
        self._active = self._gauge("controller_runtime_active_workers", "Keys reconciled now.", "controller")
        self._requests = self._counter(
            "rest_client_requests",
            "Requests to the Kubernetes API, watches and lease included; code `<error>` where there was no answer.",
            "code",
            "method",
            "host",
        )
        self._leading = self._gauge("leader_election_master_status", "1 where this process leads.", "name")
        self._missed = self._counter(
            "perennial_watch_missed", "Differences that lists found and watches had not reported.", "resource"
        )
        self._silent = self._gauge(
            "perennial_watch_silent_seconds",
            "Time since anything was heard from a watch, its orderly end at least; the longest of the kind.",
            "resource",
        )
        self._objects = self._gauge("perennial_cached_objects", "Objects in the cache.")
        self._told = self._counter(
            "perennial_events",
            "What was decided about objects or happened to them, as told in Events, repetitions included.",
            "kind",
            "type",
            "reason",
        )
        self._dropped = self._counter(
            "perennial_events_dropped", "Events that were not published, since their object has too many."
        )
        for name in controllers:
            for metric in (self._errors, self._terminal, self._panics, self._timeouts, self._seconds, self._active):
                metric.labels(name)
            for result in _RESULTS:
                self._reconciled.labels(name, result)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        self.described.append(Described(f"{name}_total", "counter", labels, text))
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        self.described.append(Described(name, "gauge", labels, text))
        return Gauge(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        self.described.append(Described(name, "histogram", labels, text))
        return Histogram(name, text, labels, buckets=_SECONDS, registry=self.registry)

    def queue(self, name: str) -> "QueueFigures":
        """Return the figures of one queue."""
        return QueueFigures(
            changed=self._depth.labels(name, name, _CHANGED),
            unhurried=self._depth.labels(name, name, _UNHURRIED),
            adds=self._adds.labels(name, name),
            retries=self._retries.labels(name, name),
            waiting=self._waited.labels(name, name),
            working=self._worked.labels(name, name),
        )

    def unfinished(self, name: str, seconds: Callable[[], list[float]]) -> None:
        """Ask for how long each key of a queue has been worked on, whenever somebody reads the metrics."""
        self._unfinished.labels(name, name).set_function(lambda: sum(seconds()))
        self._longest.labels(name, name).set_function(lambda: max(seconds(), default=0.0))

    def workers(self, controller: str, count: int) -> None:
        """Show how many keys a controller reconciles at a time, at most."""
        self._workers.labels(controller).set(count)

    def active(self, controller: str, change: int) -> None:
        """Take note that so many workers more (or fewer) are busy."""
        self._active.labels(controller).inc(change)

    def reconciled(self, controller: str, result: str, seconds: float) -> None:
        """Count one reconciliation."""
        self._reconciled.labels(controller, result).inc()
        self._seconds.labels(controller).observe(seconds)
        if result == "error":
            self._errors.labels(controller).inc()

    def failed(self, controller: str, why: Literal["terminal", "timeout", "panic"]) -> None:
        """Count one reconciliation that failed in a special way; `reconciled` counts it, too."""
        {"terminal": self._terminal, "timeout": self._timeouts, "panic": self._panics}[why].labels(controller).inc()

    def leading(self, name: str) -> Callable[[bool], None]:
        """Return what shows whether this process holds the named lease."""
        gauge = self._leading.labels(name)
        return lambda leads: gauge.set(1 if leads else 0)

    def missed(self, resource: str, count: int) -> None:
        """Count what a list had to repair."""
        self._missed.labels(resource).inc(count)

    def told(self, kind: str, event: Emit) -> None:
        """Count an Event."""
        self._told.labels(kind, event.type, event.reason).inc()

    def dropped(self) -> None:
        """Count an Event that was not published."""
        self._dropped.inc()

    def silent(self, resource: str, seconds: Callable[[], float]) -> None:
        """Ask for how long nothing was heard from a kind's watches, whenever somebody reads the metrics."""
        self._silent.labels(resource).set_function(seconds)

    def cached(self, count: Callable[[], int]) -> None:
        """Ask for the number of cached objects whenever somebody reads the metrics."""
        self._objects.set_function(lambda: float(count()))

    def requests(self) -> aiohttp.TraceConfig:
        """Return what counts the requests of an HTTP session, by code, method and host."""
        trace = aiohttp.TraceConfig()

        async def ended(_: Any, __: SimpleNamespace, done: aiohttp.TraceRequestEndParams) -> None:
            self._requests.labels(str(done.response.status), done.method, _host(done.url.host, done.url.port)).inc()

        async def failed(_: Any, __: SimpleNamespace, done: aiohttp.TraceRequestExceptionParams) -> None:
            self._requests.labels("<error>", done.method, _host(done.url.host, done.url.port)).inc()

        trace.on_request_end.append(ended)
        trace.on_request_exception.append(failed)
        return trace


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueFigures:
    """Figures of one queue. Implements `perennial.runtime.queue.QueueMetrics`."""

    changed: Gauge
    unhurried: Gauge
    adds: Counter
    retries: Counter
    waiting: Histogram
    working: Histogram

    def added(self) -> None:
        """Count a key that was put into the queue."""
        self.adds.inc()

    def retried(self) -> None:
        """Count a key that waits for its next try."""
        self.retries.inc()

    def depth(self, changed: int, unhurried: int) -> None:
        """Show how many keys of either lane wait to be worked on."""
        self.changed.set(changed)
        self.unhurried.set(unhurried)

    def started(self, waited_seconds: float) -> None:
        """Count how long a key has waited."""
        self.waiting.observe(waited_seconds)

    def finished(self, worked_seconds: float) -> None:
        """Count how long the work on a key took."""
        self.working.observe(worked_seconds)


def _host(host: str | None, port: int | None) -> str:
    return f"{host}:{port}"
