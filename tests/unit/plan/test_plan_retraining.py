"""Given a promise that the stable version breaks, then this is made of it."""

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest
from given import (
    DIGEST,
    NOW,
    OTHER_DIGEST,
    READY_STATUS,
    VERSION,
    World,
    applied,
    dataset,
    effects,
    planned,
    rfc3339,
    training_run,
)
from given_deployment import (
    NAME,
    ON_TRIAL,
    RETRAINING,
    SPEC,
    STABLE,
    SUSPENDED,
    monitored,
    passed_run,
    plan_of,
    previous,
    roles,
    running,
    told,
    version,
)

from perennial.api.messages.state import MonitorVerdict
from perennial.plan.actions import Plan
from perennial.plan.observed import Fact
from perennial.terms import reasons
from perennial.terms.words import Verdict

BROKEN = [monitored("3")]
RUN = "delay-run-3"


def ago(seconds: float) -> str:
    return rfc3339(NOW - timedelta(seconds=seconds))


def known(**parts: Any) -> dict[str, Any]:
    return {**STABLE, "retraining": {"started": 1, **parts}}


def world(status: Mapping[str, Any], monitoring: list[MonitorVerdict], *runs: Any, **how: Any) -> World:
    """Return the world of a ModelDeployment that retrains; version 3 came from a run and answers."""
    spec = {**RETRAINING, **how.pop("spec", {})}
    others = [passed_run("first-run", "3"), *runs]
    return running(status, wants=None, spec=spec, others=others, monitoring=monitoring, **how)


def decision(plan: Plan) -> str:
    """Return the newest decision as "What Reason", with the run that is under way."""
    assert plan.status is not None
    retraining = plan.status.get("retraining") or {"decisions": []}
    newest = (
        f"{retraining['decisions'][0]['decision']} {retraining['decisions'][0]['reason']}"
        if retraining["decisions"]
        else "none"
    )
    return f"{newest}, {'one runs' if retraining.get('currentRun') else 'none runs'}"


WHY = {
    "time": ago(60),
    "trigger": "wrong",
    "decision": "Started",
    "reason": "SLOBroken",
    "message": "",
    "run": RUN,
}
UNDER_WAY = known(currentRun=RUN, decisions=[WHY], startedTimes=[ago(60)], nextEligibleTime=ago(-3540))
COOLING = known(nextEligibleTime=ago(-100), lastStartedTime=ago(3500), startedTimes=[ago(3500)])
COHORT = rfc3339(NOW - timedelta(days=2))
"""The cohort that BROKEN speaks of."""
EARLIER = rfc3339(NOW - timedelta(days=3))
STALE = known(startedTimes=[ago(80000)], lastStartedTime=ago(80000), lastCohort=COHORT)
REFUSED = {**WHY, "decision": "Refused", "reason": "Cooldown"}
FAILURE = {"class": "Gate", "message": "falseNegativeRate 0.700 is above 0.5."}


@pytest.mark.parametrize(
    ("world", "then", "story"),
    [
        pytest.param(world(STABLE, []), "none, none runs", [], id="no verdict: nothing"),
        *(
            pytest.param(
                world(STABLE, [monitored("3", verdict)]), "none, none runs", [], id=f"{verdict.value}: nothing"
            )
            for verdict in (Verdict.PASS, Verdict.NO_DATA, Verdict.UNDECIDED, Verdict.ERROR)
        ),
        pytest.param(world(STABLE, BROKEN), "Started SLOBroken, one runs", ["RetrainingStarted"], id="Fail: start one"),
        pytest.param(
            world(STABLE, [monitored("2")]), "none, none runs", [], id="another version broke the promise: nothing"
        ),
        pytest.param(
            world(STABLE, [monitored("3", slo="flaky")]), "none, none runs", [], id="another SLO fails: nothing"
        ),
        pytest.param(world(STABLE, BROKEN, behind=True), "none, none runs", [], id="said of an older policy: nothing"),
        pytest.param(world(STABLE, BROKEN, error="timeout"), "none, none runs", [], id="said before silence: nothing"),
        pytest.param(world(STABLE, BROKEN, spec=SUSPENDED), "none, none runs", [], id="suspended: nothing"),
        pytest.param(
            world({**STABLE, "previous": previous("2", "b", leaves=100)}, BROKEN),
            "Started SLOBroken, one runs",
            ["RetrainingStarted"],
            id="a version that lost does not keep it from starting",
        ),
        # a candidate is the answer
        pytest.param(
            world({**ON_TRIAL, "rejected": []}, BROKEN, passed_run("second-run", "4")),
            "none, none runs",
            [],
            id="a candidate is on trial: wait for its verdict",
        ),
        pytest.param(
            world({**STABLE, "previous": previous("2", "b", leaves=100)}, BROKEN, passed_run("second-run", "4")),
            "none, none runs",
            [],
            id="a candidate is about to be on trial: wait for its verdict",
        ),
        pytest.param(
            world({**STABLE, "rejected": [version("4")]}, BROKEN, passed_run("second-run", "4")),
            "Started SLOBroken, one runs",
            ["RetrainingStarted"],
            id="the candidate was rolled back: start one",
        ),
        # guardrails
        pytest.param(world(COOLING, BROKEN), "Refused Cooldown, none runs", ["RetrainingRefused"], id="cooldown"),
        pytest.param(
            world({**COOLING, "retraining": {**COOLING["retraining"], "decisions": [REFUSED]}}, BROKEN),
            "Refused Cooldown, none runs",
            [],
            id="cooldown, told before",
        ),
        pytest.param(
            world(known(nextEligibleTime=ago(0), startedTimes=[ago(3600)]), BROKEN),
            "Started SLOBroken, one runs",
            ["RetrainingStarted"],
            id="the cooldown is over",
        ),
        pytest.param(
            world(known(nextEligibleTime=ago(0), startedTimes=[ago(86399), ago(3600)]), BROKEN),
            "Refused DailyLimit, none runs",
            ["RetrainingRefused"],
            id="two within 24 hours",
        ),
        pytest.param(
            world(known(nextEligibleTime=ago(0), startedTimes=[ago(86400), ago(3600)]), BROKEN),
            "Started SLOBroken, one runs",
            ["RetrainingStarted"],
            id="the older of two is 24 hours ago",
        ),
        pytest.param(
            world(
                known(startedTimes=[ago(80000)], lastCohort=COHORT, lastDataset=DIGEST, lastTemplate="another"),
                BROKEN,
                dataset(READY_STATUS),
            ),
            "Started SLOBroken, one runs",
            ["RetrainingStarted"],
            id="nothing new but the template",
        ),
        # the same again
        pytest.param(
            world(STALE, BROKEN), "Refused NothingNew, none runs", ["RetrainingRefused"], id="no later cohort"
        ),
        pytest.param(
            world(
                known(startedTimes=[ago(80000)], lastCohort=EARLIER, lastDataset=DIGEST), BROKEN, dataset(READY_STATUS)
            ),
            "Refused NothingNew, none runs",
            ["RetrainingRefused"],
            id="a later cohort, but the same data",
        ),
        pytest.param(
            world(
                known(startedTimes=[ago(80000)], lastCohort=COHORT, lastDataset=OTHER_DIGEST),
                BROKEN,
                dataset(READY_STATUS),
            ),
            "Refused NothingNew, none runs",
            ["RetrainingRefused"],
            id="new data, but no later cohort",
        ),
        pytest.param(
            world(
                known(startedTimes=[ago(80000)], lastCohort=EARLIER, lastDataset=OTHER_DIGEST),
                BROKEN,
                dataset(READY_STATUS),
            ),
            "Started SLOBroken, one runs",
            ["RetrainingStarted"],
            id="a later cohort and new data",
        ),
        pytest.param(
            world(known(startedTimes=[ago(60)], lastCohort=EARLIER, lastDataset=DIGEST), BROKEN, dataset(READY_STATUS)),
            "Refused NothingNew, none runs",
            ["RetrainingRefused"],
            id="the same data, and a cooldown: what waiting cannot cure is told",
        ),
        pytest.param(
            world(
                known(startedTimes=[ago(60)], lastCohort=EARLIER, lastDataset=OTHER_DIGEST),
                BROKEN,
                dataset(READY_STATUS),
            ),
            "Refused Cooldown, none runs",
            ["RetrainingRefused"],
            id="a later cohort and new data, but a cooldown",
        ),
        # one at a time
        pytest.param(
            world(UNDER_WAY, BROKEN, training_run(name=RUN)), "Started SLOBroken, one runs", [], id="one runs: wait"
        ),
        pytest.param(
            world(UNDER_WAY, BROKEN), "Started SLOBroken, one runs", [], id="one runs, but is not seen yet: wait"
        ),
        pytest.param(
            world({**UNDER_WAY, "canary": ON_TRIAL["canary"]}, BROKEN, passed_run(RUN, "4")),
            "Passed GatePassed, none runs",
            ["RetrainingPassed"],
            id="it passed its gate",
        ),
        pytest.param(
            world(UNDER_WAY, BROKEN, training_run({"terminalState": "Failed", "failure": FAILURE}, name=RUN)),
            "Rejected GateFailure, none runs",
            ["RetrainingRejected"],
            id="its gate refused it",
        ),
        pytest.param(
            world(
                UNDER_WAY,
                BROKEN,
                training_run(
                    {"terminalState": "Failed", "failure": {"class": "OutOfMemory", "message": "…"}}, name=RUN
                ),
            ),
            "Rejected OutOfMemoryFailure, none runs",
            ["RetrainingRejected"],
            id="it failed",
        ),
        pytest.param(
            world(UNDER_WAY, BROKEN, training_run({"terminalState": "Failed"}, name=RUN), spec=SUSPENDED),
            "Rejected Failed, none runs",
            ["RetrainingRejected"],
            id="its end is recorded also when suspended",
        ),
        pytest.param(
            world(UNDER_WAY, [], training_run({"terminalState": "Failed"}, name=RUN), error="timeout"),
            "Rejected Failed, none runs",
            ["RetrainingRejected"],
            id="its end is recorded also when the collector is silent",
        ),
    ],
)
def test_decisions(world: World, then: str, story: list[str]) -> None:
    plan = plan_of(world)
    assert decision(plan) == then
    assert told(plan) == story


def test_a_run_that_passed_goes_on_trial_first_and_is_recorded_next() -> None:
    """At most one transition is made in a plan."""
    seen = world(UNDER_WAY, BROKEN, passed_run(RUN, "5"))
    first = plan_of(seen)
    assert (told(first), roles(first)) == (["CanaryStarted"], "3@a answers, 5@b on trial at step 0 with 0 %")
    assert first.status is not None
    second = plan_of(world(first.status, BROKEN, passed_run(RUN, "5"), not_ready=["b"]))
    assert (told(second), decision(second)) == (["RetrainingPassed"], "Passed GatePassed, none runs")


def test_a_retraining_is_made_from_the_template_and_recorded_in_one_plan() -> None:
    plan = plan_of(world(STABLE, BROKEN))
    assert plan.status is not None
    retraining = plan.status["retraining"]
    (name,) = applied(plan, "TrainingRun")
    made = applied(plan, "TrainingRun")[name]
    assert retraining["currentRun"] == retraining["decisions"][0]["run"] == name
    assert (retraining["started"], retraining["startedTimes"]) == (1, ["2026-03-01T12:00:00Z"])
    assert retraining["nextEligibleTime"] == "2026-03-01T13:00:00Z"
    assert name.startswith(f"{NAME}-")
    assert made["spec"]["model"] == {"name": "flight-delay"}
    assert made["spec"]["datasetRef"] == {"name": "flights"}
    assert made["metadata"]["ownerReferences"][0]["name"] == NAME


def test_a_retraining_that_was_made_but_not_recorded_is_found_again() -> None:
    """Killed after the run was made and before status was written: the same name, so no second run."""
    first = plan_of(world(STABLE, BROKEN))
    (name,) = applied(first, "TrainingRun")
    again = plan_of(world(STABLE, BROKEN, training_run(name=name)))
    assert applied(again, "TrainingRun") == {}
    assert again.status is not None
    assert again.status["retraining"]["currentRun"] == name


def test_a_run_that_was_recorded_but_not_made_is_made() -> None:
    first = plan_of(world(STABLE, BROKEN))
    assert first.status is not None
    again = plan_of(world(first.status, BROKEN))
    assert applied(again, "TrainingRun") == applied(first, "TrainingRun")
    assert again.events == ()


def test_a_run_that_exists_is_never_changed() -> None:
    """Its spec is immutable, and the template may have changed since."""
    changed = {**RETRAINING["retraining"], "template": {**RETRAINING["retraining"]["template"], "seed": 9}}
    seen = world(UNDER_WAY, BROKEN, training_run(name=RUN), spec={"retraining": changed})
    assert applied(plan_of(seen), "TrainingRun") == {}


def test_each_retraining_has_a_name_of_its_own() -> None:
    names = {next(iter(applied(plan_of(world(status, BROKEN)), "TrainingRun"))) for status in (STABLE, known())}
    assert len(names) == 2


def test_the_name_fits_a_long_owner() -> None:
    long = "m" * 40 + "-" + "n" * 5
    seen = world(STABLE, BROKEN)
    subject = seen.subject("ModelDeployment")
    renamed = {**subject, "metadata": {**subject["metadata"], "name": long}}
    plan = planned(seen.without("ModelDeployment", NAME).but(renamed), "ModelDeployment", long)
    (name,) = applied(plan, "TrainingRun")
    assert len(name) <= 46


@pytest.mark.parametrize(
    ("status", "monitoring", "seconds"),
    [
        pytest.param(COOLING, [], None, id="nobody asks"),
        pytest.param(COOLING, BROKEN, 100, id="until the cooldown is over"),
        pytest.param(known(startedTimes=[ago(86000), ago(3600)]), BROKEN, 400, id="until the day's limit is over"),
        pytest.param(
            known(startedTimes=[ago(86000), ago(3550)]), BROKEN, 50, id="until the first that refuses does not"
        ),
        pytest.param(STALE, BROKEN, None, id="time alone brings nothing new"),
        pytest.param(known(startedTimes=[ago(3600)]), BROKEN, None, id="none holds"),
    ],
)
def test_when_it_is_looked_at_again(
    status: Mapping[str, Any], monitoring: list[MonitorVerdict], seconds: float | None
) -> None:
    assert plan_of(world(status, monitoring)).requeue_after == seconds


@pytest.mark.parametrize(
    ("monitoring", "status", "says"),
    [
        ([monitored("3")], "False", "SLOBroken"),
        ([monitored("3", Verdict.PASS)], "True", "SLOsMet"),
        ([monitored("3", Verdict.NO_DATA)], "Unknown", "LabelsIncomplete"),
        ([monitored("3", Verdict.UNDECIDED)], "Unknown", "MoreCohortsNeeded"),
        ([], "Unknown", "NoMaturedCohort"),
    ],
)
def test_whether_the_promises_are_kept(monitoring: list[MonitorVerdict], status: str, says: str) -> None:
    plan = plan_of(world(STABLE, monitoring))
    assert plan.status is not None
    (found,) = (item for item in plan.status["conditions"] if item["type"] == "SLOsMet")
    assert (found["status"], found["reason"]) == (status, says)


def test_that_corrected_labels_changed_a_verdict_is_in_status_and_in_the_condition() -> None:
    said = "above; before 720 labels of matured cohorts were corrected, the verdict was Pass"
    before = monitored("3")
    finding = before.finding.but(reason=reasons.LABELS_CORRECTED, message=said, needed=None)
    plan = plan_of(world(STABLE, [before.model_copy(update={"finding": finding})]))
    assert plan.status is not None
    (shown,) = plan.status["slos"]
    assert (shown["verdict"], shown["reason"]) == ("Fail", "LabelsCorrected")
    assert shown["message"] == f"{said} (model version 3, cohort of 2026-02-27 12:00 UTC)"
    (condition,) = (item for item in plan.status["conditions"] if item["type"] == "SLOsMet")
    assert (condition["status"], condition["reason"]) == ("False", "SLOBroken")
    assert said in condition["message"]


def test_an_slo_that_is_not_promised_any_more_is_not_shown() -> None:
    seen = world(STABLE, [monitored("3", Verdict.PASS), monitored("3", slo="gone")])
    plan = plan_of(seen)
    assert plan.status is not None
    assert [item["name"] for item in plan.status["slos"]] == ["missed"]
    before = {**STABLE, "slos": [*plan.status["slos"], {"name": "gone", "verdict": "Fail"}]}
    silent = plan_of(world(before, []).but(state=Fact(error="timeout")))
    assert silent.status is not None
    assert silent.status["slos"] == plan.status["slos"]


def test_no_retraining_without_a_template() -> None:
    seen = running(STABLE, wants="3", monitoring=BROKEN)
    assert [line for line in effects(plan_of(seen)) if "TrainingRun" in line] == []
    assert told(plan_of(seen)) == []


def day_by_day(
    days: int,
    alarm: Callable[[int, timedelta], list[MonitorVerdict]],
    data: Callable[[int], int],
    *,
    status: Mapping[str, Any] = STABLE,
    **how: Any,
) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """Return status and runs after days of looks each three hours, by a planner that knows status alone of before.

    Each run's gate refuses its model. `alarm`: what the collector says, by the day and the time since the beginning;
    `data`: the number of the newest version of the data, by the day.
    """
    runs: dict[str, Any] = {}
    for hours in range(0, 24 * days, 3):
        newest = dataset({**READY_STATUS, "version": {**VERSION, "digest": f"sha256:{data(hours // 24):064d}"}})
        passed = timedelta(hours=hours)
        seen = world(status, alarm(hours // 24, passed), newest, *runs.values(), **how)
        plan = planned(seen, "ModelDeployment", NAME, NOW + passed)
        assert plan.status is not None
        status = json.loads(json.dumps(plan.status))
        for name in applied(plan, "TrainingRun"):
            runs[name] = training_run({"terminalState": "Failed", "failure": FAILURE}, name=name)
    return status, runs


def on_cohort(day: int, verdict: Verdict = Verdict.FAIL, *, slo: str = "missed") -> MonitorVerdict:
    """Return what is said with the cohort of a day as the last one, counted from the beginning; it took two days."""
    return monitored("3", verdict, slo=slo, cohort=NOW + timedelta(days=day - 2))


def outcomes(status: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what was decided and why, newest first."""
    return [(item["decision"], item["reason"]) for item in status["retraining"]["decisions"]]


def test_an_alarm_that_does_not_change_asks_once_however_often_the_gate_refuses() -> None:
    """Ten days of looks, with new data each day: on one alarm there is one run to learn from it."""
    status, runs = day_by_day(10, lambda *_: BROKEN, lambda day: day)
    assert len(runs) == 1
    assert outcomes(status) == [("Refused", "NothingNew"), ("Rejected", "GateFailure"), ("Started", "SLOBroken")]


def test_what_it_is_trained_by_is_recorded_so_that_a_change_is_tried_once() -> None:
    status, _ = day_by_day(1, lambda *_: BROKEN, lambda _: 0)
    template = {**RETRAINING["retraining"]["template"], "seed": 9}
    spec = {**RETRAINING, "retraining": {**RETRAINING["retraining"], "template": template}}
    kept = status["retraining"]["lastTemplate"]
    again, runs = day_by_day(2, lambda *_: BROKEN, lambda _: 0, status=status, spec=spec)
    assert len(runs) == 1
    assert again["retraining"]["lastTemplate"] != kept
    assert outcomes(again)[:3] == [("Refused", "NothingNew"), ("Rejected", "GateFailure"), ("Started", "SLOBroken")]


def test_an_alarm_that_goes_on_asks_once_while_the_data_is_what_it_was() -> None:
    status, runs = day_by_day(10, lambda day, _: [on_cohort(day)], lambda _: 0)
    assert len(runs) == 1
    assert outcomes(status) == [("Refused", "NothingNew"), ("Rejected", "GateFailure"), ("Started", "SLOBroken")]


def test_an_alarm_that_goes_on_asks_again_when_cohorts_and_data_are_new() -> None:
    """A cohort and a version of the data a day: one run a day, as the guardrails let."""
    _, runs = day_by_day(10, lambda day, _: [on_cohort(day)], lambda day: day)
    assert len(runs) == 10


def test_a_flapping_alarm_is_one_alarm() -> None:
    """Corrected labels that undo and redo it bring no later cohort."""

    def alarm(_: int, passed: timedelta) -> list[MonitorVerdict]:
        return [on_cohort(0, Verdict.FAIL if (passed // timedelta(hours=3)) % 2 == 0 else Verdict.PASS)]

    status, runs = day_by_day(10, alarm, lambda day: day)
    assert len(runs) == 1
    assert outcomes(status) == [("Refused", "NothingNew"), ("Rejected", "GateFailure"), ("Started", "SLOBroken")]


def test_an_alarm_that_corrected_labels_undid_and_whose_last_cohort_is_earlier_now_asks_for_nothing_more() -> None:
    _, runs = day_by_day(10, lambda day, _: [on_cohort(-day)], lambda day: day)
    assert len(runs) == 1


TWO = {
    "slos": [
        *SPEC["slos"],
        {"name": "blamed", "outcome": {"falsePositiveRate": {"threshold": "0.3"}, "max": "0.2"}},
    ],
    "retraining": {
        **RETRAINING["retraining"],
        "triggers": [{"name": "wrong", "slo": "missed"}, {"name": "blaming", "slo": "blamed"}],
    },
}


def test_two_triggers_of_one_day_are_one_retraining() -> None:
    """It learns from all that the day had to teach, whoever asked."""
    both = [on_cohort(0), on_cohort(0, slo="blamed")]
    status, runs = day_by_day(10, lambda *_: both, lambda day: day, spec=TWO)
    assert len(runs) == 1
    assert {item["trigger"] for item in status["retraining"]["decisions"]} == {"wrong"}


def test_a_trigger_with_nothing_new_keeps_no_other_from_being_heard() -> None:
    """The first promise's alarm stays on one old cohort; the second's goes on, with new data every other day."""
    status, runs = day_by_day(
        4, lambda day, _: [on_cohort(0), on_cohort(day, slo="blamed")], lambda day: day // 2, spec=TWO
    )
    assert len(runs) == 2
    assert [item["trigger"] for item in status["retraining"]["decisions"] if item["decision"] == "Started"] == [
        "blaming",
        "wrong",
    ]


@pytest.mark.parametrize("order", [("missed", "blamed"), ("blamed", "missed")])
def test_of_refused_triggers_the_one_that_time_lets_is_told_and_waited_for(order: tuple[str, str]) -> None:
    triggers = [{"name": f"by-{slo}", "slo": slo} for slo in order]
    spec = {**TWO, "retraining": {**TWO["retraining"], "triggers": triggers}}
    before = known(startedTimes=[ago(3500)], lastCohort=COHORT, lastDataset=OTHER_DIGEST)
    alarms = [monitored("3"), monitored("3", slo="blamed", cohort=NOW - timedelta(days=1))]
    plan = plan_of(world(before, alarms, dataset(READY_STATUS), spec=spec))
    assert decision(plan) == "Refused Cooldown, none runs"
    assert plan.status is not None
    assert plan.status["retraining"]["decisions"][0]["trigger"] == "by-blamed"
    assert plan_of(world(plan.status, alarms, dataset(READY_STATUS), spec=spec)).requeue_after == 100
