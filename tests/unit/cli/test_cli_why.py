"""The chain from an object to the first cause."""

import pytest
from story import SLO, Object, condition, dataset, deployment, ended, job, on_trial, passed_run, pod, ready_dataset, run

from perennial.cli.errors import CliError
from perennial.cli.rendering import Style, answer_lines
from perennial.cli.snapshot import Snapshot, State
from perennial.cli.why import Answer, why

SERVING = condition("Ready", "True", "Serving")


def ask(target: str, *objects: Object) -> Answer:
    own = [one for one in objects if one["kind"] not in {"Job", "Pod"}]
    children = [one for one in objects if one["kind"] in {"Job", "Pod"}]
    snapshot = Snapshot.of(own, children)
    return why(snapshot, snapshot.find(target))


def reasons(answer: Answer) -> list[tuple[str, str]]:
    return [(link.kind, link.reason) for link in answer.chain]


def test_nothing_is_wrong() -> None:
    answer = ask("mdep/flight-delay", on_trial(), passed_run(), ready_dataset())
    assert answer.state is State.OK
    assert reasons(answer) == [("ModelDeployment", "Serving")]
    assert (answer.advice, answer.look) == ("", "")


def test_what_a_canary_says_is_no_trouble_and_is_shown() -> None:
    trying = on_trial()
    trying["status"]["conditions"].append(condition("Progressing", "True", "CanaryStep", "Step 1 of 2 at 10 %."))
    answer = ask("mdep/flight-delay", trying, passed_run(), ready_dataset())
    assert (answer.state, answer.trial, answer.advice) == (State.OK, "Step 1 of 2 at 10 %.", "")
    assert "◐ on trial: Step 1 of 2 at 10 %." in list(answer_lines(answer, Style()))


def test_from_a_deployment_to_the_data() -> None:
    no_version = deployment(condition("Ready", "False", "NoModelVersion"))
    waiting = run("january", condition("Succeeded", "Unknown", "DatasetNotReady"))
    bad = dataset(
        condition("Ready", "False", "ExpectationFailed", "The data is not fit: labelled: 12 nulls"),
        condition("Valid", "False", "ExpectationFailed"),
    )
    answer = ask("mdep/flight-delay", no_version, waiting, bad)
    assert reasons(answer) == [
        ("ModelDeployment", "NoModelVersion"),
        ("TrainingRun", "DatasetNotReady"),
        ("Dataset", "ExpectationFailed"),
    ]
    assert answer.state is State.BAD
    assert "Fix the data" in answer.advice
    assert answer.look == "kubectl -n team describe dataset flights"
    assert list(answer_lines(answer, Style())) == [
        "✗ ModelDeployment flight-delay: NoModelVersion",
        "  NoModelVersion.",
        "└─ · because TrainingRun january: DatasetNotReady",
        "     DatasetNotReady.",
        "   └─ · because Dataset flights: ExpectationFailed",
        "        The data is not fit: labelled: 12 nulls",
        "",
        "What to do: Fix the data, or give the expectation severity Warn if it only informs; it is checked again.",
        "More: kubectl -n team describe dataset flights",
    ]


def test_from_a_deployment_to_the_scripts_last_words() -> None:
    failed = run("january", condition("Succeeded", "False", "AppFailure"), condition("Stalled", "True", "AppFailure"))
    training = job(failed, "january-train", condition("Failed", "True", "BackoffLimitExceeded"))
    older = pod(failed, "january-train-a", "training", {"phase": "Succeeded"})
    words = pod(failed, "january-train-b", "training", ended("trainer", 1, "Traceback\nKeyError: 'late'\n"))
    no_version = deployment(condition("Ready", "False", "NoModelVersion"))
    answer = ask("mdep/flight-delay", no_version, failed, ready_dataset(), training, older, words)
    assert reasons(answer) == [
        ("ModelDeployment", "NoModelVersion"),
        ("TrainingRun", "AppFailure"),
        ("Job", "BackoffLimitExceeded"),
        ("Pod", "ContainerFailed"),
    ]
    assert answer.chain[-1].message == "Container trainer ended with exit code 1: KeyError: 'late'"
    assert "read its log" in answer.advice
    assert answer.look == "kubectl -n team logs january-train-b --all-containers"


def test_the_newest_run_of_the_model_is_the_one_that_matters() -> None:
    older = run("a", condition("Succeeded", "False", "GateRejected"))
    newer = run("b", condition("Succeeded", "Unknown", "DatasetNotFound"), created="2026-11-24T00:00:00Z")
    answer = ask("mdep/flight-delay", deployment(condition("Ready", "False", "NoModelVersion")), older, newer)
    assert reasons(answer)[-1] == ("TrainingRun", "DatasetNotFound")
    assert "Create the Dataset" in answer.advice


def test_a_job_that_runs_is_named_and_its_pod_that_waits() -> None:
    training = run("january", condition("Succeeded", "Unknown", "NotScheduled"), condition("Reconciling", "True", "x"))
    unschedulable = condition("PodScheduled", "False", "Unschedulable", "0/1 nodes: insufficient memory")
    waiting = pod(training, "january-train-a", "training", {"phase": "Pending", "conditions": [unschedulable]})
    answer = ask("january", training, ready_dataset(), job(training, "january-train"), waiting)
    assert reasons(answer) == [("TrainingRun", "NotScheduled"), ("Job", "Running"), ("Pod", "NotScheduled")]
    assert answer.state is State.WAITING
    assert answer.look == "kubectl -n team describe pod january-train-a"
    assert "Make room" in answer.advice


QUOTA = "The pods may not be created: exceeded quota: q, requested: pods=1, used: pods=5, limited: pods=5"


def test_a_shortage_is_told_in_the_api_servers_words() -> None:
    training = run(
        "january", condition("Succeeded", "Unknown", "QuotaExceeded", QUOTA), condition("Reconciling", "True", "x")
    )
    answer = ask("january", training, ready_dataset(), job(training, "january-train"))
    assert reasons(answer) == [("TrainingRun", "QuotaExceeded")]
    assert answer.chain[0].message == QUOTA
    assert "Raise the quota" in answer.advice
    waiting = on_trial()
    waiting["status"]["conditions"].append(condition("Progressing", "True", "QuotaExceeded", QUOTA))
    told = ask("mdep/flight-delay", waiting, passed_run(), ready_dataset())
    assert (told.state, told.trial) == (State.OK, QUOTA)


def test_an_image_that_cannot_be_pulled() -> None:
    starting = deployment(condition("Ready", "False", "ImageNotPulled"), condition("Reconciling", "True", "x"))
    waiting = {"reason": "ImagePullBackOff", "message": "Back-off pulling image x"}
    status = {"phase": "Pending", "containerStatuses": [{"name": "server", "state": {"waiting": waiting}}]}
    other = pod(starting, "router", "router", ended("envoy", 1, "not this one"))
    answer = ask("flight-delay", starting, pod(starting, "flight-delay-a-1", "server", status), other)
    assert reasons(answer) == [("ModelDeployment", "ImageNotPulled"), ("Pod", "ImageNotPulled")]
    assert answer.look == "kubectl -n team describe pod flight-delay-a-1"


def test_a_check_that_does_not_end() -> None:
    checked = dataset(
        condition("Ready", "False", "NoVersion"),
        condition("Fetched", "Unknown", "NotChecked"),
        condition("Reconciling", "True", "Checking"),
    )
    waiting = pod(checked, "flights-check-x-y", "dataset-check", {"phase": "Pending"})
    answer = ask("flights", checked, job(checked, "flights-check-x"), waiting)
    assert reasons(answer) == [("Dataset", "NotChecked"), ("Job", "Running"), ("Pod", "PodPending")]


def test_a_source_that_cannot_be_read_is_told_by_fetched() -> None:
    unread = dataset(
        condition("Ready", "False", "NoVersion"), condition("Fetched", "False", "SourceUnreadable", "No such folder.")
    )
    answer = ask("flights", unread)
    assert reasons(answer) == [("Dataset", "SourceUnreadable")]
    assert "spec.source.uri" in answer.advice


def test_what_corrected_labels_changed_is_told_although_all_is_well() -> None:
    changed = {**SLO, "reason": "LabelsCorrected", "message": "kept; before 200 labels were corrected, it was Fail"}
    steady = deployment(SERVING, condition("SLOsMet", "True", "SLOsMet"), slos=[changed, {**SLO, "name": "kept"}])
    answer = ask("flight-delay", steady)
    assert (answer.state, answer.advice) == (State.OK, "")
    assert [link.json_data() for link in answer.promises] == [
        {
            "kind": "SLO",
            "name": "missed-late",
            "reason": "Pass · LabelsCorrected",
            "message": "kept; before 200 labels were corrected, it was Fail",
        }
    ]
    assert answer.json_data()["promises"] == [link.json_data() for link in answer.promises]
    assert list(answer_lines(answer, Style()))[-2:] == [
        "· SLO missed-late: Pass · LabelsCorrected",
        "  kept; before 200 labels were corrected, it was Fail",
    ]


def test_why_nothing_is_known_of_a_promise_yet_is_told_with_what_more_decides() -> None:
    unknown = {"name": "missed-late", "verdict": "NoData", "reason": "LabelsIncomplete", "message": "100 are missing"}
    undecided = {
        "name": "late",
        "verdict": "Undecided",
        "reason": "MoreCohortsNeeded",
        "message": "above",
        "needed": 1400,
    }
    steady = deployment(SERVING, condition("SLOsMet", "Unknown", "LabelsIncomplete"), slos=[unknown, undecided])
    assert [(link.reason, link.message) for link in ask("flight-delay", steady).promises] == [
        ("NoData · LabelsIncomplete", "100 are missing"),
        ("Undecided · MoreCohortsNeeded", "above; about 1,400 more samples decide"),
    ]


def test_a_broken_promise_leads_to_the_retraining() -> None:
    decision = {"time": "t", "trigger": "too-many-missed", "decision": "Refused", "reason": "Cooldown", "message": "m"}
    broken = deployment(
        SERVING, condition("SLOsMet", "False", "SLOBroken"), retraining={"decisions": [decision], "started": 1}
    )
    answer = ask("flight-delay", broken)
    assert answer.state is State.WARNING
    assert reasons(answer) == [("ModelDeployment", "SLOBroken"), ("Retraining", "Cooldown")]
    assert answer.look == "kubectl -n team describe modeldeployment flight-delay"
    running = run(
        "flight-delay-1", condition("Succeeded", "Unknown", "Training"), condition("Reconciling", "True", "x")
    )
    broken["status"]["retraining"]["currentRun"] = "flight-delay-1"
    answer = ask("mdep/flight-delay", broken, running)
    assert reasons(answer) == [("ModelDeployment", "SLOBroken"), ("TrainingRun", "Training")]


def test_a_version_that_was_rolled_back() -> None:
    refused = deployment(SERVING, condition("Stalled", "True", "RolledBack", "e-value 412 (needed 20)"))
    answer = ask("flight-delay", refused)
    assert reasons(answer) == [("ModelDeployment", "RolledBack")]
    assert answer.state is State.WARNING
    assert "another version" in answer.advice


def test_the_operator_has_not_looked() -> None:
    unseen = deployment()
    del unseen["status"]
    answer = ask("flight-delay", unseen)
    assert reasons(answer) == [("ModelDeployment", "NotSeen")]
    assert "operator runs" in answer.advice


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nobody", "There is no Dataset, TrainingRun or ModelDeployment nobody here"),
        ("dset/flight-delay", "There is no Dataset flight-delay here"),
        ("pod/x", "'pod' must be dataset, trainingrun or modeldeployment"),
        ("flights", "must mean one object, and may be any of: dataset/flights in team, trainingrun/flights in team"),
    ],
)
def test_a_name_must_mean_one_object(target: str, message: str) -> None:
    with pytest.raises(CliError, match=message):
        ask(target, on_trial(), ready_dataset(), passed_run("flights"))


@pytest.mark.parametrize("kind", ["dataset", "datasets", "dset", "Dataset", "datasets.perennial.dev"])
def test_kinds_go_by_all_their_names(kind: str) -> None:
    assert ask(f"{kind}/flights", ready_dataset()).kind == "Dataset"
