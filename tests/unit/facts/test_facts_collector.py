"""Following collectors: a small HTTP server that speaks the contract, on a real socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from eventually import until
from real_mlflow import free_port

from perennial.api.messages.policy import Arm, Policy
from perennial.api.messages.state import State, Weights
from perennial.facts import Collectors, Refused, Unavailable
from perennial.plan.observed import Fact

KEY = ("team", "flights")
POLICY = Policy(revision="p1", stable="a", arms={"a": Arm(version="v1", model_version="1")})


class Proofs:
    """Stands for `facts.Tokens`, which is tested against a real API server: counts what it gives."""

    def __init__(self) -> None:
        self.given = 0
        self.audiences: set[str] = set()

    async def token(self, audience: str) -> str:
        self.audiences.add(audience)
        return f"token-{self.given}"

    def distrust(self, _audience: str) -> None:
        self.given += 1


class FakeCollector:
    """Answers `GET /v1/state` as the contract says, long-polls included, and takes policies."""

    def __init__(self) -> None:
        self.revision = "r1"
        self.changed = asyncio.Condition()
        self.asked: list[dict[str, str]] = []
        self.proofs: list[str] = []
        self.expired: set[str] = set()
        self.policies: list[Policy] = []
        self.policy_revision: str | None = None
        self.hasty = False
        self.broken: str | None = None
        self.extra: dict[str, Any] = {}
        self._server: TestServer | None = None
        self._port = 0

    def state(self) -> dict[str, Any]:
        state = State(
            revision=self.revision,
            policy_revision=self.policy_revision,
            time=datetime.now(UTC),
            weights=Weights(desired={"a": 1000, "b": 0}),
        )
        return {**state.model_dump(mode="json", by_alias=True), **self.extra}

    async def get_state(self, request: web.Request) -> web.Response:
        self.asked.append(dict(request.query))
        self.proofs.append(request.headers.get("Authorization", ""))
        if self.proofs[-1] in self.expired:
            return web.json_response({"error": "Authorization: the token has expired"}, status=401)
        if self.broken is not None:
            return web.Response(status=503, text=self.broken)
        if "after" in request.query and not self.hasty:
            async with self.changed:
                with suppress(TimeoutError):
                    async with asyncio.timeout(float(request.query["wait"])):
                        await self.changed.wait_for(lambda: self.revision != request.query["after"])
        return web.json_response(self.state())

    async def put_policy(self, request: web.Request) -> web.Response:
        policy = Policy.model_validate_json(await request.text())
        if policy.revision == "wrong":
            return web.json_response({"error": "stable must be one of arms"}, status=400)
        self.policies.append(policy)
        self.policy_revision = policy.revision
        await self.set_revision(f"after {policy.revision}")
        return web.json_response(self.state())

    async def set_revision(self, revision: str) -> None:
        async with self.changed:
            self.revision = revision
            self.changed.notify_all()

    async def start(self) -> str:
        app = web.Application()
        app.router.add_get("/v1/state", self.get_state)
        app.router.add_put("/v1/policy", self.put_policy)
        self._server = TestServer(app, host="127.0.0.1", port=self._port)
        await self._server.start_server(shutdown_timeout=0.1)
        self._port = self._server.port or 0
        return str(self._server.make_url("/"))

    async def stop(self) -> None:
        if self._server is not None:
            await self.set_revision("stopping")
            await self._server.close()
            self._server = None


@pytest.fixture
async def fake() -> AsyncIterator[FakeCollector]:
    collector = FakeCollector()
    yield collector
    await collector.stop()


@pytest.fixture
def changes() -> list[tuple[str, str]]:
    return []


@pytest.fixture
async def collectors(session: aiohttp.ClientSession, changes: list[tuple[str, str]]) -> AsyncIterator[Collectors]:
    following = Collectors(
        session, Proofs(), changes.append, wait_seconds=20, first_pause_seconds=0.02, longest_pause_seconds=0.1
    )
    yield following
    await following.close()


def revision(collectors: Collectors) -> str | None:
    value = collectors.get(KEY).value
    return None if value is None else value.revision


async def test_each_revision_is_told_once_without_polling(
    fake: FakeCollector, collectors: Collectors, changes: list[tuple[str, str]]
) -> None:
    url = await fake.start()
    assert collectors.get(KEY) == Fact()
    collectors.watch(KEY, url)
    collectors.watch(KEY, url)
    await until(lambda: revision(collectors) == "r1" and len(fake.asked) == 2)
    assert changes == [KEY]
    await fake.set_revision("r2")
    await until(lambda: revision(collectors) == "r2" and len(fake.asked) == 3)
    assert changes == [KEY, KEY]
    assert fake.asked == [{"wait": "0"}, {"after": "r1", "wait": "20"}, {"after": "r2", "wait": "20"}]


async def test_an_outage_is_a_fact_with_the_last_value_and_is_told_once(
    fake: FakeCollector, collectors: Collectors, changes: list[tuple[str, str]]
) -> None:
    url = await fake.start()
    collectors.watch(KEY, url)
    await until(lambda: revision(collectors) == "r1")
    fake.broken = "database is locked"
    await fake.set_revision("r1, unheard")
    asked = len(fake.asked)
    await until(lambda: len(fake.asked) >= asked + 4 and collectors.get(KEY).error is not None)
    fact = collectors.get(KEY)
    assert fact.value is not None
    assert "database is locked" in (fact.error or "")
    assert changes.count(KEY) <= 3, "at most: the first state, the last one heard, the outage"
    changes.clear()
    fake.broken = None
    await until(lambda: collectors.get(KEY).error is None)
    assert changes == [KEY]
    assert fake.asked[-1] == {"wait": "0"} or fake.asked[-2] == {"wait": "0"}, "after an outage it is asked at once"


async def test_a_collector_that_is_not_there_yet_is_found_when_it_comes(
    fake: FakeCollector, collectors: Collectors, changes: list[tuple[str, str]]
) -> None:
    fake._port = free_port()
    collectors.watch(KEY, f"http://127.0.0.1:{fake._port}")
    await until(lambda: collectors.get(KEY).error is not None)
    assert collectors.get(KEY).value is None
    assert "connection refused" in (collectors.get(KEY).error or "")
    await fake.start()
    await until(lambda: collectors.get(KEY).error is None and revision(collectors) == "r1")
    assert changes == [KEY, KEY]


async def test_a_collector_that_does_not_wait_is_not_asked_in_a_circle(
    fake: FakeCollector, session: aiohttp.ClientSession
) -> None:
    fake.hasty = True
    url = await fake.start()
    patient = Collectors(session, Proofs(), lambda _: None, first_pause_seconds=30.0)
    patient.watch(KEY, url)
    await until(lambda: len(fake.asked) == 2 and patient.get(KEY).value is not None)
    loop_turns = 0
    while loop_turns < 200:
        await asyncio.sleep(0)
        loop_turns += 1
    assert len(fake.asked) == 2
    await patient.close()


async def test_a_state_of_another_shape_is_an_error_that_names_the_field(
    fake: FakeCollector, collectors: Collectors
) -> None:
    fake.extra = {"weights": {"desired": {"c": 12}}}
    collectors.watch(KEY, await fake.start())
    await until(lambda: collectors.get(KEY).error is not None)
    assert "weights.desired" in (collectors.get(KEY).error or "")


async def test_forgetting_ends_the_question_and_drops_the_fact(
    fake: FakeCollector, collectors: Collectors, changes: list[tuple[str, str]]
) -> None:
    collectors.watch(KEY, await fake.start())
    await until(lambda: len(fake.asked) == 2)
    collectors.forget(KEY)
    collectors.forget(KEY)
    assert collectors.get(KEY) == Fact()
    changes.clear()
    await fake.set_revision("r9")
    await until(lambda: len(asyncio.all_tasks()) <= 2)
    assert changes == []
    assert len(fake.asked) == 2


async def test_a_policy_is_put_and_its_answer_is_the_fact(
    fake: FakeCollector, collectors: Collectors, changes: list[tuple[str, str]]
) -> None:
    url = await fake.start()
    collectors.watch(KEY, url)
    await until(lambda: revision(collectors) == "r1")
    changes.clear()
    state = await collectors.put_policy(KEY, url, POLICY)
    assert fake.policies == [POLICY]
    assert state.policy_revision == "p1"
    value = collectors.get(KEY).value
    assert value is not None
    assert (value.revision, value.policy_revision) == ("after p1", "p1"), "without waiting for the next answer"
    assert changes == [KEY]


async def test_a_wrong_policy_is_refused_in_the_collectors_words(fake: FakeCollector, collectors: Collectors) -> None:
    url = await fake.start()
    with pytest.raises(Refused, match="stable must be one of arms"):
        await collectors.put_policy(KEY, url, POLICY.model_copy(update={"revision": "wrong"}))


async def test_a_policy_for_nobody_is_unavailable(collectors: Collectors) -> None:
    with pytest.raises(Unavailable, match="connection refused"):
        await collectors.put_policy(KEY, f"http://127.0.0.1:{free_port()}", POLICY)


async def test_two_hundred_collectors_are_followed_at_once(fake: FakeCollector, collectors: Collectors) -> None:
    """One connection each: no pool limit may starve the rest."""
    url = await fake.start()
    keys = [("team", f"m{number}") for number in range(200)]
    for key in keys:
        collectors.watch(key, url)
    await until(lambda: len(fake.asked) == 400)
    await fake.set_revision("r2")
    await until(lambda: all((value := collectors.get(key).value) and value.revision == "r2" for key in keys))
    assert len(fake.asked) <= 600


async def test_the_operator_proves_itself_and_drops_a_token_that_is_not_taken(
    fake: FakeCollector, session: aiohttp.ClientSession, changes: list[tuple[str, str]]
) -> None:
    proofs = Proofs()
    following = Collectors(session, proofs, changes.append, first_pause_seconds=0.02)
    fake.expired = {"Bearer token-0"}
    following.watch(KEY, await fake.start())
    await until(lambda: revision(following) == "r1")
    assert fake.proofs[:2] == ["Bearer token-0", "Bearer token-1"]
    assert proofs.audiences == {"perennial.dev/team/flights"}
    await following.close()
