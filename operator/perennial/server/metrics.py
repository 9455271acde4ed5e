"""The server's own numbers for Prometheus."""

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from perennial.server.service import Service

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


class Metrics:
    """Counts answers and times predictions; reads the rest from the service when it is asked."""

    def __init__(self, service: "Service") -> None:
        self._registry = CollectorRegistry()
        self._answers = Counter(
            "perennial_server_requests", "Prediction requests by status.", ["status"], registry=self._registry
        )
        self._seconds = Histogram(
            "perennial_server_prediction_seconds",
            "Time from rows to scores, waiting included.",
            ["protocol"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        ready = Gauge("perennial_server_ready", "1 if the model is loaded and warm.", registry=self._registry)
        ready.set_function(lambda: float(service.phase.value == "Ready"))
        rows = Gauge("perennial_server_predictions", "Rows that were predicted.", registry=self._registry)
        rows.set_function(lambda: service.predictions)
        reporter = service.reporter
        if reporter is not None:
            report = Gauge("perennial_server_report", "Predictions by fate.", ["fate"], registry=self._registry)
            report.labels("reported").set_function(lambda: reporter.reported)
            report.labels("dropped").set_function(lambda: reporter.dropped)
            report.labels("waiting").set_function(lambda: len(reporter))

    def answered(self, status: int) -> None:
        """Count an answer to a prediction request."""
        self._answers.labels(str(status)).inc()

    def predicted(self, protocol: str, seconds: float) -> None:
        """Take the time of a prediction down."""
        self._seconds.labels(protocol).observe(seconds)

    def exposition(self) -> bytes:
        """Return the numbers in Prometheus' text format."""
        return generate_latest(self._registry)
