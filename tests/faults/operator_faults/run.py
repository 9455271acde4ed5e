"""One run: a namespace, an operator behind a proxy that is started anew whenever it ends, and what came of it."""

import asyncio
import contextlib
import itertools
import json
import re
import shutil
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import yaml

from operator_faults.nursery import KUBECONFIG, Child, Nursery
from operator_faults.proxy import FaultProxy
from operator_faults.upstream import ApiError, Upstream

T = TypeVar("T")
State = dict[str, Any]

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")
_FLEETING = ("uid", "resourceVersion", "creationTimestamp", "managedFields", "generation", "selfLink")


async def _nothing(_: "Run") -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The operator under test.

    Attributes:
        module: what `python -m` would start; `arguments` follow, with `{namespace}` in them.
            It finds the API server by `KUBECONFIG`.
        environment: further variables of a process (`who` is its name in the log).
        collections: the paths of what makes the end state, with `{namespace}` in them.
        normalise: takes out of an object what legitimately differs from run to run; None leaves the object out.
            Times, UIDs, the namespace's name and versions of objects are taken out already.
        named: takes out of a path what differs from run to run, for example hashes in names (of Events).
        killed: called after a process was killed (to free what a crash leaves locked, where that is not the point).
        complaint: what a log says that must never be said, or None.
        counts: which requests count as writes, by method and path.
    """

    module: str
    arguments: tuple[str, ...] = ()
    environment: Callable[["Run", str], Mapping[str, str]]
    collections: tuple[str, ...]
    normalise: Callable[[dict[str, Any]], dict[str, Any] | None] = lambda found: found
    named: Callable[[str], str] = lambda path: path
    killed: Callable[["Run"], Awaitable[None]] = _nothing
    complaint: Callable[[str], str | None] = lambda log: "a traceback" if "Traceback" in log else None
    counts: Callable[[str, str], bool] = lambda _, path: "/leases" not in path


class Scenario(Protocol):
    """A short story of one object: what its user does and what its pods would do.

    It may have an attribute `clocked`: paths (as `Subject.named` gives them) of what the operator makes by the clock,
    and the seconds between two of them. A run that takes longer has more of these; it may not have them sooner.
    """

    kind: str
    name: str

    def world(self, run: "Run", /) -> AbstractAsyncContextManager[Any]:
        """What is there before the operator starts, and what goes on beside it until the end."""
        ...

    async def play(self, run: "Run", /) -> None:
        """Do what the user does, and wait for what comes of it, up to the story's end."""
        ...

    async def outside(self, run: "Run", /) -> State:
        """Return what came of it outside the cluster; it is part of the end state."""
        ...


@dataclass
class Run:
    """Where a scenario is played. Made by `stage`."""

    subject: Subject
    api: Upstream
    proxy: FaultProxy
    nursery: Nursery
    namespace: str
    directory: Path
    world: Any = None
    operator: Child | None = None
    who: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    """What a variant remembers of its run."""
    ended: list[tuple[str, int]] = field(default_factory=list)
    """Which processes ended, and with which exit code; -9 was killed."""
    expects_exit: bool = False
    """Whether an end that nobody asked for is right (a lost lease), as long as it is not a crash."""
    clocked: Mapping[str, float] = field(default_factory=dict)
    """What the clock makes, again and again (see `Scenario`)."""
    settle: Callable[[], None] | None = None
    """Set as long as the moment to strike has not come: makes do with what came instead, for another run."""

    async def start(self, who: str, **more: str) -> Child:
        """Start one more process of the operator, that nobody starts again."""
        directory = self.directory / who
        directory.mkdir()
        file = directory / KUBECONFIG
        file.write_text(_kubeconfig(self.proxy.address(who), self.namespace))
        environment = {**self.subject.environment(self, who), "KUBECONFIG": str(file), **more}
        child = await self.nursery.start(
            self.subject.module,
            directory=directory,
            environment=environment,
            arguments=[each.format(namespace=self.namespace) for each in self.subject.arguments],
        )
        self.proxy.note(f"{who} started")
        return child

    def kill(self) -> None:
        """Kill the operator, now. It is started again."""
        if self.operator is not None:
            self.proxy.silence(self.who)
            self.operator.send(signal.SIGKILL)
            self.proxy.note(f"{self.who} killed")

    async def keep(self) -> None:
        """Have an operator running, always: one that ended is started again."""
        while True:
            self.who = f"operator-{len(self.ended) + 1}"
            self.operator = await self.start(self.who)
            code = await asyncio.shield(self.operator.exit)
            self.ended.append((self.who, code))
            self.proxy.note(f"{self.who} ended with {code}")
            if code == -signal.SIGKILL:
                await self.subject.killed(self)
            else:
                # A kubelet would not start it again at once, either.
                await asyncio.sleep(min(0.5 * 2 ** len(self.unasked()), 10))

    async def until(self, what: str, look: Callable[[], Awaitable[T | None]], seconds: float = 120) -> T:
        """Return the first thing `look` returns that is something."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                found = await look()
            except ApiError as error:
                if error.status != 404:
                    raise
                found = None
            if found:
                return found
            if time.monotonic() >= deadline:
                raise TimeoutError(f"waited {seconds:g} s until {what}")
            await asyncio.sleep(0.1)

    def named(self, path: str) -> str:
        """Return a path without the run's own names: equal for equal things in other runs."""
        return self.subject.named(path.replace(self.namespace, "(namespace)"))

    async def state(self) -> State:
        """Return the end state, without what differs from run to run."""
        objects: dict[str, dict[str, Any]] = {}
        for template in self.subject.collections:
            path = template.format(namespace=self.namespace)
            try:
                listed = await self.api.get(path)
            except ApiError as error:
                if error.status != 404:
                    raise
                continue
            for item in listed["items"]:
                item["kind"] = listed["kind"].removesuffix("List")
                objects[f"{path.rsplit('/', 1)[-1]}/{item['metadata']['name']}"] = item
        text = json.dumps(objects)
        for where, item in objects.items():
            text = text.replace(item["metadata"]["uid"], f"(uid of {where})")
        text = _TIME.sub("(time)", text.replace(self.namespace, "(namespace)"))
        state: State = {}
        for where, item in json.loads(text).items():
            for name in _FLEETING:
                item["metadata"].pop(name, None)
            kept = self.subject.normalise(item)
            if kept is not None:
                state[self.named(where)] = kept
        return state

    def created(self) -> Counter[str]:
        """Return how often the operator brought each object into being. Events are a story, not objects."""
        return Counter(
            self.named(each.request.path)
            for each in self.proxy.log
            if each.status == 201 and each.request.plural != "events" and self._makes(each.request.path)
        )

    def too_soon(self) -> list[str]:
        """Return what was made by the clock, but sooner after the last one than the clock says."""
        found = []
        for path, seconds in self.clocked.items():
            times = [each.at for each in self.proxy.log if each.status == 201 and self.named(each.request.path) == path]
            found += [
                f"{path} again after {later - earlier:.1f} s instead of {seconds:g} s"
                for earlier, later in itertools.pairwise(times)
                if later - earlier < seconds
            ]
        return found

    def _makes(self, path: str) -> bool:
        return self.subject.counts("POST", path)

    def problems(self) -> list[str]:
        """Return what processes did that they must never do."""
        found = []
        for log in sorted(self.directory.glob("operator-*.log")):
            complaint = self.subject.complaint(log.read_text(errors="replace"))
            if complaint is not None:
                found.append(f"{log.stem} says: {complaint}")
        if not self.expects_exit:
            found += [f"{who} ended by itself with {code}" for who, code in self.unasked()]
        return found

    def unasked(self) -> list[tuple[str, int]]:
        """Return the processes that ended without being killed."""
        return [(who, code) for who, code in self.ended if code != -signal.SIGKILL]


@asynccontextmanager
async def stage(
    subject: Subject, scenario: Scenario, api: Upstream, nursery: Nursery, namespace: str, directory: Path
) -> AsyncIterator[Run]:
    """Make a namespace and everything but the operator; take all but the namespace away again."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)  # noqa: ASYNC240 - nobody waits for it
    await api.call(
        "POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    )
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(FaultProxy(api, counts=subject.counts).running())
        run = Run(subject, api, proxy, nursery, namespace, directory, clocked=getattr(scenario, "clocked", {}))
        run.world = await stack.enter_async_context(scenario.world(run))
        yield run


@asynccontextmanager
async def operated(run: Run) -> AsyncIterator[None]:
    """Keep an operator running; at the end it is killed, whichever it is."""
    keeping = asyncio.create_task(run.keep())
    try:
        yield
    finally:
        keeping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeping
        if run.operator is not None:
            run.operator.send(signal.SIGKILL)
            await run.operator.exit


def differences(wanted: Any, found: Any, where: str = "") -> list[str]:
    """Return where two states differ, a line each."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return [
            line
            for key in sorted(wanted.keys() | found.keys())
            for line in differences(wanted.get(key), found.get(key), f"{where}.{key}" if where else key)
        ]
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        pairs = zip(wanted, found, strict=True)
        return [line for n, (one, other) in enumerate(pairs) for line in differences(one, other, f"{where}[{n}]")]
    return [] if wanted == found else [f"{where}: {_short(wanted)} expected, {_short(found)} found"]


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 300 else f"{text[:300]}…"


def _kubeconfig(server: str, namespace: str) -> str:
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "faults",
            "clusters": [{"name": "faults", "cluster": {"server": server}}],
            "users": [{"name": "faults", "user": {}}],
            "contexts": [
                {"name": "faults", "context": {"cluster": "faults", "user": "faults", "namespace": namespace}}
            ],
        }
    )
