"""What is written into a TrainingRun's status: each step of a run, by its name.

The only place where a status is copied. Values are validated, and texts cut to what the CRD takes.
"""

from datetime import datetime

from perennial.api.messages.evaluation import Evaluation
from perennial.api.training_run import (
    Failure,
    FailureClass,
    GateBaseline,
    GateStatus,
    JobState,
    MLflowRun,
    PinnedDataset,
    TerminalState,
    TrainedModel,
    TrainingRunStatus,
)
from perennial.terms.finding import Finding
from perennial.terms.kube import Condition
from perennial.terms.text import clip
from perennial.terms.words import Verdict

FAILURE_LENGTH = 2048
"""So long is a failure's message at the most."""


def began(status: TrainingRunStatus, data: PinnedDataset, now: datetime) -> TrainingRunStatus:
    """Record the data that the run is pinned to."""
    return status.but(dataset=data, start_time=now)


def tracked(status: TrainingRunStatus, experiment_id: str, run_id: str) -> TrainingRunStatus:
    """Record the MLflow run that the script logs to."""
    return status.but(mlflow=MLflowRun(experiment_id=experiment_id, run_id=run_id))


def suspended(status: TrainingRunStatus, used_seconds: int, now: datetime) -> TrainingRunStatus:
    """Record that the run holds still, and how much of its deadline training has used up."""
    return status.but(suspended_time=now, active_seconds=used_seconds)


def resumed(status: TrainingRunStatus) -> TrainingRunStatus:
    """Record that the run goes on."""
    return status.but(suspended_time=None)


def trained(status: TrainingRunStatus, job: str, now: datetime) -> TrainingRunStatus:
    """Record that the training Job has ended: it never runs again."""
    return status.but(training=JobState(name=job, finished_time=now))


def compared(status: TrainingRunStatus, baseline: GateBaseline | None, attempt: int) -> TrainingRunStatus:
    """Record what the model is compared with, and how often the model was held against these rows."""
    return status.but(gate=GateStatus(baseline=baseline, attempt=attempt))


def evaluation_ended(status: TrainingRunStatus, job: str, now: datetime) -> TrainingRunStatus:
    """Record that the evaluation Job has ended."""
    return status.but(evaluation=JobState(name=job, finished_time=now))


def evaluated(status: TrainingRunStatus, report: Evaluation) -> TrainingRunStatus:
    """Record what the script logged."""
    return status.but(
        model=TrainedModel(source=report.source, digest=report.digest, logged_as=report.logged_as, logged=report.logged)
    )


def judged(status: TrainingRunStatus, verdict: Verdict, results: tuple[Finding, ...]) -> TrainingRunStatus:
    """Record how the gate decided."""
    assert status.gate is not None
    return status.but(gate=status.gate.but(verdict=verdict, results=results))


def succeeded(status: TrainingRunStatus, now: datetime, version: str | None = None) -> TrainingRunStatus:
    """Record that the run has become a version, for good."""
    return status.but(terminal_state=TerminalState.SUCCEEDED, completion_time=now, model_version=version)


def failed(
    status: TrainingRunStatus, class_: FailureClass, exit_code: int | None, message: str, now: datetime
) -> TrainingRunStatus:
    """Record why the run has failed, for good."""
    failure = Failure(class_=class_, exit_code=exit_code, message=clip(message, FAILURE_LENGTH))
    return status.but(terminal_state=TerminalState.FAILED, completion_time=now, failure=failure)


def closed(status: TrainingRunStatus, state: str) -> TrainingRunStatus:
    """Record that the MLflow run has ended as the TrainingRun did."""
    assert status.mlflow is not None
    return status.but(mlflow=status.mlflow.but(state=state))


def described(status: TrainingRunStatus, conditions: tuple[Condition, ...], generation: int) -> TrainingRunStatus:
    """Record the conditions, and the spec that they speak of."""
    return status.but(observed_generation=generation, conditions=conditions)
