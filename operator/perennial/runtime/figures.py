"""Figures about objects, read from their status whenever somebody asks.

Nothing is kept between two questions, so a series is as true as the cache, and vanishes with its object. Only the
leader answers: the standby's cache is the same, and everything would be there twice.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic import ValidationError

from perennial.plan.kind import Figure, Kind
from perennial.runtime.store import Store

_OBJECT: Final = ("namespace", "name")


class ObjectFigures(Collector):
    """Reads the figures of some kinds from a store, where `leading` says yes."""

    def __init__(self, store: Store, kinds: Sequence[Kind[Any]], leading: Callable[[], bool]) -> None:
        self._store = store
        self._kinds = kinds
        self._leading = leading

    def describe(self) -> Iterable[Metric]:
        """Return the metrics without series."""
        return self._families().values()

    def collect(self) -> Iterable[Metric]:
        """Return the metrics with a series for everything that the cached objects' status say.

        A status that cannot be read has no series: somebody else than the operator wrote it.
        """
        families = self._families()
        for kind in self._kinds if self._leading() else ():
            for key in self._store.keys(kind.name):
                manifest = self._store.get(*key)
                if manifest is None or not manifest.get("status"):
                    continue
                try:
                    status = kind.status.model_validate(manifest["status"])
                except ValidationError:
                    continue
                for figure in kind.figures:
                    for labels, value in figure.read(manifest, status):
                        families[figure.name].add_metric((key.namespace, key.name, *labels), value)
        return families.values()

    def _families(self) -> dict[str, GaugeMetricFamily]:
        return {figure.name: _family(figure) for kind in self._kinds for figure in kind.figures}


def _family(figure: Figure[Any]) -> GaugeMetricFamily:
    return GaugeMetricFamily(figure.name, figure.text, labels=(*_OBJECT, *figure.labels))
