"""A tap on the line between the operator and a collector: it passes everything on and notes what was told when."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

from perennial.api.messages.policy import Policy
from perennial.api.model_deployment import ModelDeploymentStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A policy that arrived, and what was recorded in status by then.

    The operator waits for the collector's answer before it goes on with the object, and the tap asks the API server
    before it passes the policy on: so this is what was recorded before the policy was told, not after.
    """

    policy: Policy
    recorded: ModelDeploymentStatus

    def check(self) -> None:
        """Check that no more was told than was recorded."""
        stable, canary, told = self.recorded.stable, self.recorded.canary, self.policy.canary
        assert stable is not None
        assert self.policy.stable == stable.slot
        assert self.policy.arms[stable.slot].model_version == stable.model_version
        if told is None:
            assert canary is None or canary.step == 0, "the candidate's traffic was taken away, and nobody knows why"
            return
        assert canary is not None, f"a candidate got {told.weight} thousandths without a record"
        assert (told.id, told.slot, told.step) == (canary.id, canary.slot, canary.step)
        assert told.weight == canary.weight.desired * 10
        assert (told.started_time, told.step_started_time) == (canary.started_time, canary.step_started_time)


@dataclass(slots=True, kw_only=True)
class Trap:
    """What happens when a certain policy is told: before the collector hears of it, or after it has taken it."""

    wanted: Callable[[Policy], bool]
    spring: Callable[[], None]
    delivered: bool
    sprung: asyncio.Event = field(default_factory=asyncio.Event)


class Tap:
    """Passes requests on to a collector; a collector that is down is down for who asks here, too."""

    def __init__(
        self, collector: str, recorded: Callable[[], ModelDeploymentStatus], session: aiohttp.ClientSession
    ) -> None:
        self.told: list[Told] = []
        self.follow_ups = 0
        """How often somebody who knew a state asked for the next."""
        self.refused = 0
        """How often the collector did not answer."""
        self.proofs: set[str] = set()
        """What the operator has shown here."""
        self.url = ""
        self._collector = collector
        self._recorded = recorded
        self._session = session
        self._trap: Trap | None = None

    def set_trap(self, trap: Trap) -> None:
        self._trap = trap

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Tap"]:
        app = web.Application()
        app.add_routes([web.put("/v1/policy", self._put), web.get("/v1/state", self._get)])
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5, handler_cancellation=True)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            host, port = runner.addresses[0][:2]
            self.url = f"http://{host}:{port}"
            yield self
        finally:
            await runner.cleanup()

    async def _put(self, request: web.Request) -> web.Response:
        policy = Policy.model_validate_json(await request.read())
        self.told.append(Told(policy=policy, recorded=self._recorded()))
        trap = self._trap if self._trap is not None and self._trap.wanted(policy) else None
        if trap is not None and not trap.delivered:
            return self._sprung(request, trap)
        answer = await self._pass_on(request)
        return answer if trap is None else self._sprung(request, trap)

    async def _get(self, request: web.Request) -> web.Response:
        if "after" in request.query:
            self.follow_ups += 1
        return await self._pass_on(request)

    def _sprung(self, request: web.Request, trap: Trap) -> web.Response:
        self._trap = None
        trap.spring()
        trap.sprung.set()
        return _hung_up(request)

    async def _pass_on(self, request: web.Request) -> web.Response:
        url, limit = f"{self._collector}{request.path_qs}", aiohttp.ClientTimeout(total=90)
        body, headers = await request.read(), {"Authorization": request.headers.get("Authorization", "")}
        self.proofs.add(headers["Authorization"])
        try:
            async with self._session.request(request.method, url, data=body, headers=headers, timeout=limit) as answer:
                return web.Response(
                    body=await answer.read(), status=answer.status, content_type=answer.content_type, charset="utf-8"
                )
        except aiohttp.ClientError:
            self.refused += 1
            return _hung_up(request)


def _hung_up(request: web.Request) -> web.Response:
    """Cut the line without an answer. The response that is returned reaches nobody."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=502)
