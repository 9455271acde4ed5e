"""A ModelDeployment between a real API server and a real data plane on the loopback interface.

Real are the API server with the controllers of Deployments and of garbage, the operator's processes, the collector's
process, two Envoys, two small HTTP servers that answer as the models, and the requests. Played is the node (pods are
ready when the test says so, all at 127.0.0.1) and what became of TrainingRuns. MLflow is down all the time.
"""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

import aiohttp
from canary_cluster import DEPLOYED, WEIGHTS, Accounts, CanaryCluster, Node
from canary_dataplane import PATIENCE, CanaryDataPlane
from canary_history import History
from canary_tap import Tap, Trap
from kstatus import Status

from cluster.apiserver import ControlPlane
from perennial.api.messages.policy import Policy
from perennial.api.model_deployment import ModelDeploymentStatus
from perennial.plan.kinds import MODEL_DEPLOYMENT
from perennial.terms.words import Verdict

T = TypeVar("T")


class CanaryStage:
    """The cluster, the data plane, and whoever operates them at the moment. Made by `canary_stage`."""

    def __init__(
        self, cluster: CanaryCluster, data: CanaryDataPlane, tap: Tap, node: Node, start: Callable[..., Any]
    ) -> None:
        self.cluster = cluster
        self.data = data
        self.tap = tap
        self.node = node
        self.history = History()
        self.background: list[asyncio.Task[None]] = []
        self.operator: Any = None
        """The one that the test means: None while nobody operates."""
        self._start = start
        self._known_follow_ups = 0

    # The operator

    async def operate(self) -> None:
        """Start an operator and wait until it leads."""
        operator = self._start(PERENNIAL_COLLECTOR_URL=self.tap.url)
        self.rely_on(operator)
        await self.until("the operator leads", lambda: operator.lines("leading"))

    async def stand_by(self, **settings: str) -> Any:
        """Start another operator, and wait until it knows all that it needs to lead."""
        operator = self._start(PERENNIAL_COLLECTOR_URL=self.tap.url, **settings)
        await self.until("the other operator's cache is filled", lambda: operator.lines("the cache is filled"))
        return operator

    def rely_on(self, operator: Any) -> None:
        """Take a process for the one that operates, or is about to."""
        self.operator = operator
        self._known_follow_ups = self.tap.follow_ups

    def kill(self) -> None:
        """Kill the operator, at once. Its lease is taken away, lest every successor waits for its end.

        That a successor would have waited is shown where there are two operators.
        """
        self.operator.stop(signal.SIGKILL)
        self.operator = None
        self.cluster.take_lease_away()

    def stop(self) -> None:
        """Ask the operator to end; it gives its lease back."""
        assert self.operator.stop() == 0
        self.operator = None

    def kill_when_told(self, wanted: Callable[[Policy], bool], *, delivered: bool) -> "Killing":
        """Kill the operator when it tells the collector a certain policy: before that hears of it, or right after."""
        trap = Trap(wanted=wanted, spring=self.kill, delivered=delivered)
        self.tap.set_trap(trap)
        return Killing(self, trap.sprung)

    def kill_when_recorded(self, wanted: Callable[[ModelDeploymentStatus], bool]) -> "Killing":
        """Kill the operator the moment that a watch shows a certain status."""
        sprung = asyncio.Event()

        def look(status: ModelDeploymentStatus) -> None:
            if not sprung.is_set() and wanted(status):
                self.kill()
                sprung.set()

        self.history.on_change = look
        return Killing(self, sprung)

    async def quiet(self) -> None:
        """Wait until the operator has heard from the collector and, with that, has nothing left to do."""
        await self.until("the operator follows the collector", lambda: self.tap.follow_ups > self._known_follow_ups)
        last, same = -1.0, 0
        deadline = monotonic() + PATIENCE
        while same < 10:
            done = await self._figure("controller_runtime_reconcile_total{")
            waiting = await self._figure("workqueue_depth{")
            last, same = (done, 0) if done != last or waiting else (last, same + 1)
            assert monotonic() < deadline, "the operator finds no rest"
            await asyncio.sleep(0.05)

    async def noticed(self, change: Callable[[], Any]) -> None:
        """Make a change of TrainingRuns, which nothing else moves, and wait until the operator is done with it.

        What changes nothing for a planner brings no look; the label after it does, and reports come in order.
        """
        looks = 'controller_runtime_reconcile_total{controller="TrainingRun"'
        before = await self._figure(looks)
        change()
        self.cluster.label_run("1")
        deadline = monotonic() + PATIENCE
        while await self._figure(looks) == before:
            assert monotonic() < deadline, "the operator does not look at the change"
            await asyncio.sleep(0.05)
        await self.quiet()

    async def _figure(self, name: str) -> float:
        """Return the sum of the operator's metrics whose series begin like this."""
        status, text = await asyncio.to_thread(self.operator.ask, "metrics", "/metrics")
        assert status == 200, text
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))

    # The story

    async def serve_first_version(self) -> None:
        """Operate, with version 1 in slot a answering everything."""
        self.cluster.offer("1")
        self.cluster.apply(DEPLOYED)
        await self.operate()
        await self.until("version 1 answers", lambda: self.history.now.stable and self.history.now.stable.since)
        await self.until("who waits goes on", lambda: self.history.changes[-1].seen_as is Status.CURRENT)
        await self.data.until_weight(0)

    async def try_second_version(self) -> None:
        """Operate on until version 2 in slot b has the first step's share of the requests; nobody has asked it yet."""
        self.cluster.offer("2")
        await self.until_step(1)
        await self.data.until_weight(WEIGHTS[0])

    async def begin_evidence(self) -> None:
        """Let version 2 answer some requests, too few to decide, and wait until that is recorded."""
        await self.data.begin_evidence()
        await self.until("the evidence is shown", lambda: self.verdict is Verdict.UNDECIDED)

    # What is recorded

    @property
    def step(self) -> int | None:
        """The step that was recorded last; None while nothing is on trial."""
        canary = self.history.now.canary
        return canary.step if canary is not None else None

    @property
    def verdict(self) -> Verdict | None:
        """The verdict on the candidate that was recorded last."""
        canary = self.history.now.canary
        return canary.slos[0].verdict if canary is not None and canary.slos else None

    def recorded_step(self) -> int | None:
        """Return the step by a read of its own, which must be what the watch has shown."""
        canary = self.cluster.status().canary
        assert canary == self.history.now.canary
        return canary.step if canary is not None else None

    def condition(self, kind: str) -> tuple[str, str]:
        """Return status and reason of a condition, as it was recorded last."""
        found = next((each for each in self.history.now.conditions if each.type == kind), None)
        return (found.status, found.reason) if found is not None else ("", "")

    async def until_step(self, step: int) -> None:
        await self.until(f"step {step} is recorded", lambda: self.step == step)

    async def until(self, what: str, look: Callable[[], T | None], *, seconds: float = PATIENCE) -> T:
        """Return the first thing `look` returns that is something. An operator that ends by itself ends the test."""
        deadline = monotonic() + seconds
        while not (found := look()):
            for task in self.background:
                if task.done():
                    task.result()
            if self.operator is not None and self.operator.popen.poll() is not None:
                raise AssertionError(f"the operator ended before {what}:\n{self.operator.text()}")
            if monotonic() >= deadline:
                raise AssertionError(f"waited {seconds:g} s until {what}; {self._situation()}")
            await asyncio.sleep(0.02)
        return found

    def _situation(self) -> str:
        log = self.operator.text()[-4000:] if self.operator is not None else "nobody operates"
        return f"status: {self.history.now.model_dump_json(exclude_none=True)}; the operator's log:\n{log}"


@dataclass(frozen=True, slots=True)
class Killing:
    """A death that will come."""

    stage: CanaryStage
    sprung: asyncio.Event

    async def done(self, what: str) -> None:
        """Wait until the operator is dead."""
        await self.stage.until(what, self.sprung.is_set)
        self.stage.history.on_change = lambda _: None


@asynccontextmanager
async def canary_stage(
    control_plane: ControlPlane,
    namespace: str,
    start: Callable[..., Any],
    directory: Path,
    session: aiohttp.ClientSession,
    server: str,
    home: str | None = None,
) -> AsyncIterator[CanaryStage]:
    """Set everything up but the operator, and take everything down again.

    Args:
        control_plane: the API server.
        namespace: where everything is.
        start: starts an operator; whoever gave it ends what it has started.
        directory: for files and logs.
        session: with the administrator's rights at the API server.
        server: the API server's URL.
        home: the operator's own namespace, if it is not this one.
    """
    cluster = CanaryCluster(control_plane, namespace)
    async with AsyncExitStack() as stack:
        plain = await stack.enter_async_context(aiohttp.ClientSession())
        accounts = Accounts(control_plane.api, namespace, directory, home or namespace)
        data = await stack.enter_async_context(CanaryDataPlane(plain, directory, accounts).running())
        tap = await stack.enter_async_context(Tap(data.collector.url, cluster.status, plain).running())
        made = CanaryStage(cluster, data, tap, Node(control_plane.api, namespace, accounts.trust), start)
        version = await made.until("ModelDeployments are served", cluster.version)
        watch = f"{server}{MODEL_DEPLOYMENT.resource.path(namespace)}?watch=true&resourceVersion={version}"
        for forever in (made.history.follow(session, watch), made.node.run()):
            made.background.append(asyncio.create_task(forever))
            stack.push_async_callback(_cancelled, made.background[-1])
        yield made


async def _cancelled(task: asyncio.Task[None]) -> None:
    """End a task that never ends by itself; what it died of before is raised here."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
