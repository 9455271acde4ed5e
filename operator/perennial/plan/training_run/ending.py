"""How a run ends: registered, or failed; the MLflow run ends with it."""

from datetime import datetime

from perennial.api.training_run import FailureClass, TrainingRunStatus
from perennial.manifests.jobs import JobOutcome
from perennial.plan.actions import Emit, FinishRun, Plan
from perennial.plan.conditions import mark, progress, repeat
from perennial.plan.training_run import record
from perennial.plan.training_run.marks import in_progress, settled, stages
from perennial.plan.training_run.observe import TrainingRunSeen, finish_run, register_version
from perennial.terms import reasons
from perennial.terms.reasons import Reason
from perennial.terms.text import clip

EVENT_LENGTH = 1000
"""So much of a message goes into an Event, which takes 1,024 bytes."""


def close(seen: TrainingRunSeen, now: datetime) -> Plan | None:
    """Close the MLflow run of a run that has ended."""
    if seen.status.terminal_state is None:
        return None
    finish = _unfinished(seen, seen.status)
    if finish is not None:
        return Plan(calls=(finish,))
    status = _closed(seen, seen.status)
    if status.observed_generation != seen.generation:
        # `suspend` was changed, which is nothing to a run that has ended; but that has been seen.
        return Plan(status=settled(seen, now, status, [repeat(item) for item in status.conditions]))
    return Plan(status=status.json_data()) if status is not seen.status else Plan()


def _unfinished(seen: TrainingRunSeen, status: TrainingRunStatus) -> FinishRun | None:
    """Return the call that ends the MLflow run of a status that is terminal, where it has not been tried."""
    finish = finish_run(status)
    return finish if finish is not None and seen.results.result(finish) is None else None


def _closed(seen: TrainingRunSeen, status: TrainingRunStatus) -> TrainingRunStatus:
    """Return a terminal status with its MLflow run ended, if it was; else that is tried again."""
    finish = finish_run(status)
    done = seen.results.result(finish) if finish is not None else None
    if finish is None or done is None or done.value is None:
        return status
    return record.closed(status, finish.status)


def register(seen: TrainingRunSeen, now: datetime) -> Plan | None:
    """Register what passed."""
    return register_as(seen, now, seen.status)


def register_as(seen: TrainingRunSeen, now: datetime, status: TrainingRunStatus) -> Plan:
    """Register what passed, and end the MLflow run with it; only then the run has succeeded."""
    call = register_version(seen.owner, seen.spec, status, seen.settings)
    if seen.spec.suspend:
        held = "The model is registered when spec.suspend is false again."
        return in_progress(seen, now, status, reasons.SUSPENDED, held)
    made = seen.results.result(call)
    if made is None:
        finish = _unfinished(seen, record.succeeded(status, now))
        return Plan(calls=(call, finish) if finish else (call,))
    if made.value is None:
        why = f"MLflow can't register the version: {made.error} It is tried again."
        return in_progress(seen, now, status, reasons.REGISTRY_UNAVAILABLE, why)
    version = made.value["version"]
    succeeded = _closed(seen, record.succeeded(status, now, version))
    message = f"Version {version} of {call.model} is registered."
    marks = (mark("Succeeded", True, reasons.SUCCEEDED, message), *stages(succeeded), *progress())
    event = clip(f"{message} {said(status)}".strip(), EVENT_LENGTH)
    return Plan(
        status=settled(seen, now, succeeded, marks),
        events=(Emit(type="Normal", reason=reasons.SUCCEEDED, message=event, action="Register"),),
    )


def fail(
    seen: TrainingRunSeen,
    now: datetime,
    status: TrainingRunStatus,
    class_: FailureClass,
    message: str,
    *,
    exit_code: int | None = None,
    reason: Reason | None = None,
) -> Plan:
    """End the run, for good; the MLflow run is closed before the failure is told."""
    reason = reason or _FAILURES[class_]
    failed = record.failed(status, class_, exit_code, message, now)
    finish = _unfinished(seen, failed)
    if finish is not None:
        return Plan(calls=(finish,))
    failed = _closed(seen, failed)
    marks = (
        mark("Succeeded", False, reason, clip(message, record.FAILURE_LENGTH)),
        *stages(failed),
        *progress(stalled=(reason, "The run has failed; create another one.")),
    )
    return Plan(
        status=settled(seen, now, failed, marks),
        events=(Emit(type="Warning", reason=reason, message=clip(message, EVENT_LENGTH), action="Judge"),),
    )


_FAILURES: dict[FailureClass, Reason] = {
    FailureClass.SPEC: reasons.SPEC_FAILURE,
    FailureClass.DATA: reasons.DATA_FAILURE,
    FailureClass.APP: reasons.APP_FAILURE,
    FailureClass.OUT_OF_MEMORY: reasons.OUT_OF_MEMORY_FAILURE,
    FailureClass.DEADLINE: reasons.DEADLINE_FAILURE,
    FailureClass.LOST: reasons.LOST_FAILURE,
}


def said(status: TrainingRunStatus) -> str:
    """Return what the gate says of each metric."""
    return " ".join(result.message for result in status.gate.results) if status.gate else ""


def class_of(outcome: JobOutcome) -> FailureClass:
    """Return on whom it lies that a Job has failed."""
    if outcome.reason == reasons.OUT_OF_MEMORY:
        return FailureClass.OUT_OF_MEMORY
    if outcome.reason == reasons.DEADLINE_EXCEEDED:
        return FailureClass.DEADLINE
    return {64: FailureClass.SPEC, 65: FailureClass.DATA, None: FailureClass.LOST}.get(
        outcome.exit_code, FailureClass.APP
    )
