"""Given what is seen of a TrainingRun, then this plan: every decision of the planner at least once."""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from given import (
    DATASET_SPEC,
    DIGEST,
    EVALUATED,
    MLFLOW,
    MODEL,
    NAMESPACE,
    NOW,
    OTHER_DIGEST,
    PINNED,
    READY_STATUS,
    RUN_SPEC,
    SETTINGS,
    TRAINED,
    World,
    applied,
    condition,
    conditions,
    dataset,
    effects,
    evaluation,
    given,
    job,
    message,
    planned,
    pod,
    recorded,
    registry,
    training_run,
)

from perennial.plan.actions import EnsureRun, FinishRun, Plan, RegisterVersion
from perennial.plan.observed import CallResult, Fact
from perennial.plan.training_run import observe

STARTED = {"dataset": PINNED, "startTime": "2026-03-01T11:00:00Z"}
WITH_RUN = {**STARTED, "mlflow": MLFLOW}
WAS_TRAINED = {**WITH_RUN, "training": TRAINED}
COMPARED = {**WAS_TRAINED, "gate": {"baseline": {"version": "3", "digest": OTHER_DIGEST}}}
UNCOMPARED = {**WAS_TRAINED, "gate": {}}
PASSED = {**WAS_TRAINED, "evaluation": EVALUATED, "model": MODEL, "gate": {"verdict": "Pass"}}
SEEN = {"observedGeneration": 1, "conditions": [condition("Succeeded", "False", "AppFailure")]}
FAILED = {**WITH_RUN, **SEEN, "terminalState": "Failed", "completionTime": "2026-03-01T11:30:00Z"}
SUCCEEDED = {
    **PASSED,
    **SEEN,
    "modelVersion": "4",
    "terminalState": "Succeeded",
    "completionTime": "2026-03-01T11:45:00Z",
}

OTHER_EXPERIMENT = (
    "Cannot start run with ID abc123 because active experiment ID does not match environment run ID. Make sure "
    "--experiment-name or --experiment-id matches experiment set with set_experiment(), or just use command-line "
    "arguments"
)
"""MLflow 3.17's words."""

RUN_MADE = (EnsureRun, CallResult(value={"experimentId": "4", "runId": "abc123"}))
REGISTERED = (RegisterVersion, CallResult(value={"version": "4"}))
CLOSED = (FinishRun, CallResult(value={}))
MLFLOW_DOWN = CallResult(error="MLflow does not answer (timeout after 5 s).")
DATA = dataset(READY_STATUS)


def world(status: Mapping[str, Any] | None = None, *, spec: Mapping[str, Any] | None = None, **parts: Any) -> World:
    return given(training_run(status, **(spec or {})), DATA, **parts)


def over_data(data: Mapping[str, Any] | None, **spec: Any) -> World:
    """Return the world of a run that has just been created, over a Dataset (or none)."""
    return given(training_run(**spec), *([dict(data)] if data else []), results=(RUN_MADE,))


def with_job(status: Mapping[str, Any], name: str, *, ended: str = "", reason: str = "", **how: Any) -> World:
    """Return the world in which a Job of the run is as `how` its pod is."""
    subject = training_run(status)
    run = job(subject, f"run-1-{name}", ended=ended, reason=reason)
    return given(
        subject,
        DATA,
        run,
        *([pod(run, **how)] if how else []),
        registry=registry({"champion": "3"}),
        results=(CLOSED,),
    )


def trained(**how: Any) -> World:
    return with_job(WITH_RUN, "train", ended="Failed", reason="PodFailurePolicy", **how)


def judged(report: Mapping[str, Any], status: Mapping[str, Any] = COMPARED, **spec: Any) -> World:
    subject = training_run(status, **spec)
    run = job(subject, "run-1-evaluate", ended="Complete")
    return given(subject, DATA, run, pod(run, said=report, exit_code=0), results=(REGISTERED, CLOSED))


def reported(**fields: Any) -> dict[str, Any]:
    """Return a report of 10 rows of one day, 5 wrong with either model, with something changed in it."""
    report = evaluation(10, 5, 5)
    return {**report, "results": [report["results"][0] | fields]}


def without_gate(status: Mapping[str, Any]) -> World:
    return given(training_run(status, gate=None), DATA)


@pytest.mark.parametrize(
    ("world", "does", "succeeded"),
    [
        # 1. it has ended
        pytest.param(world(SUCCEEDED), ["call FinishRun"], None, id="succeeded: close the MLflow run"),
        pytest.param(world(FAILED), ["call FinishRun"], None, id="failed: close the MLflow run"),
        pytest.param(world(FAILED, results=((FinishRun, MLFLOW_DOWN),)), [], None, id="MLflow is down: wait"),
        pytest.param(
            world({**FAILED, "mlflow": {**MLFLOW, "state": "FAILED"}}), [], None, id="nothing is left to be closed"
        ),
        # 2. the data
        pytest.param(over_data(None), [], "Unknown DatasetNotFound", id="there is no such Dataset"),
        pytest.param(over_data(dataset()), [], "Unknown DatasetNotReady", id="the Dataset has no version yet"),
        pytest.param(
            over_data(dataset({**READY_STATUS, "conditions": []})),
            [],
            "Unknown DatasetNotReady",
            id="the Dataset was not looked at yet",
        ),
        pytest.param(
            over_data(DATA, datasetRef={"name": "flights", "digest": OTHER_DIGEST}),
            [],
            "Unknown VersionNotFound",
            id="the Dataset keeps no such version",
        ),
        pytest.param(
            over_data(dataset({**READY_STATUS, "conditions": []}), datasetRef={"name": "flights", "digest": DIGEST}),
            [],
            "Unknown Training",
            id="a version that is named may be used whatever the Dataset is now",
        ),
        pytest.param(over_data(dataset(READY_STATUS, split=None)), [], "Unknown NothingHeldOut", id="no split"),
        pytest.param(
            over_data(dataset(READY_STATUS, split=None), gate=None, window=None),
            [],
            "Unknown Training",
            id="no split is needed without a gate",
        ),
        pytest.param(
            over_data(
                dataset(READY_STATUS, split=None, schema={**DATASET_SPEC["schema"], "time": None}),
                gate=None,
            ),
            [],
            "Unknown NoEventTime",
            id="a window needs an event time",
        ),
        pytest.param(
            over_data(DATA, window={"lastSeconds": 3600}), [], "Unknown WindowTooShort", id="the window is too short"
        ),
        pytest.param(over_data(DATA), [], "Unknown Training", id="the version that is ready is pinned"),
        # 3. the MLflow run
        pytest.param(world(), ["call EnsureRun"], None, id="there is no MLflow run: make one"),
        pytest.param(
            world(results=((EnsureRun, MLFLOW_DOWN),)),
            [],
            "Unknown RegistryUnavailable",
            id="MLflow is down: say so, hold",
        ),
        pytest.param(world(STARTED), ["call EnsureRun"], None, id="the data was pinned while MLflow was down"),
        pytest.param(world(STARTED, results=(RUN_MADE,)), [], "Unknown Training", id="the MLflow run is made"),
        # 4. training
        pytest.param(world(WITH_RUN), ["apply Job run-1-train"], "Unknown Training", id="no Job: start it"),
        pytest.param(with_job(WITH_RUN, "train"), [], "Unknown Training", id="the Job has no pod yet"),
        pytest.param(with_job(WITH_RUN, "train", seconds_old=3), [], "Unknown Training", id="training runs"),
        pytest.param(
            with_job(WITH_RUN, "train", waiting="ErrImagePull"), [], "Unknown ImageNotPulled", id="no such image"
        ),
        pytest.param(
            with_job(WITH_RUN, "train", unschedulable="0/3 nodes are available"),
            [],
            "Unknown NotScheduled",
            id="no node",
        ),
        pytest.param(
            with_job(WITH_RUN, "train", waiting="CreateContainerConfigError", init=True),
            [],
            "Unknown ContainerNotCreated",
            id="the container can't be made",
        ),
        pytest.param(trained(exit_code=64), ["tell Warning SpecFailure"], "False SpecFailure", id="exit code 64"),
        pytest.param(
            trained(exit_code=65, init=True), ["tell Warning DataFailure"], "False DataFailure", id="exit code 65"
        ),
        pytest.param(trained(exit_code=1), ["tell Warning AppFailure"], "False AppFailure", id="the script failed"),
        pytest.param(
            trained(exit_code=137, killed=True),
            ["tell Warning OutOfMemoryFailure"],
            "False OutOfMemoryFailure",
            id="exit code 137, out of memory",
        ),
        pytest.param(
            trained(exit_code=137), ["tell Warning AppFailure"], "False AppFailure", id="exit code 137, killed"
        ),
        pytest.param(
            with_job(WITH_RUN, "train", ended="Failed", reason="DeadlineExceeded"),
            ["tell Warning DeadlineFailure"],
            "False DeadlineFailure",
            id="the deadline is over",
        ),
        pytest.param(
            with_job(WITH_RUN, "train", ended="Failed", reason="DeadlineExceeded", exit_code=143),
            ["tell Warning DeadlineFailure"],
            "False DeadlineFailure",
            id="the deadline is over, and the pod was still seen",
        ),
        pytest.param(
            with_job(WITH_RUN, "train", ended="Complete"), [], "Unknown Evaluating", id="training is complete"
        ),
        # 5. the champion
        pytest.param(world(WAS_TRAINED), [], "Unknown RegistryUnavailable", id="the registry has not answered: hold"),
        pytest.param(
            world(WAS_TRAINED, registry=registry({"champion": "3"}, error="MLflow does not answer.")),
            [],
            "Unknown RegistryUnavailable",
            id="the registry does not answer any more: hold, whatever it said",
        ),
        pytest.param(
            world(WAS_TRAINED, registry=registry({"champion": "3"})), [], "Unknown Evaluating", id="there is a champion"
        ),
        pytest.param(world(WAS_TRAINED, registry=registry()), [], "Unknown Evaluating", id="there is no champion"),
        pytest.param(
            world(WAS_TRAINED, registry=registry(exists=False)), [], "Unknown Evaluating", id="there is no model yet"
        ),
        pytest.param(
            world(WAS_TRAINED, spec={"gate": {**RUN_SPEC["gate"], "baseline": "None"}}),
            [],
            "Unknown Evaluating",
            id="no baseline is wanted",
        ),
        # 6. evaluation
        pytest.param(world(COMPARED), ["apply Job run-1-evaluate"], "Unknown Evaluating", id="start the evaluation"),
        pytest.param(
            without_gate(WAS_TRAINED),
            ["apply Job run-1-evaluate"],
            "Unknown Evaluating",
            id="without a gate, the model's digest is still taken",
        ),
        pytest.param(with_job(COMPARED, "evaluate", seconds_old=3), [], "Unknown Evaluating", id="evaluation runs"),
        pytest.param(
            with_job(COMPARED, "evaluate", waiting="ImagePullBackOff"),
            [],
            "Unknown ImageNotPulled",
            id="the evaluation's image can't be pulled",
        ),
        pytest.param(
            with_job(
                COMPARED,
                "evaluate",
                ended="Failed",
                reason="PodFailurePolicy",
                exit_code=65,
                said={"error": "no model"},
            ),
            ["tell Warning DataFailure"],
            "False DataFailure",
            id="the run logged no model",
        ),
        pytest.param(
            with_job(COMPARED, "evaluate", ended="Complete", exit_code=0, said="not JSON"),
            ["tell Warning LostFailure"],
            "False LostFailure",
            id="the evaluation left no result",
        ),
        pytest.param(
            judged(evaluation(1000, 300, 400)), ["tell Normal Succeeded"], "True Succeeded", id="the gate passes"
        ),
        pytest.param(
            judged(evaluation(1000, 800, 900)),
            ["tell Warning GateRejected"],
            "False GateRejected",
            id="above the limit",
        ),
        pytest.param(
            judged(evaluation(1000, 450, 300)),
            ["tell Warning GateRejected"],
            "False GateRejected",
            id="worse than the champion",
        ),
        pytest.param(
            judged(evaluation(10, 4, 4)), ["tell Warning GateUndecided"], "False GateUndecided", id="too few rows"
        ),
        pytest.param(
            judged(evaluation(10, 4, 4), gate={**RUN_SPEC["gate"], "onUndecided": "Pass"}),
            ["tell Normal Succeeded"],
            "True Succeeded",
            id="too few rows, but undecided passes",
        ),
        pytest.param(
            judged(evaluation(0, 0, 0), gate={**RUN_SPEC["gate"], "onUndecided": "Pass"}),
            ["tell Warning GateUndecided"],
            "False GateUndecided",
            id="no row at all never passes",
        ),
        pytest.param(
            judged(evaluation(1000, 300), COMPARED, gate={**RUN_SPEC["gate"], "onUndecided": "Pass"}),
            ["tell Warning GateUndecided"],
            "False GateUndecided",
            id="a champion that was not measured is not beaten",
        ),
        *(
            pytest.param(
                judged(report), ["tell Warning LostFailure"], "False LostFailure", id=f"no agreed result: {why}"
            )
            for why, report in (
                ("a field is missing", {"digest": OTHER_DIGEST}),
                ("no digest", {**evaluation(1000, 300, 400), "digest": "unknown"}),
                ("a metric was not measured", {**MODEL, "results": []}),
                ("a metric that was not asked for", reported(name="other")),
                ("more mistakes than rows", reported(candidate=[11, 11, 0])),
                ("losses that are no counts", reported(candidate=[3.5, 3.5, 0])),
                ("losses that are no rates", reported(candidate=[5, 3, 0])),
                ("days that differ more than rows", reported(candidate=[5, 5, 26])),
                ("what is no number", reported(candidate=[5, 5, "NaN"])),
                ("more days than rows", reported(days=11)),
                ("a champion without differences", reported(difference=None)),
                ("differences of other losses", reported(difference=[2, 2, 0])),
            )
        ),
        pytest.param(
            judged(evaluation(1000, 300), UNCOMPARED),
            ["tell Normal Succeeded"],
            "True Succeeded",
            id="no champion: the limit decides",
        ),
        pytest.param(
            judged({**MODEL, "results": []}, WAS_TRAINED, gate=None),
            ["tell Normal Succeeded"],
            "True Succeeded",
            id="no gate: the model is registered",
        ),
        # 7. registering
        pytest.param(
            world(PASSED),
            ["call RegisterVersion", "call FinishRun"],
            None,
            id="the version is not registered: register it, and close the MLflow run",
        ),
        pytest.param(
            world(PASSED, results=((RegisterVersion, MLFLOW_DOWN),)),
            [],
            "Unknown RegistryUnavailable",
            id="the registry is down: hold",
        ),
        pytest.param(
            world(PASSED, results=((RegisterVersion, CallResult(value={"version": "4"})),)),
            ["tell Normal Succeeded"],
            "True Succeeded",
            id="the version is registered",
        ),
    ],
)
def test_decisions(world: World, does: list[str], succeeded: str | None) -> None:
    plan = planned(world, "TrainingRun", "run-1")
    assert effects(plan) == does
    assert (conditions(plan)["Succeeded"] if plan.status else None) == succeeded


def status(plan: Plan) -> Mapping[str, Any]:
    assert plan.status is not None
    return plan.status


@pytest.mark.parametrize(
    ("world", "says"),
    [
        pytest.param(
            over_data(DATA),
            "Running: True Started, Evaluated: False NotEvaluated, Registered: False NotRegistered, "
            "Reconciling: True Training, Stalled: False Free",
            id="begun",
        ),
        pytest.param(
            with_job(WITH_RUN, "train", seconds_old=3),
            "Running: True Started, Evaluated: False NotEvaluated, Registered: False NotRegistered, "
            "Reconciling: True Training, Stalled: False Free",
            id="training",
        ),
        pytest.param(
            with_job(WITH_RUN, "train", waiting="ErrImagePull"),
            "Running: False ImageNotPulled, Evaluated: False NotEvaluated, Registered: False NotRegistered, "
            "Reconciling: True ImageNotPulled, Stalled: False Free",
            id="no image",
        ),
        pytest.param(
            judged(evaluation(1000, 300, 400)),
            "Running: False Ended, Evaluated: True GatePassed, Registered: True Registered, "
            "Reconciling: False Settled, Stalled: False Free",
            id="passed",
        ),
        pytest.param(
            judged(evaluation(1000, 800, 900)),
            "Running: False Ended, Evaluated: True GateRejected, Registered: False NotRegistered, "
            "Reconciling: False Settled, Stalled: True GateRejected",
            id="rejected",
        ),
        pytest.param(
            judged({**MODEL, "results": []}, WAS_TRAINED, gate=None),
            "Running: False Ended, Evaluated: True Ungated, Registered: True Registered, "
            "Reconciling: False Settled, Stalled: False Free",
            id="ungated",
        ),
        pytest.param(
            world(PASSED, results=((RegisterVersion, CallResult(value={"version": "4"})),)),
            "Running: False Ended, Evaluated: True GatePassed, Registered: True Registered, "
            "Reconciling: False Settled, Stalled: False Free",
            id="succeeded",
        ),
    ],
)
def test_the_other_conditions(world: World, says: str) -> None:
    known = conditions(planned(world, "TrainingRun", "run-1"))
    del known["Succeeded"]
    order = ["Running", "Evaluated", "Registered", "Reconciling", "Stalled"]
    assert ", ".join(f"{type_}: {known.pop(type_)}" for type_ in order) == says
    assert known == {}


@pytest.mark.parametrize(
    ("spec", "bounds"),
    [
        pytest.param(
            {"window": {"lastSeconds": 86400}},
            ("2026-02-28T00:00:00Z", "2026-02-28T23:00:00Z", "2026-02-28T23:00:00Z", "2026-03-01T00:00:00Z"),
            id="the last day, its last hour held out",
        ),
        pytest.param(
            {"window": {"from": "2026-02-10T00:00:00Z", "to": "2026-02-11T00:00:00Z"}},
            ("2026-02-10T00:00:00Z", "2026-02-10T23:00:00Z", "2026-02-10T23:00:00Z", "2026-02-11T00:00:00Z"),
            id="a day",
        ),
        pytest.param(
            {"window": {"from": "2026-02-28T00:00:00Z", "to": "2027-01-01T00:00:00Z"}},
            ("2026-02-28T00:00:00Z", "2026-02-28T23:00:00Z", "2026-02-28T23:00:00Z", "2026-03-01T00:00:00Z"),
            id="a window beyond the newest row ends with it",
        ),
        pytest.param(
            {"window": None},
            ("2026-02-01T00:00:00Z", "2026-02-28T23:00:00Z", "2026-02-28T23:00:00Z", "2026-03-01T00:00:00Z"),
            id="all of the version",
        ),
    ],
)
def test_the_rows_that_are_pinned(spec: Mapping[str, Any], bounds: tuple[str, ...]) -> None:
    pinned = status(planned(over_data(DATA, **spec), "TrainingRun", "run-1"))["dataset"]
    assert tuple(pinned[name] for name in ("trainFrom", "trainUntil", "testFrom", "testUntil")) == bounds
    assert (pinned["digest"], pinned["target"], pinned["time"]) == (DIGEST, "late", "scheduled")


def test_a_version_that_is_named_is_pinned_though_a_newer_one_is_ready() -> None:
    newer = {**READY_STATUS["version"], "digest": OTHER_DIGEST, "ordinal": 2}
    data = dataset({**READY_STATUS, "version": newer, "versions": [newer, READY_STATUS["version"]]})
    for spec, digest in (({}, OTHER_DIGEST), ({"datasetRef": {"name": "flights", "digest": DIGEST}}, DIGEST)):
        plan = planned(over_data(data, **spec), "TrainingRun", "run-1")
        assert status(plan)["dataset"]["digest"] == digest


@pytest.mark.parametrize(
    ("world", "exit_code", "says"),
    [
        pytest.param(
            trained(exit_code=1, said="Traceback (most recent call last):\nValueError: no rows\n"),
            1,
            "Training failed (PodFailurePolicy): ValueError: no rows.",
            id="the last line of the log",
        ),
        pytest.param(
            trained(exit_code=137, killed=True),
            137,
            "Training failed (OutOfMemory): PodFailurePolicy. Raise spec.trainer.resources.limits.memory.",
            id="what to do about memory",
        ),
        pytest.param(
            trained(exit_code=1, said=f"Traceback (most recent call last):\nMlflowException: {OTHER_EXPERIMENT}\n"),
            1,
            f"Training failed (PodFailurePolicy): MlflowException: {OTHER_EXPERIMENT}. Remove mlflow.set_experiment(…) "
            "from the script, or call it only where MLFLOW_RUN_ID is not set: Perennial has made the run, in an "
            "experiment of the model's name, and names both in the environment.",
            id="a script that sets an experiment",
        ),
        pytest.param(
            with_job(WITH_RUN, "train", ended="Failed", reason="DeadlineExceeded", waiting="ImagePullBackOff"),
            None,
            "Training failed (DeadlineExceeded): DeadlineExceeded. Container main can't start with image "
            "registry.test/any:1: ImagePullBackOff: no such image. Raise spec.activeDeadlineSeconds, or remove what "
            "kept it waiting.",
            id="what it waited for until the deadline",
        ),
    ],
)
def test_what_is_said_of_a_failure(world: World, exit_code: int | None, says: str) -> None:
    plan = planned(world, "TrainingRun", "run-1")
    assert status(plan)["failure"].get("exitCode") == exit_code
    assert status(plan)["failure"]["message"] == message(plan, "Succeeded") == says


@pytest.mark.parametrize(
    ("logged", "says"),
    [
        (1, "The gate says Pass."),
        (3, "The gate says Pass. The script logged 3 models named best: this is the last."),
    ],
)
def test_which_of_several_models_was_judged_is_said(logged: int, says: str) -> None:
    report = {**evaluation(1000, 300, 400), "loggedAs": "best", "logged": logged}
    plan = planned(judged(report), "TrainingRun", "run-1")
    assert message(plan, "Evaluated") == says
    assert (status(plan)["model"]["loggedAs"], status(plan)["model"]["logged"]) == ("best", logged)


@pytest.mark.parametrize(
    ("state", "name"), [(WITH_RUN, "train"), (COMPARED, "evaluate")], ids=["training", "evaluation"]
)
def test_a_failure_waits_for_the_pods_last_words(state: Mapping[str, Any], name: str) -> None:
    subject = training_run(state)
    fresh = job(subject, f"run-1-{name}", ended="Failed", reason="BackoffLimitExceeded", ended_seconds_ago=59)
    plan = planned(given(subject, DATA, fresh), "TrainingRun", "run-1")
    assert plan == Plan(requeue_after=1)
    old = job(subject, f"run-1-{name}", ended="Failed", reason="BackoffLimitExceeded", ended_seconds_ago=60)
    plan = planned(given(subject, DATA, old, results=(CLOSED,)), "TrainingRun", "run-1")
    assert conditions(plan)["Succeeded"] == "False LostFailure"


def test_an_evaluation_that_succeeded_at_the_second_attempt() -> None:
    subject = training_run(COMPARED)
    run = job(subject, "run-1-evaluate", ended="Complete")
    first = pod(run, "first", said={"error": "MLflow does not answer"}, exit_code=75, seconds_old=50)
    assert planned(given(subject, DATA, run, first), "TrainingRun", "run-1") == Plan(requeue_after=1)
    second = pod(run, "second", said=evaluation(1000, 300, 400), exit_code=0)
    plan = planned(given(subject, DATA, run, first, second, results=(REGISTERED, CLOSED)), "TrainingRun", "run-1")
    assert status(plan)["gate"]["verdict"] == "Pass"


def test_what_is_pinned_and_the_mlflow_run_are_recorded_together_before_the_job_is_there() -> None:
    plan = planned(over_data(DATA), "TrainingRun", "run-1")
    assert (status(plan)["dataset"]["digest"], status(plan)["mlflow"]["runId"]) == (DIGEST, "abc123")
    assert status(plan)["startTime"] == "2026-03-01T12:00:00Z"
    assert plan.applies == ()


def test_the_job_that_follows_the_first_status_and_its_pod_that_starts_quickly_change_nothing_in_it() -> None:
    first = recorded(over_data(DATA), "TrainingRun", "run-1", planned(over_data(DATA), "TrainingRun", "run-1"))
    before = first.subject("TrainingRun")
    run = job(before, "run-1-train")
    for seen in (
        first,
        first.but(run),
        first.but(run, pod(run, waiting="ContainerCreating")),
        first.but(run, pod(run)),
    ):
        plan = planned(seen, "TrainingRun", "run-1", NOW - timedelta(seconds=40))
        assert plan.status == before["status"]


def test_a_pod_that_takes_long_to_start_is_told() -> None:
    """A job of `given` is 60 s old, which is over the patience of 30 s; a younger one is looked at again in time."""
    slow = with_job(WITH_RUN, "train", waiting="ContainerCreating")
    assert conditions(planned(slow, "TrainingRun", "run-1"))["Running"] == "False PodPending"
    plan = planned(slow, "TrainingRun", "run-1", NOW - timedelta(seconds=50))
    assert (conditions(plan)["Running"], plan.requeue_after) == ("True Started", 20)


def test_a_run_whose_mlflow_run_cannot_be_closed_has_ended_all_the_same() -> None:
    for ended, results in (
        (judged(evaluation(1000, 300, 400)), (REGISTERED, (FinishRun, MLFLOW_DOWN))),
        (trained(exit_code=64), ((FinishRun, MLFLOW_DOWN),)),
    ):
        plan = planned(ended.but(results=results), "TrainingRun", "run-1")
        assert status(plan)["terminalState"]
        assert status(plan)["mlflow"]["state"] == "RUNNING"


def test_an_mlflow_run_is_closed_before_its_failure_is_told() -> None:
    plan = planned(trained(exit_code=64).but(results=()), "TrainingRun", "run-1")
    assert plan == Plan(calls=(FinishRun(run_id="abc123", status="FAILED"),))


def test_what_was_evaluated_is_recorded_while_the_registry_is_down() -> None:
    down = judged(evaluation(1000, 300, 400)).but(results=((RegisterVersion, MLFLOW_DOWN),))
    plan = planned(down, "TrainingRun", "run-1")
    assert (status(plan)["evaluation"]["name"], status(plan)["gate"]["verdict"]) == ("run-1-evaluate", "Pass")
    again = planned(recorded(down, "TrainingRun", "run-1", plan).but(results=()), "TrainingRun", "run-1")
    assert [type(call) for call in again.calls] == [RegisterVersion, FinishRun]


@pytest.mark.parametrize("state", [SUCCEEDED, FAILED], ids=["succeeded", "failed"])
def test_what_has_ended_stays_ended(state: Mapping[str, Any]) -> None:
    """Whatever happens to its Jobs, its data and the registry (trainer#3737: finished training was run again)."""
    closed = {**state, "mlflow": {**MLFLOW, "state": "FINISHED"}}
    subject = training_run(closed)
    failed = job(subject, "run-1-train", ended="Failed", reason="BackoffLimitExceeded")
    for seen in (
        given(subject),
        given(subject, DATA),
        given(subject, failed, pod(failed, exit_code=1)),
        given(subject, job(subject, "run-1-train"), job(subject, "run-1-evaluate", ended="Complete")),
        given(subject, results=((EnsureRun, MLFLOW_DOWN), (RegisterVersion, MLFLOW_DOWN))),
    ):
        assert planned(seen, "TrainingRun", "run-1") == Plan()


@pytest.mark.parametrize(("state", "ended"), [(SUCCEEDED, "FINISHED"), (FAILED, "FAILED")], ids=["succeeded", "failed"])
def test_the_mlflow_run_ends_as_the_training_run_did(state: Mapping[str, Any], ended: str) -> None:
    (call,) = planned(world(state), "TrainingRun", "run-1").calls
    assert call == FinishRun(run_id="abc123", status=ended)  # type: ignore[arg-type]
    closed = planned(world(state, results=((FinishRun, CallResult(value={})),)), "TrainingRun", "run-1")
    assert status(closed)["mlflow"]["state"] == ended
    assert closed.calls == ()


def test_the_champion_is_pinned_with_its_digest_before_the_comparison_begins() -> None:
    plan = planned(
        world(WAS_TRAINED, registry=registry({"champion": "3", "other": "9"}, digest=DIGEST)), "TrainingRun", "run-1"
    )
    assert status(plan)["gate"]["baseline"] == {"version": "3", "digest": DIGEST}
    assert plan.applies == ()
    changed = given(
        training_run({**WAS_TRAINED, "gate": status(plan)["gate"]}), DATA, registry=registry({"champion": "9"})
    )
    (made,) = applied(planned(changed, "TrainingRun", "run-1"), "Job").values()
    (container,) = made["spec"]["template"]["spec"]["containers"]
    assert container["args"][4:] == [
        *("--baseline-version", "3", "--model", "ml.flight-delay", "--baseline-digest", DIGEST),
        *("--spec", "$(PERENNIAL_EVALUATION)"),
    ]


def test_what_the_trainer_is_told() -> None:
    subject = world(WITH_RUN, spec={"trainer": {**RUN_SPEC["trainer"], "env": [{"name": "DEBUG", "value": "1"}]}})
    (made,) = applied(planned(subject, "TrainingRun", "run-1"), "Job").values()
    (trainer,) = made["spec"]["template"]["spec"]["containers"]
    values = {item["name"]: item["value"] for item in trainer["env"]}
    assert json.loads(values.pop("PERENNIAL_PARAMETERS")) == {"numLeaves": "31"}
    assert values == {
        "MLFLOW_TRACKING_URI": SETTINGS.mlflow_url,
        "MLFLOW_RUN_ID": "abc123",
        "MLFLOW_EXPERIMENT_ID": "4",
        "PERENNIAL_DATA": "/perennial/data",
        "PERENNIAL_TARGET": "late",
        "PERENNIAL_SEED": "7",
        "PERENNIAL_PARAMETER_NUM_LEAVES": "31",
        "DEBUG": "1",
    }
    (rows,) = made["spec"]["template"]["spec"]["initContainers"]
    assert rows["args"] == [
        *("--snapshots", "/snapshots", "--digest", DIGEST, "--to", "/perennial/data"),
        *("--time", "scheduled", "--from", "2026-02-28T00:00:00+00:00", "--until", "2026-02-28T23:00:00+00:00"),
        *("--part", "train"),
    ]
    assert (made["spec"]["backoffLimit"], made["spec"]["activeDeadlineSeconds"]) == (2, 3600)


def test_the_user_can_replace_no_variable_of_ours() -> None:
    env = [{"name": "MLFLOW_RUN_ID", "value": "somebody-elses"}, {"name": "PERENNIAL_SEED", "value": "8"}]
    subject = world(WITH_RUN, spec={"trainer": {**RUN_SPEC["trainer"], "env": env}})
    (made,) = applied(planned(subject, "TrainingRun", "run-1"), "Job").values()
    values = [(item["name"], item["value"]) for item in made["spec"]["template"]["spec"]["containers"][0]["env"]]
    assert ("MLFLOW_RUN_ID", "abc123") in values
    assert ("PERENNIAL_SEED", "7") in values
    assert len({name for name, _ in values}) == len(values)


def test_what_is_registered_says_where_it_comes_from() -> None:
    call, _ = planned(world(PASSED), "TrainingRun", "run-1").calls
    assert call == RegisterVersion(
        model="ml.flight-delay",
        run_id="abc123",
        source="models:/m-1",
        tags={
            "perennial.dev/digest": OTHER_DIGEST,
            "perennial.dev/dataset": DIGEST,
            "perennial.dev/namespace": NAMESPACE,
            "perennial.dev/training-run": "run-1",
        },
    )


def test_a_job_that_runs_is_not_changed_by_another_version_of_the_operator() -> None:
    newer = SETTINGS.__class__(
        operator_image="registry.test/operator:2",
        server_image="registry.test/server:2",
        router_image="registry.test/router:2",
        mlflow_url=SETTINGS.mlflow_url,
        operator_user=SETTINGS.operator_user,
    )
    subject = with_job(WITH_RUN, "train", seconds_old=3).but(settings=newer)
    assert planned(subject, "TrainingRun", "run-1").applies == ()


def test_the_registry_is_not_asked_once_a_run_has_ended_or_where_there_is_no_gate() -> None:
    known = registry({"champion": "3"})
    for subject in (training_run(SUCCEEDED), training_run(WAS_TRAINED, gate=None)):
        seen = given(subject, registry=known)
        found = observe(seen.view(), NAMESPACE, "run-1")
        assert found is not None
        assert found.registry == Fact()
