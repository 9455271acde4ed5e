"""The brake: from a bad candidate to weight 0, with nobody but the collector watching."""

import signal
import sqlite3
from datetime import UTC, datetime
from time import monotonic

import aiohttp
import pytest
from loopback import CollectorProcess, Model, Router, Traffic, canary, policy

from perennial.collector.brake import Trial
from perennial.collector.ticks import read_ticks
from perennial.terms.words import Verdict


@pytest.fixture
def traffic(session: aiohttp.ClientSession, router: Router) -> Traffic:
    return Traffic(session, router.url)


async def test_a_candidate_that_fails_is_braked_without_an_operator(
    collector: CollectorProcess, router: Router, traffic: Traffic, candidate_model: Model
) -> None:
    candidate_model.failing = 0.15
    await collector.start(router)
    await collector.put(policy(canary()))
    async with traffic.running():
        state = await collector.until(lambda s: s.brake is not None, "the brake is pulled")
        assert state.brake is not None
        pulled = monotonic() - (datetime.now(UTC) - state.brake.time).total_seconds()
        await collector.until(lambda s: s.weights.verified == {"a": 1000, "b": 0}, "weight 0 is verified")
        live = monotonic()
        served = traffic.total()
        while traffic.total() < served + 200:
            await traffic.one()
        assert candidate_model.last_start < live + 2
        assert candidate_model.last_start - pulled < 10
    assert state.brake.verdict.verdict is Verdict.FAIL
    assert state.brake.verdict.reason in {"WorseThanStable", "LimitExceeded"}
    assert traffic.lost == 0


async def test_a_braked_candidate_stays_braked_until_another_one_comes(
    collector: CollectorProcess, router: Router, traffic: Traffic, candidate_model: Model
) -> None:
    candidate_model.failing = 0.5
    await collector.start(router)
    await collector.put(policy(canary()))
    async with traffic.running():
        await collector.until(lambda s: s.brake is not None, "the brake is pulled")
    again = await collector.put(policy(canary(weight=500, step=1), revision="p2"))
    assert again.policy_revision == "p2"
    assert again.weights.desired == {"a": 1000, "b": 0}
    await collector.stop(signal.SIGKILL)
    await collector.start(router)
    after = await collector.put(policy(canary(weight=250, step=2), revision="p3"))
    assert after.brake is not None
    assert after.brake.canary_id == "trial-1"
    assert after.weights.desired == {"a": 1000, "b": 0}
    fresh = await collector.put(policy(canary("trial-2", weight=100), revision="p4"))
    assert fresh.brake is None
    assert fresh.weights.desired == {"a": 900, "b": 100}


async def test_killing_the_collector_forgets_no_evidence_and_counts_nothing_twice(
    collector: CollectorProcess, router: Router, traffic: Traffic, candidate_model: Model, stable_model: Model
) -> None:
    candidate_model.failing = stable_model.failing = 0.04
    await collector.start(router)
    trial = policy(canary(weight=300))
    await collector.put(trial)
    await collector.until(lambda s: s.weights.verified == {"a": 700, "b": 300}, "the weights are verified")
    begun = (await collector.state()).verdicts[0]
    assert (begun.candidate.total, begun.stable.total) == (0, 0)
    async with traffic.running():
        for _ in range(3):
            seen = (await collector.state()).verdicts[0].candidate.total
            await collector.until(lambda s, n=seen: s.verdicts[0].candidate.total > n + 20, "the canary is counted")
            await collector.stop(signal.SIGKILL)
            await collector.start(router)

    settled = await collector.until(
        lambda s: s.verdicts[0].candidate.total + s.verdicts[0].stable.total >= traffic.total(), "all is counted"
    )
    verdict = settled.verdicts[0]
    assert (verdict.candidate.total, verdict.candidate.bad) == (traffic.total("b"), traffic.bad("b"))
    assert (verdict.stable.total, verdict.stable.bad) == (traffic.total("a"), traffic.bad("a"))

    await collector.stop(signal.SIGKILL)
    with sqlite3.connect(collector.database) as database:
        table = read_ticks(database, "trial-1")
    assert trial.canary is not None
    (again,) = Trial.of(trial, trial.canary, table).verdicts(datetime.now(UTC))
    await collector.start(router)
    restarted = (await collector.state()).verdicts[0]
    for recomputed in (again, restarted):
        assert recomputed.log_e_harm == pytest.approx(verdict.log_e_harm, abs=1e-9)
        assert recomputed.log_e_safe == pytest.approx(verdict.log_e_safe, abs=1e-9)
        assert recomputed.verdict is verdict.verdict


async def test_a_candidate_that_cannot_be_reached_is_braked(
    tmp_path, session: aiohttp.ClientSession, collector: CollectorProcess, stable_model: Model
) -> None:
    router = Router("router-1", tmp_path, {"a": stable_model, "b": Model()}, collector)
    try:
        await router.start()
        await collector.start(router)
        await collector.put(policy(canary()))
        await collector.until(lambda s: s.weights.verified == {"a": 800, "b": 200}, "the weights are verified")
        traffic = Traffic(session, router.url)
        async with traffic.running():
            state = await collector.until(lambda s: s.brake is not None, "the brake is pulled")
        assert state.brake is not None
        assert state.brake.verdict.candidate.bad == state.brake.verdict.candidate.total
        assert set(traffic.answers) == {("a", 200), ("b", 503)}
    finally:
        await router.stop()
