"""Figures about ModelDeployments, read from their status whenever somebody asks."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, Protocol

from perennial.api.model_deployment import ModelDeploymentStatus
from perennial.manifests.manifest import Manifest
from perennial.plan.kind import CONDITIONS, Figure, Sample, field, number

Status = ModelDeploymentStatus


def _versions(manifest: Manifest, status: Status) -> Iterator[Sample]:
    model = str(field(manifest, "spec", "model", "name"))
    for role, version in (("stable", status.stable), ("canary", status.canary)):
        if version is not None:
            yield (model, role, version.model_version), 1


def _ready(_: Manifest, status: Status) -> Iterator[Sample]:
    if status.stable is not None:
        yield from number(status.stable.ready_replicas)


def _step(_: Manifest, status: Status) -> Iterator[Sample]:
    if status.canary is not None:
        yield from number(status.canary.step)


def _weights(_: Manifest, status: Status) -> Iterator[Sample]:
    if status.canary is not None:
        yield ("desired",), status.canary.weight.desired
        if status.canary.weight.verified is not None:
            yield ("verified",), status.canary.weight.verified


def _trial(_: Manifest, status: Status) -> Iterator[Sample]:
    for each in status.canary.slos if status.canary is not None else ():
        yield (each.name, each.verdict.value), 1


def _promises(_: Manifest, status: Status) -> Iterator[Sample]:
    for each in status.slos:
        yield (each.name, each.verdict.value), 1


def _values(_: Manifest, status: Status) -> Iterator[Sample]:
    for each in status.slos:
        for bound, value in (("low", each.low), ("value", each.value), ("high", each.high)):
            if value is not None:
                yield (each.name, bound), float(value)


def _started(_: Manifest, status: Status) -> Iterator[Sample]:
    if status.retraining is not None:
        yield from number(status.retraining.started)


class _Decided(Protocol):
    @property
    def decision(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def time(self) -> datetime: ...


def _latest(decisions: Iterable[_Decided]) -> Iterator[Sample]:
    """Yield when each decision was last made, for each reason."""
    latest: dict[tuple[str, ...], float] = {}
    for each in decisions:
        what = (str(each.decision), each.reason)
        latest[what] = max(latest.get(what, 0.0), each.time.timestamp())
    yield from latest.items()


def _retrainings(_: Manifest, status: Status) -> Iterator[Sample]:
    yield from _latest(status.retraining.decisions if status.retraining is not None else ())


FIGURES: tuple[Figure[Any], ...] = (
    CONDITIONS,
    Figure(
        name="perennial_model_version",
        text="1 for the version of the registered model that is stable, and for the one that is on trial.",
        labels=("model", "role", "version"),
        read=_versions,
    ),
    Figure(name="perennial_ready_replicas", text="Pods of the stable version that are ready.", read=_ready),
    Figure(
        name="perennial_canaries",
        text="Canaries begun so far; never falls.",
        read=lambda _, status: number(status.canaries),
    ),
    Figure(
        name="perennial_canary_step",
        text="The step of the canary that is on, from 1; 0 while its pods are getting ready.",
        read=_step,
    ),
    Figure(
        name="perennial_canary_weight",
        text="Per cent of the requests that the candidate is to get, and that the routers say it gets.",
        labels=("side",),
        read=_weights,
    ),
    Figure(
        name="perennial_canary_verdict",
        text="1 for what the evidence says so far about each SLO of the canary that is on.",
        labels=("slo", "verdict"),
        read=_trial,
    ),
    Figure(
        name="perennial_canary_decision_timestamp_seconds",
        text="When a canary was last decided so, of those in the status' history.",
        labels=("decision", "reason"),
        read=lambda _, status: _latest(status.history),
    ),
    Figure(
        name="perennial_slo_verdict",
        text="1 for the verdict on each outcome SLO, on the last matured cohort of the stable version.",
        labels=("slo", "verdict"),
        read=_promises,
    ),
    Figure(
        name="perennial_slo_value",
        text="The rate that an outcome SLO is about, with its 95 % interval.",
        labels=("slo", "bound"),
        read=_values,
    ),
    Figure(name="perennial_retrainings", text="Retrainings started so far; never falls.", read=_started),
    Figure(
        name="perennial_retraining_decision_timestamp_seconds",
        text="When a retraining was last decided so, of those in the status.",
        labels=("decision", "reason"),
        read=_retrainings,
    ),
)
