"""What operator and collector say to each other survives JSON, and nothing else is understood."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from perennial.api.messages.policy import Arm, Canary, Monitoring, Policy, SloPolicy
from perennial.api.messages.state import (
    Brake,
    Cohort,
    CohortOutcome,
    Count,
    LabelTally,
    MonitorVerdict,
    SloVerdict,
    State,
    Weights,
)
from perennial.families.metrics.false_negative_rate import FalseNegativeRate
from perennial.families.slos import Outcome, Requests
from perennial.terms.finding import Finding
from perennial.terms.words import Role, Verdict

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
POLICY = Policy(
    revision="r",
    stable="a",
    arms={"a": Arm(version="s", model_version="3"), "b": Arm(version="c", model_version="4")},
    canary=Canary(id="1-c", slot="b", step=1, weight=100, started_time=NOW, step_started_time=NOW),
    slos=(
        SloPolicy(name="errors", requests=Requests(max="0.01", max_ratio="1.25")),
        SloPolicy(
            name="missed", role=Role.ADVISORY, outcome=Outcome(false_negative_rate=FalseNegativeRate(), max="0.7")
        ),
    ),
    monitoring=Monitoring(cohort_seconds=86400, max_label_delay_seconds=3600),
)
VERDICT = SloVerdict(
    slo="errors",
    role=Role.CRITICAL,
    verdict=Verdict.UNDECIDED,
    reason="NotEnough",
    message="About 1900 more requests decide.",
    candidate=Count(total=100, bad=1),
    stable=Count(total=900, bad=9),
    log_e_harm=-0.5,
    log_threshold_harm=3.0,
    log_threshold_safe=3.0,
    needed=1900,
    eta_seconds=12.5,
)
STATE = State(
    revision="7",
    policy_revision="r",
    time=NOW,
    weights=Weights(desired={"a": 900, "b": 100}, verified={"a": 900, "b": 100}, routers=2),
    members={"a": ("10.0.0.1",), "b": ()},
    brake=Brake(canary_id="1-c", time=NOW, verdict=VERDICT),
    verdicts=(VERDICT,),
    cohorts=(
        Cohort(
            start=NOW,
            end=NOW,
            version="s",
            model_version="3",
            predictions=10,
            labelled=9,
            matured=True,
            outcomes=(CohortOutcome(slo="missed", total=9, bad=3, value=0.3333333333333333),),
        ),
    ),
    monitoring=(
        MonitorVerdict(finding=Finding(name="missed", verdict=Verdict.NO_DATA), version="s", model_version="3"),
    ),
    predictions=10,
    labels=LabelTally(joined=9, duplicates=1, unmatched=2),
)


@pytest.mark.parametrize("message", [POLICY, STATE], ids=["Policy", "State"])
def test_messages_survive_json(message: Policy | State) -> None:
    assert type(message).model_validate_json(message.model_dump_json()) == message


def test_what_a_newer_collector_tells_is_passed_over() -> None:
    assert State.model_validate({**STATE.model_dump(mode="json"), "addedLater": 1}) == STATE


def test_names_on_the_wire_are_camel_case() -> None:
    written = STATE.model_dump(mode="json")
    assert {"policyRevision", "weights", "cohorts"} <= written.keys()
    assert {"logEHarm", "logThresholdSafe", "etaSeconds"} <= written["verdicts"][0].keys()
    assert "maxRatio" in POLICY.model_dump(mode="json")["slos"][0]["requests"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"stable": "c"},
        {"revision": None},
        {"unknown": 1},
        {"canary": {**POLICY.model_dump(mode="json")["canary"], "weight": 1001}},
        {"canary": {**POLICY.model_dump(mode="json")["canary"], "alpha": 0}},
        {"monitoring": {"cohortSeconds": 0, "maxLabelDelaySeconds": 0}},
        {"slos": [{"name": "errors", "requests": {"max": "1.0"}}]},
        {"slos": [{"name": "errors", "requests": {"maxRatio": "1.0"}}]},
    ],
    ids=str,
)
def test_what_is_not_agreed_upon_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Policy.model_validate({**POLICY.model_dump(mode="json"), **wrong})


@pytest.mark.parametrize("count", [{"total": -1, "bad": 0}, {"total": 1, "bad": -1}, {"total": 1.5, "bad": 0}])
def test_counts_are_not_negative(count: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Count.model_validate(count)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_evidence_is_read_back_to_the_last_digit(number: float) -> None:
    told = VERDICT.model_copy(update={"log_e_harm": number})
    assert SloVerdict.model_validate_json(told.model_dump_json()) == told
