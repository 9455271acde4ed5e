"""What the collector is told: all of what is recorded, and equal for equal."""

from typing import Any

import pytest
from given import rfc3339
from given_deployment import KEPT, ON_TRIAL, PREPARING, SPEC, STABLE, canary, previous

from perennial.api.messages.policy import Policy
from perennial.api.model_deployment import ModelDeploymentSpec, ModelDeploymentStatus
from perennial.families.metrics.false_negative_rate import FalseNegativeRate
from perennial.families.slos import Outcome
from perennial.plan.model_deployment.policy import policy
from perennial.terms.words import Role


def of(status: dict[str, Any], **spec: Any) -> Policy:
    told = policy(ModelDeploymentSpec.model_validate({**SPEC, **spec}), ModelDeploymentStatus.model_validate(status))
    assert told is not None
    return told


def test_nothing_is_told_while_nothing_answers() -> None:
    assert policy(ModelDeploymentSpec.model_validate(SPEC), ModelDeploymentStatus()) is None


def test_a_policy_is_the_spec_and_the_recorded_status() -> None:
    told = of(ON_TRIAL)
    assert told.stable == "a"
    assert {slot: arm.model_version for slot, arm in told.arms.items()} == {"a": "3", "b": "4"}
    assert told.canary is not None
    assert rfc3339(told.canary.step_started_time) == ON_TRIAL["canary"]["stepStartedTime"]
    assert (told.canary.id, told.canary.slot, told.canary.weight) == ("1-trial", "b", 100)
    assert (told.canary.alpha, told.canary.beta) == (0.05, 0.05)
    assert [(slo.name, slo.role) for slo in told.slos] == [
        ("errors", Role.CRITICAL),
        ("flaky", Role.ADVISORY),
        ("missed", Role.CRITICAL),
    ]
    assert told.slos[0].requests is not None
    assert (told.slos[0].requests.max, told.slos[0].requests.max_ratio) == ("0.01", "1.25")
    assert told.slos[2].outcome is not None
    assert told.slos[2].outcome == Outcome(false_negative_rate=FalseNegativeRate(), max="0.7")
    assert told.monitoring is not None
    assert (told.monitoring.cohort_seconds, told.monitoring.min_coverage) == (86400, 0.9)


def test_a_candidate_that_gets_no_traffic_is_no_canary_yet() -> None:
    assert of(PREPARING).canary is None
    assert set(of(PREPARING).arms) == {"a", "b"}


def test_a_version_that_lost_keeps_its_name_while_it_is_there() -> None:
    """So that its last predictions are not counted as somebody else's."""
    assert of(KEPT).arms["b"].model_version == "2"
    assert set(of(STABLE).arms) == {"a"}


@pytest.mark.parametrize(
    ("status", "spec"),
    [
        pytest.param({**ON_TRIAL, "canary": canary(step=2)}, {}, id="another step"),
        pytest.param({**ON_TRIAL, "canary": canary(stepped=599)}, {}, id="a step that began later"),
        pytest.param({**ON_TRIAL, "canary": {**canary(), "id": "2-trial"}}, {}, id="another canary"),
        pytest.param({**STABLE, "previous": previous("4", "b", leaves=1)}, {}, id="the trial ended"),
        pytest.param(ON_TRIAL, {"slos": SPEC["slos"][:1]}, id="other SLOs"),
        pytest.param(ON_TRIAL, {"canary": {"risk": {"falseRollback": "0.01"}}}, id="another risk"),
        pytest.param(ON_TRIAL, {"monitoring": {"cohortSeconds": 60}}, id="other cohorts"),
    ],
)
def test_the_revision_changes_with_what_is_told(status: dict[str, Any], spec: dict[str, Any]) -> None:
    assert of(status, **spec).revision != of(ON_TRIAL).revision


@pytest.mark.parametrize(
    ("status", "spec"),
    [
        pytest.param({**ON_TRIAL, "canaries": 7, "history": [], "rejected": ["x"]}, {}, id="memories"),
        pytest.param({**ON_TRIAL, "canary": {**canary(), "weight": {"desired": 10, "verified": 5}}}, {}, id="weights"),
        pytest.param(ON_TRIAL, {"server": {"replicas": 9}, "suspend": True}, id="what the collector has no part in"),
    ],
)
def test_the_revision_does_not_change_with_anything_else(status: dict[str, Any], spec: dict[str, Any]) -> None:
    assert of(status, **spec) == of(ON_TRIAL)
