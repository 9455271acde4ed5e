"""Decides what a TrainingRun needs next."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from perennial.api.messages.evaluation import Evaluation, Measured
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
from perennial.manifests.build import changed_job
from perennial.manifests.jobs import ENDED, JobOutcome, JobPhase, job_outcome, sentence
from perennial.manifests.manifest import Manifest
from perennial.plan.actions import Change, Create, Emit, FinishRun, Plan
from perennial.plan.conditions import mark, progress, repeat
from perennial.plan.training_run.gate import judge, overall
from perennial.plan.training_run.marks import STARTED, TRAINING, going, settled, stages
from perennial.plan.training_run.observe import (
    TrainingRunSeen,
    ensure_run,
    evaluation_name,
    finish_run,
    register_version,
    training_name,
)
from perennial.plan.training_run.pin import Unpinned, pin
from perennial.plan.training_run.resources import desired_evaluation, desired_training
from perennial.terms.words import Verdict

CHAMPION = "champion"

HOLDS_STILL = "spec.suspend is true: set it to false to go on."
GOES_ON = "spec.suspend is false again: the run goes on."

QUICK_START = timedelta(seconds=30)
"""How long a pod takes to run at the most, before the wait is worth telling."""

UNDER_WAY = {JobPhase.ABSENT, JobPhase.WAITING, JobPhase.RUNNING}


def plan(seen: TrainingRunSeen, now: datetime) -> Plan:
    """Make the plan.

    In this order:

    1. It has ended: only the MLflow run is still to be closed.
    2. It is suspended: a Job that runs is suspended, too; nothing begins. It no longer is: the Job goes on.
    3. It has not begun: pin the data, or say what it waits for; make the MLflow run; record both.
    4. Training has not ended: there is a Job, which is not changed otherwise; say what holds it up. It failed: the run
       has failed.
    5. The champion to compare with is not known: hold until the registry answers.
    6. Evaluation has not ended: there is a Job. It ended: judge the gate. It failed, or the gate refused: the run has
       failed.
    7. The version is not registered: register it. The run has succeeded.

    What must be known before something begins is recorded before: the pinned data and the MLflow run before training,
    the champion before the comparison. What follows at once is recorded at once, so a run that nothing holds up costs
    three statuses: under way, trained, ended.
    """
    for stage in (_ended, _suspended, _resumed, _not_begun, _in_training, _without_baseline, _in_evaluation):
        decided = stage(seen, now)
        if decided is not None:
            return decided
    return _registering(seen, now)


def _ended(seen: TrainingRunSeen, now: datetime) -> Plan | None:
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


def _suspended(seen: TrainingRunSeen, now: datetime) -> Plan | None:
    """Hold still, but record what has ended anyway.

    A suspended Job forgets when it started, and its deadline begins anew. So the time that training has used up is
    recorded before its Job is suspended, and what is left is the Job's deadline when it goes on.
    """
    job, component = _under_way(seen)
    if not seen.spec.suspend or (job is not None and job_outcome(job, seen.pods).phase in ENDED):
        return None
    applies: tuple[Change, ...] = ()
    events: tuple[Emit, ...] = ()
    status = seen.status
    if status.suspended_time is None:
        used = status.active_seconds + (_active_seconds(job, now) if component == "training" else 0)
        status = status.model_copy(update={"suspended_time": now, "active_seconds": used})
        events = (Emit(type="Normal", reason="Suspended", message=HOLDS_STILL, action="Suspend"),)
    elif job is not None and not _is_suspended(job):
        applies = (Change(manifest=changed_job(job, suspend=True)),)
    running = mark("Running", False, "Suspended", f"The {component} Job is suspended.") if job else None
    marks = (
        mark("Succeeded", "Unknown", "Suspended", HOLDS_STILL),
        *stages(status, running),
        *progress(stalled=("Suspended", HOLDS_STILL)),
    )
    return Plan(applies=applies, status=settled(seen, now, status, marks), events=events)


def _resumed(seen: TrainingRunSeen, now: datetime) -> Plan | None:
    """Go on: recorded before it happens, so that a suspension that follows at once counts the Job's time anew."""
    if seen.spec.suspend:
        return None
    job, component = _under_way(seen)
    if seen.status.suspended_time is not None:
        status = seen.status.model_copy(update={"suspended_time": None})
        event = Emit(type="Normal", reason="Resumed", message=GOES_ON, action="Resume")
        return going(seen, now, status, "Resumed", GOES_ON, events=(event,))
    if job is None or not _is_suspended(job):
        return None
    left = max(1, seen.spec.active_deadline_seconds - seen.status.active_seconds)
    deadline = {"activeDeadlineSeconds": left} if component == "training" else {}
    change = Change(manifest=changed_job(job, suspend=False, **deadline))
    return going(seen, now, seen.status, "Resumed", GOES_ON, applies=(change,))


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


def _unfinished(seen: TrainingRunSeen, status: TrainingRunStatus) -> FinishRun | None:
    """Return the call that ends the MLflow run of a status that is terminal, where it has not been tried."""
    finish = finish_run(status)
    return finish if finish is not None and seen.results.result(finish) is None else None


def _closed(seen: TrainingRunSeen, status: TrainingRunStatus) -> TrainingRunStatus:
    """Return a terminal status with its MLflow run ended, if it was; else that is tried again."""
    finish = finish_run(status)
    done = seen.results.result(finish) if finish is not None else None
    if finish is None or done is None or done.value is None or status.mlflow is None:
        return status
    return status.model_copy(update={"mlflow": status.mlflow.model_copy(update={"state": finish.status})})


def _not_begun(seen: TrainingRunSeen, now: datetime) -> Plan | None:
    if seen.status.mlflow is not None:
        return None
    pinned = seen.status.dataset or pin(seen.spec, seen.dataset)
    if isinstance(pinned, Unpinned):
        return going(seen, now, seen.status, pinned.reason, pinned.message)
    call = ensure_run(seen.owner, seen.spec, seen.settings)
    made = seen.results.result(call)
    if made is None:
        return Plan(calls=(call,))
    status = seen.status.model_copy(update={"dataset": pinned, "start_time": seen.status.start_time or now})
    if made.value is None:
        why = f"MLflow can't make the run: {made.error} It is tried again."
        return going(seen, now, status, "RegistryUnavailable", why)
    run = MLflowRun(experiment_id=made.value["experimentId"], run_id=made.value["runId"])
    return going(seen, now, status.model_copy(update={"mlflow": run}), *TRAINING, running=STARTED)


def _in_training(seen: TrainingRunSeen, now: datetime) -> Plan | None:
    data, run = seen.status.dataset, seen.status.mlflow
    if seen.status.training is not None or data is None or run is None:
        return None
    outcome = job_outcome(seen.training, seen.pods)
    name = training_name(seen.owner.name)
    if outcome.phase in UNDER_WAY:
        applies = (Create(manifest=desired_training(seen, data, run)),) if seen.training is None else ()
        held_up = mark("Running", False, outcome.reason, outcome.message)
        if outcome.phase is JobPhase.WAITING and outcome.reason != "PodPending":
            return going(seen, now, seen.status, outcome.reason, outcome.message, running=held_up)
        patience = _patience(seen.training, outcome, now)
        running = STARTED if patience is None or patience > 0 else held_up
        again = patience if running is STARTED else None
        return going(seen, now, seen.status, *TRAINING, running=running, applies=applies, requeue_after=again)
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
    return _trained(seen, now, ended)


def _patience(job: Manifest | None, outcome: JobOutcome, now: datetime) -> float | None:
    """Return for how many seconds it is no news that a Job's pod does not run yet; None where it is not awaited."""
    if job is None or outcome.phase is not JobPhase.WAITING:
        return None
    since = job.get("status", {}).get("startTime") or job["metadata"]["creationTimestamp"]
    return (datetime.fromisoformat(since) + QUICK_START - now).total_seconds()


def _without_baseline(seen: TrainingRunSeen, now: datetime) -> Plan | None:
    if seen.spec.gate is None or seen.status.gate is not None:
        return None
    return _trained(seen, now, seen.status)


def _trained(seen: TrainingRunSeen, now: datetime, status: TrainingRunStatus) -> Plan:
    """Pin what the model is compared with."""
    if seen.spec.gate is None:
        return going(seen, now, status, "Evaluating", _evaluating(seen, status))
    baseline = None
    if seen.spec.gate.baseline.value != "None":
        model = seen.registry.value
        if seen.registry.error is not None or model is None:
            why = seen.registry.error or "it has not answered yet."
            told = f"The champion to compare with is not known: {why} It is asked again."
            return going(seen, now, status, "RegistryUnavailable", told)
        version = model.aliases.get(CHAMPION)
        known = model.versions.get(version) if version else None
        baseline = GateBaseline(version=version, digest=known.digest if known else None) if version else None
    status = status.model_copy(update={"gate": GateStatus(baseline=baseline)})
    return going(seen, now, status, "Evaluating", _evaluating(seen, status))


def _evaluating(seen: TrainingRunSeen, status: TrainingRunStatus) -> str:
    if seen.spec.gate is None:
        return "The model's digest is taken; there is no gate."
    if status.gate is not None and status.gate.baseline is not None:
        return f"The model is compared with the champion, version {status.gate.baseline.version}, on held-out rows."
    return "The model is evaluated on held-out rows; it is compared with no champion."


def _in_evaluation(seen: TrainingRunSeen, now: datetime) -> Plan | None:
    data, run = seen.status.dataset, seen.status.mlflow
    if seen.status.evaluation is not None or data is None or run is None:
        return None
    baseline = seen.status.gate.baseline if seen.status.gate else None
    outcome = job_outcome(seen.evaluation, seen.pods)
    if outcome.phase in UNDER_WAY:
        applies = (Create(manifest=desired_evaluation(seen, data, run, baseline)),) if seen.evaluation is None else ()
        stuck = outcome.phase is JobPhase.WAITING and outcome.reason != "PodPending"
        evaluating = ("Evaluating", _evaluating(seen, seen.status))
        reason, message = (outcome.reason, outcome.message) if stuck else evaluating
        return going(seen, now, seen.status, reason, message, applies=applies)
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
        return _registered(seen, now, status)
    baseline = status.gate.baseline if status.gate else None
    results = judge(seen.spec.gate, measured, champion=baseline is not None)
    verdict = overall(seen.spec.gate, results)
    status = status.model_copy(update={"gate": GateStatus(verdict=verdict, baseline=baseline, results=results)})
    if verdict is Verdict.PASS:
        return _registered(seen, now, status)
    reason = "GateRejected" if verdict is Verdict.FAIL else "GateUndecided"
    return _failed(seen, now, status, FailureClass.GATE, _told(status), reason=reason)


def _registering(seen: TrainingRunSeen, now: datetime) -> Plan:
    return _registered(seen, now, seen.status)


def _registered(seen: TrainingRunSeen, now: datetime, status: TrainingRunStatus) -> Plan:
    """Register what passed, and end the MLflow run with it; only then the run has succeeded."""
    call = register_version(seen.owner, seen.spec, status, seen.settings)
    if call is None:
        return Plan()
    if seen.spec.suspend:
        return going(seen, now, status, "Suspended", "The model is registered when spec.suspend is false again.")
    made = seen.results.result(call)
    succeeded = status.model_copy(update={"terminal_state": TerminalState.SUCCEEDED, "completion_time": now})
    if made is None:
        finish = _unfinished(seen, succeeded)
        return Plan(calls=(call, finish) if finish else (call,))
    if made.value is None:
        why = f"MLflow can't register the version: {made.error} It is tried again."
        return going(seen, now, status, "RegistryUnavailable", why)
    version = made.value["version"]
    succeeded = _closed(seen, succeeded.model_copy(update={"model_version": version}))
    message = f"Version {version} of {call.model} is registered."
    marks = (mark("Succeeded", True, "Succeeded", message), *stages(succeeded), *progress())
    told = f"{message} {_told(status)}".strip()[:1000]
    return Plan(
        status=settled(seen, now, succeeded, marks),
        events=(Emit(type="Normal", reason="Succeeded", message=told, action="Register"),),
    )


def _told(status: TrainingRunStatus) -> str:
    """Return what the gate says of each metric."""
    return " ".join(result.message for result in status.gate.results) if status.gate else ""


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
    finish = _unfinished(seen, failed)
    if finish is not None:
        return Plan(calls=(finish,))
    failed = _closed(seen, failed)
    marks = (
        mark("Succeeded", False, reason, message[:2048]),
        *stages(failed),
        *progress(stalled=(reason, "The run has failed; create another one.")),
    )
    return Plan(
        status=settled(seen, now, failed, marks),
        events=(Emit(type="Warning", reason=reason, message=message[:1000], action="Judge"),),
    )
