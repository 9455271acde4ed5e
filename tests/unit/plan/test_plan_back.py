"""Given a version that was promoted, then this is the way back to the one before."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from given import NOW, World, conditions, effects, message, rfc3339
from given_deployment import (
    AT_10,
    LAST_STEP,
    NAME,
    ON_TRIAL,
    PREPARING,
    STABLE,
    STARTING,
    SUSPENDED,
    deployed,
    plan_of,
    previous,
    roles,
    running,
    slo_verdict,
    told,
    version,
)

from perennial.api.messages.state import SloVerdict
from perennial.plan.actions import Plan
from perennial.terms import reasons
from perennial.terms.names import REQUEST
from perennial.terms.words import Role, Verdict

OPEN = rfc3339(NOW + timedelta(hours=20))
PROMOTION = {
    "id": "1-trial",
    "version": version("4"),
    "modelVersion": "4",
    "decision": "Promoted",
    "reason": "Safe",
    "message": "",
    "time": rfc3339(NOW - timedelta(hours=4)),
}


def after_promotion(*, leaves: float = 100, until: str | None = OPEN, **before: Any) -> dict[str, Any]:
    """Return the status four hours after 4 was promoted over 3; `until`: till when 3 can be gone back to."""
    kept = {**previous("3", "a", leaves=leaves), **before}
    kept.pop("since", None)
    window = {"rollbackUntil": until} if until else {}
    return {"stable": deployed("4", "b"), "champion": "4", "previous": {**kept, **window}, "history": [PROMOTION]}


WARM = after_promotion()
COLD = after_promotion(leaves=-600, scaledDown=True)
OVER = after_promotion(leaves=-600, scaledDown=True, until=rfc3339(NOW))
WAY = {"reason": "BrokenAfterPromotion", "message": "errors is Fail.", "startedTime": rfc3339(NOW), "findings": []}
BROKEN = [slo_verdict("errors", Verdict.FAIL)]
FREE = {"a": 0, "b": 1000}


def world(
    status: Mapping[str, Any], watch: list[SloVerdict] | None = None, *, asked: str | None = None, **how: Any
) -> World:
    """Return the world of a ModelDeployment whose stable version is watched; `asked`: the annotation."""
    made = running(status, wants=how.pop("wants", "4"), weights=how.pop("weights", FREE), **how)
    said = made.state.value
    assert said is not None
    made = made.but(state=type(made.state)(value=type(said)(**{**dict(said), "watch": tuple(watch or ())})))
    if asked is None:
        return made
    subject = made.subject_of("ModelDeployment", NAME)
    annotations = {**subject["metadata"]["annotations"], REQUEST: asked}
    return made.but({**subject, "metadata": {**subject["metadata"], "annotations": annotations}})


def way(plan: Plan) -> str | None:
    """Return why the way back has begun."""
    assert plan.status is not None
    found = plan.status.get("restoring")
    return str(found["reason"]) if found else None


@pytest.mark.parametrize(
    ("seen", "begins"),
    [
        pytest.param(world(WARM, BROKEN), True, id="broken inside the window: back"),
        pytest.param(world(COLD, BROKEN), True, id="also when the pods have ended"),
        pytest.param(world(WARM, BROKEN, spec=SUSPENDED), True, id="also when suspended, like the brake"),
        pytest.param(world(WARM, BROKEN, not_ready=["b"]), True, id="whatever the pods are like"),
        *(
            pytest.param(world(WARM, [slo_verdict("errors", verdict)]), False, id=f"{verdict.value}: nothing")
            for verdict in (Verdict.PASS, Verdict.UNDECIDED, Verdict.NO_DATA, Verdict.ERROR)
        ),
        pytest.param(
            world(WARM, [slo_verdict("flaky", Verdict.FAIL, Role.ADVISORY)]), False, id="an advisory SLO: nothing"
        ),
        pytest.param(
            world(WARM, [slo_verdict("gone", Verdict.FAIL)]), False, id="an SLO that is not promised any more: nothing"
        ),
        pytest.param(
            world(WARM, [slo_verdict("missed", Verdict.FAIL)]),
            False,
            id="a promise that cohorts judge: retrain instead",
        ),
        pytest.param(
            world(after_promotion(brokenAlike=["errors"]), BROKEN), False, id="the version before broke it as well"
        ),
        pytest.param(
            world(after_promotion(brokenAlike=["other"]), BROKEN), True, id="the version before broke another promise"
        ),
        pytest.param(world(OVER, BROKEN), False, id="the window is over"),
        pytest.param(world(after_promotion(until=None), BROKEN), False, id="what is kept lost its trial"),
        pytest.param(
            world({**STABLE, "history": []}, BROKEN, wants="3", weights=None), False, id="nothing answered before"
        ),
    ],
)
def test_whether_a_broken_promise_leads_back(seen: World, begins: bool) -> None:
    plan = plan_of(seen)
    assert way(plan) == (reasons.BROKEN_AFTER_PROMOTION if begins else None)
    assert ("RollingBack" in told(plan)) is begins


def test_the_collector_that_is_silent_or_behind_leads_nowhere() -> None:
    for seen in (world(WARM, BROKEN, behind=True), world(WARM, BROKEN, asked=None).but(state=running(WARM).state)):
        assert way(plan_of(seen)) is None


def test_route_first_then_scale() -> None:
    """The version before answers in the plan after its pods are ready and known; the loser's pods go only later."""
    began = plan_of(world(WARM, BROKEN))
    assert roles(began) == "4@b answers, 3@a is kept"
    assert began.status is not None
    assert conditions(began)["Progressing"] == "True RollingBack"
    assert conditions(began)["Reconciling"] == "True RollingBack"
    back = plan_of(world(began.status, BROKEN))
    assert (roles(back), told(back)) == ("3@a answers, 4@b is kept", ["RolledBack"])
    assert back.status is not None
    assert "restoring" not in back.status
    assert back.status["rejected"] == [version("4")]
    assert "rollbackUntil" not in back.status["previous"]
    newest, promotion = back.status["history"]
    assert (newest["id"], newest["decision"], newest["reason"]) == ("1-trial", "RolledBack", "BrokenAfterPromotion")
    assert newest["message"] == f"Model version 4 ({version('4')}) is rolled back to 3: errors: errors is Fail."
    assert [finding["name"] for finding in newest["findings"]] == ["errors"]
    assert promotion["decision"] == "Promoted"
    # Both slots keep their pods; the routers are told by the next policy.
    applied = [line for line in effects(back) if "Deployment delay-" in line]
    assert {"apply Deployment delay-a", "apply Deployment delay-b"} <= {*applied}
    assert [line for line in effects(back) if line.startswith("delete")] == []
    # It stays there, though the spec still names the one that lost.
    stays = plan_of(world(back.status, weights={"a": 1000, "b": 0}))
    assert roles(stays) == "3@a answers, 4@b is kept"
    assert conditions(stays)["Stalled"] == "True RolledBack"
    assert "errors is Fail" in message(stays, "Stalled")


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"not_ready": ["a"]}, "its pods are not ready"),
        ({"members": None}, "the routers do not agree on its pods"),
        ({"behind": True}, "the routers were asked under an older policy"),
    ],
)
def test_it_does_not_answer_before_it_can(how: Mapping[str, Any], why: str) -> None:
    assert roles(plan_of(world({**WARM, "restoring": WAY}, **how))) == "4@b answers, 3@a is kept", why


def test_pods_that_have_ended_are_started_first() -> None:
    began = plan_of(world(COLD, BROKEN))
    assert "apply Deployment delay-a" in effects(began)
    assert began.status is not None
    assert began.status["previous"]["scaledDown"] is False
    # However long that takes: what is on its way is not ended again.
    waits = plan_of(world(began.status, not_ready=["a"]))
    assert roles(waits) == "4@b answers, 3@a is kept"
    assert "apply Deployment delay-a" in effects(waits)


def test_a_version_is_kept_warm_then_in_mind_then_forgotten() -> None:
    warm = plan_of(world(after_promotion(leaves=60)))
    assert "apply Deployment delay-a" in effects(warm)
    assert warm.requeue_after == 60
    due = after_promotion(leaves=0)
    assert "apply Deployment delay-a" in effects(plan_of(world(due, weights={"a": 1, "b": 999})))
    cooled = plan_of(world(due))
    assert cooled.status is not None
    assert cooled.status["previous"]["scaledDown"] is True
    assert [line for line in effects(cooled) if line.endswith("Deployment delay-a")] == []
    emptied = plan_of(world(cooled.status))
    assert "delete Deployment delay-a" in effects(emptied)
    assert emptied.requeue_after == 20 * 3600
    assert roles(plan_of(world(OVER))) == "4@b answers"


def test_a_promotion_says_how_long_there_is_a_way_back() -> None:
    shared = slo_verdict("errors", Verdict.PASS)
    alike = type(shared)(**{**dict(shared), "reason": reasons.SHARED_INCIDENT})
    for seconds, until in ((86400, "2026-03-02T12:00:00Z"), (0, None)):
        canary = {"steps": [{"weight": 10}, {"weight": 50}], "rollbackWindowSeconds": seconds}
        seen = running(LAST_STEP, {"errors": Verdict.PASS}, weights={"a": 500, "b": 500}, spec={"canary": canary})
        said = seen.state.value
        assert said is not None
        seen = seen.but(state=type(seen.state)(value=type(said)(**{**dict(said), "verdicts": (alike,)})))
        plan = plan_of(seen)
        assert plan.status is not None
        assert plan.status["previous"].get("rollbackUntil") == until
        assert plan.status["previous"]["brokenAlike"] == ["errors"]


def test_no_trial_begins_on_the_way_back_and_no_retraining() -> None:
    plan = plan_of(world({**WARM, "restoring": WAY}, wants="5", not_ready=["a"]))
    assert roles(plan) == "4@b answers, 3@a is kept"
    assert told(plan) == []


def asked(status: Mapping[str, Any], text: str, **how: Any) -> Plan:
    return plan_of(world(status, asked=text, **how))


def answer(plan: Plan) -> str:
    assert plan.status is not None
    return str(plan.status["lastRequest"]["answer"])


def test_a_request_is_done_once_and_answered() -> None:
    plan = asked(WARM, "rollback@monday")
    assert (way(plan), told(plan)) == ("Requested", ["RequestAnswered"])
    assert plan.status is not None
    assert plan.status["lastRequest"] == {
        "verb": "rollback",
        "token": "monday",
        "answer": "Model version 3 answers again as soon as its pods are ready.",
        "time": "2026-03-01T12:00:00Z",
    }
    back = asked(plan.status, "rollback@monday")
    assert roles(back) == "3@a answers, 4@b is kept"
    assert back.status is not None
    assert back.status["history"][0]["reason"] == "Requested"
    done = asked(back.status, "rollback@monday", wants="3", weights={"a": 1000, "b": 0})
    assert (way(done), told(done)) == (None, [])
    again = asked(back.status, "rollback@tuesday", wants="3", weights={"a": 1000, "b": 0})
    assert told(again) == ["RequestAnswered"]
    assert "nothing to go back to" in answer(again)


@pytest.mark.parametrize(
    ("status", "text", "says"),
    [
        pytest.param(WARM, "promote@1", "'promote@1' must be one of rollback@<token>", id="an unknown verb"),
        pytest.param(WARM, "rollback", "'rollback' must be one of rollback@<token>", id="no token"),
        pytest.param(WARM, "", "'' must be one of rollback@<token>", id="nothing"),
        pytest.param(STABLE, "rollback@1", "No version was promoted before model version 3", id="nothing before"),
        pytest.param(STARTING, "rollback@1", "No version answers yet", id="nothing answers"),
        pytest.param(
            {**WARM, "previous": None}, "rollback@1", "it could be gone back to for 86400 s", id="the window is over"
        ),
        pytest.param(OVER, "rollback@1", "it could be gone back to for 86400 s", id="it has just ended"),
        pytest.param(ON_TRIAL, "rollback@1", "Model version 4 is on trial", id="a trial is on"),
        pytest.param(PREPARING, "rollback@1", "Model version 4 is on trial", id="a trial is about to be on"),
        pytest.param({**WARM, "restoring": WAY}, "rollback@1", "The way back has begun already", id="on its way"),
    ],
)
def test_what_can_not_be_done_is_answered_with_a_sentence(status: Mapping[str, Any], text: str, says: str) -> None:
    known = {key: value for key, value in status.items() if value is not None}
    not_ready = ["a", "b"]
    plan = asked(known, text, not_ready=not_ready, weights=AT_10 if "canary" in known else None)
    assert says in answer(plan)
    assert told(plan) == ["RequestAnswered"]
    assert plan.status is not None
    assert plan.status.get("restoring") == known.get("restoring")
    again = asked({**plan.status}, text, not_ready=not_ready, weights=AT_10 if "canary" in known else None)
    assert "RequestAnswered" not in told(again)


def test_what_is_found_of_the_version_that_answers_is_shown() -> None:
    plan = plan_of(world(after_promotion(until=None), BROKEN))
    assert plan.status is not None
    assert [(item["name"], item["verdict"]) for item in plan.status["slos"]] == [("errors", "Fail")]
    assert conditions(plan)["SLOsMet"] == "False SLOBroken"
