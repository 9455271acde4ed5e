"""What a canary is found to be, on real routers: what hangs, what is refused, what was not seen, what fails late."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from time import monotonic

import pytest
import pytest_asyncio
from loopback import Traffic, eventually, policy
from plane import FORMS, Plane, plane_in

from perennial.api.messages.state import State
from perennial.stats.ticks import REQUESTS
from perennial.terms.words import Role, Verdict

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole_plane(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Plane]:
    async with plane_in(tmp_path_factory.mktemp("plane")) as plane:
        yield plane


@pytest_asyncio.fixture(loop_scope="module")
async def plane(whole_plane: Plane) -> AsyncIterator[Plane]:
    """Yield the plane for another trial, with models that answer and nobody asking."""
    whole_plane.next()
    try:
        yield whole_plane
    finally:
        await whole_plane.collector.put(policy(revision=f"after-{whole_plane.trials}"))


async def until_every_form_fails(plane: Plane) -> State:
    """Wait until each promise is found broken; a candidate that was found safe before would have been promoted."""

    def broken(state: State) -> bool:
        found = [verdict.verdict for verdict in state.verdicts]
        assert Verdict.PASS not in found
        return found == [Verdict.FAIL] * len(FORMS)

    return await plane.collector.until(broken, "every promise is found broken")


async def until_braked(plane: Plane) -> State:
    def braked(state: State) -> bool:
        assert Verdict.PASS not in [verdict.verdict for verdict in state.verdicts]
        return state.brake is not None

    return await plane.collector.until(braked, "the brake is pulled")


async def test_a_candidate_that_hangs_now_and_then_is_not_found_safe_and_is_braked(plane: Plane) -> None:
    """The route's timeout is ten seconds: until then nothing of it has failed, and a third of it is unfinished."""
    plane.candidate.hanging = 0.3
    await plane.begin(plane.trial(weight=300, role=Role.ADVISORY))
    begun = monotonic()
    async with plane.traffic.running():
        await until_every_form_fails(plane)
        assert monotonic() - begun > 10, "nothing has failed before the timeout"
        await plane.collector.put(plane.trial(weight=300, role=Role.CRITICAL))
        braked = await until_braked(plane)
        assert braked.brake is not None
        plane.traffic.hurry()
    assert {status for (slot, status), _ in plane.traffic.answers.items() if slot == "b"} == {200, 504}


async def test_a_candidate_whose_clients_leave_unanswered_is_not_found_safe_and_is_braked(plane: Plane) -> None:
    plane.candidate.hanging = 1.0
    await plane.begin(plane.trial(weight=300, role=Role.ADVISORY))
    chance = random.Random(7)

    async def client() -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(chance.uniform(1.0, 3.0)):
                    await plane.traffic.one()

    clients = [asyncio.create_task(client()) for _ in range(60)]
    try:
        await until_every_form_fails(plane)
        await plane.collector.put(plane.trial(weight=300, role=Role.CRITICAL))
        await until_braked(plane)
    finally:
        for each in clients:
            each.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
    assert {slot for slot, _ in plane.traffic.answers} == {"a"}, "nobody has waited for the candidate's 504"


async def test_a_candidate_that_refuses_what_stable_takes_is_braked(plane: Plane) -> None:
    plane.candidate.failing, plane.candidate.failure = 1.0, 400
    await plane.begin(plane.trial(weight=300))
    async with plane.traffic.running():
        state = await until_braked(plane)
    assert set(plane.traffic.answers) == {("a", 200), ("b", 400)}
    assert state.brake is not None
    assert state.brake.verdict.reason == "MoreRejectedThanStable"
    assert state.brake.verdict.candidate.total <= 100


async def test_clients_mistakes_that_meet_both_versions_are_no_reason_to_brake(plane: Plane) -> None:
    for model in (plane.stable, plane.candidate):
        model.failing, model.failure = 0.3, 400
    await plane.begin(plane.trial(weight=500))
    async with plane.traffic.running():
        state = await plane.collector.until(lambda s: s.verdicts[0].candidate.total > 300, "the candidate is counted")
    assert state.brake is None
    assert Verdict.FAIL not in [verdict.verdict for verdict in state.verdicts]


async def test_looks_that_were_lost_across_a_step_do_no_harm_to_a_sound_candidate(plane: Plane) -> None:
    await plane.begin(plane.trial(weight=100, step=1))
    await plane.other.send(50)
    await plane.collector.until(lambda s: s.members is not None, "all routers are reached")
    plane.wall.open = False
    await plane.collector.until(lambda s: s.members is None, "one router is not reached")
    # A bad while of both versions, in which the first step's weight gave most requests to stable.
    plane.stable.failing = plane.candidate.failing = 0.4
    await plane.other.send(800)
    plane.stable.failing = plane.candidate.failing = 0.0
    await plane.begin(plane.trial(weight=700, step=2))
    await plane.other.send(400)
    plane.wall.open = True

    def all_counted(state: State) -> bool:
        seen = state.verdicts[0]
        return seen.candidate.total + seen.stable.total >= plane.traffic.total() + plane.other.total()

    await plane.collector.until(all_counted, "all is counted")
    await plane.traffic.send(200)
    await plane.other.send(200)
    state = await plane.collector.until(all_counted, "all is counted")
    assert state.brake is None
    assert Verdict.FAIL not in [verdict.verdict for verdict in state.verdicts]
    ticks = plane.ticks()
    requests = ticks.n(REQUESTS, "candidate") + ticks.n(REQUESTS, "stable")
    unknown, second = ticks.weight == -1, ticks.step == 2
    assert requests[unknown].sum() >= 1200, "what was served across the step has no weight"
    assert requests[second & ~unknown].sum() == 400
    assert ticks.total(REQUESTS, "candidate")[~unknown].sum() == 0


async def test_traffic_that_is_not_split_as_it_was_told_to_be_is_neither_promoted_nor_braked(plane: Plane) -> None:
    async def overrule(weights: str) -> None:
        url = f"http://127.0.0.1:{plane.router.admin}/runtime_modify?{weights}"
        async with plane.traffic.session.post(url) as response:
            assert response.status == 200

    await plane.begin(plane.trial(weight=200))
    await overrule("arms.a=300&arms.b=700")
    try:
        await plane.traffic.send(1200)
    finally:
        await overrule("arms.a=&arms.b=")
    state = await plane.collector.until(
        lambda s: s.verdicts[0].candidate.total + s.verdicts[0].stable.total == 1200, "all is counted"
    )
    assert {(verdict.verdict, verdict.reason) for verdict in state.verdicts} == {
        (Verdict.UNDECIDED, "SampleRatioMismatch")
    }
    assert state.brake is None


@pytest.mark.parametrize("form", FORMS)
async def test_a_candidate_that_was_good_for_an_hour_and_then_fails_is_braked_at_once(plane: Plane, form: str) -> None:
    passed = plane.an_hour_has_passed(weight=200)
    state = await plane.begin(plane.trial(weight=200, forms=(form,)))
    assert (state.verdicts[0].candidate.total, state.verdicts[0].stable.total) == passed
    async with plane.traffic.running():
        await eventually(lambda: _reached(plane.traffic, 40), "the candidate answers")
        plane.candidate.failing = 1.0
        state = await plane.collector.until(lambda s: s.brake is not None, "the brake is pulled")
    ticks = plane.ticks()
    late = ticks.time[ticks.total(REQUESTS, "candidate") > 0]
    assert state.brake is not None
    looks = {time for time in ticks.time.tolist() if late[0] <= time <= state.brake.time.timestamp()}
    assert len(looks) <= 3, "the first may have seen one failure, at the end of its quarter of a second"
    assert state.brake.verdict.verdict is Verdict.FAIL


async def _reached(traffic: Traffic, number: int) -> bool:
    return traffic.total("b") >= number
