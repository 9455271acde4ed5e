"""The data plane of one run on the loopback interface: a collector, an Envoy, two models, requests."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from time import time

import aiohttp
from accounts_of_run import Accounts
from loopback import CollectorProcess, Model, Router, Traffic, eventually
from operator_faults.run import Run

from perennial.api.messages.state import State
from perennial.terms.words import Slot

PACE = 80.0
"""Requests a second."""
COHORT_SECONDS = 60


class DataPlane:
    """Real processes. Version 1 is in slot a, version 2 in slot b."""

    def __init__(self, run: Run, name: str, session: aiohttp.ClientSession) -> None:
        self.models: dict[Slot, Model] = {"a": Model(), "b": Model()}
        self._accounts = Accounts(run, name)
        self.collector = CollectorProcess(run.directory, session, self._accounts)
        self.router = Router("router-1", run.directory, self.models, self.collector)
        self.traffic = Traffic(session, self.router.url, pace=PACE)
        self._run = run

    @asynccontextmanager
    async def running(self) -> AsyncIterator["DataPlane"]:
        """Run all of it."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._accounts.known())
            for model in self.models.values():
                await stack.enter_async_context(model.running())
            stack.push_async_callback(self.router.stop)
            await self.router.start()
            await stack.enter_async_context(self._collecting())
            yield self

    @asynccontextmanager
    async def _collecting(self) -> AsyncIterator[None]:
        arguments = ["--database", str(self.collector.database), "--host", "127.0.0.1"]
        arguments += ["--trust", str(self._accounts.trust)]
        arguments += ["--port", str(self.collector.port), "--routers", f"127.0.0.1:{self.router.statistics}"]
        directory = self._run.directory / "collector"
        directory.mkdir()
        child = await self._run.nursery.start(
            "perennial.collector", directory=directory, environment={"PATH": "/usr/bin:/bin"}, arguments=arguments
        )
        try:
            await eventually(self.collector.ready, "the collector is ready", 60)
            yield
        finally:
            child.kill()
            await child.exit

    async def until_weight(self, per_cent: int) -> None:
        """Wait until the collector wants this share for slot b, and the router has confirmed it."""
        weights = {"a": 1000 - 10 * per_cent, "b": 10 * per_cent}

        def routed(state: State) -> bool:
            return state.weights.desired == weights and state.weights.verified == weights

        await self.collector.until(routed, f"the router gives slot b {per_cent} %", 60)

    async def break_promise(self, version: str, model_version: str) -> None:
        """Let a version have missed all positives in a cohort that is over."""
        start = datetime.fromtimestamp((time() // COHORT_SECONDS - 3) * COHORT_SECONDS, UTC)
        predictions = [
            {"id": f"p-{n}", "time": (start + timedelta(seconds=n % COHORT_SECONDS)).isoformat(), "score": 0.1}
            for n in range(400)
        ]
        said = {"version": version, "modelVersion": model_version, "predictions": predictions}
        assert (await self.collector.post("/v1/predictions", said))[0] == 200
        labels = {"labels": [{"id": f"p-{n}", "label": True} for n in range(400)]}
        assert (await self.collector.post("/v1/labels", labels))[0] == 200
