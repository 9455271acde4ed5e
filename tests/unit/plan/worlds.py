"""Arbitrary worlds for properties: likely and unlikely, consistent and not."""

from collections.abc import Mapping
from typing import Any

from given import (
    DIGEST,
    EVALUATED,
    MLFLOW,
    MODEL,
    OTHER_DIGEST,
    PINNED,
    READY_STATUS,
    RUN_SPEC,
    TRAINED,
    World,
    check_result,
    condition,
    dataset,
    evaluation,
    given,
    job,
    later,
    pod,
    registry,
    rfc3339,
    training_run,
)
from given_deployment import (
    ADDRESSES,
    NAME,
    RETRAINING,
    SPEC,
    braked,
    canary,
    collector,
    deployed,
    deployment,
    monitored,
    passed_run,
    pod_of,
    previous,
    ready_pods,
    slo_verdict,
    version,
    workload,
)
from hypothesis import strategies as st

from perennial.api.messages.state import State
from perennial.manifests.build import hashed
from perennial.manifests.manifest import Manifest
from perennial.plan.actions import EnsureRun, FinishRun, PutPolicy, RegisterVersion, SetAlias
from perennial.plan.observed import CallResult, Fact
from perennial.terms.words import Role, Slot, Verdict

SAID: list[object] = [
    None,
    "",
    "Killed",
    "[1]",
    {"error": "no rows are left"},
    {"digest": DIGEST},
    check_result(),
    check_result(digest=OTHER_DIGEST, failed={"far": "Warn"}),
    check_result(failed=["labelled"]),
    check_result(violations=[{"file": "a.parquet", "column": "", "message": "late is missing"}]),
    evaluation(1000, 300, 400),
    evaluation(1000, 800, 400),
    evaluation(1000, 300),
    evaluation(10, 4, 4),
    evaluation(0, 0, 0),
]
pods = st.one_of(
    st.fixed_dictionaries({"exit_code": st.sampled_from([0, 1, 64, 65, 75, 137]), "said": st.sampled_from(SAID)}),
    st.fixed_dictionaries(
        {"waiting": st.sampled_from(["ImagePullBackOff", "CreateContainerError", "PodInitializing"])}
    ),
    st.just({"unschedulable": "0/3 nodes are available"}),
    st.just({"killed": True, "exit_code": 137}),
    st.just({}),
)


def mostly(usual: Any, *others: Any) -> st.SearchStrategy[Any]:
    """Draw the usual thing five times out of six: so that many things are often usual together, and seldom are not."""
    return st.sampled_from([*[usual] * (5 * len(others)), *others])


@st.composite
def jobs(draw: st.DrawFn, owner: Manifest, name: str, said: object = None) -> list[Manifest]:
    """Draw a Job in any state, with up to three attempts; or none. Often it is complete and has `said` something."""
    if draw(st.integers(0, 2)) == 0:
        made = job(owner, name, ended="Complete")
        return [made, pod(made, f"{name}-1", said=said, exit_code=0)]
    ended = draw(st.sampled_from(["absent", "suspended", "", "", "Complete", "Failed"]))
    if ended == "absent":
        return []
    if ended == "suspended":
        return [job(owner, name, suspend=True)]
    reason = draw(st.sampled_from(["BackoffLimitExceeded", "PodFailurePolicy", "DeadlineExceeded"]))
    ago = draw(st.sampled_from([5, 59, 60, 3600]))
    made = job(owner, name, ended=ended, reason=reason if ended == "Failed" else "", ended_seconds_ago=ago)
    attempts = draw(st.lists(pods, max_size=3))
    init = draw(st.booleans())
    return [
        made,
        *(
            pod(made, f"{name}-{number}", init=init, seconds_old=100 - number, **how)
            for number, how in enumerate(attempts)
        ),
    ]


INVALID = [condition("Valid", "False", "ExpectationFailed"), condition("Ready", "False", "ExpectationFailed")]
DATASET_STATUSES: list[Mapping[str, Any]] = [
    {},
    READY_STATUS,
    {**READY_STATUS, "nextCheckTime": rfc3339(later(600))},
    {**READY_STATUS, "conditions": INVALID},
    {"observedGeneration": 1, "checksRecorded": 2, "checkedGeneration": 1, "conditions": []},
]


@st.composite
def dataset_worlds(draw: st.DrawFn) -> World:
    subject = dataset(
        draw(st.sampled_from(DATASET_STATUSES)),
        generation=draw(st.integers(1, 2)),
        refresh=draw(st.sampled_from([None, {"intervalSeconds": 5}, {"intervalSeconds": 86400}])),
        suspend=draw(st.booleans()),
    )
    uid, checks = subject["metadata"]["uid"], subject.get("status", {}).get("checksRecorded", 0)
    current = f"flights-check-{hashed(uid, subject['metadata']['generation'], checks)}"
    older = f"flights-check-{hashed(uid, 0, checks)}"
    said = draw(st.sampled_from([check_result(digest=OTHER_DIGEST), check_result(failed=["labelled"])]))
    around = [*draw(jobs(subject, current, said)), *draw(jobs(subject, older))]
    return given(subject, *draw(st.permutations(around)))


WITH_RUN = {"dataset": PINNED, "startTime": rfc3339(later(-900)), "mlflow": MLFLOW}
COMPARED = {**WITH_RUN, "training": TRAINED, "gate": {"baseline": {"version": "3"}}}
ENDED = {"observedGeneration": 1, "conditions": [condition("Succeeded", "True", "Succeeded")]}
RUN_STATUSES: list[Mapping[str, Any]] = [
    {},
    {"dataset": PINNED},
    WITH_RUN,
    {**WITH_RUN, "training": TRAINED},
    COMPARED,
    {**COMPARED, "gate": {"verdict": "Pass"}, "evaluation": EVALUATED, "model": MODEL},
    {**WITH_RUN, **ENDED, "conditions": [condition("Stalled", "True", "AppFailure")], "terminalState": "Failed"},
    {**WITH_RUN, **ENDED, "terminalState": "Succeeded", "modelVersion": "4"},
    {**WITH_RUN, **ENDED, "mlflow": {**MLFLOW, "state": "FINISHED"}, "terminalState": "Succeeded"},
    {**WITH_RUN, "suspendedTime": rfc3339(later(-60)), "activeSeconds": 1200},
    {**COMPARED, "suspendedTime": rfc3339(later(-60))},
]
GATES: list[Mapping[str, Any] | None] = [
    None,
    RUN_SPEC["gate"],
    {**RUN_SPEC["gate"], "baseline": "None"},
    {**RUN_SPEC["gate"], "onUndecided": "Pass"},
]
REGISTRIES = [
    Fact(),
    Fact(error="MLflow does not answer."),
    registry({"champion": "3"}, versions=["3", "4", "5"], digest=DIGEST),
    registry({"champion": "3"}, error="MLflow does not answer."),
    registry(exists=False),
]
results = st.sampled_from(["none", "done", "failed"])


def result(kind: type, how: str, value: Mapping[str, str]) -> tuple[tuple[type, CallResult], ...]:
    if how == "none":
        return ()
    return ((kind, CallResult(value=value) if how == "done" else CallResult(error="MLflow does not answer.")),)


@st.composite
def run_worlds(draw: st.DrawFn) -> World:
    subject = training_run(
        draw(st.sampled_from(RUN_STATUSES)),
        gate=draw(st.sampled_from(GATES)),
        suspend=draw(mostly(False, True)),
        window=draw(st.sampled_from([None, {"lastSeconds": 3600}, {"lastSeconds": 86400}])),
    )
    data = draw(st.sampled_from([None, dataset(), dataset(READY_STATUS), dataset(READY_STATUS, split=None)]))
    around = [*draw(jobs(subject, "run-1-train")), *draw(jobs(subject, "run-1-evaluate", evaluation(1000, 300, 400)))]
    return given(
        subject,
        *([data] if data else []),
        *draw(st.permutations(around)),
        results=(
            *result(EnsureRun, draw(results), {"experimentId": "4", "runId": "abc123"}),
            *result(RegisterVersion, draw(results), {"version": "4"}),
            *result(FinishRun, draw(results), {}),
        ),
        registry=draw(st.sampled_from(REGISTRIES)),
    )


WEIGHTS = [None, {"a": 1000, "b": 0}, {"a": 0, "b": 1000}, {"a": 900, "b": 100}, {"a": 500, "b": 500}, {"a": 1000}, {}]
NAMES, ROLES = ["errors", "errors", "errors", "flaky", "missed", "gone"], [Role.CRITICAL, Role.CRITICAL, Role.ADVISORY]
verdicts = st.builds(slo_verdict, st.sampled_from(NAMES), st.sampled_from(Verdict), st.sampled_from(ROLES))
monitoring = st.builds(
    monitored,
    mostly("3", "2", "4"),
    st.sampled_from([Verdict.FAIL, *Verdict]),
    slo=mostly("missed", "flaky"),
)
PASSING = [slo_verdict("errors", Verdict.PASS), slo_verdict("flaky", Verdict.FAIL, Role.ADVISORY)]


@st.composite
def collectors(draw: st.DrawFn, subject: Manifest, *, harm: bool = False) -> Fact[State]:
    """Draw anything that a collector may say: often what lets a trial go on, and often that but for one thing.

    `harm`: it says that the candidate fails a critical SLO, or has braked it.
    """
    status = subject.get("status", {})
    trial, lost = status.get("canary"), status.get("previous")
    shares = {"a": 1000, "b": 1000}
    if trial is not None:
        shares = dict.fromkeys(shares, 1000 - trial["weight"]["desired"] * 10)
        shares[trial["slot"]] = trial["weight"]["desired"] * 10
    elif lost is not None:
        shares[lost["slot"]] = 0
    said = collector(
        subject,
        weights=draw(mostly(shares, *WEIGHTS)),
        members=draw(mostly(ADDRESSES, None, {})),
        brake=draw(st.sampled_from([None, None, None, None, None, braked(), braked("0-another")])),
        monitoring=draw(st.lists(monitoring, max_size=2)),
        behind=draw(mostly(False, True)),
    )
    assert said.value is not None
    found = PASSING if draw(mostly(True, False)) else draw(st.lists(verdicts, max_size=3))
    if harm:
        found = [*found, slo_verdict("errors", Verdict.FAIL)]
    state = said.value.model_copy(update={"verdicts": tuple(found)})
    return draw(mostly(Fact(value=state), Fact(value=state, error="timeout"), Fact(error="timeout")))


LONG_AGO = {"started": 1, "startedTimes": [rfc3339(later(-90000))], "nextEligibleTime": rfc3339(later(-80000))}
RETRAININGS: list[Mapping[str, Any] | None] = [
    None,
    LONG_AGO,
    {"started": 2, "startedTimes": [rfc3339(later(-60))], "nextEligibleTime": rfc3339(later(600))},
    {"started": 2, "currentRun": "delay-run", "startedTimes": [rfc3339(later(-60))]},
]


@st.composite
def deployment_worlds(draw: st.DrawFn, *, on_trial: bool = False, harm: bool = False) -> World:
    """Draw a ModelDeployment anywhere in its life; `on_trial`: with a version on trial, `harm`: that does harm."""
    slot = draw(st.sampled_from(["a", "b"]))
    other = "b" if slot == "a" else "a"
    stages = ["nothing", "starting", "serving", "serving", "trial", "trial", "trial", "lost", "lost", "lost"]
    status = draw(statuses("trial" if on_trial else draw(st.sampled_from(stages)), slot, other))
    steps = draw(st.sampled_from([SPEC["canary"]["steps"], [{"weight": 10}, {"weight": 25}, {"weight": 50}]]))
    undecided = draw(st.sampled_from(["Hold", "Promote", "Rollback"]))
    spec = {
        **draw(st.sampled_from([{}, {}, {}, {}, RETRAINING, {"model": {"name": "flight-delay", "version": "3"}}])),
        "canary": {"steps": steps, "maxSeconds": 3600, "onUndecided": undecided},
        "suspend": draw(mostly(False, True)),
    }
    subject = deployment(status, **spec)
    return given(
        subject,
        *draw(st.permutations(draw(surroundings(subject, status)))),
        state=draw(collectors(subject, harm=harm)),
        registry=draw(mostly(REGISTRIES[2], *REGISTRIES)),
        results=(*result(SetAlias, draw(results), {}), *result(PutPolicy, draw(results), {})),
    )


@st.composite
def statuses(draw: st.DrawFn, stage: str, slot: Slot, other: Slot) -> dict[str, Any]:
    """Draw the status of a stage of life, with whatever memories."""
    status: dict[str, Any] = {
        "canaries": draw(st.integers(0, 3)),
        "champion": draw(mostly("3", "2")),
        "rejected": draw(mostly([], [version("4")], [version("5"), version("4")])),
    }
    if again := draw(st.sampled_from(RETRAININGS)):
        status["retraining"] = again
    if stage != "nothing":
        status["stable"] = deployed("3", slot, since=None if stage == "starting" else 86400.0)
    if stage == "trial":
        step = draw(st.integers(0, 3))
        ages = {"begun": draw(st.sampled_from([10, 700, 4000])), "stepped": draw(mostly(300, 5))}
        status["canary"] = canary("4", other, step=step, weight=(0, 10, 50, 50)[step], **ages)
    if stage == "lost":
        status["previous"] = previous("2", other, leaves=draw(st.sampled_from([-5, 0, 100])))
    return status


@st.composite
def surroundings(draw: st.DrawFn, subject: Manifest, status: Mapping[str, Any]) -> list[Manifest]:
    """Draw Deployments in any state, their pods and the TrainingRuns of the model."""
    around: list[Manifest] = []
    for item in (status.get(role) for role in ("stable", "canary", "previous")):
        state = draw(mostly("ready", "broken", "older", "absent"))
        if item is None or state == "absent":
            continue
        shown = version("1") if state == "older" else item["version"]
        work = workload(subject, item["slot"], version=shown, ready=0 if state == "broken" else 2)
        trouble = draw(st.lists(pods, max_size=2)) if state == "broken" else []
        around += [work, *(ready_pods(work) if state != "broken" else [])]
        around += [pod_of(work, name=f"{item['slot']}-{number}", **how) for number, how in enumerate(trouble)]
    ready = {suffix: draw(mostly(1, 0)) for suffix in ("router", "collector")}
    around += [workload(subject, suffix, ready=count, replicas=1) for suffix, count in ready.items()]
    return around + draw(st.sampled_from(RUNS))


FAILURE = {"class": "Gate", "message": "falseNegativeRate is above 0.5."}
RUNS: list[list[Manifest]] = [
    [],
    [passed_run("first", "3")],
    [passed_run("first", "3"), passed_run("second", "4"), training_run(name="delay-run")],
    [passed_run("delay-run", "5"), passed_run("first", "3")],
    [training_run({"terminalState": "Failed", "failure": FAILURE}, name="delay-run")],
]
SUBJECTS = {"Dataset": "flights", "TrainingRun": "run-1", "ModelDeployment": NAME}
