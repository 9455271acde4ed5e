"""Operators die in the middle of a canary: no step is taken twice, none is skipped, nothing is told unrecorded."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import aiohttp
import pytest
from canary_cluster import DEPLOYED, WEIGHTS, run_of
from canary_stage import CanaryStage, canary_stage

from cluster.apiserver import ControlPlane
from perennial.api.messages.policy import Policy
from perennial.api.model_deployment import Decision
from perennial.runtime.connection import Connection
from perennial.terms.words import Verdict

pytestmark = pytest.mark.api


@pytest.fixture
async def stage(
    control_plane: ControlPlane,
    namespace: str,
    start_operator: Callable[..., object],
    tmp_path: Path,
    connection: Connection,
    session: aiohttp.ClientSession,
) -> AsyncIterator[CanaryStage]:
    async with canary_stage(control_plane, namespace, start_operator, tmp_path, session, connection.server) as set_up:
        yield set_up


def on_step(number: int) -> Callable[[Policy], bool]:
    return lambda policy: policy.canary is not None and policy.canary.step == number


def promoted(policy: Policy) -> bool:
    return policy.stable == "b"


async def test_an_operator_that_is_killed_all_along_a_canary_promotes_it_once(stage: CanaryStage) -> None:
    await stage.serve_first_version()
    async with stage.data.weights() as weights:
        await kill_before_step_1(stage)
        await kill_around_step_1(stage)
        await kill_around_step_2(stage)
        await stage.operate()
        await stage.data.until_weight(100)
        await stage.until("the weights were seen", lambda: weights.last() == {1000})
    await stage.until("slot a is empty", lambda: stage.cluster.ready_pods("a") == -1)
    await stage.quiet()

    assert weights.courses() == [[0, 200, 500, 1000]] * 3
    check_promoted(stage)
    # The one thing that may get lost is the Event of a record after which the operator died at once.
    assert len(stage.cluster.events("CanaryStarted")) <= 1
    assert stage.cluster.status().champion is None, "MLflow is down"


async def kill_before_step_1(stage: CanaryStage) -> None:
    """Kill the moment that the canary is recorded, and while its pods get ready; next time they are."""
    stage.node.held = {"b"}
    killing = stage.kill_when_recorded(lambda status: status.canary is not None)
    stage.cluster.offer("2")
    await killing.done("the canary is recorded")
    assert stage.step == 0

    await stage.operate()
    await stage.quiet()
    assert (stage.step, stage.cluster.ready_pods("b")) == (0, 0)
    stage.kill()
    stage.node.held.clear()
    await stage.until("the candidate's pods are ready", lambda: stage.cluster.ready_pods("b") == 1)


async def kill_around_step_1(stage: CanaryStage) -> None:
    """Kill when step 1 is recorded and not told, when it is told and nobody heard of it, and amid its evidence."""
    killing = stage.kill_when_told(on_step(1), delivered=False)
    await stage.operate()
    await killing.done("step 1 is about to be told")
    assert stage.recorded_step() == 1
    await stage.data.until_weight(0)

    killing = stage.kill_when_told(on_step(1), delivered=True)
    await stage.operate()
    await killing.done("step 1 is told")
    await stage.data.until_weight(WEIGHTS[0])
    assert stage.data.models["b"].served == 0

    # The evidence is complete before the next operator comes.
    await stage.operate()
    await stage.begin_evidence()
    stage.kill()
    await stage.data.complete_evidence()
    assert stage.recorded_step() == 1


async def kill_around_step_2(stage: CanaryStage) -> None:
    """Kill when step 2 is recorded and not told, and when the promotion is."""
    killing = stage.kill_when_told(on_step(2), delivered=False)
    await stage.operate()
    await killing.done("step 2 is about to be told")
    assert stage.recorded_step() == 2
    await stage.data.until_weight(WEIGHTS[0])

    # The collector's last word on step 1 is still "Pass": that is nothing to promote on.
    killing = stage.kill_when_told(promoted, delivered=False)
    await stage.operate()
    await stage.data.until_weight(WEIGHTS[1])
    await stage.begin_evidence()
    assert stage.recorded_step() == 2
    await stage.data.complete_evidence()
    await killing.done("the promotion is about to be told")
    assert stage.recorded_step() is None
    await stage.data.until_weight(WEIGHTS[1])


def told_canaries(stage: CanaryStage) -> list[tuple[int, int]]:
    """Return the steps and weights that the collector was told of, each policy once however often it was told."""
    policies = {told.policy.revision: told.policy.canary for told in stage.tap.told}
    return [(canary.step, canary.weight) for canary in policies.values() if canary is not None]


def check_told(stage: CanaryStage) -> None:
    """Check that no history was broken, and that the collector was told nothing that was not recorded before."""
    stage.history.check()
    for told in stage.tap.told:
        told.check()


def check_promoted(stage: CanaryStage) -> None:
    """Check that version 2 went through the steps once, and that nobody noticed who operated."""
    check_told(stage)
    assert stage.history.steps() == [0, 1, 2]
    assert stage.history.stable_versions() == ["1", "2"]
    assert told_canaries(stage) == [(1, 200), (2, 500)]
    stage.data.check_answers()
    status = stage.cluster.status()
    assert status.canary is None
    assert status.previous is not None
    assert (status.previous.model_version, status.previous.scaled_down) == ("1", True)
    assert status.stable is not None
    assert (status.stable.model_version, status.stable.slot) == ("2", "b")
    assert [(entry.decision, entry.reason) for entry in status.history] == [(Decision.PROMOTED, "Safe")]
    assert status.canaries == 1
    assert [note.partition(":")[0] for note in stage.cluster.events("CanaryStep")] == ["Step 1 of 2", "Step 2 of 2"]
    assert len(stage.cluster.events("Promoted")) == 1


async def test_a_standby_takes_over_amid_a_canary_and_a_frozen_leader_has_nothing_to_say_any_more(
    stage: CanaryStage,
) -> None:
    await stage.serve_first_version()
    await stage.try_second_version()
    one = stage.operator
    # The successors' lease is shorter only to save time.
    shorter = {
        "PERENNIAL_LEASE_DURATION_SECONDS": "8",
        "PERENNIAL_LEASE_RENEW_DEADLINE_SECONDS": "6",
        "PERENNIAL_LEASE_RETRY_PERIOD_SECONDS": "1",
    }
    two = await stage.stand_by(**shorter)
    await stage.begin_evidence()

    one.stop(signal.SIGKILL)
    left = stage.cluster.lease()
    stage.rely_on(two)
    await stage.data.complete_evidence()
    await stage.until_step(2)
    await stage.data.until_weight(WEIGHTS[1])
    taken = stage.cluster.lease()
    assert left["leaseDurationSeconds"] == 15
    waited = moment(taken["acquireTime"]) - moment(left["renewTime"])
    assert timedelta(seconds=15) <= waited <= timedelta(seconds=30)

    three = await stage.stand_by(**shorter)
    await stage.begin_evidence()
    two.popen.send_signal(signal.SIGSTOP)
    stage.rely_on(three)
    await stage.data.complete_evidence()
    await stage.until("version 2 is promoted", lambda: stage.step is None)
    await stage.data.until_weight(100)
    await stage.until("slot a is empty", lambda: stage.cluster.ready_pods("a") == -1)
    await stage.quiet()
    writes, told = stage.cluster.writes(), len(stage.tap.told)
    two.popen.send_signal(signal.SIGCONT)
    assert await asyncio.to_thread(two.popen.wait, 30) == 1
    assert two.lines("leadership is lost")
    await stage.quiet()
    assert stage.cluster.writes() == writes
    assert len(stage.tap.told) == told

    check_promoted(stage)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def test_a_brake_that_no_operator_saw_is_recorded_once_and_never_released(stage: CanaryStage) -> None:
    await stage.serve_first_version()
    await stage.try_second_version()
    stage.kill()
    stage.data.models["b"].failing = 0.9
    async with stage.data.requests():
        await stage.data.collector.until(lambda state: state.brake is not None, "the brake is pulled")
        await stage.data.until_weight(0)
    braked = (await stage.data.counted()).brake
    assert braked is not None
    served = stage.data.models["b"].served

    async with stage.data.weights() as weights, stage.data.requests(pace=10):
        await stage.operate()
        await stage.until("the rollback is recorded", lambda: stage.history.now.history)
        await stage.until("slot b is empty", lambda: stage.cluster.ready_pods("b") == -1)
        await stage.quiet()
        stage.kill()
        await stage.operate()
        await stage.quiet()
        # The same offer once more changes nothing, either.
        await stage.noticed(lambda: stage.cluster.apply(run_of("2"), manager="gitops"))
    assert weights.courses() == [[0]] * 3
    assert stage.data.models["b"].served == served

    check_told(stage)
    assert stage.history.steps() == [0, 1]
    assert stage.history.stable_versions() == ["1"]
    status = stage.cluster.status()
    (entry,) = status.history
    assert (entry.decision, entry.reason) == (Decision.ROLLED_BACK, "Harmful")
    counted = braked.verdict.candidate
    assert (
        f"SLO errors failed after {counted.total} requests on the candidate, {counted.bad} of them bad" in entry.message
    )
    assert status.rejected == (entry.version,)
    assert (status.canary, status.previous, status.canaries) == (None, None, 1)
    assert stage.condition("Progressing") == ("False", "RolledBack")
    assert stage.cluster.events("RolledBack") == [entry.message[:1000]]


async def test_operators_that_find_everything_done_write_nothing(stage: CanaryStage) -> None:
    await stage.serve_first_version()
    await stage.try_second_version()
    await stage.data.complete_evidence()
    await stage.until_step(2)
    await stage.data.until_weight(WEIGHTS[1])
    await stage.data.complete_evidence()

    def is_empty() -> bool:
        kept = stage.history.now.previous
        return kept is not None and kept.scaled_down and stage.cluster.ready_pods("a") == -1

    await stage.until("slot a is empty", is_empty)
    await stage.quiet()
    writes, told, before = stage.cluster.writes(), len(stage.tap.told), stage.cluster.get()
    assert writes

    def apply_again(manager: str) -> None:
        for manifest in (DEPLOYED, run_of("1"), run_of("2")):
            stage.cluster.apply(manifest, manager=manager)

    for end in (stage.kill, stage.stop):
        end()
        await stage.operate()
        await stage.quiet()
        await stage.noticed(partial(apply_again, f"gitops-after-{end.__name__}"))
    assert stage.cluster.writes() == writes
    assert len(stage.tap.told) == told
    after = stage.cluster.get()
    assert after["metadata"]["generation"] == before["metadata"]["generation"] == 1
    assert (after["spec"], after["status"]) == (before["spec"], before["status"])
    assert {entry["manager"] for entry in after["metadata"]["managedFields"]} >= {"somebody", "gitops-after-stop"}


async def test_a_canary_holds_while_its_collector_is_down_and_loses_no_evidence(stage: CanaryStage) -> None:
    await stage.serve_first_version()
    await stage.try_second_version()
    await stage.begin_evidence()
    before = await stage.data.counted()
    held = stage.cluster.status().canary

    await stage.data.kill_collector()
    unavailable = ("True", "CollectorUnavailable")
    await stage.until("the outage is recorded", lambda: stage.condition("Progressing") == unavailable)
    # What is answered meanwhile would be enough for the next step; an operator that starts now knows no more than this.
    await stage.data.serve("b", 60)
    stage.kill()
    refused = stage.tap.refused
    await stage.operate()
    await stage.until("the new operator has asked, too", lambda: stage.tap.refused > refused + 1)
    await stage.until("the outage is recorded", lambda: stage.condition("Progressing") == unavailable)
    assert held is not None
    assert stage.history.stages()[-1] == (held.id, 1, held.step_started_time)

    await stage.data.start_collector()
    after = (await stage.data.counted()).verdicts[0]
    assert after.candidate.total == stage.data.models["b"].served >= before.verdicts[0].candidate.total + 60
    # Nobody knows which weight was in force meanwhile: such requests show harm, but no safety.
    assert after.log_e_safe == pytest.approx(before.verdicts[0].log_e_safe, abs=1e-9)
    assert after.verdict is Verdict.UNDECIDED
    await stage.until("judging goes on", lambda: stage.condition("Progressing") == ("True", "CanaryStep"))
    await stage.data.until_weight(WEIGHTS[0])
    assert stage.step == 1
    await stage.data.complete_evidence()
    await stage.until_step(2)
    await stage.data.until_weight(WEIGHTS[1])

    check_told(stage)
    assert stage.history.steps() == [0, 1, 2]
    assert told_canaries(stage) == [(1, 200), (2, 500)]
    assert [note.partition(":")[0] for note in stage.cluster.events("CanaryStep")] == ["Step 1 of 2", "Step 2 of 2"]
    stage.data.check_answers()
