"""The operator's own figures for Prometheus, under the names that controller-runtime gave them.

Dashboards and alerts that know controller-runtime know this operator. All series of known labels exist from the start
with 0, so that `rate()` sees the first failure. https://book.kubebuilder.io/reference/metrics-reference
"""

from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any, Final

import aiohttp
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

_SECONDS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_RESULTS: Final = ("success", "requeue_after", "requeue", "error")


class Metrics:
    """All metrics of one operator process, in a registry of their own.

    What decides about models is counted by whoever decides, in `registry`, under `perennial_*`.
    """

    def __init__(self, controllers: Iterable[str]) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self._controllers = tuple(controllers)
        self._depth = Gauge("workqueue_depth", "Keys that wait to be worked on.", ["name"], registry=registry)
        self._adds = Counter("workqueue_adds", "Keys put into the queue.", ["name"], registry=registry)
        self._retries = Counter("workqueue_retries", "Keys put back with back-off.", ["name"], registry=registry)
        self._waited = _histogram("workqueue_queue_duration_seconds", "How long keys waited.", ["name"], registry)
        self._worked = _histogram("workqueue_work_duration_seconds", "How long work on a key took.", ["name"], registry)
        self._reconciled = Counter(
            "controller_runtime_reconcile", "Reconciliations.", ["controller", "result"], registry=registry
        )
        self._errors = Counter(
            "controller_runtime_reconcile_errors", "Reconciliations that failed.", ["controller"], registry=registry
        )
        self._seconds = _histogram(
            "controller_runtime_reconcile_time_seconds", "How long reconciliations took.", ["controller"], registry
        )
        self._requests = Counter(
            "rest_client_requests", "Requests to the Kubernetes API.", ["code", "method", "host"], registry=registry
        )
        self._leading = Gauge(
            "leader_election_master_status", "1 where this process leads.", ["name"], registry=registry
        )
        self._missed = Counter(
            "perennial_watch_missed",
            "Differences that lists found and watches had not reported.",
            ["resource"],
            registry=registry,
        )
        self._objects = Gauge("perennial_cached_objects", "Objects in the cache.", registry=registry)
        for controller in self._controllers:
            self._errors.labels(controller)
            self._seconds.labels(controller)
            for result in _RESULTS:
                self._reconciled.labels(controller, result)

    def queue(self, name: str) -> "QueueFigures":
        """Return the figures of one queue."""
        return QueueFigures(
            self._depth.labels(name),
            self._adds.labels(name),
            self._retries.labels(name),
            self._waited.labels(name),
            self._worked.labels(name),
        )

    def reconciled(self, controller: str, result: str, seconds: float) -> None:
        """Count one reconciliation."""
        self._reconciled.labels(controller, result).inc()
        self._seconds.labels(controller).observe(seconds)
        if result == "error":
            self._errors.labels(controller).inc()

    def leading(self, name: str) -> Callable[[bool], None]:
        """Return what shows whether this process holds the named lease."""
        gauge = self._leading.labels(name)
        return lambda leads: gauge.set(1 if leads else 0)

    def missed(self, resource: str, count: int) -> None:
        """Count what a list had to repair."""
        self._missed.labels(resource).inc(count)

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


class QueueFigures:
    """Figures of one queue. Implements `perennial.runtime.queue.QueueMetrics`."""

    def __init__(self, depth: Gauge, adds: Counter, retries: Counter, waited: Histogram, worked: Histogram) -> None:
        self._depth = depth
        self._adds = adds
        self._retries = retries
        self._waited = waited
        self._worked = worked

    def added(self) -> None:
        """Count a key that was put into the queue."""
        self._adds.inc()

    def retried(self) -> None:
        """Count a key that waits for its next try."""
        self._retries.inc()

    def depth(self, waiting: int) -> None:
        """Show how many keys wait to be worked on."""
        self._depth.set(waiting)

    def started(self, waited_seconds: float) -> None:
        """Count how long a key has waited."""
        self._waited.observe(waited_seconds)

    def finished(self, worked_seconds: float) -> None:
        """Count how long the work on a key took."""
        self._worked.observe(worked_seconds)


def _histogram(name: str, text: str, labels: list[str], registry: CollectorRegistry) -> Histogram:
    return Histogram(name, text, labels, buckets=_SECONDS, registry=registry)


def _host(host: str | None, port: int | None) -> str:
    return f"{host}:{port}"
