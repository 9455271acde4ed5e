"""The data plane on the loopback interface: real Envoys, a real collector, small model servers that may fail."""

import asyncio
import ctypes
import json
import os
import random
import signal
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar
from urllib.parse import urlencode

import aiohttp
from accounts import Accounts
from aiohttp import web

from perennial.api.messages.policy import Arm, Canary, Monitoring, Policy, SloPolicy
from perennial.api.messages.state import State
from perennial.families.slos import Requests
from perennial.plan.model_deployment.router import Addresses, bootstrap, token_secret
from perennial.terms.words import Slot

T = TypeVar("T")
PATIENCE = 60.0


async def eventually(look: Callable[[], Awaitable[T]], what: str, patience: float = PATIENCE) -> T:
    """Look until what is seen is true, and return it."""
    deadline = monotonic() + patience
    while not (found := await look()):
        assert monotonic() < deadline, f"did not happen within {patience:g} s: {what}"
        await asyncio.sleep(0.01)
    return found


_given: set[int] = set()


def free_port() -> int:
    """Return a port that nobody listens on, below those that the system gives to outgoing connections.

    No port twice: Envoys share one without a word, and each gets some of the other's requests.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            _given.add(port)
            return port


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


@dataclass
class Model:
    """A model server: fails a share of the requests, takes its time, and echoes what it was asked with.

    To a share of them, `hanging`, it does not answer at all. `first_failure` is when the first answer that failed was
    given, by the monotonic clock.
    """

    failing: float = 0.0
    failure: int = 500
    hanging: float = 0.0
    seconds: float = 0.0
    port: int = field(default_factory=free_port)
    served: int = 0
    last_start: float = 0.0
    first_failure: float | None = None
    _chance: random.Random = field(default_factory=lambda: random.Random(1))

    async def answer(self, request: web.Request) -> web.Response:
        self.served += 1
        self.last_start = monotonic()
        if self._chance.random() < self.hanging:
            await asyncio.Event().wait()
        if self.seconds:
            await asyncio.sleep(self.seconds)
        status = self.failure if self._chance.random() < self.failing else 200
        if status != 200 and self.first_failure is None:
            self.first_failure = monotonic()
        return web.json_response(dict(request.headers), status=status)

    def behave(self) -> None:
        """Answer everything, and at once, from now on."""
        self.failing, self.failure, self.hanging, self.seconds, self.first_failure = 0.0, 500, 0.0, 0.0, None

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Model"]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.answer)
        runner = web.AppRunner(app, access_log=None, keepalive_timeout=75, shutdown_timeout=0.5)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", self.port).start()
            yield self
        finally:
            await runner.cleanup()


class Program:
    """A child process that is started, killed, and started again."""

    def __init__(self, arguments: list[str], log: Path, environment: dict[str, str] | None = None) -> None:
        self._arguments = arguments
        self._log = log
        self._environment = {**os.environ, **(environment or {})}
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self._arguments, stdout=log, stderr=log, env=self._environment, preexec_fn=_die_with_parent
            )

    async def stop(self, how: signal.Signals = signal.SIGTERM, patience: float = PATIENCE) -> int:
        """Send a signal, wait for the end, return the exit code."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(how)
        async with asyncio.timeout(patience):
            return await self.process.wait()

    def log(self) -> str:
        return self._log.read_text(errors="replace")


class Router:
    """An Envoy with our bootstrap."""

    def __init__(self, name: str, directory: Path, models: dict[Slot, Model], collector: "CollectorProcess") -> None:
        self.traffic, self.statistics, self.admin = free_port(), free_port(), free_port()
        self.token = directory / f"{name}-token" / "token"
        self.token.parent.mkdir()
        self._secret = directory / f"{name}-token.json"
        self._secret.write_text(json.dumps(token_secret(str(self.token))))
        addresses = Addresses(
            slots={slot: ("127.0.0.1", model.port) for slot, model in models.items()},
            collector=("127.0.0.1", collector.port),
            traffic=("127.0.0.1", self.traffic),
            statistics=("127.0.0.1", self.statistics),
            admin=("127.0.0.1", self.admin),
            token_secret=str(self._secret),
            token_folder=str(self.token.parent),
        )
        file = directory / f"{name}.json"
        file.write_text(json.dumps(bootstrap("model", "default", "a", addresses=addresses)))
        binary = str(files("envoy") / "_bin" / "envoy")
        options = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning", "--service-node", name]
        self.program = Program([binary, "-c", str(file), *options], directory / f"{name}.log")
        self.url = f"http://127.0.0.1:{self.traffic}"
        self._collector = collector
        self._session = collector.session

    async def start(self) -> None:
        """Start and wait until it listens."""
        accounts = self._collector.accounts
        self.token.write_text(accounts.token(accounts.neighbour))
        await self.program.start()
        await eventually(self._serves, "the router serves")

    async def stop(self) -> None:
        await self.program.stop()

    async def _serves(self) -> bool:
        try:
            async with self._session.get(f"http://127.0.0.1:{self.statistics}/ready") as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False


class Wall:
    """A way to a port that can be closed: who comes then is turned away, the program behind it goes on."""

    def __init__(self, port: int) -> None:
        self.port = free_port()
        self.open = True
        self._behind = port

    @asynccontextmanager
    async def standing(self) -> AsyncIterator["Wall"]:
        server = await asyncio.start_server(self._pass, "127.0.0.1", self.port)
        try:
            yield self
        finally:
            server.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.open:
            writer.close()
            return
        try:
            inner, outer = await asyncio.open_connection("127.0.0.1", self._behind)
        except OSError:
            writer.close()
            return

        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with suppress(OSError):
                while self.open and (data := await source.read(65536)):
                    sink.write(data)
                    await sink.drain()
            sink.close()

        await asyncio.gather(copy(reader, outer), copy(inner, writer))


class CollectorProcess:
    """`python -m perennial.collector` and a client of it."""

    def __init__(self, directory: Path, session: aiohttp.ClientSession, accounts: Any = None) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.accounts = Accounts(directory) if accounts is None else accounts
        self.database = directory / "collector.sqlite"
        self._directory = directory
        self.session = session
        self.program: Program | None = None

    async def start(self, *routers: "Router | Wall") -> None:
        ports = [router.statistics if isinstance(router, Router) else router.port for router in routers]
        names = [f"127.0.0.1:{port}" for port in ports or [free_port()]]
        arguments = ["--database", str(self.database), "--host", "127.0.0.1", "--port", str(self.port)]
        arguments += ["--trust", str(self.accounts.trust)]
        for name in names:
            arguments += ["--routers", name]
        command = [sys.executable, "-m", "perennial.collector", *arguments]
        source = str(Path(__file__).parents[2] / "operator")
        self.program = Program(command, self._directory / "collector.log", {"PYTHONPATH": source})
        await self.program.start()
        await eventually(self.ready, "the collector is ready")

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        assert self.program is not None
        return await self.program.stop(how)

    async def ready(self) -> bool:
        try:
            async with self.session.get(f"{self.url}/readyz") as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False

    async def put(self, policy: Policy) -> State:
        """Tell a policy, as the operator."""
        status, answer = await self.ask("PUT", "/v1/policy", policy.model_dump(mode="json"))
        assert status == 200, answer
        return State.model_validate(answer)

    async def state(self, **query: str) -> State:
        """Return the state, as the operator is told it."""
        status, answer = await self.ask("GET", f"/v1/state?{urlencode(query)}")
        assert status == 200, answer
        return State.model_validate(answer)

    async def post(self, path: str, data: Any) -> tuple[int, dict[str, Any]]:
        """Post as somebody of the same namespace."""
        return await self.ask("POST", path, data, user=self.accounts.neighbour)

    async def ask(
        self, method: str, path: str, data: Any = None, *, user: str | None = None, token: str | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Ask as the operator, as another user, or with a certain token."""
        body = None if data is None else BytesIO(json.dumps(data).encode())
        shown = token if token is not None else self.accounts.token(user or self.accounts.operator)
        headers = {"Authorization": f"Bearer {shown}"} if shown else {}
        async with self.session.request(method, f"{self.url}{path}", data=body, headers=headers) as response:
            return response.status, await response.json()

    async def figures(self) -> dict[str, float]:
        """Return the collector's own numbers, such as `requests_total{slot="a"}`."""
        async with self.session.get(f"{self.url}/metrics") as response:
            lines = (await response.text()).splitlines()
        pairs = (line.removeprefix("perennial_collector_").rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    async def until(self, seen: Callable[[State], bool], what: str, patience: float = PATIENCE) -> State:
        """Return the first state in which something is seen."""

        async def look() -> State | None:
            state = await self.state()
            return state if seen(state) else None

        found = await eventually(look, what, patience)
        assert found is not None
        return found


@dataclass
class Traffic:
    """Requests at a steady pace, and what became of them, by (slot, status)."""

    session: aiohttp.ClientSession
    url: str
    pace: float = 200.0
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    lost: int = 0
    _waits: bool = True

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Traffic"]:
        """Send requests in the background; leave when all that were sent are answered, or `hurry`."""
        going = asyncio.Event()
        self._waits = True
        task = asyncio.create_task(self._send(going))
        try:
            yield self
        finally:
            going.set()
            await task

    def hurry(self) -> None:
        """Let those who still wait for an answer when the traffic ends go away without one."""
        self._waits = False

    async def send(self, number: int) -> None:
        """Send a number of requests, at most 20 at a time."""
        gate = asyncio.Semaphore(20)

        async def one() -> None:
            async with gate:
                await self.one()

        await asyncio.gather(*(one() for _ in range(number)))

    async def one(self) -> None:
        try:
            async with self.session.get(self.url) as response:
                await response.read()
                self.answers[response.headers.get("x-perennial-version-slot", ""), response.status] += 1
        except aiohttp.ClientError:
            self.lost += 1

    def total(self, slot: str | None = None) -> int:
        return sum(n for (s, _), n in self.answers.items() if slot in {None, s})

    def bad(self, slot: str) -> int:
        return sum(n for (s, status), n in self.answers.items() if s == slot and status >= 500)

    async def leave(self, after: float) -> None:
        """Send a request, and go away before it is answered."""
        reader, writer = await asyncio.open_connection("127.0.0.1", int(self.url.rsplit(":", 1)[1]))
        writer.write(b"GET / HTTP/1.1\r\nHost: model\r\n\r\n")
        with suppress(TimeoutError):
            async with asyncio.timeout(after):
                await reader.read(1)
            raise AssertionError("it was answered, or cut off, before the client left")
        writer.close()
        await writer.wait_closed()

    async def _send(self, end: asyncio.Event) -> None:
        sent: set[asyncio.Task[None]] = set()
        while not end.is_set():
            task = asyncio.create_task(self.one())
            sent.add(task)
            task.add_done_callback(sent.discard)
            await asyncio.sleep(1 / self.pace)
        for task in () if self._waits else sent:
            task.cancel()
        await asyncio.gather(*sent, return_exceptions=not self._waits)


ARMS = {"a": Arm(version="v-old", model_version="1"), "b": Arm(version="v-new", model_version="2")}


def canary(name: str = "trial-1", weight: int = 200, step: int = 0) -> Canary:
    now = datetime.now(UTC)
    return Canary(id=name, slot="b", step=step, weight=weight, started_time=now, step_started_time=now)


def policy(
    trial: Canary | None = None,
    *slos: SloPolicy,
    monitoring: Monitoring | None = None,
    revision: str = "p1",
) -> Policy:
    """Return a policy with slot a stable; by default one SLO on errors."""
    promised = slos or (SloPolicy(name="errors", requests=Requests(max="0.05", max_ratio="1.25")),)
    return Policy(revision=revision, stable="a", arms=ARMS, canary=trial, slos=promised, monitoring=monitoring)
