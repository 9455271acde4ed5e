"""Two routers, a collector and two model servers that stay while one trial follows another."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from time import time

import aiohttp
from loopback import CollectorProcess, Model, Router, Traffic, Wall, canary, policy

from perennial.api.messages.policy import Policy, SloPolicy
from perennial.api.messages.state import State
from perennial.collector.ticks import read_ticks, write_ticks
from perennial.families.slos import Requests
from perennial.stats.ticks import ABANDONED, ANSWERED, REJECTED, REQUESTS, UNFINISHED, Arm, Key, Row, Tick, Ticks
from perennial.terms.words import Role

FORMS = {
    "max": Requests(max="0.05"),
    "maxRatio": Requests(max_ratio="1.25"),
    "both": Requests(max="0.05", max_ratio="1.25"),
}
"""The promises about requests that there are."""


@dataclass
class Plane:
    """Two routers, the second's statistics behind a wall; `trials` numbers the trials."""

    collector: CollectorProcess
    router: Router
    wall: Wall
    stable: Model
    candidate: Model
    traffic: Traffic
    other: Traffic
    trials: int = 0

    @property
    def name(self) -> str:
        """The id of the trial."""
        return f"trial-{self.trials}"

    def next(self) -> None:
        """Let another trial follow: models that answer, and nothing asked yet."""
        self.trials += 1
        self.stable.behave()
        self.candidate.behave()
        self.wall.open = True
        self.traffic.answers.clear()
        self.other.answers.clear()

    def trial(self, weight: int, *, step: int = 1, role: Role = Role.CRITICAL, forms: Sequence[str] = ()) -> Policy:
        """Return a policy of the trial, with a promise of each form (by default all)."""
        slos = [SloPolicy(name=form, role=role, requests=FORMS[form]) for form in forms or FORMS]
        return policy(canary(self.name, weight=weight, step=step), *slos, revision=f"{self.name}-{step}-{role}")

    async def begin(self, put: Policy) -> State:
        """Put a policy, and wait as the operator does until its weights are live."""
        assert put.canary is not None
        state = await self.collector.put(put)
        return await self.live(state, candidate=put.canary.weight)

    async def live(self, state: State, *, candidate: int) -> State:
        """Wait as the operator does until every router has acknowledged the candidate's weight."""
        while state.weights.verified != {"a": 1000 - candidate, "b": candidate}:
            state = await self.collector.state(after=state.revision, wait="10")
        return state

    def ticks(self) -> Ticks:
        """Return what was counted of the trial."""
        with closing(sqlite3.connect(self.collector.database, isolation_level=None)) as connection:
            connection.execute("BEGIN")
            return read_ticks(connection, self.name)

    def an_hour_has_passed(self, weight: int, pace: int = 50) -> tuple[int, int]:
        """Write down an hour of `pace` good requests a look, as if this trial had been going on; before it is begun.

        Returns:
            Requests of the candidate, and of stable.
        """
        candidate = pace * weight // 1000
        both = _good(candidate, "candidate") | _good(pace - candidate, "stable")
        begun = time() - 3600
        ticks = [Tick(begun + i / 4, 1, weight, both) for i in range(4 * 3600)]
        with closing(sqlite3.connect(self.collector.database, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            write_ticks(connection, {self.name: ticks}, {}, None)
            connection.execute("COMMIT")
        return candidate * len(ticks), (pace - candidate) * len(ticks)


def _good(n: int, arm: Arm) -> dict[Key, Row]:
    rows = {REQUESTS: Row(n), REJECTED: Row(n), ANSWERED: Row(n), ABANDONED: Row(0), UNFINISHED: Row(0)}
    return {Key(signal, arm): row for signal, row in rows.items()}


@asynccontextmanager
async def plane_in(directory: Path) -> AsyncIterator[Plane]:
    """Run a plane whose routers have acknowledged that slot a is stable; all that it writes is in the directory."""
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        stable, candidate = [await stack.enter_async_context(Model().running()) for _ in range(2)]
        collector = CollectorProcess(directory, session)
        routers = [Router(name, directory, {"a": stable, "b": candidate}, collector) for name in ("first", "second")]
        wall = await stack.enter_async_context(Wall(routers[1].statistics).standing())
        await collector.start(routers[0], wall)
        stack.push_async_callback(collector.stop)
        state = await collector.put(policy())
        for router in routers:
            stack.push_async_callback(router.stop)
        await asyncio.gather(*(router.start() for router in routers))
        traffic, other = (Traffic(session, router.url) for router in routers)
        plane = Plane(collector, routers[0], wall, stable, candidate, traffic, other)
        await plane.live(state, candidate=0)
        yield plane
