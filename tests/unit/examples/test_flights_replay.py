"""The replay as a process, against a small real service and collector."""

import asyncio
import json
import math
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import lake
import pandas as pd
import pytest
from aiohttp import web
from features import FEATURES, TARGET, TIME
from replay import Clock, moment, request_of, sample_of_day

START, SAMPLE = "2013-05-06", 30


class Services:
    """A service that is not ready at first and fails now and then, and a collector that refuses labels at first."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.labels: list[dict[str, Any]] = []
        self.early, self.refused = 3, 2

    async def invocations(self, request: web.Request) -> web.Response:
        if self.early:
            self.early -= 1
            return web.json_response({}, status=503)
        self.asked.append((request.headers["x-prediction-id"], (await request.json())["dataframe_records"][0]))
        status = 500 if len(self.asked) % 10 == 0 else 200
        return web.json_response({"predictions": [0.1]}, status=status, headers={"x-perennial-version-slot": "a"})

    async def post_labels(self, request: web.Request) -> web.Response:
        if self.refused:
            self.refused -= 1
            return web.json_response({}, status=503)
        self.labels += (await request.json())["labels"]
        return web.json_response({"joined": 0, "unmatched": 0})


@pytest.fixture
async def world() -> AsyncIterator[tuple[Services, str]]:
    made, app = Services(), web.Application()
    app.add_routes([web.post("/invocations", made.invocations), web.post("/v1/labels", made.post_labels)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield made, site.name
    await runner.cleanup()


async def until(what: str, process: asyncio.subprocess.Process, look: Any) -> None:
    for _ in range(2400):
        if look():
            return
        assert process.returncode is None, f"the replay ended before {what}"
        await asyncio.sleep(0.05)
    pytest.fail(f"waited for {what}")


async def start(url: str, example: Path, folder: Path, *more: str) -> asyncio.subprocess.Process:
    arguments = ["--service", url, "--collector", url, "--lake", str(folder / "weeks"), "--start", START, *more]
    arguments += ["--sample", str(SAMPLE), "--pace-file", str(folder / "pace")]
    with (folder / "log").open("ab") as log:
        return await asyncio.create_subprocess_exec(sys.executable, str(example / "replay.py"), *arguments, stdout=log)


async def stop(process: asyncio.subprocess.Process) -> None:
    process.terminate()
    async with asyncio.timeout(30):
        assert await process.wait() == 0


async def test_flights_ask_labels_follow_and_the_lake_grows(
    world: tuple[Services, str], year: pd.DataFrame, example: Path, tmp_path: Path
) -> None:
    seen, url = world
    process = await start(url, example, tmp_path, "--seconds-per-week", "7")
    try:
        await until("a new week", process, (tmp_path / "weeks" / "week-18.parquet").exists)
        await until("labels", process, lambda: len(seen.labels) > 50)
        (tmp_path / "pace").write_text("1")
        await until("a faster clock", process, (tmp_path / "weeks" / "week-20.parquet").exists)
    finally:
        await stop(process)
    probe, *asked = seen.asked
    assert probe[0] == year["flight_id"].iloc[0], "before the start, it asks until there is an answer"
    by_id = year.set_index("flight_id")
    expected: list[str] = []
    for offset in range(8):
        day = moment(START) + offset * (lake.WEEK / 7)
        rows = year[(year[TIME] >= day) & (year[TIME] < day + lake.WEEK / 7)]
        expected += sample_of_day(rows, day, SAMPLE, 1)["flight_id"].tolist()
    expected = [flight for flight in expected if by_id.loc[flight, TIME] >= moment(START) + pd.Timedelta(hours=1)]
    assert set(expected[:60]) <= {flight for flight, _ in asked}
    assert max(Counter(flight for flight, _ in asked).values()) == 1
    assert all(set(row) == set(FEATURES) for _, row in asked)
    failed = {flight for index, (flight, _) in enumerate(seen.asked) if (index + 1) % 10 == 0}
    labelled = {label["id"]: label["label"] for label in seen.labels}
    assert not failed & set(labelled), "a flight that got no answer has no label"
    assert all(bool(label) == by_id.loc[flight, TARGET] for flight, label in labelled.items())
    last = json.loads((tmp_path / "log").read_text().splitlines()[-2])
    assert last["byStatus"]["500"] >= 1
    assert last["labelFailures"] == 2
    assert last["secondsPerWeek"] == 1.0


async def test_a_restart_goes_on_where_it_was(world: tuple[Services, str], example: Path, tmp_path: Path) -> None:
    seen, url = world
    process = await start(url, example, tmp_path, "--seconds-per-week", "3")
    await until("labels", process, lambda: len(seen.labels) > 60)
    process.kill()
    await process.wait()
    before = moment((tmp_path / ".clock").read_text()[:19])
    asked = {flight for flight, _ in seen.asked}
    labelled = {label["id"] for label in seen.labels}
    process = await start(url, example, tmp_path, "--seconds-per-week", "3")
    try:
        await until("more", process, lambda: len(seen.asked) > len(asked) + 60)
        await until(
            "their labels",
            process,
            lambda: asked - {seen.asked[0][0]} - failed(seen) <= {label["id"] for label in seen.labels},
        )
    finally:
        await stop(process)
    assert moment((tmp_path / ".clock").read_text()[:19]) > before > moment(START)
    assert labelled


def failed(seen: Services) -> set[str]:
    return {flight for index, (flight, _) in enumerate(seen.asked) if (index + 1) % 10 == 0}


def test_a_request_is_valid_json_whatever_is_missing(year: pd.DataFrame) -> None:
    flight = year[year["wind_speed"].isna()].iloc[0].to_dict()
    (row,) = json.loads(json.dumps(request_of(flight), allow_nan=False))["dataframe_records"]
    assert row["wind_speed"] is None
    assert row["hour"] == flight["hour"]


def test_a_days_sample_is_always_the_same_and_in_order(year: pd.DataFrame) -> None:
    day = moment("2013-06-03")
    rows = year[(year[TIME] >= day) & (year[TIME] < day + lake.WEEK / 7)]
    first, again = sample_of_day(rows, day, 100, 1), sample_of_day(rows, day, 100, 1)
    assert first.index.tolist() == again.index.tolist()
    assert first[TIME].is_monotonic_increasing
    assert len(first) == 100
    assert sample_of_day(rows, day, 100, 2).index.tolist() != first.index.tolist()
    assert len(sample_of_day(rows, day, 10**6, 1)) == len(rows)


@pytest.mark.parametrize("written", ["0", "-1", "nan", "inf", "fast", ""])
def test_a_pace_that_is_none_leaves_the_clock_alone(tmp_path: Path, written: str) -> None:
    (tmp_path / "pace").write_text(written)
    clock = Clock(moment(START), 10.0, tmp_path / "pace", tmp_path / "saved")
    clock.read_pace()
    assert clock.seconds_per_week == 10.0
    assert math.isfinite((clock.advance() - moment(START)).total_seconds())
