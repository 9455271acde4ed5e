"""Decides what a TrainingRun needs next."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from perennial.api.training_run import (
    Failure,
    FailureClass,
    GateBaseline,
    GateStatus,
    JobState,
    MLflowRun,
    TerminalState,
    TrainedModel,
    TrainingRunStatus,
)
from perennial.api.wire import Verdict
from perennial.plan.actions import Apply, Emit, Manifest, Plan
from perennial.plan.children import changed_job
from perennial.plan.conditions import Mark, mark, progress, repeat, settle
from perennial.plan.jobs import ENDED, JobOutcome, JobPhase, job_outcome, sentence
from perennial.plan.training_run.gate import judge, overall
from perennial.plan.training_run.observe import (
    TrainingRunSeen,
    ensure_run,
    evaluation_name,
    finish_run,
    register_version,
    training_name,
)
from perennial.plan.training_run.pin import Unpinned, pin
from perennial.plan.training_run.report import Evaluation, Measured
from perennial.plan.training_run.resources import desired_evaluation, desired_training

CHAMPION = "champion"

HOLDS_STILL = "spec.suspend is true: set it to false to go on."
GOES_ON = "spec.suspend is false again: the run goes on."

UNDER_WAY = {JobPhase.ABSENT, JobPhase.WAITING, JobPhase.RUNNING}


def plan(seen: TrainingRunSeen, now: datetime) -> Plan:
    """Make the plan.

    In this order:

    1. It has ended: only the MLflow run is still to be closed.
    2. It is suspended: a Job that runs is suspended, too; nothing begins. It no longer is: the Job goes on.
    3. The data is not pinned: pin it, or say what it waits for.
    4. There is no MLflow run: make one.
    5. Training has not ended: there is a Job, which is not changed otherwise; say where it is. It failed: the run has
       failed.
    6. The champion to compare with is not known: hold until the registry answers.
    7. Evaluation has not ended: there is a Job. It ended: judge the gate. It failed, or the gate refused: the run has
       failed.
    8. The version is not registered: register it. The run has succeeded.
    """
    for stage in (
        *(_ended, _suspended, _resumed),
        *(_unpinned, _without_run, _in_training, _without_baseline, _in_evaluation),
    ):
        decided = stage(seen, now)
        if decided is not None:
            return decided
    return _registering(seen, now)


def _ended(seen: TrainingRunSeen, now: datetime) -> Plan | None:
    if seen.status.terminal_state is None:
        return None
    status, finish = seen.status, finish_run(seen.status)
    if finish is not None and seen.finished is None:
        return Plan(calls=(finish,))
    if finish is not None and seen.finished is not None and seen.finished.value is not None and status.mlflow:
        status = status.model_copy(update={"mlflow": status.mlflow.model_copy(update={"state": finish.status})})
    if status.observed_generation != seen.generation:
        # `suspend` was changed, which is nothing to a run that has ended; but that has been seen.
        return Plan(status=_settled(seen, now, status, [repeat(item) for item in status.conditions]))
    return Plan(status=status.json_data()) if status is not seen.status else Plan()


def _suspended(seen: TrainingRunSeen, now: datetime) -> Plan | None:
    """Hold still, but record what has ended anyway.

    A suspended Job forgets when it started, and its deadline begins anew. So the time that training has used up is
    recorded before its Job is suspended, and what is left is the Job's deadline when it goes on.
    """
    job, component = _under_way(seen)
    if not seen.spec.suspend or (job is not None and job_outcome(job, seen.pods).phase in ENDED):
        return None
    applies: tuple[Apply, ...] = ()
    events: tuple[Emit, ...] = ()
    status = seen.status
    if status.suspended_time is None:
        used = status.active_seconds + (_active_seconds(job, now) if component == "training" else 0)
        status = status.model_copy(update={"suspended_time": now, "active_seconds": used})
        events = (Emit(type="Normal", reason="Suspended", message=HOLDS_STILL, action="Suspend"),)
    elif job is not None and not _is_suspended(job):
        applies = (Apply(manifest=changed_job(job, seen.owner, component, suspend=True)),)
    running = mark("Running", False, "Suspended", f"The {component} Job is suspended.") if job else None
    marks = (
        mark("Succeeded", "Unknown", "Suspended", HOLDS_STILL),
        *_stages(status, running),
        *progress(stalled=("Suspended", HOLDS_STILL)),
    )
    return Plan(applies=applies, status=_settled(seen, now, status, marks), events=events)


def _resumed(seen: TrainingRunSeen, now: datetime) -> Plan | None:
    """Go on: recorded before it happens, so that a suspension that follows at once counts the Job's time anew."""
    if seen.spec.suspend:
        return None
    job, component = _under_way(seen)
    if seen.status.suspended_time is not None:
        status = seen.status.model_copy(update={"suspended_time": None})
        event = Emit(type="Normal", reason="Resumed", message=GOES_ON, action="Resume")
        return _going(seen, now, status, "Resumed", GOES_ON, events=(event,))
    if job is None or not _is_suspended(job):
        return None
    left = max(1, seen.spec.active_deadline_seconds - seen.status.active_seconds)
    deadline = {"activeDeadlineSeconds": left} if component == "training" else {}
    change = Apply(manifest=changed_job(job, seen.owner, component, suspend=False, **deadline))
    return _going(seen, now, seen.status, "Resumed", GOES_ON, applies=(change,))


def _under_way(seen: TrainingRunSeen) -> tuple[Manifest | None, str]:
    """Return the Job whose end is not recorded yet, if it is there, and its component."""
    if seen.status.training is None:
        return seen.training, "training"
    return (seen.evaluation if seen.status.evaluation is None else None), "evaluation"


def _is_suspended(job: Manifest) -> bool:
    return bool(job["spec"].get("suspend", False))


def _active_seconds(job: Manifest | None, now: datetime) -> int:
    """Return how much of its deadline a Job has used up since it was started or resumed."""
    started = (job or {}).get("status", {}).get("startTime")
    return max(0, int((now - datetime.fromisoformat(started)).total_seconds())) if started else 0


def _unpinned(seen: TrainingRunSeen, now: datetime) -> Plan | None:
    if seen.status.dataset is not None:
        return None
    pinned = pin(seen.spec, seen.dataset)
    if isinstance(pinned, Unpinned):
        return _hold(seen, now, pinned.reason, pinned.message)
    status = seen.status.model_copy(update={"dataset": pinned, "start_time": now})
    return _going(seen, now, status, "Pinned", f"Pinned to {pinned.digest[:19]}…; the MLflow run is made.")


def _without_run(seen: TrainingRunSeen, now: datetime) -> Plan | None:
    if seen.status.mlflow is not None:
        return None
    if seen.run is None:
        return Plan(calls=(ensure_run(seen.owner, seen.spec),))
    if seen.run.value is None:
        return _hold(
            seen, now, "RegistryUnavailable", f"MLflow can't make the run: {seen.run.error} It is tried again."
        )
    run = MLflowRun(experiment_id=seen.run.value["experimentId"], run_id=seen.run.value["runId"])
    status = seen.status.model_copy(update={"mlflow": run})
    return _going(seen, now, status, "Training", "The training Job is started.")


def _in_training(seen: TrainingRunSeen, now: datetime) -> Plan | None:
    data, run = seen.status.dataset, seen.status.mlflow
    if seen.status.training is not None or data is None or run is None:
        return None
    outcome = job_outcome(seen.training, seen.pods)
    name = training_name(seen.owner.name)
    if outcome.phase in UNDER_WAY:
        applies = (Apply(manifest=desired_training(seen, data, run)),) if seen.training is None else ()
        stuck = outcome.phase is JobPhase.WAITING and outcome.reason != "PodPending"
        running = mark(
            "Running",
            outcome.phase is JobPhase.RUNNING,
            outcome.reason or "Starting",
            outcome.message or "The Job is started.",
        )
        reason, message = (outcome.reason, outcome.message) if stuck else ("Training", "The training Job runs.")
        return _going(seen, now, seen.status, reason, message, running=running, applies=applies)
    if outcome.phase is JobPhase.FAILED and outcome.awaits_words(now):
        return Plan(requeue_after=1)
    ended = seen.status.model_copy(update={"training": JobState(name=name, finished_time=now)})
    if outcome.phase is JobPhase.FAILED:
        return _failed(
            seen,
            now,
            ended,
            _class_of(outcome),
            f"Training failed ({outcome.reason}): {sentence(outcome.error())}{_advice(outcome)}",
            exit_code=outcome.exit_code,
        )
    return _going(seen, now, ended, "Trained", "Training is complete; the model is evaluated next.")


def _without_baseline(seen: TrainingRunSeen, now: datetime) -> Plan | None:
    if seen.spec.gate is None or seen.status.gate is not None:
        return None
    if seen.spec.gate.baseline.value == "None":
        return _going(
            seen, now, seen.status.model_copy(update={"gate": GateStatus()}), "Evaluating", "The model is evaluated."
        )
    model = seen.registry.value
    if seen.registry.error is not None or model is None:
        why = seen.registry.error or "it has not answered yet."
        return _hold(
            seen, now, "RegistryUnavailable", f"The champion to compare with is not known: {why} It is asked again."
        )
    version = model.aliases.get(CHAMPION)
    known = model.versions.get(version) if version else None
    baseline = GateBaseline(version=version, digest=known.digest if known else None) if version else None
    status = seen.status.model_copy(update={"gate": GateStatus(baseline=baseline)})
    against = (
        f"compared with the champion, version {version}"
        if version
        else "evaluated; there is no champion to compare with"
    )
    return _going(seen, now, status, "Evaluating", f"The model is {against}.")


def _in_evaluation(seen: TrainingRunSeen, now: datetime) -> Plan | None:
    data, run = seen.status.dataset, seen.status.mlflow
    if seen.status.evaluation is not None or data is None or run is None:
        return None
    baseline = seen.status.gate.baseline if seen.status.gate else None
    outcome = job_outcome(seen.evaluation, seen.pods)
    if outcome.phase in UNDER_WAY:
        applies = (Apply(manifest=desired_evaluation(seen, data, run, baseline)),) if seen.evaluation is None else ()
        stuck = outcome.phase is JobPhase.WAITING and outcome.reason != "PodPending"
        reason, message = (
            (outcome.reason, outcome.message) if stuck else ("Evaluating", "The model is evaluated on held-out rows.")
        )
        return _going(seen, now, seen.status, reason, message, applies=applies)
    if outcome.awaits_words(now):
        return Plan(requeue_after=1)
    ended = seen.status.model_copy(
        update={"evaluation": JobState(name=evaluation_name(seen.owner.name), finished_time=now)}
    )
    report = outcome.report(Evaluation)
    if report is None:
        class_ = FailureClass.LOST if outcome.phase is JobPhase.COMPLETE else _class_of(outcome)
        what = outcome.error() or "the Job left no result"
        return _failed(seen, now, ended, class_, f"Evaluation failed: {what}", exit_code=outcome.exit_code)
    ended = ended.model_copy(update={"model": TrainedModel(source=report.source, digest=report.digest)})
    return _judged(seen, now, ended, report.results)


def _judged(seen: TrainingRunSeen, now: datetime, status: TrainingRunStatus, measured: Sequence[Measured]) -> Plan:
    if seen.spec.gate is None:
        return _going(seen, now, status, "Registering", "There is no gate; the model is registered.")
    baseline = status.gate.baseline if status.gate else None
    results = judge(seen.spec.gate, measured, champion=baseline is not None)
    verdict = overall(seen.spec.gate, results)
    status = status.model_copy(update={"gate": GateStatus(verdict=verdict, baseline=baseline, results=results)})
    told = " ".join(result.message for result in results)
    if verdict is Verdict.PASS:
        event = Emit(type="Normal", reason="GatePassed", message=told[:1000], action="Judge")
        return _going(seen, now, status, "Registering", "The gate passed; the model is registered.", events=(event,))
    reason = "GateRejected" if verdict is Verdict.FAIL else "GateUndecided"
    return _failed(seen, now, status, FailureClass.GATE, told, reason=reason)


def _registering(seen: TrainingRunSeen, now: datetime) -> Plan:
    call = register_version(seen.owner, seen.spec, seen.status)
    if seen.registered is None or call is None:
        return Plan(calls=(call,) if call else ())
    if seen.registered.value is None:
        why = f"MLflow can't register the version: {seen.registered.error} It is tried again."
        return _hold(seen, now, "RegistryUnavailable", why)
    version = seen.registered.value["version"]
    message = f"Version {version} of {seen.spec.model.name} is registered."
    status = seen.status.model_copy(
        update={"model_version": version, "terminal_state": TerminalState.SUCCEEDED, "completion_time": now}
    )
    marks = (mark("Succeeded", True, "Succeeded", message), *_stages(status), *progress())
    return Plan(
        status=_settled(seen, now, status, marks),
        events=(Emit(type="Normal", reason="Succeeded", message=message, action="Register"),),
    )


def _class_of(outcome: JobOutcome) -> FailureClass:
    if outcome.reason == "OutOfMemory":
        return FailureClass.OUT_OF_MEMORY
    if outcome.reason == "DeadlineExceeded":
        return FailureClass.DEADLINE
    return {64: FailureClass.SPEC, 65: FailureClass.DATA, None: FailureClass.LOST}.get(
        outcome.exit_code, FailureClass.APP
    )


def _advice(outcome: JobOutcome) -> str:
    """Return what to do, where the script can't have said it."""
    return {
        FailureClass.OUT_OF_MEMORY: " Raise spec.trainer.resources.limits.memory.",
        FailureClass.DEADLINE: " Raise spec.activeDeadlineSeconds, or remove what kept it waiting.",
    }.get(_class_of(outcome), "")


def _failed(
    seen: TrainingRunSeen,
    now: datetime,
    status: TrainingRunStatus,
    class_: FailureClass,
    message: str,
    *,
    exit_code: int | None = None,
    reason: str | None = None,
) -> Plan:
    reason = reason or f"{class_.value}Failure"
    failed = status.model_copy(
        update={
            "terminal_state": TerminalState.FAILED,
            "completion_time": now,
            "failure": Failure(class_=class_, exit_code=exit_code, message=message[:2048]),
        }
    )
    marks = (
        mark("Succeeded", False, reason, message[:2048]),
        *_stages(failed),
        *progress(stalled=(reason, "The run has failed; create another one.")),
    )
    return Plan(
        status=_settled(seen, now, failed, marks),
        events=(Emit(type="Warning", reason=reason, message=message[:1000], action="Judge"),),
    )


def _hold(seen: TrainingRunSeen, now: datetime, reason: str, message: str) -> Plan:
    """What is missing may come any time: say what, keep what is known."""
    return _going(seen, now, seen.status, reason, message)


def _going(
    seen: TrainingRunSeen,
    now: datetime,
    status: TrainingRunStatus,
    reason: str,
    message: str,
    *,
    running: Mark | None = None,
    applies: Iterable[Apply] = (),
    events: Iterable[Emit] = (),
) -> Plan:
    marks = (
        mark("Succeeded", "Unknown", reason, message),
        *_stages(status, running),
        *progress(reconciling=(reason, message)),
    )
    return Plan(applies=tuple(applies), status=_settled(seen, now, status, marks), events=tuple(events))


def _stages(status: TrainingRunStatus, running: Mark | None = None) -> tuple[Mark, ...]:
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


def _settled(seen: TrainingRunSeen, now: datetime, status: TrainingRunStatus, marks: Iterable[Mark]) -> dict[str, Any]:
    conditions = settle(seen.status.conditions, marks, now=now, generation=seen.generation)
    return status.model_copy(update={"observed_generation": seen.generation, "conditions": conditions}).json_data()
