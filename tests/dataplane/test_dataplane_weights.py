"""Weights: from a policy to the traffic, acknowledged by every router, whatever dies."""

import signal
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

import aiohttp
import pytest
from loopback import CollectorProcess, Model, Router, Traffic, canary, policy

from perennial.api.messages.state import State


@pytest.fixture
def traffic(session: aiohttp.ClientSession, router: Router) -> Traffic:
    return Traffic(session, router.url)


async def test_weights_are_live_and_verified_within_a_second(
    collector: CollectorProcess, router: Router, traffic: Traffic
) -> None:
    await collector.start(router)
    await collector.put(policy())
    await collector.until(lambda s: s.weights.verified == {"a": 1000, "b": 0}, "the first weights are verified")
    begun = monotonic()
    put = await collector.put(policy(canary(weight=500), revision="p2"))
    assert put.weights.desired == {"a": 500, "b": 500}
    await collector.until(lambda s: s.weights.verified == {"a": 500, "b": 500}, "the weights are verified")
    assert monotonic() - begun < 1
    await traffic.send(1000)
    assert traffic.answers.total() == 1000
    assert traffic.total("b") == pytest.approx(500, abs=80)  # five standard deviations


async def test_no_request_is_lost_while_weights_move(
    collector: CollectorProcess, router: Router, traffic: Traffic
) -> None:
    await collector.start(router)
    await collector.put(policy())
    async with traffic.running():
        for i, weight in enumerate([100, 900, 0, 500, 1000, 1, 300, 0] * 3):
            put = policy(canary(f"trial-{i}", weight=weight), revision=f"p{i}")
            await collector.put(put)
            want = {"a": 1000 - weight, "b": weight}
            await collector.until(lambda s, want=want: s.weights.verified == want, f"weight {weight} is verified")
    assert {status for _, status in traffic.answers} == {200}
    assert traffic.lost == 0
    assert traffic.total("b") > 0


async def test_without_a_policy_the_routers_keep_serving_stable(
    collector: CollectorProcess, router: Router, traffic: Traffic
) -> None:
    await collector.start(router)
    await collector.until(lambda s: s.weights.routers == 1, "the router polls")
    await traffic.send(50)
    assert set(traffic.answers) == {("a", 200)}
    assert (await collector.state()).weights.verified is None


async def test_a_router_that_starts_without_a_collector_serves_stable(
    collector: CollectorProcess, router: Router, traffic: Traffic
) -> None:
    await collector.start(router)
    await collector.put(policy(canary(weight=500)))
    await collector.until(lambda s: s.weights.verified == {"a": 500, "b": 500}, "the weights are verified")
    await collector.stop(signal.SIGKILL)
    await traffic.send(100)
    assert traffic.total("b") > 0, "a dead collector leaves the last weights in force"
    await router.stop()
    await router.start()
    traffic.answers.clear()
    await traffic.send(100)
    assert set(traffic.answers) == {("a", 200)}
    await collector.start(router)
    await collector.until(lambda s: s.weights.verified == {"a": 500, "b": 500}, "the weights are back")


def requests(state: State) -> int:
    return state.verdicts[0].candidate.total + state.verdicts[0].stable.total


async def until_counted(collector: CollectorProcess, knocks: Traffic) -> State:
    """Knock at a router that has just started until a knock is counted: those of its first second may be nobody's."""
    while True:
        before = requests(await collector.state())
        await knocks.send(1)
        with suppress(AssertionError):
            return await collector.until(lambda s, before=before: requests(s) > before, "a knock is counted", 3)


async def test_weights_are_verified_by_every_router(
    session: aiohttp.ClientSession, collector: CollectorProcess, router: Router, make_router: Callable[[str], Router]
) -> None:
    other = make_router("router-2")
    await collector.start(router, other)
    await collector.put(policy(canary(weight=300)))
    await collector.until(lambda s: s.weights.routers == 1, "one router polls")
    assert (await collector.state()).weights.verified is None, "one of two routers has not acknowledged"
    try:
        await other.start()
        state = await collector.until(lambda s: s.weights.verified is not None, "both have acknowledged")
        assert (state.weights.verified, state.weights.routers) == ({"a": 700, "b": 300}, 2)
        before = await until_counted(collector, Traffic(session, other.url))
        first, second = Traffic(session, router.url), Traffic(session, other.url)
        await first.send(100)
        await second.send(150)
        counted = await collector.until(lambda s: requests(s) >= requests(before) + 250, "all is counted")
        new = counted.verdicts[0].candidate.total - before.verdicts[0].candidate.total
        assert new == first.total("b") + second.total("b")
    finally:
        await other.stop()


async def test_a_router_that_restarts_is_counted_on(
    collector: CollectorProcess, router: Router, traffic: Traffic, candidate_model: Model
) -> None:
    candidate_model.failing = 0.02
    await collector.start(router)
    await collector.put(policy(canary(weight=500)))
    await collector.until(lambda s: s.weights.verified == {"a": 500, "b": 500}, "the weights are verified")
    await traffic.send(200)
    await collector.until(
        lambda s: s.verdicts[0].candidate.total + s.verdicts[0].stable.total == 200, "the first 200 are counted"
    )
    await router.stop()
    await collector.until(lambda s: s.members is None, "the router is missed")
    await router.start()
    await collector.until(lambda s: s.members is not None, "the router is looked at again")
    await collector.until(lambda s: s.weights.verified == {"a": 500, "b": 500}, "the weights are verified again")
    await traffic.send(300)
    counted = await collector.until(
        lambda s: s.verdicts[0].candidate.total + s.verdicts[0].stable.total >= 500, "all 500 are counted"
    )
    assert counted.verdicts[0].candidate.total == traffic.total("b")
    assert counted.verdicts[0].candidate.bad == traffic.bad("b")


async def test_without_traffic_nothing_changes(collector: CollectorProcess, router: Router) -> None:
    await collector.start(router)
    await collector.put(policy(canary(weight=100)))
    await collector.until(lambda s: s.weights.verified == {"a": 900, "b": 100}, "the weights are verified")
    first = await collector.state()
    begun = monotonic()
    after = await collector.state(after=first.revision, wait="7")
    assert monotonic() - begun > 6.5
    assert after.revision == first.revision
    assert after.verdicts[0].verdict == "NoData"


async def test_the_collector_ends_promptly_under_polls(collector: CollectorProcess, router: Router) -> None:
    await collector.start(router)
    await collector.put(policy())
    await collector.until(lambda s: s.weights.verified is not None, "the router holds a poll")
    begun = monotonic()
    assert await collector.stop() == 0
    assert monotonic() - begun < 4
