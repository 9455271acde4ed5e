"""What is counted of real requests: how each began, and how it ended."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import aiohttp
import pytest
from loopback import CollectorProcess, Model, Router, Traffic, canary, eventually, policy

EVERYTHING = {"a": 0, "b": 1000}


async def all_to_candidate(collector: CollectorProcess, router: Router) -> None:
    await collector.start(router)
    await collector.put(policy(canary(weight=1000)))
    await collector.until(lambda s: s.weights.verified == EVERYTHING, "the weights are verified")


async def until_counted(collector: CollectorProcess, slot: str = "b", **expected: float) -> None:
    """Wait until the numbers of a slot are exactly these; `bad` is `requests_bad_total`, and so on."""
    names = {
        "began": "requests_total",
        "bad": "requests_bad_total",
        "rejected": "requests_rejected_total",
        "abandoned": "requests_abandoned_total",
        "unfinished": "requests_unfinished",
    }
    seen: Mapping[str, float] = {}

    async def look() -> bool:
        nonlocal seen
        figures = await collector.figures()
        seen = {name: figures[f'{of}{{slot="{slot}"}}'] for name, of in names.items()}
        return seen == dict.fromkeys(names, 0.0) | expected

    try:
        await eventually(look, f"counted is {expected}")
    except AssertionError:
        raise AssertionError(f"expected {expected}, counted {seen}") from None


@pytest.fixture
def traffic(session: aiohttp.ClientSession, router: Router) -> Traffic:
    return Traffic(session, router.url)


async def test_answers_of_every_kind(
    collector: CollectorProcess, router: Router, traffic: Traffic, candidate_model: Model
) -> None:
    await all_to_candidate(collector, router)
    await traffic.send(30)
    await until_counted(collector, began=30)
    candidate_model.failing, candidate_model.failure = 1.0, 422
    await traffic.send(20)
    await until_counted(collector, began=50, rejected=20)
    candidate_model.failure = 502
    await traffic.send(10)
    await until_counted(collector, began=60, rejected=20, bad=10)


async def test_requests_that_hang_are_unfinished_and_then_failed(
    collector: CollectorProcess, router: Router, traffic: Traffic, candidate_model: Model
) -> None:
    candidate_model.seconds = 30.0
    await all_to_candidate(collector, router)
    hanging = [asyncio.create_task(traffic.one()) for _ in range(15)]
    await until_counted(collector, began=15, unfinished=15)
    await asyncio.gather(*hanging)
    assert dict(traffic.answers) == {("b", 504): 15}
    await until_counted(collector, began=15, bad=15)


async def test_clients_that_leave_count_against_what_kept_them_waiting(
    collector: CollectorProcess, router: Router, traffic: Traffic, candidate_model: Model
) -> None:
    await all_to_candidate(collector, router)
    await traffic.send(5)
    candidate_model.seconds = 5.0
    waiting = [asyncio.create_task(traffic.one()) for _ in range(3)]
    await asyncio.gather(*(traffic.leave(after=1.0) for _ in range(12)))
    await until_counted(collector, began=20, abandoned=12, bad=12, unfinished=3)
    await asyncio.gather(*waiting)
    await until_counted(collector, began=20, abandoned=12, bad=12)


async def test_nobody_has_left_under_a_heavy_stream_of_quick_answers(
    collector: CollectorProcess, router: Router, traffic: Traffic
) -> None:
    """A page of statistics is no atomic snapshot: the difference of its counters alone would find some."""
    await all_to_candidate(collector, router)
    looked = 0
    sending = asyncio.create_task(traffic.send(4000))
    while not sending.done():
        figures = await collector.figures()
        assert figures['requests_abandoned_total{slot="b"}'] == 0
        assert figures['requests_bad_total{slot="b"}'] == 0
        looked += 1
        await asyncio.wait([sending], timeout=0.05)
    await sending
    assert looked > 10
    await until_counted(collector, began=4000)


async def test_a_version_that_nobody_can_reach_has_failed_every_request(
    tmp_path: Path, session: aiohttp.ClientSession, collector: CollectorProcess, stable_model: Model
) -> None:
    router = Router("router-1", tmp_path, {"a": stable_model, "b": Model()}, collector)
    try:
        await router.start()
        await all_to_candidate(collector, router)
        await Traffic(session, router.url).send(2)
        await until_counted(collector, began=2, bad=2)
    finally:
        await router.stop()
