"""Figures about the objects of the three kinds, read from their status whenever somebody asks.

Nothing is kept between two questions, so a series is as true as the cache, and vanishes with its object. Only the
leader answers: the standby's cache is the same, and everything would be there twice.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from perennial.manifests.manifest import Manifest
from perennial.runtime.resources import DATASET, MODEL_DEPLOYMENT, TRAINING_RUN
from perennial.runtime.store import Store

Sample = tuple[tuple[str, ...], float]
_OBJECT: Final = ("namespace", "name")
_TOLD: Final = frozenset({"Ready", "Succeeded", "Stalled", "SLOsMet"})
"""The conditions that say how an object is; the others say how it got there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One metric: what it tells, its labels after namespace and name, and how it is read from an object."""

    name: str
    kinds: tuple[str, ...]
    text: str
    labels: tuple[str, ...] = ()
    read: Callable[[Manifest, Mapping[str, Any]], Iterable[Sample]]


def _conditions(manifest: Manifest, status: Mapping[str, Any]) -> Iterator[Sample]:
    for each in status.get("conditions") or ():
        if each["type"] in _TOLD:
            yield (manifest["kind"], each["type"], each["status"], each["reason"]), 1


def _one(*path: str) -> Callable[[Manifest, Mapping[str, Any]], Iterable[Sample]]:
    """Read one number, or a time as seconds since 1970, if it is there."""

    def read(_: Manifest, status: Mapping[str, Any]) -> Iterator[Sample]:
        value: Any = status
        for part in path:
            value = (value or {}).get(part)
        if value is not None:
            yield (), _seconds(value) if isinstance(value, str) else float(value)

    return read


def _gate(_: Manifest, status: Mapping[str, Any]) -> Iterator[Sample]:
    for each in (status.get("gate") or {}).get("results") or ():
        yield (each["metric"], each["verdict"]), 1


def _run_seconds(_: Manifest, status: Mapping[str, Any]) -> Iterator[Sample]:
    if status.get("startTime") and status.get("completionTime"):
        yield (status["terminalState"],), _seconds(status["completionTime"]) - _seconds(status["startTime"])


def _versions(manifest: Manifest, status: Mapping[str, Any]) -> Iterator[Sample]:
    for role in ("stable", "canary"):
        if status.get(role):
            yield (manifest["spec"]["model"]["name"], role, status[role]["modelVersion"]), 1


def _weights(_: Manifest, status: Mapping[str, Any]) -> Iterator[Sample]:
    weight = (status.get("canary") or {}).get("weight") or {}
    for side in ("desired", "verified"):
        if weight.get(side) is not None:
            yield (side,), weight[side]


def _verdicts(slos: Callable[[Mapping[str, Any]], Any]) -> Callable[[Manifest, Mapping[str, Any]], Iterable[Sample]]:
    def read(_: Manifest, status: Mapping[str, Any]) -> Iterator[Sample]:
        for each in slos(status) or ():
            yield (each["name"], each["verdict"]), 1

    return read


def _values(_: Manifest, status: Mapping[str, Any]) -> Iterator[Sample]:
    for each in status.get("slos") or ():
        for bound in ("low", "value", "high"):
            if each.get(bound) is not None:
                yield (each["name"], bound), float(each[bound])


def _latest(decisions: Callable[[Mapping[str, Any]], Any]) -> Callable[[Manifest, Mapping[str, Any]], Iterable[Sample]]:
    """Read when each decision was last made, for each reason."""

    def read(_: Manifest, status: Mapping[str, Any]) -> Iterator[Sample]:
        latest: dict[tuple[str, ...], float] = {}
        for each in decisions(status) or ():
            what = (each["decision"], each["reason"])
            latest[what] = max(latest.get(what, 0.0), _seconds(each["time"]))
        yield from latest.items()

    return read


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()


_DEPLOYMENTS: Final = (MODEL_DEPLOYMENT.kind,)
FIGURES: Final = (
    Figure(
        name="perennial_condition",
        kinds=(DATASET.kind, TRAINING_RUN.kind, MODEL_DEPLOYMENT.kind),
        text="1 for the status and reason that a condition has: Ready, Succeeded, Stalled, SLOsMet.",
        labels=("kind", "type", "status", "reason"),
        read=_conditions,
    ),
    Figure(
        name="perennial_dataset_rows",
        kinds=(DATASET.kind,),
        text="Rows of the newest version that may be used.",
        read=_one("version", "rows"),
    ),
    Figure(
        name="perennial_dataset_bytes",
        kinds=(DATASET.kind,),
        text="Bytes of the newest version that may be used.",
        read=_one("version", "bytes"),
    ),
    Figure(
        name="perennial_dataset_version_timestamp_seconds",
        kinds=(DATASET.kind,),
        text="When the newest version was recorded.",
        read=_one("version", "recordedTime"),
    ),
    Figure(
        name="perennial_dataset_checked_timestamp_seconds",
        kinds=(DATASET.kind,),
        text="When the source was looked at last.",
        read=_one("lastCheckedTime"),
    ),
    Figure(
        name="perennial_training_run_duration_seconds",
        kinds=(TRAINING_RUN.kind,),
        text="How long a run that has ended took, gate included.",
        labels=("state",),
        read=_run_seconds,
    ),
    Figure(
        name="perennial_training_run_gate",
        kinds=(TRAINING_RUN.kind,),
        text="1 for the verdict on each of the gate's metrics.",
        labels=("metric", "verdict"),
        read=_gate,
    ),
    Figure(
        name="perennial_model_version",
        kinds=_DEPLOYMENTS,
        text="1 for the version of the registered model that is stable, and for the one that is on trial.",
        labels=("model", "role", "version"),
        read=_versions,
    ),
    Figure(
        name="perennial_ready_replicas",
        kinds=_DEPLOYMENTS,
        text="Pods of the stable version that are ready.",
        read=_one("stable", "readyReplicas"),
    ),
    Figure(
        name="perennial_canaries",
        kinds=_DEPLOYMENTS,
        text="Canaries begun so far; never falls.",
        read=_one("canaries"),
    ),
    Figure(
        name="perennial_canary_step",
        kinds=_DEPLOYMENTS,
        text="The step of the canary that is on, from 1; 0 while its pods are getting ready.",
        read=_one("canary", "step"),
    ),
    Figure(
        name="perennial_canary_weight",
        kinds=_DEPLOYMENTS,
        text="Per cent of the requests that the candidate is to get, and that the routers say it gets.",
        labels=("side",),
        read=_weights,
    ),
    Figure(
        name="perennial_canary_verdict",
        kinds=_DEPLOYMENTS,
        text="1 for what the evidence says so far about each SLO of the canary that is on.",
        labels=("slo", "verdict"),
        read=_verdicts(lambda status: (status.get("canary") or {}).get("slos")),
    ),
    Figure(
        name="perennial_canary_decision_timestamp_seconds",
        kinds=_DEPLOYMENTS,
        text="When a canary was last decided so, of those in the status' history.",
        labels=("decision", "reason"),
        read=_latest(lambda status: status.get("history")),
    ),
    Figure(
        name="perennial_slo_verdict",
        kinds=_DEPLOYMENTS,
        text="1 for the verdict on each outcome SLO, on the last matured cohort of the stable version.",
        labels=("slo", "verdict"),
        read=_verdicts(lambda status: status.get("slos")),
    ),
    Figure(
        name="perennial_slo_value",
        kinds=_DEPLOYMENTS,
        text="The rate that an outcome SLO is about, with its 95 % interval.",
        labels=("slo", "bound"),
        read=_values,
    ),
    Figure(
        name="perennial_retrainings",
        kinds=_DEPLOYMENTS,
        text="Retrainings started so far; never falls.",
        read=_one("retraining", "started"),
    ),
    Figure(
        name="perennial_retraining_decision_timestamp_seconds",
        kinds=_DEPLOYMENTS,
        text="When a retraining was last decided so, of those in the status.",
        labels=("decision", "reason"),
        read=_latest(lambda status: (status.get("retraining") or {}).get("decisions")),
    ),
)


class ObjectFigures(Collector):
    """Reads all figures from a store, where `leading` says yes."""

    def __init__(self, store: Store, leading: Callable[[], bool]) -> None:
        self._store = store
        self._leading = leading

    def describe(self) -> Iterable[Metric]:
        """Return the metrics without series."""
        return [_family(figure) for figure in FIGURES]

    def collect(self) -> Iterable[Metric]:
        """Return the metrics with a series for everything that the cached objects' status say."""
        families = {figure.name: _family(figure) for figure in FIGURES}
        for kind in (DATASET.kind, TRAINING_RUN.kind, MODEL_DEPLOYMENT.kind) if self._leading() else ():
            figures = [figure for figure in FIGURES if kind in figure.kinds]
            for key in self._store.keys(kind):
                manifest = self._store.get(*key)
                status = manifest.get("status") if manifest is not None else None
                if manifest is None or not status:
                    continue
                for figure in figures:
                    for labels, value in figure.read(manifest, status):
                        families[figure.name].add_metric((key.namespace, key.name, *labels), value)
        return families.values()


def _family(figure: Figure) -> GaugeMetricFamily:
    return GaugeMetricFamily(figure.name, figure.text, labels=(*_OBJECT, *figure.labels))
