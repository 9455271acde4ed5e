"""Labels find their predictions whichever comes first, once, and survive a crash."""

import asyncio
import random
import signal
from datetime import UTC, datetime, timedelta
from time import time
from typing import Any

import aiohttp
import pytest
from loopback import CollectorProcess, eventually, policy

from perennial.api.messages.policy import Monitoring, Policy, SloPolicy
from perennial.api.messages.state import LabelTally
from perennial.families.metrics.false_negative_rate import FalseNegativeRate
from perennial.families.slos import Outcome

SECONDS = 3600
MISSED = SloPolicy(name="missed", outcome=Outcome(false_negative_rate=FalseNegativeRate(), max="0.3", min_samples=50))


def monitored(revision: str = "p1") -> Policy:
    return policy(
        None, MISSED, monitoring=Monitoring(cohort_seconds=SECONDS, max_label_delay_seconds=60), revision=revision
    )


def taken(**became: int) -> dict[str, Any]:
    return {"joined": 0, "duplicates": 0, "corrected": 0, "unmatched": 0, "refused": 0, "refusals": [], **became}


def last_period() -> datetime:
    """Return the start of a period that has ended for good."""
    return datetime.fromtimestamp((time() // SECONDS - 2) * SECONDS, UTC)


def predictions(number: int, score: float = 0.9, start: datetime | None = None) -> dict[str, Any]:
    begin = start or last_period()
    items = [
        {"id": f"p-{i}", "time": (begin + timedelta(seconds=i % SECONDS)).isoformat(), "score": score}
        for i in range(number)
    ]
    return {"version": "v-old", "modelVersion": "1", "predictions": items}


async def test_labels_join_in_any_order_and_count_once(collector: CollectorProcess) -> None:
    await collector.start()
    await collector.put(monitored())
    labels = [{"id": f"p-{i}", "label": 1} for i in range(300)]
    random.Random(7).shuffle(labels)
    early, late = labels[:100], labels[100:]
    assert await collector.post("/v1/labels", {"labels": early}) == (
        200,
        taken(unmatched=100),
    )
    status, _ = await collector.post("/v1/predictions", predictions(200))
    assert status == 200
    known = sum(int(label["id"][2:]) < 200 for label in late)
    status, became = await collector.post("/v1/labels", {"labels": late + late[:30]})
    assert (status, became) == (200, taken(joined=known, duplicates=30, unmatched=200 - known))
    await collector.post("/v1/predictions", predictions(200))  # again: changes nothing
    await collector.stop(signal.SIGKILL)
    await collector.start()
    await collector.post("/v1/predictions", predictions(300, score=0.1))  # a hundred more, all misses
    state = await collector.state()
    assert state.predictions == 300
    assert state.labels == LabelTally(joined=300, duplicates=30)
    (cohort,) = state.cohorts
    assert (cohort.predictions, cohort.labelled, cohort.matured) == (300, 300, True)
    assert (cohort.outcomes[0].total, cohort.outcomes[0].bad) == (300, 100)
    assert cohort.outcomes[0].value == pytest.approx(1 / 3)


async def test_a_broken_promise_is_found_on_matured_cohorts(collector: CollectorProcess) -> None:
    await collector.start()
    await collector.put(monitored())
    await collector.post("/v1/predictions", predictions(400, score=0.1))
    await collector.post("/v1/labels", {"labels": [{"id": f"p-{i}", "label": True} for i in range(400)]})
    state = await collector.until(lambda s: s.monitoring[0].finding.verdict == "Fail", "the promise is found broken")
    assert state.monitoring[0].finding.value == "1"
    assert state.monitoring[0].cohort == last_period()


@pytest.mark.parametrize(
    ("path", "body", "error"),
    [
        ("/v1/labels", {"labels": [{"id": "p-1", "label": "yes"}]}, "labels[0].label: must be a number"),
        ("/v1/labels", {"labels": [{"id": "", "label": 1}]}, "labels[0].id: must be a string of 1 to 256 characters"),
        ("/v1/labels", {"labels": {}}, "labels: must be a list"),
        (
            "/v1/predictions",
            {"version": "v", "modelVersion": "1", "predictions": [{"id": "p", "time": "today", "score": 1}]},
            "predictions[0].time: must be an RFC 3339 time with its zone, such as 2026-01-31T12:00:00Z",
        ),
    ],
)
async def test_bad_input_is_refused_whole(
    collector: CollectorProcess, path: str, body: dict[str, Any], error: str
) -> None:
    await collector.start()
    await collector.put(monitored())
    good = {"id": "p-0", "label": 1}
    if path == "/v1/labels" and isinstance(body["labels"], list):
        body = {"labels": [*body["labels"], good]}
    status, answer = await collector.post(path, body)
    assert (status, answer) == (400, {"error": error})
    assert (await collector.state()).labels == LabelTally()


async def test_a_body_that_is_too_large_is_413(collector: CollectorProcess) -> None:
    await collector.start()
    status, answer = await collector.post("/v1/labels", {"labels": [], "padding": "x" * 5_000_000})
    assert status == 413
    assert "bytes" in answer["error"]


async def post_until_acknowledged(collector: CollectorProcess, path: str, body: dict[str, Any]) -> None:
    async def acknowledged() -> bool:
        try:
            status, _ = await collector.post(path, body)
        except aiohttp.ClientError:
            return False
        return status == 200

    await eventually(acknowledged, "a batch is acknowledged")


async def kill_now_and_then(collector: CollectorProcess, work: asyncio.Queue[Any], lefts: tuple[int, ...]) -> None:
    """Kill the collector each time so many batches are left."""

    async def reached(left: int) -> bool:
        return work.qsize() <= left

    for left in lefts:
        await eventually(lambda left=left: reached(left), "some batches are through")
        await collector.stop(signal.SIGKILL)
        await collector.start()


async def test_nothing_is_lost_or_doubled_however_often_the_collector_dies(collector: CollectorProcess) -> None:
    """Every batch is posted until it is acknowledged, then once more; the collector is killed meanwhile."""
    number, size = 6_000, 200
    await collector.start()
    await collector.put(monitored())
    body = predictions(number)
    batches: list[tuple[str, dict[str, Any]]] = []
    for begin in range(0, number, size):
        part = body["predictions"][begin : begin + size]
        batches.append(("/v1/predictions", {**body, "predictions": part}))
        batches.append(("/v1/labels", {"labels": [{"id": item["id"], "label": 1} for item in part]}))
    random.Random(5).shuffle(batches)
    work: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue()
    for batch in batches:
        work.put_nowait(batch)

    async def post() -> None:
        while not work.empty():
            path, content = work.get_nowait()
            for _ in range(2):
                await post_until_acknowledged(collector, path, content)

    await asyncio.gather(post(), post(), post(), kill_now_and_then(collector, work, (50, 35, 20)))
    state = await collector.state()
    assert state.predictions == number
    assert (state.labels.joined, state.labels.unmatched) == (number, 0)
    assert sum(cohort.labelled for cohort in state.cohorts) == number
    assert sum(cohort.outcomes[0].total for cohort in state.cohorts) == number
