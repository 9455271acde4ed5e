"""Given a ModelDeployment on its way: what is recorded, told, shown and made."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from given import NOW, World, child_of, conditions, effects, given, later, message, planned, registry
from given_deployment import (
    AT_10,
    AT_50,
    DUE_TO_LEAVE,
    GOOD,
    KEPT,
    LATE,
    NAME,
    ON_TRIAL,
    PREPARING,
    STABLE,
    STARTING,
    braked,
    canary,
    collector,
    deployment,
    on_undecided,
    plan_of,
    pod_of,
    roles,
    running,
    trouble,
    version,
    workload,
)

from perennial.plan.actions import Plan, PutPolicy, SetAlias
from perennial.plan.observed import CallResult, Fact
from perennial.terms.words import Verdict

PASS, FAIL, UNDECIDED = Verdict.PASS, Verdict.FAIL, Verdict.UNDECIDED
NO_DATA, ERROR = Verdict.NO_DATA, Verdict.ERROR


def status(plan: Plan) -> Mapping[str, Any]:
    assert plan.status is not None
    return plan.status


def test_a_promotion_swaps_the_roles_and_moves_the_champion() -> None:
    before = {**STABLE, "canary": canary(step=2), "canaries": 1, "rejected": [version("2")]}
    world = running(before, GOOD, weights=AT_50)
    plan = plan_of(world)
    new, old = status(plan)["stable"], status(plan)["previous"]
    assert (new["version"], new["since"]) == (version("4"), "2026-03-01T12:00:00Z")
    assert (old["version"], old["scaleDownTime"]) == (version("3"), "2026-03-01T12:05:00Z")
    assert (status(plan)["rejected"], status(plan)["canaries"], status(plan)["champion"]) == ([], 1, "3")
    (entry,) = status(plan)["history"]
    assert (entry["id"], entry["decision"], entry["reason"], entry["time"]) == (
        *("1-trial", "Promoted", "Safe"),
        "2026-03-01T12:00:00Z",
    )
    assert "delete" not in " ".join(effects(plan))
    # The alias follows what is recorded, in the next plan; the one after that records that it did.
    world = running(status(plan))
    assert [call for call in plan_of(world).calls if isinstance(call, SetAlias)] == [
        SetAlias(model="ml.flight-delay", alias="champion", version="4")
    ]
    done = plan_of(world.but(results=((SetAlias, CallResult(value={})),)))
    assert (status(done)["champion"], [call for call in done.calls if isinstance(call, SetAlias)]) == ("4", [])
    failed = plan_of(world.but(results=((SetAlias, CallResult(error="MLflow does not answer.")),)))
    assert (status(failed)["champion"], [call for call in failed.calls if isinstance(call, SetAlias)]) == ("3", [])


def test_a_roll_back_is_remembered_with_its_evidence() -> None:
    plan = plan_of(running(ON_TRIAL, GOOD, brake=braked()))
    (entry,) = status(plan)["history"]
    assert (entry["decision"], entry["reason"], status(plan)["rejected"]) == ("RolledBack", "Harmful", [version("4")])
    assert entry["message"] == (
        f"Model version 4 ({version('4')}) is rolled back: SLO errors failed after 1000 requests on the candidate, "
        "40 of them bad (stable: 90 of 9000), e-value 24.5 (needed 20). errors is Fail. "
        "The collector set its weight to 0 at 11:59:59 UTC."
    )
    assert [(item["name"], item["verdict"], item["samples"]) for item in entry["findings"]] == [
        ("errors", "Fail", 1000)
    ]
    assert entry["findings"][0]["evidence"]["harm"] == "3.2"
    assert message(plan, "Stalled").startswith(entry["message"])
    assert [event.type for event in plan.events] == ["Warning"]


@pytest.mark.parametrize(
    ("world", "decision", "reason"),
    [
        (
            running({**STABLE, "canary": canary(step=0, begun=600)}, not_ready=["b"]),
            "RolledBack",
            "ProgressDeadlineExceeded",
        ),
        (running(ON_TRIAL, {"errors": FAIL}, weights=AT_10), "RolledBack", "Harmful"),
        (running(LATE, {}, spec=on_undecided("Rollback")), "RolledBack", "Undecided"),
        (running(LATE, {"errors": UNDECIDED}, spec=on_undecided("Promote"), weights=AT_10), "Promoted", "Undecided"),
        (running(ON_TRIAL, wants="5"), "Superseded", "Superseded"),
    ],
)
def test_the_history_says_how_a_trial_ended(world: World, decision: str, reason: str) -> None:
    plan = plan_of(world)
    (entry,) = status(plan)["history"]
    assert (entry["decision"], entry["reason"]) == (decision, reason)
    assert status(plan)["rejected"] == ([version("4")] if decision == "RolledBack" else [])


def test_ten_trials_and_ten_rejections_are_remembered() -> None:
    history = [
        {
            "id": f"{number}-x",
            "version": f"v{number}",
            "modelVersion": "2",
            "decision": "RolledBack",
            "reason": "Harmful",
            "message": "",
            "time": "2026-02-01T00:00:00Z",
        }
        for number in range(10)
    ]
    before = {**ON_TRIAL, "history": history, "rejected": [f"v{number}" for number in range(10)]}
    plan = plan_of(running(before, {"errors": FAIL}, weights=AT_10))
    assert [entry["id"] for entry in status(plan)["history"]] == ["1-trial", *(f"{number}-x" for number in range(9))]
    assert status(plan)["rejected"] == [version("4"), *(f"v{number}" for number in range(9))]


def test_what_is_shown_of_a_trial() -> None:
    plan = plan_of(running(ON_TRIAL, {"errors": UNDECIDED, "flaky": NO_DATA}, weights=AT_10))
    shown = status(plan)["canary"]
    assert shown["weight"] == {"desired": 10, "verified": 10}
    assert shown["slos"][0] == {
        "name": "errors",
        "verdict": "Undecided",
        "message": "errors is Undecided.",
        "reason": "Undecided",
        "value": "0.04",
        "baseline": "0.01",
        "samples": 1000,
        "evidence": {"harm": "3.2", "harmThreshold": "2.995732", "safe": "-1.5", "safeThreshold": "2.995732"},
        "needed": 1900,
        "etaSeconds": 720,
    }
    assert message(plan, "Progressing") == "Step 1 of 2 at 10 %: errors: Undecided; flaky: NoData."


def test_a_silent_collector_changes_nothing_that_is_shown() -> None:
    before = running(ON_TRIAL, {"errors": UNDECIDED}, weights=AT_10)
    shown = status(plan_of(before))["canary"]
    silent = running({**ON_TRIAL, "canary": shown}, error="timeout")
    assert status(plan_of(silent))["canary"] == shown


def test_the_policy_is_told_to_a_collector_that_answers_and_only_then() -> None:
    def tells(world: World) -> list[PutPolicy]:
        return [call for call in plan_of(world).calls if isinstance(call, PutPolicy)]

    assert tells(running(ON_TRIAL)) == []
    (call,) = tells(running(ON_TRIAL, behind=True))
    trial = call.policy.canary
    assert trial is not None
    assert (call.policy.stable, trial.id, trial.slot, trial.step, trial.weight) == ("a", "1-trial", "b", 1, 100)
    assert {slot: arm.model_version for slot, arm in call.policy.arms.items()} == {"a": "3", "b": "4"}
    assert tells(running(ON_TRIAL, behind=True, error="timeout")) == []
    assert tells(running(ON_TRIAL, behind=True).but(results=((PutPolicy, CallResult(error="refused")),))) == []
    assert tells(given(deployment(), registry=registry(versions=["4"]))) == []


def test_the_policy_never_speaks_of_what_is_not_recorded() -> None:
    """A step is recorded first and told in the next plan: a restart in between finds it, and grants no free step."""
    world = running(ON_TRIAL, GOOD, weights=AT_10)
    plan = plan_of(world)
    assert roles(plan) == "3@a answers, 4@b on trial at step 2 with 50 %"
    assert [call for call in plan.calls if isinstance(call, PutPolicy)] == []
    told_before = collector(world.subject("ModelDeployment"), GOOD, weights=AT_10)
    again = planned(running(status(plan)).but(state=told_before), "ModelDeployment", NAME)
    (call,) = (call for call in again.calls if isinstance(call, PutPolicy))
    assert call.policy.canary is not None
    assert (call.policy.canary.step, call.policy.canary.weight) == (2, 500)
    assert roles(again) == "3@a answers, 4@b on trial at step 2 with 50 %"


def test_a_candidate_that_gets_ready_is_on_no_policy() -> None:
    (call,) = (call for call in plan_of(running(PREPARING, behind=True)).calls if isinstance(call, PutPolicy))
    assert call.policy.canary is None


def test_a_slot_is_emptied_one_plan_after_it_was_recorded() -> None:
    world = running(DUE_TO_LEAVE, wants="3", weights={"a": 1000, "b": 0})
    plan = plan_of(world)
    assert "delete Deployment delay-b" not in effects(plan)
    assert "apply Deployment delay-b" not in effects(plan)
    emptied = running(status(plan), wants="3").but(
        workload(world.subject("ModelDeployment"), "b", version=version("2"))
    )
    assert "delete Deployment delay-b" in effects(plan_of(emptied))


def test_which_children_there_are() -> None:
    assert plan_of(given(deployment())).applies == ()
    around = [
        "ConfigMap delay-collector",
        *("PersistentVolumeClaim delay-collector", "Deployment delay-collector", "Service delay-collector"),
        *("ConfigMap delay-router", "Deployment delay-router", "Service delay", "Service delay-routers"),
        *("Service delay-a", "Service delay-b"),
    ]
    for world, slots in (
        (running(STARTING), ["a"]),
        (running(ON_TRIAL), ["a", "b"]),
        (running(KEPT, wants="3"), ["a", "b"]),
    ):
        made = [line for line in effects(plan_of(world)) if line.startswith("apply")]
        assert made == [f"apply {child}" for child in (*around, *(f"Deployment delay-{slot}" for slot in slots))]


@pytest.mark.parametrize(
    ("world", "seconds"),
    [
        pytest.param(running(STABLE, wants="3"), None, id="nothing is on its way"),
        pytest.param(running(ON_TRIAL), 5, id="a trial's evidence is shown anew"),
        pytest.param(
            running({**STABLE, "canary": canary(step=0, begun=598)}, not_ready=["b"]), 2, id="until the deadline"
        ),
        pytest.param(running(KEPT, wants="3"), 100, id="until the version that lost may go"),
        pytest.param(running(DUE_TO_LEAVE, wants="3"), 5, id="until the weights are confirmed"),
    ],
)
def test_when_it_is_looked_at_again(world: World, seconds: float | None) -> None:
    assert plan_of(world).requeue_after == seconds


def test_pods_of_others_are_no_trouble() -> None:
    world = trouble(exit_code=65, init=True)
    other = child_of(world.subject("ModelDeployment"), "v1", "Pod", "other", labels={}, status={"phase": "Pending"})
    assert "ended with exit code 65" in message(plan_of(world.but(other)), "Available")


def test_a_deployment_that_still_has_the_older_version_is_not_ready() -> None:
    world = running(PREPARING)
    older = workload(world.subject("ModelDeployment"), "b", version=version("2"))
    assert roles(plan_of(world.but(older))) == "3@a answers, 4@b on trial at step 0 with 0 %"


def test_a_deployment_whose_change_was_not_seen_by_its_controller_is_not_ready() -> None:
    world = running(PREPARING)
    work = world.get("Deployment", "ml", f"{NAME}-b")
    assert work is not None
    changed = {**work, "metadata": {**work["metadata"], "generation": 2}}
    assert roles(plan_of(world.but(changed))) == "3@a answers, 4@b on trial at step 0 with 0 %"
    surging = {**work, "status": {**work["status"], "replicas": 3}}
    assert roles(plan_of(world.but(surging))) == "3@a answers, 4@b on trial at step 0 with 0 %"


def test_the_identity_of_a_canary_is_unique() -> None:
    first = status(plan_of(running(STABLE)))["canary"]
    assert first["id"].startswith("1-")
    again = status(plan_of(running({**STABLE, "canaries": 1})))["canary"]
    assert again["id"].startswith("2-")
    assert again["id"] != first["id"]
    assert first["startedTime"] == first["stepStartedTime"] == NOW.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert later(0) == NOW


def test_a_loser_is_rejected_also_where_another_version_is_wanted_meanwhile() -> None:
    plan = plan_of(running(ON_TRIAL, {"errors": FAIL}, weights=AT_10, wants="5"))
    assert status(plan)["rejected"] == [version("4")]


@pytest.mark.parametrize(
    ("before", "how", "after"),
    [
        pytest.param({"attempts": 2}, {"verdicts": {"errors": FAIL}}, 3, id="a trial with requests counts"),
        pytest.param({"attempts": 2}, {"wants": "5"}, 3, id="also one that was superseded: it was looked at"),
        pytest.param({"attempts": 2, "canary": canary(step=0)}, {"wants": "5"}, 2, id="not one without requests"),
        pytest.param(
            {"attempts": 2, "canary": canary(step=2)}, {"verdicts": GOOD, "weights": AT_50}, 0, id="a promotion ends it"
        ),
    ],
)
def test_the_trials_of_a_lineage_are_counted(before: Mapping[str, Any], how: dict[str, Any], after: int) -> None:
    """Each gets less of what all of them together may be wrong."""
    plan = plan_of(running({**ON_TRIAL, **before}, how.pop("verdicts", None), **{"weights": AT_10, **how}))
    assert status(plan)["attempts"] == after
    assert "canary" not in status(plan)


def test_a_trial_knows_its_number() -> None:
    begun = plan_of(running({**STABLE, "attempts": 3}))
    assert status(begun)["canary"]["attempt"] == 4
    (call,) = plan_of(running({**ON_TRIAL, "canary": {**canary(), "attempt": 4}}, behind=True)).calls
    assert isinstance(call, PutPolicy)
    assert call.policy.canary is not None
    assert call.policy.canary.attempt == 4


QUOTA = "exceeded quota: q, requested: pods=1, used: pods=5, limited: pods=5"
SECURITY = 'violates PodSecurity "restricted:latest": privileged'


def short(status_: Mapping[str, Any], refused: str = QUOTA) -> World:
    """Return the world in which the pods of slot b may not be created."""
    world = running(status_, not_ready=["b"])
    work = workload(
        world.subject("ModelDeployment"),
        "b",
        version=version("4"),
        ready=0,
        refused=f'pods "delay-b-x" is forbidden: {refused}',
    )
    return world.but(work)


@pytest.mark.parametrize(("refused", "reason"), [(QUOTA, "QuotaExceeded"), (SECURITY, "PodsRefused")])
def test_a_shortage_outside_is_held_against_no_version(refused: str, reason: str) -> None:
    late = {**PREPARING, "canary": canary(step=0, begun=6000)}
    plan = plan_of(short(late, refused))
    assert roles(plan) == "3@a answers, 4@b on trial at step 0 with 0 %"
    assert [event.reason for event in plan.events] == [reason]
    assert refused in plan.events[0].message
    assert status(plan)["canary"]["blockedTime"] == "2026-03-01T12:00:00Z"
    assert refused in message(plan, "Progressing")
    waits = planned(short(status(plan), refused), "ModelDeployment", NAME, later(86400))
    assert roles(waits) == "3@a answers, 4@b on trial at step 0 with 0 %"
    assert waits.events == ()
    assert status(waits)["rejected"] == []
    # Once the pods may be created, the deadline counts from then.
    free = planned(running(status(waits), not_ready=["b"]), "ModelDeployment", NAME, later(86400))
    assert "blockedTime" not in status(free)["canary"]
    assert status(free)["canary"]["startedTime"] == "2026-03-02T12:00:00Z"
    soon = planned(running(status(free), not_ready=["b"]), "ModelDeployment", NAME, later(86400 + 599))
    assert roles(soon) == "3@a answers, 4@b on trial at step 0 with 0 %"
    over = planned(running(status(free), not_ready=["b"]), "ModelDeployment", NAME, later(86400 + 600))
    assert (roles(over), status(over)["rejected"]) == ("3@a answers, 4@b is kept", [version("4")])


def _without_pods(world: World) -> World:
    return world.without("Deployment", f"{NAME}-b")


def _just_made(world: World) -> World:
    owner = world.subject("ModelDeployment")
    return world.but(workload(owner, "b", version=version("4"), ready=0, old=599))


def _unseen(world: World) -> World:
    work = world.get("Deployment", "ml", f"{NAME}-b")
    assert work is not None
    return world.but({**work, "metadata": {**work["metadata"], "generation": 2}})


@pytest.mark.parametrize("after", [_without_pods, _just_made, _unseen])
def test_the_time_in_which_nobody_could_make_its_pods_is_not_held_against_a_candidate(
    after: Callable[[World], World],
) -> None:
    """The operator, or the controller of Deployments, was away for longer than the candidate has."""
    world = after(running({**PREPARING, "canary": canary(step=0, begun=6000)}, not_ready=["b"]))
    plan = plan_of(world)
    assert roles(plan) == "3@a answers, 4@b on trial at step 0 with 0 %"
    assert status(plan)["rejected"] == []


def lacking(**how: Any) -> World:
    """Return the world in which the pod of slot b, on trial for long, has some trouble."""
    world = running({**PREPARING, "canary": canary(step=0, begun=6000)}, not_ready=["b"])
    work = world.get("Deployment", "ml", f"{NAME}-b")
    assert work is not None
    return world.but(pod_of(work, **how))


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        pytest.param({"unschedulable": "0/3 nodes are available: 3 Insufficient cpu."}, "NotScheduled", id="no node"),
        pytest.param({"exit_code": 75, "init": True, "container": "model"}, "RegistryUnavailable", id="MLflow is away"),
    ],
)
def test_a_candidate_that_finds_no_room_or_no_registry_is_not_judged(how: Mapping[str, Any], reason: str) -> None:
    plan = plan_of(lacking(**how))
    assert roles(plan) == "3@a answers, 4@b on trial at step 0 with 0 %"
    assert status(plan)["canary"]["blockedTime"] == "2026-03-01T12:00:00Z"
    assert conditions(plan)["Progressing"] == f"True {reason}"
    assert status(plan)["rejected"] == []


@pytest.mark.parametrize(
    "how",
    [
        pytest.param({"exit_code": 65, "init": True, "container": "model"}, id="the model is not what it should be"),
        pytest.param({"exit_code": 75}, id="a server of the user's own that ends with 75"),
        pytest.param({"waiting": "ErrImagePull"}, id="no such image"),
    ],
)
def test_what_is_the_candidates_own_fault_is_held_against_it(how: Mapping[str, Any]) -> None:
    plan = plan_of(lacking(**how))
    assert (roles(plan), status(plan)["rejected"]) == ("3@a answers, 4@b is kept", [version("4")])


def test_pods_that_fail_are_judged_though_others_find_no_room() -> None:
    world = lacking(exit_code=1)
    work = world.get("Deployment", "ml", f"{NAME}-b")
    assert work is not None
    crowded = pod_of(work, unschedulable="0/3 nodes are available: 3 Insufficient cpu.")
    crowded["metadata"]["name"] = f"a-{crowded['metadata']['name']}"
    plan = plan_of(world.but(crowded))
    assert roles(plan) == "3@a answers, 4@b is kept"
    assert "ended with exit code 1" in message(plan, "Progressing")


def test_a_candidate_whose_pods_may_be_created_again_goes_on() -> None:
    blocked = {**PREPARING, "canary": {**canary(step=0, begun=6000), "blockedTime": "2026-03-01T11:00:00Z"}}
    free = plan_of(running(blocked))
    assert "blockedTime" not in status(free)["canary"]
    assert roles(plan_of(running(status(free)))) == "3@a answers, 4@b on trial at step 1 with 10 %"


def test_what_the_last_release_recorded_is_taken_over() -> None:
    """Its server was a bag of fields with the same names, its evidence had others, triggers were `slo/<name>`."""
    slo = {"name": "errors", "verdict": "Undecided", "message": "m", "requests": 100, "bad": 3, "eHarm": "1.2"}
    monitored_ = {
        "name": "missed",
        "verdict": "Pass",
        "modelVersion": "3",
        "value": "0.5",
        "cohort": ON_TRIAL["canary"]["startedTime"],
    }
    decision = {
        "time": "2026-02-01T00:00:00Z",
        "trigger": "slo/missed",
        "decision": "Passed",
        "reason": "GatePassed",
        "message": "",
    }
    before = {
        **ON_TRIAL,
        "canary": {**ON_TRIAL["canary"], "slos": [slo]},
        "slos": [monitored_],
        "retraining": {"started": 1, "decisions": [decision]},
        "previous": None,
    }
    known = {key: value for key, value in before.items() if value is not None}
    plan = plan_of(running(known).but(state=Fact(error="timeout")))
    assert roles(plan) == "3@a answers, 4@b on trial at step 1 with 10 %"
    assert status(plan)["canary"]["slos"] == [{"name": "errors", "verdict": "Undecided", "reason": "", "message": "m"}]
    assert status(plan)["slos"] == [{"name": "missed", "verdict": "Pass", "reason": "", "message": "", "value": "0.5"}]
    assert status(plan)["stable"]["server"] == ON_TRIAL["stable"]["server"]
    assert status(plan)["canary"]["attempt"] == 1
    assert status(plan)["retraining"]["decisions"] == [decision]
