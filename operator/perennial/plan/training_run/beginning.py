"""Pinning the data, and making the MLflow run that the script logs to."""

from datetime import datetime

from perennial.plan.actions import Plan
from perennial.plan.training_run import record
from perennial.plan.training_run.marks import STARTED, TRAINING, in_progress
from perennial.plan.training_run.observe import TrainingRunSeen, ensure_run
from perennial.plan.training_run.pin import Unpinned
from perennial.terms import reasons


def await_data(seen: TrainingRunSeen, now: datetime) -> Plan | None:
    """Say what the run waits for, if its data can't be pinned yet."""
    if seen.status.mlflow is not None or not isinstance(seen.data, Unpinned):
        return None
    return in_progress(seen, now, seen.status, seen.data.reason, seen.data.message)


def make_run(seen: TrainingRunSeen, now: datetime) -> Plan | None:
    """Make the MLflow run; record it together with the pinned data, before the Job is there."""
    if seen.status.mlflow is not None or isinstance(seen.data, Unpinned):
        return None
    call = ensure_run(seen.owner, seen.spec, seen.settings)
    made = seen.results.result(call)
    if made is None:
        return Plan(calls=(call,))
    status = seen.status if seen.status.start_time else record.began(seen.status, seen.data, now)
    if made.value is None:
        why = f"MLflow can't make the run: {made.error} It is tried again."
        return in_progress(seen, now, status, reasons.REGISTRY_UNAVAILABLE, why)
    status = record.tracked(status, made.value["experimentId"], made.value["runId"])
    return in_progress(seen, now, status, *TRAINING, running=STARTED)
