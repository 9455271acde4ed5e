"""What a TrainingRun's conditions say."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from perennial.api.training_run import TrainingRunStatus
from perennial.plan.actions import Change, Create, Emit, Plan
from perennial.plan.conditions import Mark, mark, progress, settle
from perennial.plan.training_run.observe import TrainingRunSeen

TRAINING = ("Training", "The model is trained.")
STARTED = mark("Running", True, "Started", "The training Job is started; nothing holds it up.")


def going(
    seen: TrainingRunSeen,
    now: datetime,
    status: TrainingRunStatus,
    reason: str,
    message: str,
    *,
    running: Mark | None = None,
    applies: Iterable[Create | Change] = (),
    events: Iterable[Emit] = (),
    requeue_after: float | None = None,
) -> Plan:
    """Return the plan of a run that is on its way: a status with this reason and message, and what it begins."""
    marks = (
        mark("Succeeded", "Unknown", reason, message),
        *stages(status, running),
        *progress(reconciling=(reason, message)),
    )
    return Plan(
        applies=tuple(applies),
        status=settled(seen, now, status, marks),
        events=tuple(events),
        requeue_after=requeue_after,
    )


def stages(status: TrainingRunStatus, running: Mark | None = None) -> tuple[Mark, ...]:
    """Return the marks of the stages: what is said of Running, and what the status knows."""
    if running is None:
        running = (
            mark("Running", False, "Ended", "The training Job has ended.")
            if status.training
            else mark("Running", False, "NotStarted", "The training Job has not started.")
        )
    if status.gate and status.gate.verdict:
        evaluated = mark("Evaluated", True, status.gate.verdict.value, f"The gate says {status.gate.verdict.value}.")
    elif status.model:
        evaluated = mark("Evaluated", True, "Ungated", "There is no gate.")
    else:
        evaluated = mark("Evaluated", False, "NotEvaluated", "The model has not been evaluated.")
    registered = (
        mark("Registered", True, "Registered", f"Version {status.model_version}.")
        if status.model_version
        else mark("Registered", False, "NotRegistered", "No version is registered.")
    )
    return (running, evaluated, registered)


def settled(seen: TrainingRunSeen, now: datetime, status: TrainingRunStatus, marks: Iterable[Mark]) -> dict[str, Any]:
    """Return a status as it is written, with its conditions."""
    conditions = settle(seen.status.conditions, marks, now=now, generation=seen.generation)
    return status.model_copy(update={"observed_generation": seen.generation, "conditions": conditions}).json_data()
