"""What the TrainingRun planner sees, and the calls it may make (a call's outcome is looked up by the call itself)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import ValidationError

from perennial.api.dataset import DatasetSpec, DatasetStatus
from perennial.api.training_run import PinnedDataset, TerminalState, TrainingRunSpec, TrainingRunStatus
from perennial.manifests.build import Owner
from perennial.manifests.jobs import JobOutcome, job_outcome
from perennial.manifests.manifest import Manifest
from perennial.plan.actions import EnsureRun, FinishRun, RegisterVersion
from perennial.plan.observed import Fact, PlanSettings, RegisteredModel, Results, owner_of, refused
from perennial.plan.training_run.attempts import attempt
from perennial.plan.training_run.pin import DatasetFound, Unpinned, pin
from perennial.plan.view import View
from perennial.terms import names, reasons
from perennial.terms.names import DATASET_TAG, DIGEST_TAG, NAME_TAG, NAMESPACE_TAG, TRAINING_RUN_TAG
from perennial.terms.text import complaint


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSeen:
    """One of the run's Jobs, if it is there, and what its pods tell of it."""

    component: Literal["training", "evaluation"]
    job: Manifest | None
    outcome: JobOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRunSeen:
    """A TrainingRun's situation: what is seen, and what follows from it without a decision."""

    owner: Owner
    generation: int
    spec: TrainingRunSpec
    status: TrainingRunStatus
    data: PinnedDataset | Unpinned
    """The data that the run is pinned to, or could be now; or why it can't be."""
    training: JobSeen
    evaluation: JobSeen
    under_way: JobSeen
    """The Job whose end is not recorded yet; without a Job where both have ended."""
    attempt: int
    """The number, from 1, of the run's gate among those of the same model on the same held-out rows."""
    registry: Fact[RegisteredModel]
    """The registered model, where a champion may have to be compared with."""
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
        tags={NAMESPACE_TAG: owner.namespace, NAME_TAG: owner.name},
    )


def register_version(
    owner: Owner, spec: TrainingRunSpec, status: TrainingRunStatus, settings: PlanSettings
) -> RegisterVersion:
    """Return the call that registers what was trained.

    Raises:
        LookupError: nothing was trained, which cannot be where a run is to be registered.
    """
    if status.mlflow is None or status.model is None or status.dataset is None:
        raise LookupError(
            f"TrainingRun {owner.namespace}/{owner.name} has passed its gate, but its status has no model"
        )
    return RegisterVersion(
        model=registered_model(owner, spec, settings),
        run_id=status.mlflow.run_id,
        source=status.model.source,
        tags={
            DIGEST_TAG: status.model.digest,
            DATASET_TAG: status.dataset.digest,
            NAMESPACE_TAG: owner.namespace,
            TRAINING_RUN_TAG: owner.name,
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
    seen = cache.get(names.TRAINING_RUN.kind, namespace, name)
    if seen is None or seen["metadata"].get("deletionTimestamp"):
        return None
    owner = owner_of(seen)
    spec = TrainingRunSpec.model_validate(seen["spec"])
    status = TrainingRunStatus.model_validate(seen.get("status", {}))
    jobs = {job["metadata"]["name"]: job for job in cache.children(owner.uid, "Job")}
    pods = [pod for job in jobs.values() for pod in cache.children(job["metadata"]["uid"], "Pod")]
    why = refused(jobs.values(), pods, view.facts)
    training = _job("training", jobs.get(training_name(name)), pods, why)
    evaluation = _job("evaluation", jobs.get(evaluation_name(name)), pods, why)
    none = JobSeen(component="evaluation", job=None, outcome=job_outcome(None, ()))
    return TrainingRunSeen(
        owner=owner,
        generation=seen["metadata"]["generation"],
        spec=spec,
        status=status,
        data=status.dataset or _pinned(spec, cache.get(names.DATASET.kind, namespace, spec.dataset_ref.name)),
        training=training,
        evaluation=evaluation,
        under_way=training if status.training is None else evaluation if status.evaluation is None else none,
        attempt=attempt(owner, spec, status, lambda: cache.list(names.TRAINING_RUN.kind, namespace)),
        registry=view.facts.model(registered_model(owner, spec, settings))
        if status.terminal_state is None and spec.gate is not None
        else Fact(),
        results=view.results,
        settings=settings,
    )


def _job(
    component: Literal["training", "evaluation"],
    job: Manifest | None,
    pods: Sequence[Manifest],
    why: Mapping[str, str],
) -> JobSeen:
    return JobSeen(component=component, job=job, outcome=job_outcome(job, pods, why))


def _pinned(spec: TrainingRunSpec, found: Manifest | None) -> PinnedDataset | Unpinned:
    """Return what a run can be pinned to; a Dataset that another release wrote may be unreadable."""
    if found is None:
        return pin(spec, None)
    try:
        dataset = DatasetFound(
            spec=DatasetSpec.model_validate(found["spec"]), status=DatasetStatus.model_validate(found.get("status", {}))
        )
    except ValidationError as error:
        what = complaint(error.errors(include_url=False))
        message = f"Dataset {spec.dataset_ref.name} must be changed before it can be read: {what}."
        return Unpinned(reason=reasons.DATASET_NOT_READY, message=message)
    return pin(spec, dataset)
