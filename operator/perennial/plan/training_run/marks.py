"""What a TrainingRun's conditions say."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from perennial.api.training_run import TrainedModel, TrainingRunStatus
from perennial.manifests.jobs import JobPhase
from perennial.plan.actions import Change, Create, Emit, Plan
from perennial.plan.conditions import Mark, mark, progress, settle
from perennial.plan.training_run import record
from perennial.plan.training_run.observe import TrainingRunSeen
from perennial.terms import reasons
from perennial.terms.words import Verdict

TRAINING = (reasons.TRAINING, "The model is trained.")
STARTED = mark("Running", True, reasons.STARTED, "The training Job is started; nothing holds it up.")

UNDER_WAY = frozenset({JobPhase.ABSENT, JobPhase.WAITING, JobPhase.RUNNING})
"""Phases of a Job that has not ended."""


BY_VERDICT = {Verdict.PASS: reasons.GATE_PASSED, Verdict.FAIL: reasons.GATE_REJECTED}
"""Why a run may go on, or not; any other verdict leaves that open."""


def in_progress(
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
            mark("Running", False, reasons.ENDED, "The training Job has ended.")
            if status.training
            else mark("Running", False, reasons.NOT_STARTED, "The training Job has not started.")
        )
    if status.gate and status.gate.verdict:
        evaluated = mark(
            "Evaluated",
            True,
            BY_VERDICT.get(status.gate.verdict, reasons.GATE_UNDECIDED),
            f"The gate says {status.gate.verdict.value}.{_which(status.model)}",
        )
    elif status.model:
        evaluated = mark("Evaluated", True, reasons.UNGATED, f"There is no gate.{_which(status.model)}")
    else:
        evaluated = mark("Evaluated", False, reasons.NOT_EVALUATED, "The model has not been evaluated.")
    registered = (
        mark("Registered", True, reasons.REGISTERED, f"Version {status.model_version}.")
        if status.model_version
        else mark("Registered", False, reasons.NOT_REGISTERED, "No version is registered.")
    )
    return (running, evaluated, registered)


def _which(model: TrainedModel | None) -> str:
    """Return which model it was, where the script logged several under the same name."""
    if model is None or model.logged == 1:
        return ""
    return f" The script logged {model.logged} models named {model.logged_as}: this is the last."


def settled(seen: TrainingRunSeen, now: datetime, status: TrainingRunStatus, marks: Iterable[Mark]) -> dict[str, Any]:
    """Return a status as it is written, with its conditions."""
    conditions = settle(seen.status.conditions, marks, now=now, generation=seen.generation)
    return record.described(status, conditions, seen.generation).json_data()
