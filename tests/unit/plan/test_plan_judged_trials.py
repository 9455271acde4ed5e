"""From counted requests to what becomes of a canary: the collector's own judge, and the planner that hears it."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from given import NOW
from given_deployment import AT_50, LAST_STEP, STABLE, canary, plan_of, roles, running

from perennial.api.model_deployment import ModelDeploymentSpec, ModelDeploymentStatus
from perennial.collector.brake import Trial
from perennial.plan.actions import Plan
from perennial.plan.model_deployment.policy import policy
from perennial.plan.observed import Fact
from perennial.stats.ticks import ANSWERED, ARMS, REJECTED, REQUESTS, UNFINISHED, Arm, Key, Row, Tick, Ticks

STAYS = "3@a answers, 4@b on trial at step 2 with 50 %"
PROMOTED = "4@b answers, 3@a is kept"
ROLLED_BACK = "3@a answers, 4@b is kept"
AT_DEADLINE = {**STABLE, "canary": canary(step=2, begun=3600, stepped=600), "canaries": 1}


def counted(
    seconds: int,
    candidate: Sequence[int],
    stable: Sequence[int] = (500, 1),
    *,
    rejected: tuple[int, int] = (0, 0),
    hanging: int = 0,
) -> list[Tick]:
    """Return what the routers count a second: requests and bad ones of both, refused ones, those that never end."""
    made = []
    for second in range(seconds):
        rows: dict[Key, Row] = {}
        for arm, (n, bad), refused in zip(ARMS, (candidate, stable), rejected, strict=True):
            rows[Key(REQUESTS, arm)] = Row.of(n, bad)
            rows[Key(REJECTED, arm)] = Row.of(n, refused)
            rows |= _running(arm, n, hanging if arm == "candidate" else 0, second)
        made.append(Tick(NOW.timestamp() - seconds + second, 2, 500, rows))
    return made


def _running(arm: Arm, started: int, hanging: int, second: int) -> Mapping[Key, Row]:
    return {
        Key(ANSWERED, arm): Row(started - hanging),
        Key(UNFINISHED, arm): Row(float(hanging * (second + 1))),
    }


def after(ticks: Sequence[Tick], status: Mapping[str, Any] = LAST_STEP, **spec: Any) -> Plan:
    """Return the plan once the collector has judged these ticks of a canary that gets half of the requests."""
    world = running(status, weights=AT_50, spec=spec)
    subject = world.subject("ModelDeployment")
    told = policy(
        ModelDeploymentSpec.model_validate(subject["spec"]), ModelDeploymentStatus.model_validate(subject["status"])
    )
    assert told is not None
    assert told.canary is not None
    verdicts = Trial.of(told, told.canary, Ticks.of(ticks)).verdicts(NOW)
    said = world.state.value
    assert said is not None
    return plan_of(world.but(state=Fact(value=said.model_copy(update={"verdicts": verdicts}))))


@pytest.mark.parametrize(
    ("ticks", "becomes"),
    [
        pytest.param(counted(900, (500, 2), (500, 2)), PROMOTED, id="as good as stable"),
        pytest.param(counted(3, (500, 1)), STAYS, id="too few to say"),
        pytest.param(counted(60, (500, 25)), ROLLED_BACK, id="far above the limit"),
        pytest.param(counted(300, (500, 4), (500, 1)), ROLLED_BACK, id="below the limit, four times as bad as stable"),
        pytest.param(counted(300, (500, 10), (500, 10)), STAYS, id="above the limit as stable is"),
        pytest.param(counted(8, (500, 1), hanging=150), STAYS, id="some hang, and none has timed out"),
        pytest.param(counted(8, (500, 1), rejected=(500, 0)), ROLLED_BACK, id="refuses everything"),
        pytest.param(counted(900, (500, 2), (500, 2), rejected=(100, 100)), PROMOTED, id="clients' mistakes on both"),
        pytest.param(counted(300, (200, 0), (800, 1)), STAYS, id="not split as the weight says"),
        pytest.param([], STAYS, id="nothing was counted"),
    ],
)
def test_what_is_counted_decides_what_becomes_of_a_candidate(ticks: list[Tick], becomes: str) -> None:
    assert roles(after(ticks)) == becomes


@pytest.mark.parametrize(
    ("ticks", "becomes"),
    [
        pytest.param(counted(3, (500, 1)), PROMOTED, id="too few to say"),
        pytest.param(counted(300, (200, 0), (800, 1)), STAYS, id="not split as the weight says"),
        pytest.param([], STAYS, id="nothing was counted"),
        pytest.param(counted(60, (500, 25)), ROLLED_BACK, id="far above the limit"),
    ],
)
def test_a_deadline_promotes_only_what_was_measured(ticks: list[Tick], becomes: str) -> None:
    spec = {"canary": {"steps": [{"weight": 10}, {"weight": 50}], "maxSeconds": 3600, "onUndecided": "Promote"}}
    assert roles(after(ticks, AT_DEADLINE, **spec)) == becomes


def test_what_becomes_of_it_is_told_with_its_numbers() -> None:
    plan = after(counted(60, (500, 25)))
    assert plan.status is not None
    (entry,) = plan.status["history"]
    found = next(item for item in entry["findings"] if item["name"] == "errors")
    assert (found["verdict"], found["samples"], found["value"]) == ("Fail", 30_000, "0.05")
    assert float(found["evidence"]["harm"]) > float(found["evidence"]["harmThreshold"])
