"""The data plane of one ModelDeployment on the loopback interface: a collector, two Envoys, two models, requests."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import aiohttp
from canary_cluster import Accounts

DATAPLANE = str(Path(__file__).parents[1] / "dataplane")
if DATAPLANE not in sys.path:
    sys.path.append(DATAPLANE)  # its processes are the same here and there

from loopback import CollectorProcess, Model, Router, Traffic  # noqa: E402

from perennial.api.messages.state import State  # noqa: E402
from perennial.terms.words import Slot, Verdict  # noqa: E402

PATIENCE = 120.0
PACE = 60.0
"""Requests a second and router."""


@dataclass
class Weights:
    """The weight of slot b in thousandths, looked up again and again: by whom → what it was, in order."""

    seen: dict[str, list[int]] = field(default_factory=dict)

    def take(self, who: str, weight: int) -> None:
        self.seen.setdefault(who, []).append(weight)

    def last(self) -> set[int]:
        return {weights[-1] for weights in self.seen.values()}

    def courses(self) -> list[list[int]]:
        """Return for each who tells the different weights, one after the other."""
        return [[weight for weight, _ in groupby(weights)] for weights in self.seen.values()]


class CanaryDataPlane:
    """Real processes, and clients that send requests through both routers. Version 1 is in slot a, version 2 in b."""

    def __init__(self, session: aiohttp.ClientSession, directory: Path, accounts: Accounts) -> None:
        self.session = session
        self.models: dict[Slot, Model] = {"a": Model(), "b": Model()}
        self.collector = CollectorProcess(directory, session, accounts)
        self.routers = [Router(name, directory, self.models, self.collector) for name in ("router-1", "router-2")]
        self.traffic = [Traffic(session, router.url) for router in self.routers]

    @asynccontextmanager
    async def running(self) -> AsyncIterator["CanaryDataPlane"]:
        async with AsyncExitStack() as stack:
            for model in self.models.values():
                await stack.enter_async_context(model.running())
            for router in self.routers:
                stack.push_async_callback(_ended, router)
                await router.start()
            stack.push_async_callback(_ended, self.collector)
            await self.start_collector()
            yield self

    async def start_collector(self) -> None:
        await self.collector.start(*self.routers)

    async def kill_collector(self) -> None:
        await self.collector.stop(signal.SIGKILL)

    # Requests

    async def serve(self, slot: Slot, number: int) -> None:
        """Send requests, one after the other, until a slot has answered so many."""
        enough = self.models[slot].served + number
        for _ in range(1000):
            for traffic in self.traffic:
                if self.models[slot].served >= enough:
                    return
                await traffic.one()
        raise AssertionError(f"slot {slot} answered too few of {1000 * len(self.traffic)} requests")

    @asynccontextmanager
    async def requests(self, pace: float = PACE) -> AsyncIterator[None]:
        """Send requests at a steady pace through every router."""
        async with AsyncExitStack() as stack:
            for traffic in self.traffic:
                traffic.pace = pace
                await stack.enter_async_context(traffic.running())
            yield

    def answered(self, slot: Slot) -> int:
        """Return how many requests clients saw answered by a slot."""
        return sum(traffic.total(slot) for traffic in self.traffic)

    def check_answers(self) -> None:
        """Check that clients noticed nothing."""
        assert sum(traffic.lost for traffic in self.traffic) == 0
        assert {status for traffic in self.traffic for _, status in traffic.answers} == {200}

    # Evidence and weights

    async def counted(self) -> State:
        """Return the collector's state once it has counted all that the candidate in slot b has answered."""
        return await self.collector.until(
            lambda state: bool(state.verdicts) and state.verdicts[0].candidate.total >= self.answered("b"),
            "all requests are counted",
            PATIENCE,
        )

    async def begin_evidence(self) -> None:
        """Let version 2 answer some requests, too few to decide, and wait until they are counted."""
        verdict = Verdict.NO_DATA
        while verdict is Verdict.NO_DATA:
            # Those of the second in which the weight came into force do not count for the step.
            await self.serve("b", 4)
            verdict = (await self.counted()).verdicts[0].verdict
        assert verdict is Verdict.UNDECIDED

    async def complete_evidence(self) -> None:
        """Send requests until the collector has seen that the step is safe."""
        async with self.requests():
            await self.collector.until(
                lambda state: bool(state.verdicts) and state.verdicts[0].verdict is Verdict.PASS,
                "the step is shown to be safe",
                PATIENCE,
            )

    async def until_weight(self, per_cent: int) -> None:
        """Wait until the collector wants this share for slot b, and every router has confirmed it."""
        weights = {"a": 1000 - 10 * per_cent, "b": 10 * per_cent}
        await self.collector.until(
            lambda state: state.weights.desired == weights and state.weights.verified == weights,
            f"the routers give slot b {per_cent} %",
            PATIENCE,
        )

    @asynccontextmanager
    async def weights(self) -> AsyncIterator[Weights]:
        """Look all the time which weight the collector wants, and which each router uses."""
        weights = Weights()
        task = asyncio.create_task(self._look(weights))
        try:
            yield weights
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _look(self, weights: Weights) -> None:
        while True:
            weights.take("collector", (await self.collector.state()).weights.desired["b"])
            for router in self.routers:
                async with self.session.get(f"http://127.0.0.1:{router.admin}/runtime") as response:
                    entries = (await response.json(content_type=None))["entries"]
                weights.take(f"router {router.admin}", int(entries["arms.b"]["final_value"]))
            await asyncio.sleep(0.1)


async def _ended(part: Router | CollectorProcess) -> None:
    """End a process, if it was started at all."""
    if part.program is not None and part.program.process is not None:
        await part.program.stop(signal.SIGKILL)
