"""The world outside, played back: days go by, flights ask for predictions, labels come later, the lake grows.

    python replay.py --service http://flight-delay --collector http://flight-delay-collector:9900 --lake /lake/weeks
                     --token /var/run/collector/token

The clock starts at --start, as soon as the service answers. A fixed sample of each day's flights asks an hour before
its departure (POST /invocations, one row, `x-prediction-id` = the flight); --label-days later its label goes to the
collector. A week's file is in the lake once the last of its labels is known. Labels are posted again until they are
taken; a request is sent once more if no connection could be made, and else counted by its status.

The pace is --seconds-per-week of real time, or what the file --pace-file holds: it may be changed at any time.
The clock's time is kept beside the lake, so that a restart goes on where it was. Progress is printed as JSON lines.
"""

import argparse
import asyncio
import json
import math
import signal
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import lake
import numpy as np
import pandas as pd
from features import FEATURES, TARGET, TIME

DAY = timedelta(days=1)
AHEAD = timedelta(hours=1)
SAMPLE = 240
SEED = 1
_AT_ONCE = 64
_LABELS_AT_ONCE = 500
_REPORT_SECONDS = 2.0


def sample_of_day(day_rows: pd.DataFrame, day: datetime, size: int, seed: int) -> pd.DataFrame:
    """Return the flights of a day that ask for a prediction: always the same ones, in the order of departure."""
    chance = np.random.default_rng([seed, (day - lake.EPOCH) // DAY])
    chosen = chance.choice(len(day_rows), size=min(size, len(day_rows)), replace=False)
    return day_rows.iloc[np.sort(chosen)]


def request_of(flight: dict) -> dict:
    """Return the body of a request: one row; what is not known is null."""
    row = {name: flight[name] for name in FEATURES}
    known = {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}
    return {"dataframe_records": [known]}


class Clock:
    """Time in the replayed year. Its pace may change; it never jumps."""

    def __init__(self, start: datetime, seconds_per_week: float, pace_file: Path, saved: Path) -> None:
        self._pace_file, self._saved, self._default = pace_file, saved, seconds_per_week
        self.now = datetime.fromisoformat(saved.read_text()) if saved.exists() else start
        self.seconds_per_week = seconds_per_week
        self._at = time.monotonic()

    def begin(self) -> None:
        """Start from the present moment."""
        self._at = time.monotonic()

    def advance(self) -> datetime:
        """Return the time it is now."""
        at = time.monotonic()
        self.now += lake.WEEK * ((at - self._at) / self.seconds_per_week)
        self._at = at
        return self.now

    def read_pace(self) -> None:
        """Take up a pace that someone has written; 0 or nonsense leaves it as it is."""
        try:
            pace = float(self._pace_file.read_text())
        except (OSError, ValueError):
            return
        if math.isfinite(pace) and pace > 0:
            self.advance()
            self.seconds_per_week = pace

    def save(self) -> None:
        """Keep the time for a restart."""
        draft = self._saved.with_suffix(".tmp")
        draft.write_text(self.now.isoformat())
        draft.rename(self._saved)

    async def until(self, moment: datetime) -> None:
        """Sleep until it is `moment`, looking up now and then in case the pace changes."""
        while (left := (moment - self.advance()) / lake.WEEK * self.seconds_per_week) > 0:  # noqa: ASYNC110 - time
            await asyncio.sleep(min(left, 0.5))


@dataclass
class Counts:
    """What became of the requests and the labels."""

    sent: int = 0
    by_status: Counter = field(default_factory=Counter)
    by_slot: Counter = field(default_factory=Counter)
    warned: int = 0
    labels: int = 0
    label_failures: int = 0
    slowest_ms: float = 0.0


class Replay:
    """The flights of the year, played to a service and a collector."""

    def __init__(self, options: argparse.Namespace, session: aiohttp.ClientSession) -> None:
        self.options, self.session = options, session
        self.table = lake.flights()
        self.clock = Clock(options.start, options.seconds_per_week, options.pace_file, options.lake.parent / ".clock")
        self.counts = Counts()
        self.due: deque[tuple[datetime, str, bool]] = deque()
        self.free = asyncio.Semaphore(_AT_ONCE)
        self.under_way: set[asyncio.Task] = set()

    async def run(self) -> None:
        """Play the year to its end."""
        self.write_weeks()
        await self.wait_for_service()
        helpers = [asyncio.create_task(work()) for work in (self.post_labels, self.grow_lake, self.report)]
        try:
            await self.fly()
            while self.due or self.under_way:  # noqa: ASYNC110 - labels ripen by the clock
                await asyncio.sleep(0.2)
        finally:
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
        say("end of the year", **self.summary())

    async def fly(self) -> None:
        """Let the sampled flights ask, each an hour before it departs."""
        begin = self.clock.now
        self.clock.begin()
        # After a restart, labels of the last days may not have been posted: again does no harm.
        day = (begin - self.options.label_days * 2 * DAY).replace(hour=0, minute=0, second=0, microsecond=0)
        while day < lake.end_of(53):
            rows = self.table[(self.table[TIME] >= day) & (self.table[TIME] < day + DAY)]
            for flight in sample_of_day(rows, day, self.options.sample, self.options.seed).to_dict("records"):
                leaves = flight[TIME].to_pydatetime()
                if leaves - AHEAD >= begin:
                    await self.clock.until(leaves - AHEAD)
                    await self.free.acquire()
                    self.start(self.ask(flight, leaves))
                elif begin > self.options.start:
                    self.label(flight, leaves)
            day += DAY

    def start(self, work) -> None:
        task = asyncio.create_task(work)
        self.under_way.add(task)
        task.add_done_callback(self.under_way.discard)
        task.add_done_callback(lambda _: self.free.release())

    async def ask(self, flight: dict, leaves: datetime) -> None:
        """Send one request and count its answer. A flight that was answered gets a label later."""
        self.counts.sent += 1
        started = time.monotonic()
        try:
            status, slot = await self.post(flight)
        except (aiohttp.ClientError, TimeoutError) as error:
            status, slot = type(error).__name__, None
        self.counts.by_status[status] += 1
        self.counts.slowest_ms = max(self.counts.slowest_ms, (time.monotonic() - started) * 1000)
        if slot:
            self.counts.by_slot[slot] += 1
        if status == 200:
            self.label(flight, leaves)

    async def post(self, flight: dict) -> tuple[int, str | None]:
        body, headers = request_of(flight), {"x-prediction-id": flight["flight_id"]}
        for last in (False, True):
            try:
                async with self.session.post(
                    self.options.service + "/invocations", json=body, headers=headers
                ) as answer:
                    await answer.read()
                    return answer.status, answer.headers.get("x-perennial-version-slot")
            except aiohttp.ClientConnectorError:
                if last:
                    raise
        raise AssertionError

    def label(self, flight: dict, leaves: datetime) -> None:
        self.due.append((leaves + self.options.label_days * DAY, flight["flight_id"], bool(flight[TARGET])))

    async def post_labels(self) -> None:
        """Post the labels that are due, again and again until they are taken."""
        while True:
            await asyncio.sleep(0.25)
            now = self.clock.advance()
            ripe = []
            while self.due and self.due[0][0] <= now and len(ripe) < _LABELS_AT_ONCE:
                ripe.append(self.due.popleft())
            if not ripe:
                continue
            labels = [{"id": flight, "label": int(late)} for _, flight, late in ripe]
            try:
                url, body = f"{self.options.collector}/v1/labels", {"labels": labels}
                async with self.session.post(url, json=body, headers=self.proof()) as answer:
                    taken = answer.status == 200
            except (aiohttp.ClientError, TimeoutError, OSError):
                taken = False
            if taken:
                self.counts.labels += len(ripe)
            else:
                self.counts.label_failures += 1
                self.due.extendleft(reversed(ripe))
                await asyncio.sleep(1)

    def proof(self) -> dict:
        """Return what tells the collector who sends the labels. The kubelet renews the token, so it is read anew."""
        token = self.options.token
        return {} if token is None else {"Authorization": f"Bearer {token.read_text().strip()}"}

    def write_weeks(self) -> None:
        """Write every week whose labels are all known."""
        known = self.clock.now - self.options.label_days * DAY
        for week in range(1, lake.week_of(known)):
            lake.write_week(self.table, week, self.options.lake)

    async def grow_lake(self) -> None:
        """Add each week when it is known; keep the clock's time; take up a new pace."""
        while True:
            await asyncio.sleep(0.5)
            self.clock.read_pace()
            self.clock.advance()
            self.write_weeks()
            self.clock.save()

    async def wait_for_service(self) -> None:
        """Ask until there is an answer. These requests are of flights before the start, so none is counted."""
        flight = self.table.iloc[0].to_dict()
        started = told = time.monotonic()
        while True:
            try:
                status, _ = await self.post(flight)
            except (aiohttp.ClientError, TimeoutError) as error:
                status = type(error).__name__
            if status == 200:
                say("the service answers; the clock runs", clock=self.clock.now.isoformat())
                return
            if time.monotonic() - told > 10:
                told = time.monotonic()
                say("waiting for the service", status=status, seconds=round(told - started))
            await asyncio.sleep(0.5)

    async def report(self) -> None:
        while True:
            await asyncio.sleep(_REPORT_SECONDS)
            say("replaying", **self.summary())
            self.counts.slowest_ms = 0.0

    def summary(self) -> dict:
        counts = self.counts
        return {
            "clock": self.clock.now.isoformat(timespec="minutes"),
            "secondsPerWeek": self.clock.seconds_per_week,
            "requests": counts.sent,
            "byStatus": {str(status): number for status, number in sorted(counts.by_status.items(), key=str)},
            "bySlot": dict(sorted(counts.by_slot.items())),
            "slowestMs": round(counts.slowest_ms),
            "labels": counts.labels,
            "labelFailures": counts.label_failures,
            "weeksInLake": len(list(self.options.lake.glob("week-*.parquet"))),
        }


def say(what: str, **facts) -> None:
    print(json.dumps({"what": what, **facts}), flush=True)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


async def play(options: argparse.Namespace) -> None:
    timeout = aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=_AT_ONCE + 4)) as session:
        work = asyncio.create_task(Replay(options, session).run())
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, work.cancel)
        try:
            await work
        except asyncio.CancelledError:
            say("asked to stop")
            return
    if options.stay:
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--service", required=True, help="where predictions are asked for")
    parser.add_argument("--collector", required=True, help="where labels go")
    parser.add_argument("--token", type=Path, help="file of a service account's token for the collector")
    parser.add_argument("--lake", type=Path, required=True, help="folder of the weekly files")
    parser.add_argument("--start", type=moment, default=moment("2013-05-01"), help="the day the clock starts on")
    parser.add_argument("--seconds-per-week", type=float, default=10.0, help="the pace")
    parser.add_argument("--pace-file", type=Path, default=Path("/tmp/seconds-per-week"), help="a newer pace")
    parser.add_argument("--sample", type=int, default=SAMPLE, help="flights a day that ask")
    parser.add_argument("--seed", type=int, default=SEED, help="which ones")
    parser.add_argument("--label-days", type=float, default=2.0, help="days from departure to its label")
    parser.add_argument("--stay", action="store_true", help="do not exit at the end of the year")
    asyncio.run(play(parser.parse_args()))


if __name__ == "__main__":
    main()
