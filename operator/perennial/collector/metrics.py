"""The collector's own numbers for Prometheus. Few series: slots, SLO names and outcomes, never an id or a version."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, get_args

from prometheus_client import generate_latest
from prometheus_client.core import CollectorRegistry, CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector as Source

from perennial.stats.ticks import ABANDONED, REJECTED, REQUESTS, UNFINISHED
from perennial.terms.words import Slot, Verdict

if TYPE_CHECKING:
    from perennial.collector.service import Collector

PREFIX = "perennial_collector"


class _Numbers(Source):
    """Reads a collector's numbers when it is asked."""

    def __init__(self, collector: "Collector") -> None:
        self._collector = collector

    def collect(self) -> Iterator[Metric]:
        yield from self._traffic()
        yield from self._outcomes()
        yield from self._verdicts()

    def _traffic(self) -> Iterator[Metric]:
        collector = self._collector
        requests = CounterMetricFamily(
            f"{PREFIX}_requests", "Requests that began at the routers since this collector did.", labels=["slot"]
        )
        bad = CounterMetricFamily(
            f"{PREFIX}_requests_bad", "Requests that failed (5xx) or were abandoned.", labels=["slot"]
        )
        rejected = CounterMetricFamily(f"{PREFIX}_requests_rejected", "Requests that got a 4xx.", labels=["slot"])
        abandoned = CounterMetricFamily(
            f"{PREFIX}_requests_abandoned", "Requests whose client left before an answer.", labels=["slot"]
        )
        unfinished = GaugeMetricFamily(f"{PREFIX}_requests_unfinished", "Requests that are running.", labels=["slot"])
        weight = GaugeMetricFamily(f"{PREFIX}_weight_permille", "Weight that the routers are told.", labels=["slot"])
        for slot in get_args(Slot):
            requests.add_metric([slot], collector.counting.total(REQUESTS, slot).n)
            bad.add_metric([slot], collector.counting.total(REQUESTS, slot).total)
            rejected.add_metric([slot], collector.counting.total(REJECTED, slot).total)
            abandoned.add_metric([slot], collector.counting.total(ABANDONED, slot).n)
            unfinished.add_metric([slot], collector.counting.total(UNFINISHED, slot).n)
            weight.add_metric([slot], (collector.weights.desired or {}).get(slot, 0))
        yield from (requests, bad, rejected, abandoned, unfinished, weight)
        verified = collector.weights.verified(len(collector.routers.addresses)) is not None
        yield GaugeMetricFamily(
            f"{PREFIX}_weight_verified", "1 if every router has acknowledged the weights.", value=float(verified)
        )
        yield GaugeMetricFamily(f"{PREFIX}_routers", "Routers that poll for weights.", value=collector.weights.alive())
        yield CounterMetricFamily(
            f"{PREFIX}_scrape_errors", "Looks at a router that failed.", value=collector.routers.errors
        )

    def _outcomes(self) -> Iterator[Metric]:
        tally = self._collector.predictions.tally
        yield CounterMetricFamily(f"{PREFIX}_predictions", "Predictions that are stored.", value=tally.predictions)
        yield CounterMetricFamily(
            f"{PREFIX}_predictions_repeated", "Predictions whose id had another content.", value=tally.repeated
        )
        yield CounterMetricFamily(
            f"{PREFIX}_predictions_dropped", "Predictions that servers could not report.", value=tally.dropped
        )
        labels = GaugeMetricFamily(
            f"{PREFIX}_labels", "What became of all labels; an unmatched one may still be joined.", labels=["outcome"]
        )
        labels.add_metric(["joined"], tally.joined)
        labels.add_metric(["duplicate"], tally.duplicates)
        labels.add_metric(["corrected"], tally.corrected)
        labels.add_metric(["unmatched"], tally.unmatched)
        labels.add_metric(["refused"], tally.refused)
        yield labels

    def _verdicts(self) -> Iterator[Metric]:
        evidence = GaugeMetricFamily(
            f"{PREFIX}_log_e", "Evidence on the canary, natural logarithm.", labels=["slo", "side"]
        )
        verdict = GaugeMetricFamily(f"{PREFIX}_verdict", "1 at the SLO's verdict.", labels=["slo", "verdict"])
        for found in self._collector.verdicts():
            evidence.add_metric([found.slo, "harm"], found.log_e_harm or 0.0)
            evidence.add_metric([found.slo, "safe"], found.log_e_safe or 0.0)
            for value in Verdict:
                verdict.add_metric([found.slo, value], float(found.verdict is value))
        yield from (evidence, verdict)
        braked = float(self._collector.brake is not None)
        yield GaugeMetricFamily(f"{PREFIX}_braked", "1 if the brake holds the candidate at weight 0.", value=braked)


def exposition(collector: "Collector") -> bytes:
    """Return the numbers in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Numbers(collector))
    return generate_latest(registry)
