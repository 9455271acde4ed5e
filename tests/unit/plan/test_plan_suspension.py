"""A TrainingRun that is suspended holds still, gives its pods back, and goes on with what is left of its deadline."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import hypothesis
import pytest
from given import (
    EVALUATED,
    MLFLOW,
    MODEL,
    NAMESPACE,
    NOW,
    PINNED,
    READY_STATUS,
    TRAINED,
    World,
    applied,
    carried_out,
    condition,
    conditions,
    dataset,
    effects,
    evaluation,
    given,
    job,
    planned,
    pod,
    recorded,
    rfc3339,
    training_run,
)
from hypothesis import strategies as st

from perennial.plan.actions import EnsureRun, FinishRun, RegisterVersion
from perennial.plan.observed import CallResult

DATA = dataset(READY_STATUS)
WITH_RUN = {"dataset": PINNED, "startTime": "2026-03-01T11:00:00Z", "mlflow": MLFLOW}
WAS_TRAINED = {**WITH_RUN, "training": TRAINED, "gate": {}}
PASSED = {**WAS_TRAINED, "evaluation": EVALUATED, "model": MODEL, "gate": {"verdict": "Pass"}}
SUSPENDED = {"suspendedTime": "2026-03-01T11:59:00Z", "activeSeconds": 60}
SEEN = {"observedGeneration": 1, "conditions": [condition("Succeeded", "True", "Succeeded")]}
CLOSED = {**PASSED, **SEEN, "terminalState": "Succeeded", "mlflow": {**MLFLOW, "state": "FINISHED"}}


def world(status: Mapping[str, Any], *jobs: str, suspend: bool = True, **parts: Any) -> World:
    """Return the world of a run with some Jobs: `train` runs, `train!` is suspended, `train.` has failed."""
    subject = training_run(status, suspend=suspend)
    around = []
    for each in jobs:
        ended = "Failed" if each.endswith(".") else ""
        made = job(subject, f"run-1-{each.strip('!.')}", suspend=each.endswith("!"), ended=ended, reason="BackoffLimit")
        around += [made, pod(made, said="boom", exit_code=1)] if ended else [made]
    return given(subject, DATA, *around, **parts)


TOLD, RESUMED = "tell Normal Suspended", "tell Normal Resumed"
STILL, GOES_ON = "Unknown Suspended", "Unknown Resumed"


@pytest.mark.parametrize(
    ("world", "does", "says"),
    [
        pytest.param(world({}), [TOLD], STILL, id="from the start: the data is not pinned"),
        pytest.param(world({"dataset": PINNED}), [TOLD], STILL, id="no MLflow run is made"),
        pytest.param(world({**WITH_RUN, **SUSPENDED}), [], STILL, id="no Job is made"),
        pytest.param(world(WITH_RUN, "train"), [TOLD], STILL, id="the time used up is recorded first"),
        pytest.param(
            world({**WITH_RUN, **SUSPENDED}, "train"), ["apply Job run-1-train"], STILL, id="then the Job is suspended"
        ),
        pytest.param(world({**WITH_RUN, **SUSPENDED}, "train!"), [], STILL, id="it is: wait"),
        pytest.param(
            world({**WITH_RUN, **SUSPENDED}, "train.", results=((FinishRun, CallResult(value={})),)),
            ["tell Warning AppFailure"],
            "False AppFailure",
            id="what has ended meanwhile is recorded",
        ),
        pytest.param(world({**WAS_TRAINED, **SUSPENDED}), [], STILL, id="no evaluation begins"),
        pytest.param(
            world({**WAS_TRAINED, **SUSPENDED}, "train.", "evaluate"),
            ["apply Job run-1-evaluate"],
            STILL,
            id="an evaluation is suspended",
        ),
        pytest.param(world({**PASSED, **SUSPENDED}, "train.", "evaluate."), [], STILL, id="nothing is registered"),
        pytest.param(
            world({**WITH_RUN, **SUSPENDED}, "train!", suspend=False), [RESUMED], GOES_ON, id="going on is recorded"
        ),
        pytest.param(
            world(WITH_RUN, "train!", suspend=False), ["apply Job run-1-train"], GOES_ON, id="then the Job goes on"
        ),
        pytest.param(world({**PASSED, **SUSPENDED}, suspend=False), [RESUMED], GOES_ON, id="without a Job"),
        pytest.param(world(CLOSED), [], None, id="a run that has ended: nothing"),
        pytest.param(
            world({**CLOSED, "observedGeneration": 2}), [], "True Succeeded", id="but that the spec has been seen"
        ),
    ],
)
def test_decisions(world: World, does: list[str], says: str | None) -> None:
    plan = planned(world, "TrainingRun", "run-1")
    assert effects(plan) == does
    assert (conditions(plan)["Succeeded"] if plan.status else None) == says


def test_it_says_that_a_hand_is_needed() -> None:
    plan = planned(world({**WITH_RUN, **SUSPENDED}, "train!"), "TrainingRun", "run-1")
    known = conditions(plan)
    assert (known["Stalled"], known["Reconciling"], known["Running"]) == (
        "True Suspended",
        "False Settled",
        "False Suspended",
    )


def test_only_the_suspension_of_a_job_is_changed() -> None:
    seen = world({**WITH_RUN, **SUSPENDED}, "train")
    made = applied(planned(seen, "TrainingRun", "run-1"), "Job")["run-1-train"]
    live = seen.subject_of("Job", "run-1-train")
    assert made["spec"] == {"suspend": True}
    assert made["metadata"] == {key: live["metadata"][key] for key in ("name", "namespace", "uid", "resourceVersion")}


@pytest.mark.parametrize(("used", "left"), [(0, 3600), (1200, 2400), (3600, 1), (9000, 1)])
def test_a_training_goes_on_with_what_is_left_of_its_deadline(used: int, left: int) -> None:
    seen = world({**WITH_RUN, "activeSeconds": used}, "train!", suspend=False)
    made = applied(planned(seen, "TrainingRun", "run-1"), "Job")["run-1-train"]
    assert (made["spec"]["suspend"], made["spec"]["activeDeadlineSeconds"]) == (False, left)


def test_an_evaluation_goes_on_with_its_own_deadline() -> None:
    seen = world({**WAS_TRAINED, "activeSeconds": 3000}, "evaluate!", suspend=False)
    made = applied(planned(seen, "TrainingRun", "run-1"), "Job")["run-1-evaluate"]
    assert "activeDeadlineSeconds" not in made["spec"]


def test_a_call_that_was_under_way_is_made_again_when_it_goes_on() -> None:
    """Its result is not recorded while the run holds still; every call is idempotent."""
    done = ((EnsureRun, CallResult(value={"experimentId": "4", "runId": "abc123"})),)
    held = planned(world({"dataset": PINNED, **SUSPENDED}, results=done), "TrainingRun", "run-1")
    assert held.status is not None
    assert "mlflow" not in held.status
    on = planned(world({"dataset": PINNED}, suspend=False), "TrainingRun", "run-1")
    assert [type(call) for call in on.calls] == [EnsureRun]


def test_the_mlflow_run_of_an_ended_run_is_closed_all_the_same() -> None:
    open_run = {**CLOSED, "mlflow": MLFLOW}
    assert [type(call) for call in planned(world(open_run), "TrainingRun", "run-1").calls] == [FinishRun]
    closed = planned(world(open_run, results=((FinishRun, CallResult(value={})),)), "TrainingRun", "run-1")
    assert closed.status is not None
    assert closed.status["mlflow"]["state"] == "FINISHED"


def test_what_was_judged_is_registered_when_it_goes_on() -> None:
    assert [type(call) for call in planned(world(PASSED, suspend=False), "TrainingRun", "run-1").calls] == [
        RegisterVersion,
        FinishRun,
    ]
    subject = training_run({**WAS_TRAINED, "gate": {"baseline": {"version": "3"}}, **SUSPENDED}, suspend=True)
    run = job(subject, "run-1-evaluate", ended="Complete")
    judged = given(subject, DATA, run, pod(run, said=evaluation(1000, 300, 400), exit_code=0))
    plan = planned(judged, "TrainingRun", "run-1")
    assert plan.status is not None
    assert plan.status["gate"]["verdict"] == "Pass"
    after = planned(recorded(judged, "TrainingRun", "run-1", plan), "TrainingRun", "run-1")
    assert (after.calls, conditions(after)["Succeeded"]) == ((), STILL)


class Cluster:
    """A run that trains under a Job controller: a Job that goes on starts its clock anew."""

    def __init__(self, deadline: int) -> None:
        self.now: datetime = NOW
        self.deadline = deadline
        self.active = 0
        self.world: World = given(training_run(WITH_RUN, activeDeadlineSeconds=deadline), DATA)
        self.settle()

    def suspend(self, suspend: bool) -> None:
        subject = self.world.subject("TrainingRun")
        metadata = {**subject["metadata"], "generation": subject["metadata"]["generation"] + 1}
        self.world = self.world.but({**subject, "metadata": metadata, "spec": {**subject["spec"], "suspend": suspend}})

    def settle(self) -> None:
        for _ in range(4):
            self.reconcile(killed=False)

    def reconcile(self, *, killed: bool) -> None:
        """Plan and carry it out; killed: before the status is written."""
        plan = planned(self.world, "TrainingRun", "run-1", self.now)
        self.world = carried_out(self.world, plan)
        self.follow()
        if not killed:
            self.world = recorded(self.world, "TrainingRun", "run-1", plan)

    def follow(self) -> None:
        live = self.world.get("Job", NAMESPACE, "run-1-train")
        if live is not None and live["spec"].get("suspend"):
            self.world = self.world.but({**live, "status": {}})
        elif live is not None and "startTime" not in live.get("status", {}):
            self.world = self.world.but({**live, "status": {"startTime": rfc3339(self.now)}})

    def pass_(self, seconds: int) -> None:
        """Time passes, up to the moment at which the Job controller ends the Job."""
        live = self.world.subject_of("Job", "run-1-train")
        if "startTime" in live["status"]:
            ends = datetime.fromisoformat(live["status"]["startTime"]) + timedelta(
                seconds=live["spec"]["activeDeadlineSeconds"]
            )
            seconds = min(seconds, int((ends - self.now).total_seconds()))
            self.active += seconds
        self.now += timedelta(seconds=seconds)

    def left(self) -> int:
        """Return how long the Job would still be let run."""
        self.suspend(suspend=False)
        self.settle()
        live = self.world.subject_of("Job", "run-1-train")
        assert live["spec"].get("suspend", False) is False
        ran = self.now - datetime.fromisoformat(live["status"]["startTime"])
        return int(live["spec"]["activeDeadlineSeconds"] - ran.total_seconds())


@hypothesis.settings(max_examples=40, deadline=None, derandomize=True)
@hypothesis.given(
    life=st.lists(st.tuples(st.booleans(), st.integers(0, 400), st.integers(0, 3)), min_size=1, max_size=12)
)
def test_the_deadline_counts_what_was_active_and_nothing_else(life: list[tuple[bool, int, int]]) -> None:
    """However often it is suspended and resumed, and wherever the operator is killed meanwhile."""
    cluster = Cluster(deadline=1000)
    for suspend, seconds, kills in life:
        cluster.suspend(suspend)
        for _ in range(kills):
            cluster.reconcile(killed=True)
        cluster.settle()
        cluster.pass_(seconds)
        if cluster.active == cluster.deadline:
            break
    left = cluster.deadline - cluster.active
    assert cluster.left() in {left, max(1, left)}, "a Job needs a deadline of 1 s at least"
