"""What the TrainingRun planner sees, and the calls it may make (a call's outcome is looked up by the call itself)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from perennial.api.dataset import DatasetSpec, DatasetStatus
from perennial.api.training_run import TerminalState, TrainingRunSpec, TrainingRunStatus
from perennial.manifests.build import Owner
from perennial.manifests.manifest import Manifest
from perennial.plan.actions import EnsureRun, FinishRun, RegisterVersion
from perennial.plan.observed import Fact, PlanSettings, RegisteredModel, Results, owner_of
from perennial.plan.view import View


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFound:
    """The Dataset that a run refers to."""

    spec: DatasetSpec
    status: DatasetStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRunSeen:
    """A TrainingRun, its data, its Jobs and their pods, the registry, and what comes of its calls."""

    owner: Owner
    generation: int
    spec: TrainingRunSpec
    status: TrainingRunStatus
    dataset: DatasetFound | None = None
    training: Manifest | None = None
    evaluation: Manifest | None = None
    pods: Sequence[Manifest] = ()
    registry: Fact[RegisteredModel] = field(default_factory=Fact)
    results: Results
    settings: PlanSettings


def training_name(name: str) -> str:
    """Return the name of a run's training Job."""
    return f"{name}-train"


def evaluation_name(name: str) -> str:
    """Return the name of a run's evaluation Job."""
    return f"{name}-evaluate"


def registered_model(owner: Owner, spec: TrainingRunSpec, settings: PlanSettings) -> str:
    """Return what the run's model is called in MLflow."""
    return settings.registered_model(owner.namespace, spec.model.name)


def ensure_run(owner: Owner, spec: TrainingRunSpec, settings: PlanSettings) -> EnsureRun:
    """Return the call that makes the MLflow run, in the experiment of the model's name."""
    return EnsureRun(
        experiment=registered_model(owner, spec, settings),
        uid=owner.uid,
        run_name=owner.name,
        tags={"perennial.dev/namespace": owner.namespace, "perennial.dev/name": owner.name},
    )


def register_version(
    owner: Owner, spec: TrainingRunSpec, status: TrainingRunStatus, settings: PlanSettings
) -> RegisterVersion | None:
    """Return the call that registers what was trained; None while there is nothing to register."""
    if status.mlflow is None or status.model is None or status.dataset is None:
        return None
    return RegisterVersion(
        model=registered_model(owner, spec, settings),
        run_id=status.mlflow.run_id,
        source=status.model.source,
        tags={
            "perennial.dev/digest": status.model.digest,
            "perennial.dev/dataset": status.dataset.digest,
            "perennial.dev/namespace": owner.namespace,
            "perennial.dev/training-run": owner.name,
        },
    )


def finish_run(status: TrainingRunStatus) -> FinishRun | None:
    """Return the call that ends the MLflow run as the TrainingRun ended; None if there is nothing (left) to end."""
    if status.mlflow is None or status.terminal_state is None or status.mlflow.state != "RUNNING":
        return None
    ended: Literal["FINISHED", "FAILED"] = "FINISHED" if status.terminal_state is TerminalState.SUCCEEDED else "FAILED"
    return FinishRun(run_id=status.mlflow.run_id, status=ended)


def observe(view: View, namespace: str, name: str) -> TrainingRunSeen | None:
    """Return what is known of a TrainingRun; None if it is gone or going."""
    cache, settings = view.cache, view.settings
    seen = cache.get("TrainingRun", namespace, name)
    if seen is None or seen["metadata"].get("deletionTimestamp"):
        return None
    owner = owner_of(seen)
    spec = TrainingRunSpec.model_validate(seen["spec"])
    status = TrainingRunStatus.model_validate(seen.get("status", {}))
    jobs = {job["metadata"]["name"]: job for job in cache.children(owner.uid, "Job")}
    dataset = cache.get("Dataset", namespace, spec.dataset_ref.name)
    return TrainingRunSeen(
        owner=owner,
        generation=seen["metadata"]["generation"],
        spec=spec,
        status=status,
        dataset=DatasetFound(
            spec=DatasetSpec.model_validate(dataset["spec"]),
            status=DatasetStatus.model_validate(dataset.get("status", {})),
        )
        if dataset
        else None,
        training=jobs.get(training_name(name)),
        evaluation=jobs.get(evaluation_name(name)),
        pods=[pod for job in jobs.values() for pod in cache.children(job["metadata"]["uid"], "Pod")],
        registry=view.facts.model(registered_model(owner, spec, settings))
        if status.terminal_state is None and spec.gate is not None
        else Fact(),
        results=view.results,
        settings=settings,
    )
