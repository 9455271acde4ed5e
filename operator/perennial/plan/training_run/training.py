"""The training Job: started, waited for, and what is said of its failure."""

from datetime import datetime, timedelta

from perennial.api.training_run import FailureClass
from perennial.manifests.jobs import JobOutcome, JobPhase, sentence
from perennial.manifests.manifest import Manifest
from perennial.plan.actions import Create, Plan
from perennial.plan.conditions import mark
from perennial.plan.training_run import record
from perennial.plan.training_run.comparing import compare
from perennial.plan.training_run.ending import class_of, fail
from perennial.plan.training_run.marks import STARTED, TRAINING, UNDER_WAY, in_progress
from perennial.plan.training_run.observe import TrainingRunSeen, training_name
from perennial.plan.training_run.resources import desired_training
from perennial.terms import reasons

QUICK_START = timedelta(seconds=30)
"""How long a pod takes to run at the most, before the wait is worth telling."""

OTHER_EXPERIMENT = "matches experiment set with set_experiment()"
"""What MLflow (tracking/fluent.py) says to a script that sets an experiment beside the run of the environment."""


def train(seen: TrainingRunSeen, now: datetime) -> Plan | None:
    """Start the training Job, and say what holds it up."""
    if seen.status.training is not None or seen.training.outcome.phase not in UNDER_WAY:
        return None
    outcome = seen.training.outcome
    applies = (Create(manifest=desired_training(seen)),) if seen.training.job is None else ()
    held_up = mark("Running", False, outcome.reason, outcome.message)
    if outcome.phase is JobPhase.WAITING and outcome.reason != reasons.POD_PENDING:
        return in_progress(seen, now, seen.status, outcome.reason, outcome.message, running=held_up)
    patience = _patience(seen.training.job, outcome, now)
    running = STARTED if patience is None or patience > 0 else held_up
    again = patience if running is STARTED else None
    return in_progress(seen, now, seen.status, *TRAINING, running=running, applies=applies, requeue_after=again)


def _patience(job: Manifest | None, outcome: JobOutcome, now: datetime) -> float | None:
    """Return for how many seconds it is no news that a Job's pod does not run yet; None where it is not awaited."""
    if job is None or outcome.phase is not JobPhase.WAITING:
        return None
    since = job.get("status", {}).get("startTime") or job["metadata"]["creationTimestamp"]
    return (datetime.fromisoformat(since) + QUICK_START - now).total_seconds()


def end_training(seen: TrainingRunSeen, now: datetime) -> Plan | None:
    """Record that training has ended; the run fails if it did."""
    if seen.status.training is not None:
        return None
    outcome = seen.training.outcome
    if outcome.phase is JobPhase.FAILED and outcome.awaits_words(now):
        return Plan(requeue_after=1)
    ended = record.trained(seen.status, training_name(seen.owner.name), now)
    if outcome.phase is JobPhase.FAILED:
        what = f"Training failed ({outcome.reason}): {sentence(outcome.error())}{_advice(outcome)}"
        return fail(seen, now, ended, class_of(outcome), what, exit_code=outcome.exit_code)
    return compare(seen, now, ended)


def _advice(outcome: JobOutcome) -> str:
    """Return what to do, where the script can't have said it."""
    if OTHER_EXPERIMENT in (outcome.output or ""):
        return (
            " Remove mlflow.set_experiment(…) from the script, or call it only where MLFLOW_RUN_ID is not set: "
            "Perennial has made the run, in an experiment of the model's name, and names both in the environment."
        )
    return {
        FailureClass.OUT_OF_MEMORY: " Raise spec.trainer.resources.limits.memory.",
        FailureClass.DEADLINE: " Raise spec.activeDeadlineSeconds, or remove what kept it waiting.",
    }.get(class_of(outcome), "")
