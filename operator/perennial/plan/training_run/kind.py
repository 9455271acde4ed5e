"""What a TrainingRun is."""

from collections.abc import Iterator
from typing import Any

from perennial.api.training_run import TrainingRunSpec, TrainingRunStatus
from perennial.manifests.manifest import Manifest
from perennial.plan.kind import (
    AGE,
    CONDITIONS,
    GATE_METRICS,
    TOO_MANY_METRICS,
    Figure,
    Kind,
    Printed,
    Sample,
    condition_path,
    field,
)
from perennial.plan.observed import Cache
from perennial.plan.training_run.observe import TrainingRunSeen, observe
from perennial.plan.training_run.planner import plan
from perennial.terms import names


def _runs_of_dataset(cache: Cache, changed: Manifest) -> Iterator[str]:
    """A Dataset's version is pinned by the runs that name it."""
    for run in cache.list(names.TRAINING_RUN.kind, changed["metadata"]["namespace"]):
        if field(run, "spec", "datasetRef", "name") == changed["metadata"]["name"]:
            yield run["metadata"]["name"]


def _gate(_: Manifest, status: TrainingRunStatus) -> Iterator[Sample]:
    for each in status.gate.results if status.gate is not None else ():
        yield (each.name, each.verdict.value), 1


def _seconds(_: Manifest, status: TrainingRunStatus) -> Iterator[Sample]:
    if status.start_time is not None and status.completion_time is not None and status.terminal_state is not None:
        yield (status.terminal_state.value,), (status.completion_time - status.start_time).total_seconds()


FIGURES: tuple[Figure[Any], ...] = (
    CONDITIONS,
    Figure(
        name="perennial_training_run_duration_seconds",
        text="How long a run that has ended took, gate included.",
        labels=("state",),
        read=_seconds,
    ),
    Figure(
        name="perennial_training_run_gate",
        text="1 for the verdict on each of the gate's metrics.",
        labels=("metric", "verdict"),
        read=_gate,
    ),
)

TRAINING_RUN: Kind[TrainingRunSeen] = Kind(
    names=names.TRAINING_RUN,
    description=(
        'One training, pinned to its inputs, gated against the champion: "what did we learn, and is it better?"'
    ),
    spec=TrainingRunSpec,
    status=TrainingRunStatus,
    immutable_spec="spec is immutable but for suspend: a TrainingRun is one training; create another one",
    columns=(
        Printed(name="Succeeded", path=condition_path("Succeeded"), description="Whether it has succeeded."),
        Printed(
            name="Reason", path=condition_path("Succeeded", "reason"), description="Where it is, or why it failed."
        ),
        Printed(name="Gate", path=".status.gate.verdict", description="The gate's verdict."),
        Printed(name="Model", path=".spec.model.name", description="The registered model."),
        Printed(name="Version", path=".status.modelVersion", description="The version it became."),
        Printed(name="Run", path=".status.mlflow.runId", description="The run in MLflow.", wide=True),
        Printed(name="Data", path=".status.dataset.digest", description="The data it is pinned to.", wide=True),
        AGE,
    ),
    observe=observe,
    plan=plan,
    looks_at={names.DATASET.kind: _runs_of_dataset},
    registered_model=lambda run: field(run, "spec", "model", "name"),
    figures=FIGURES,
    renamed={
        path: f"{hint} A TrainingRun can't be changed: create another one."
        for path, hint in (
            ("gate.metrics[]", GATE_METRICS),
            ("gate.metrics[].name", GATE_METRICS),
            ("gate.metrics", TOO_MANY_METRICS),
        )
    },
    ended=lambda run: field(run, "status", "terminalState") is not None,
    unreadable_summary="Unknown",
)
