"""A collector on its loop, with routers that have counted what a test says, and a time that the test moves on."""

import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from perennial.api.messages.policy import Arm, Canary, Policy, SloPolicy, Watch
from perennial.api.messages.wire import Permille
from perennial.collector.database import Database
from perennial.collector.journal import Journal
from perennial.collector.pods import Listed, Pod
from perennial.collector.predictions import Predictions
from perennial.collector.rtds import WeightServer
from perennial.collector.service import PRUNE_SECONDS, Collector
from perennial.collector.signals import Reading
from perennial.collector.ticks import read_ticks
from perennial.families.slos import Requests
from perennial.stats.sums import Sums
from perennial.stats.ticks import ABANDONED, ANSWERED, REJECTED, REQUESTS, UNFINISHED
from perennial.terms.words import Slot

NOW = datetime(2026, 11, 26, tzinfo=UTC)
ARMS: dict[Slot, Arm] = {"a": Arm(version="v-old", model_version="1"), "b": Arm(version="v-new", model_version="2")}


class Routers:
    """Routers that have answered what they are told."""

    def __init__(self) -> None:
        self.addresses: tuple[str, ...] = ("r",)
        self.errors = 0
        self.counts: dict[str, dict[Slot, tuple[int, int]]] = {"r": {"a": (0, 0), "b": (0, 0)}}
        self.silent: set[str] = set()
        self.listed: Listed | None = None

    def serve(self, slot: Slot, requests: int, bad: int = 0, router: str = "r") -> None:
        total, failed = self.counts[router][slot]
        self.counts[router][slot] = (total + requests, failed + bad)

    async def look(self) -> Mapping[str, Reading]:
        return {name: self._reading(of) for name, of in self.counts.items() if name not in self.silent}

    async def pods(self) -> Mapping[str, Listed | None]:
        return dict.fromkeys(self.addresses, self.listed)

    @staticmethod
    def _reading(of: Mapping[Slot, tuple[int, int]]) -> Reading:
        sums = {}
        for slot, (n, bad) in of.items():
            values = (Sums.count(n, bad), Sums.count(n, 0), Sums(n), Sums(), Sums())
            names = (REQUESTS, REJECTED, ANSWERED, ABANDONED, UNFINISHED)
            sums |= {(name, slot, ""): value for name, value in zip(names, values, strict=True)}
        return Reading(1e6, sums)


class Acknowledged(WeightServer):
    """Weights that every router takes at once."""

    def verified(self, expected: int) -> Mapping[Slot, Permille] | None:
        return self.desired if expected else None


class Room:
    """A collector, its routers and its file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.routers = Routers()

    async def open(self) -> None:
        self.database = Database(self.file)
        await self.database.open()
        parts: Any = (Journal(self.database), Predictions(self.database), self.routers, Acknowledged())
        self.collector = Collector(*parts)
        await self.collector.start()

    async def again(self) -> None:
        """Begin another life on the same file, as after a kill."""
        await self.database.close()
        await self.open()

    def told(self, canary: str = "c") -> list[tuple[int, int, float, float, float, float]]:
        """Return (step, weight, candidate's requests and bad ones, stable's) of each tick that was written."""
        with sqlite3.connect(self.file) as connection:
            ticks = read_ticks(connection, canary)
        columns = [f(REQUESTS, arm) for arm in ("candidate", "stable") for f in (ticks.n, ticks.total)]
        return list(zip(ticks.step.tolist(), ticks.weight.tolist(), *(c.tolist() for c in columns), strict=True))


def policy(
    canary: str | None = "c", step: int = 1, weight: int = 200, stable: Slot = "a", watch: Watch | None = None
) -> Policy:
    trial = None
    if canary is not None:
        slot: Slot = "b" if stable == "a" else "a"
        trial = Canary(id=canary, slot=slot, step=step, weight=weight, started_time=NOW, step_started_time=NOW)
    slos = (SloPolicy(name="errors", requests=Requests(max="0.05")),)
    revision = f"{canary}-{step}-{weight}-{stable}"
    return Policy(revision=revision, stable=stable, arms=ARMS, canary=trial, watch=watch, slos=slos)


class Steady:
    """A clock that the test moves on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def answer(room: Room, steady: Steady, seconds: int, *, bad: int, slot: Slot = "a") -> None:
    """Let a slot answer 100 requests a second."""
    for _ in range(seconds):
        room.routers.serve(slot, 100, bad)
        await room.collector.tick()
        steady.now += 1.0


class Slow:
    """The time of what a tick does now and then."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = monotonic() + PRUNE_SECONDS
        monkeypatch.setattr("perennial.collector.service.monotonic", lambda: self.now)

    def passes(self, seconds: float) -> None:
        self.now += seconds


def list_pods(room: Room, look: int, bad: int) -> None:
    """Let two pods have answered 100 requests a look each, the first with `bad` failures in one of five looks."""
    failures = bad * ((look + 4) // 5)
    room.routers.listed = {
        ("a", "10.0.0.1"): Pod(100 * look, failures, healthy=True),
        ("a", "10.0.0.2"): Pod(100 * look, 0, healthy=True),
    }
