"""Given what is seen of a Dataset, then this plan: every decision of the planner at least once."""

from collections.abc import Mapping
from typing import Any

import pytest
from given import (
    DIGEST,
    NAMESPACE,
    NOW,
    OTHER_DIGEST,
    READY_STATUS,
    World,
    applied,
    check_result,
    condition,
    conditions,
    dataset,
    effects,
    given,
    job,
    later,
    message,
    planned,
    pod,
    recorded,
)

from perennial.api.dataset import DatasetSpec
from perennial.api.messages.check import CheckRequest
from perennial.manifests.build import hashed
from perennial.plan.actions import Plan
from perennial.plan.dataset import observe

UID = "uid-dataset-flights"
VOLUME = "apply PersistentVolumeClaim flights-snapshots"


def check_name(*, generation: int = 1, checks: int = 0) -> str:
    return f"flights-check-{hashed(UID, generation, checks)}"


FIRST, SECOND = check_name(), check_name(checks=1)
NEVER_CHECKED = dataset()
DUE = dataset(READY_STATUS)
NOT_DUE = dataset({**READY_STATUS, "nextCheckTime": "2026-03-01T12:10:00Z"})


def checked(subject: Mapping[str, Any], said: object = None, *, exit_code: int = 0, ended: str = "Complete") -> World:
    """Return the world in which a Dataset's check has ended."""
    name = check_name(checks=subject.get("status", {}).get("checksRecorded", 0))
    reason = "" if ended == "Complete" else "PodFailurePolicy"
    run = job(dict(subject), name, ended=ended, reason=reason)
    return given(dict(subject), run, pod(run, said=said, exit_code=exit_code))


def waiting(subject: Mapping[str, Any], **how: Any) -> World:
    run = job(dict(subject), check_name(checks=subject.get("status", {}).get("checksRecorded", 0)))
    return given(dict(subject), run, pod(run, **how))


READY = {"Ready": "True VersionReady", "Fetched": "True Fetched", "Valid": "True ExpectationsMet"}
UNKNOWN = {"Ready": "False NoVersion", "Fetched": "Unknown NotChecked", "Valid": "Unknown NotChecked"}
CHECKING, SETTLED = {"Reconciling": "True Checking"}, {"Reconciling": "False Settled"}
FREE, SUSPENDED = {"Stalled": "False Free"}, {"Stalled": "True Suspended"}


@pytest.mark.parametrize(
    ("world", "does", "says"),
    [
        pytest.param(
            given(NEVER_CHECKED),
            [VOLUME, f"apply Job {FIRST}"],
            UNKNOWN | CHECKING | FREE,
            id="never checked: start a check",
        ),
        pytest.param(given(NOT_DUE), [VOLUME], READY | SETTLED | FREE, id="checked and not due: wait"),
        pytest.param(
            given(dataset({key: value for key, value in READY_STATUS.items() if key != "nextCheckTime"}, refresh=None)),
            [VOLUME],
            READY | SETTLED | FREE,
            id="checked and no refresh: wait for ever",
        ),
        pytest.param(
            given(DUE), [VOLUME, f"apply Job {SECOND}"], READY | SETTLED | FREE, id="due again: start a check"
        ),
        pytest.param(
            given(dataset(READY_STATUS, generation=2)),
            [VOLUME, f"apply Job {check_name(generation=2, checks=1)}"],
            READY | CHECKING | FREE,
            id="spec changed: check at once, the old version stays usable",
        ),
        pytest.param(
            given(dataset(READY_STATUS, generation=2, suspend=True)),
            [VOLUME],
            READY | SETTLED | SUSPENDED,
            id="suspended: no check, the version stays usable",
        ),
        pytest.param(
            given(dataset(suspend=True)), [VOLUME], UNKNOWN | SETTLED | SUSPENDED, id="suspended from the start"
        ),
        pytest.param(
            given(DUE, job(DUE, FIRST, ended="Complete"), job(DUE, SECOND)),
            [VOLUME, f"delete Job {FIRST}"],
            READY | SETTLED | FREE,
            id="a check that is recorded already: delete it",
        ),
        pytest.param(
            given(dataset(generation=2), job(dataset(), FIRST)),
            [VOLUME, f"delete Job {FIRST}"],
            UNKNOWN | CHECKING | FREE,
            id="a check of an older spec runs: delete it, and begin no other meanwhile",
        ),
        pytest.param(
            given(dataset(generation=2), job(dataset(), FIRST, ended="Complete")),
            [VOLUME, f"apply Job {check_name(generation=2)}", f"delete Job {FIRST}"],
            UNKNOWN | CHECKING | FREE,
            id="a check of an older spec has ended: delete it",
        ),
        pytest.param(
            given(NEVER_CHECKED, job(NEVER_CHECKED, FIRST)),
            [VOLUME],
            UNKNOWN | CHECKING | FREE,
            id="the Job has no pod yet",
        ),
        pytest.param(waiting(NEVER_CHECKED), [VOLUME], UNKNOWN | CHECKING | FREE, id="the check runs"),
        pytest.param(
            waiting(NEVER_CHECKED, unschedulable='persistentvolumeclaim "lake" not found'),
            [VOLUME],
            UNKNOWN | {"Fetched": "False ClaimNotFound", "Reconciling": "True ClaimNotFound"} | FREE,
            id="the source's claim is missing",
        ),
        pytest.param(
            waiting(NEVER_CHECKED, unschedulable='persistentvolumeclaim "lake" is being deleted. not found'),
            [VOLUME],
            UNKNOWN | {"Fetched": "False ClaimNotFound", "Reconciling": "True ClaimNotFound"} | FREE,
            id="the source's claim is on its way out",
        ),
        pytest.param(
            waiting(
                NEVER_CHECKED,
                unschedulable="0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.",
            ),
            [VOLUME],
            UNKNOWN | {"Fetched": "False ClaimNotBound", "Reconciling": "True ClaimNotBound"} | FREE,
            id="a claim gets no volume",
        ),
        pytest.param(
            waiting(NEVER_CHECKED, unschedulable="0/1 nodes are available: 1 Insufficient memory."),
            [VOLUME],
            UNKNOWN | {"Fetched": "False NotScheduled", "Reconciling": "True NotScheduled"} | FREE,
            id="no node has room",
        ),
        pytest.param(
            waiting(dataset({"conditions": [condition("Fetched", "False", "ClaimNotFound")]})),
            [VOLUME],
            UNKNOWN | {"Fetched": "Unknown Checking"} | CHECKING | FREE,
            id="the claim is there now: the check runs",
        ),
        pytest.param(
            waiting(NEVER_CHECKED, waiting="ImagePullBackOff"),
            [VOLUME],
            UNKNOWN | {"Fetched": "False ImageNotPulled", "Reconciling": "True ImageNotPulled"} | FREE,
            id="the image can't be pulled",
        ),
        pytest.param(
            checked(NEVER_CHECKED, {"error": "no parquet file below /source/flights"}, exit_code=65, ended="Failed"),
            [VOLUME, "tell Warning SourceUnreadable", f"delete Job {FIRST}"],
            UNKNOWN | {"Fetched": "False SourceUnreadable", "Valid": "Unknown SourceUnreadable"} | SETTLED | FREE,
            id="the source can't be read",
        ),
        pytest.param(
            checked(DUE, {"error": "no parquet file below /source/flights"}, exit_code=65, ended="Failed"),
            [VOLUME, "tell Warning SourceUnreadable", f"delete Job {SECOND}"],
            READY | {"Fetched": "False SourceUnreadable"} | SETTLED | FREE,
            id="the source can't be read any more: the version stays usable",
        ),
        pytest.param(
            checked(
                dataset({**READY_STATUS, "fetchedGeneration": 0}),
                {"error": "no such folder"},
                exit_code=65,
                ended="Failed",
            ),
            [VOLUME, "tell Warning SourceUnreadable", f"delete Job {SECOND}"],
            READY | {"Fetched": "False SourceUnreadable", "Reconciling": "True SourceUnreadable"} | FREE,
            id="the source of a new spec can't be read: that is not done, though the old version stays usable",
        ),
        pytest.param(
            checked(NEVER_CHECKED, "Traceback\nMemoryError", exit_code=1, ended="Failed"),
            [VOLUME, "tell Warning CheckFailed", f"delete Job {FIRST}"],
            UNKNOWN | {"Fetched": "False CheckFailed", "Valid": "Unknown CheckFailed"} | SETTLED | FREE,
            id="the check broke",
        ),
        pytest.param(
            checked(NEVER_CHECKED, "not JSON"),
            [VOLUME, "tell Warning CheckFailed", f"delete Job {FIRST}"],
            UNKNOWN | {"Fetched": "False CheckFailed", "Valid": "Unknown CheckFailed"} | SETTLED | FREE,
            id="the check ended without a result",
        ),
        pytest.param(
            checked(NEVER_CHECKED, {"digest": DIGEST}),
            [VOLUME, "tell Warning CheckFailed", f"delete Job {FIRST}"],
            UNKNOWN | {"Fetched": "False CheckFailed", "Valid": "Unknown CheckFailed"} | SETTLED | FREE,
            id="the check's result is not what was agreed upon",
        ),
        pytest.param(
            checked(
                NEVER_CHECKED,
                check_result(violations=[{"name": "schema/late", "message": "late must be Boolean"}]),
            ),
            [VOLUME, "tell Warning SchemaViolated", f"delete Job {FIRST}"],
            {"Ready": "False SchemaViolated", "Fetched": "True Fetched", "Valid": "False SchemaViolated"}
            | SETTLED
            | FREE,
            id="the schema is violated",
        ),
        pytest.param(
            checked(DUE, check_result(digest=OTHER_DIGEST, failed=["labelled"])),
            [VOLUME, "tell Warning ExpectationFailed", f"delete Job {SECOND}"],
            {"Ready": "False ExpectationFailed", "Fetched": "True Fetched", "Valid": "False ExpectationFailed"}
            | SETTLED
            | FREE,
            id="an expectation of severity Error fails",
        ),
        pytest.param(
            checked(NEVER_CHECKED, check_result(warned=["far"])),
            [VOLUME, "tell Normal VersionRecorded", f"delete Job {FIRST}"],
            READY | SETTLED | FREE,
            id="an expectation of severity Warn fails: the version is recorded",
        ),
        pytest.param(
            checked(DUE, check_result()),
            [VOLUME, f"delete Job {SECOND}"],
            READY | SETTLED | FREE,
            id="the same content: no new version, no story",
        ),
        pytest.param(
            checked(DUE, check_result(digest=OTHER_DIGEST)),
            [VOLUME, "tell Normal VersionRecorded", f"delete Job {SECOND}"],
            READY | SETTLED | FREE,
            id="new content: a new version",
        ),
    ],
)
def test_decisions(world: World, does: list[str], says: Mapping[str, str]) -> None:
    plan = planned(world, "Dataset", "flights")
    assert effects(plan) == does
    assert conditions(plan) == says


def status(plan: Plan) -> Mapping[str, Any]:
    assert plan.status is not None
    return plan.status


def test_a_new_version_is_counted_and_the_old_ones_are_kept() -> None:
    plan = planned(checked(DUE, check_result(digest=OTHER_DIGEST, rows=2000)), "Dataset", "flights")
    version = status(plan)["version"]
    assert (version["digest"], version["ordinal"], version["rows"]) == (OTHER_DIGEST, 2, 2000)
    assert version["recordedTime"] == "2026-03-01T12:00:00Z"
    assert [item["digest"] for item in status(plan)["versions"]] == [OTHER_DIGEST, DIGEST]


def test_ten_versions_are_kept() -> None:
    old = [{**READY_STATUS["version"], "ordinal": 30 - number} for number in range(10)]
    subject = dataset({**READY_STATUS, "version": old[0], "versions": old})
    plan = planned(checked(subject, check_result(digest=OTHER_DIGEST)), "Dataset", "flights")
    assert [item["ordinal"] for item in status(plan)["versions"]] == [31, 30, 29, 28, 27, 26, 25, 24, 23, 22]


def test_the_same_content_keeps_its_number_and_its_time() -> None:
    plan = planned(checked(DUE, check_result()), "Dataset", "flights")
    assert status(plan)["version"] == READY_STATUS["version"]
    assert (status(plan)["checksRecorded"], status(plan)["lastCheckedTime"]) == (2, "2026-03-01T12:00:00Z")


def test_invalid_data_leaves_the_recorded_version_but_says_why_it_may_not_be_used() -> None:
    plan = planned(checked(DUE, check_result(digest=OTHER_DIGEST, failed=["labelled"])), "Dataset", "flights")
    assert status(plan)["version"]["digest"] == DIGEST
    finding = {"verdict": "Fail", "reason": "ValuesMissing", "message": "must be set", "samples": 1000}
    assert status(plan)["expectations"] == {"passed": 1, "warned": 0, "findings": [{"name": "labelled", **finding}]}
    assert message(plan, "Ready") == "The data is not fit: labelled: must be set"


@pytest.mark.parametrize(
    ("world", "seconds"),
    [
        pytest.param(given(NOT_DUE), 600, id="until the next check is due"),
        pytest.param(given(DUE), None, id="while a check runs, its events tell"),
        pytest.param(given(dataset(READY_STATUS, suspend=True)), None, id="never, while suspended"),
        pytest.param(checked(DUE, check_result()), 600, id="the refresh's interval after a check"),
        pytest.param(
            checked(DUE, {"error": "?"}, exit_code=65, ended="Failed"), 60, id="soon, if it could not be read"
        ),
        pytest.param(
            checked(dataset(READY_STATUS, refresh={"intervalSeconds": 5}), "x", exit_code=65, ended="Failed"),
            5,
            id="sooner, if the refresh is sooner",
        ),
        pytest.param(
            checked(dataset(refresh=None), check_result(failed=["labelled"])),
            300,
            id="in five minutes, if invalid data has no refresh",
        ),
        pytest.param(checked(dataset(refresh=None), check_result()), None, id="never, without a refresh"),
    ],
)
def test_when_it_is_looked_at_again(world: World, seconds: float | None) -> None:
    plan = planned(world, "Dataset", "flights")
    assert plan.requeue_after == seconds
    if "nextCheckTime" in status(plan) and plan.deletes:
        assert status(plan)["nextCheckTime"] == later(seconds or 0).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_a_failure_that_repeats_is_told_once() -> None:
    world = checked(NEVER_CHECKED, {"error": "no parquet file"}, exit_code=65, ended="Failed")
    first = planned(world, "Dataset", "flights")
    assert [event.reason for event in first.events] == ["SourceUnreadable"]
    known = recorded(world, "Dataset", "flights", first).subject("Dataset")
    again = planned(checked(known, {"error": "no parquet file"}, exit_code=65, ended="Failed"), "Dataset", "flights")
    assert (again.events, status(again)["checksRecorded"]) == ((), 2)
    other = planned(checked(known, {"error": "the folder is gone"}, exit_code=65, ended="Failed"), "Dataset", "flights")
    assert [event.reason for event in other.events] == ["SourceUnreadable"]


@pytest.mark.parametrize(
    ("how", "reason", "why"),
    [
        pytest.param(
            {"said": {"error": "expectations[0].unique: is not known to this release"}, "exit_code": 64},
            "CheckRefused",
            "expectations[0].unique: is not known to this release",
            id="the worker does not know what it is asked for",
        ),
        pytest.param(
            {"said": {"error": "b.parquet must lead to a file, but is a link."}, "exit_code": 65},
            "SourceUnreadable",
            "b.parquet must lead to a file, but is a link",
            id="the source is no data",
        ),
        pytest.param(
            {"said": "Traceback (most recent call last):\nMemoryError", "exit_code": 1},
            "CheckFailed",
            "it left no report (PodFailurePolicy, exit code 1); its log ends with “MemoryError”",
            id="it broke",
        ),
        pytest.param(
            {"said": {"from": "1-01-01T00:00:00Z", "rows": 1}, "exit_code": 0},
            "CheckFailed",
            (
                "its report can't be read by this release of the operator "
                "(digest: must be given; bytes: must be given; files: must be given)"
            ),
            id="it says what this release does not read: no JSON is told",
        ),
        pytest.param({"said": "", "exit_code": 0}, "CheckFailed", "it left no report", id="it says nothing"),
    ],
)
def test_why_a_check_left_no_report_is_a_sentence(how: Mapping[str, Any], reason: str, why: str) -> None:
    ended = "Failed" if how["exit_code"] else "Complete"
    plan = planned(checked(NEVER_CHECKED, how["said"], exit_code=how["exit_code"], ended=ended), "Dataset", "flights")
    assert conditions(plan)["Fetched"] == f"False {reason}"
    assert message(plan, "Fetched") == f"The source pvc://lake/flights could not be checked: {why}. It is tried again."


def test_of_many_findings_the_first_are_told_and_the_others_counted() -> None:
    violations = [{"name": f"schema/c{index}", "message": "must be there"} for index in range(8)]
    said = {**check_result(violations=violations, failed=["labelled"]), "violated": 20}
    plan = planned(checked(NEVER_CHECKED, said), "Dataset", "flights")
    assert message(plan, "Valid") == (
        "The data is not fit: schema/c0: must be there; schema/c1: must be there; schema/c2: must be there; "
        "schema/c3: must be there; and 17 more"
    )
    found = status(plan)["expectations"]["findings"]
    assert [finding["name"] for finding in found] == [*(f"schema/c{index}" for index in range(8)), "labelled"]


@pytest.mark.parametrize("reason", ["NoRows", "EventTimesMissing", "SchemaViolated"])
def test_the_first_violation_is_the_reason(reason: str) -> None:
    violation = {"name": "schema/*", "reason": reason, "message": "the data must have rows"}
    plan = planned(checked(NEVER_CHECKED, check_result(violations=[violation], failed=["x"])), "Dataset", "flights")
    assert conditions(plan)["Valid"] == f"False {reason}"


def test_a_version_number_that_other_checks_took_is_not_taken_again() -> None:
    """What 0.2 counted as `checks` is not read any more: its check that runs is begun anew, and its version stays."""
    old = dataset({**{key: value for key, value in READY_STATUS.items() if key != "checksRecorded"}, "checks": 7})
    theirs = job(old, check_name(checks=7))
    plan = planned(given(old, theirs), "Dataset", "flights")
    assert effects(plan) == [VOLUME, f"delete Job {check_name(checks=7)}"]
    assert status(plan)["version"]["digest"] == DIGEST


@pytest.mark.parametrize("ended", ["Complete", "Failed"])
def test_a_result_is_waited_for_while_the_pod_is_not_yet_seen(ended: str) -> None:
    run = job(DUE, SECOND, ended=ended, reason="PodFailurePolicy", ended_seconds_ago=59)
    for world in (given(DUE, run), given(DUE, run, pod(run))):
        plan = planned(world, "Dataset", "flights")
        assert (plan.status, plan.requeue_after, effects(plan)) == (None, 1, [VOLUME])
    lost = job(DUE, SECOND, ended=ended, reason="PodFailurePolicy", ended_seconds_ago=61)
    plan = planned(given(DUE, lost), "Dataset", "flights")
    assert conditions(plan)["Fetched"] == "False CheckFailed"


def test_the_words_of_an_attempt_that_failed_are_not_the_result() -> None:
    run = job(DUE, SECOND, ended="Complete")
    failed = pod(run, "first", said={"error": "in use by another check"}, exit_code=75, seconds_old=50)
    plan = planned(given(DUE, run, failed), "Dataset", "flights")
    assert (plan.status, plan.requeue_after) == (None, 1)
    succeeded = pod(run, "second", said=check_result(), exit_code=0)
    plan = planned(given(DUE, run, failed, succeeded), "Dataset", "flights")
    assert conditions(plan)["Fetched"] == "True Fetched"


def test_a_condition_keeps_its_time_while_its_status_stays() -> None:
    plan = planned(checked(DUE, check_result(failed=["labelled"])), "Dataset", "flights", now=NOW)
    since = {item["type"]: item["lastTransitionTime"] for item in status(plan)["conditions"]}
    assert since["Fetched"] == "2026-03-01T11:00:00Z"
    assert since["Valid"] == since["Ready"] == "2026-03-01T12:00:00Z"


def test_what_the_check_is_told() -> None:
    (run,) = applied(planned(given(NEVER_CHECKED), "Dataset", "flights"), "Job").values()
    (container,) = run["spec"]["template"]["spec"]["containers"]
    volumes = {volume["name"]: volume for volume in run["spec"]["template"]["spec"]["volumes"]}
    assert container["args"][:4] == ["--source", "/source/flights", "--snapshots", "/snapshots"]
    (variable,) = (item for item in container["env"] if item["name"] == "PERENNIAL_DATASET")
    spec = DatasetSpec.model_validate(NEVER_CHECKED["spec"])
    assert CheckRequest.read(variable["value"]) == CheckRequest(
        dataset="flights", format=spec.source.format, schema_=spec.schema_, expectations=spec.expectations
    )
    assert volumes["source"]["persistentVolumeClaim"] == {"claimName": "lake", "readOnly": True}
    assert volumes["snapshots"]["persistentVolumeClaim"] == {"claimName": "flights-snapshots"}


def test_a_gone_dataset_has_no_plan() -> None:
    going = dataset(READY_STATUS)
    going["metadata"]["deletionTimestamp"] = "2026-03-01T11:59:00Z"
    for world in (given(going), given()):
        assert observe(world.view(), NAMESPACE, "flights") is None


def test_the_reason_of_an_unready_dataset_is_repeated_while_it_is_checked_again() -> None:
    bad = {**READY_STATUS, "conditions": [condition("Valid", "False", "ExpectationFailed", "labelled: must be set")]}
    plan = planned(given(dataset(bad)), "Dataset", "flights")
    assert (conditions(plan)["Ready"], message(plan, "Ready")) == ("False ExpectationFailed", "labelled: must be set")
