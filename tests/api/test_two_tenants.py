"""Two namespaces with equal names of everything, one operator: what happens in one does not reach the other."""

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from canary_cluster import DEPLOYED, NAME, WEIGHTS, token
from canary_stage import CanaryStage, canary_stage
from loopback import policy

from cluster.apiserver import ControlPlane
from perennial.plan.model_deployment.trust import audience, user
from perennial.runtime.connection import Connection

pytestmark = pytest.mark.api

_numbers = itertools.count(1)


@pytest.fixture
def other_namespace(control_plane: ControlPlane) -> Iterator[str]:
    name = f"other-{next(_numbers)}"
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    control_plane.api.call("POST", "/api/v1/namespaces", manifest)
    yield name
    control_plane.api.call("DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture
async def tenants(
    control_plane: ControlPlane,
    namespace: str,
    other_namespace: str,
    start_operator: Callable[..., Any],
    tmp_path: Path,
    connection: Connection,
    session: aiohttp.ClientSession,
) -> AsyncIterator[tuple[CanaryStage, CanaryStage]]:
    """Two stages of the same names, and one operator of both, at home in the first one's namespace."""
    async with AsyncExitStack() as stack:
        stages = {}
        for where in (namespace, other_namespace):
            directory = tmp_path / where
            directory.mkdir()
            made = canary_stage(
                control_plane, where, start_operator, directory, session, connection.server, home=namespace
            )
            stages[where] = await stack.enter_async_context(made)
        plain = await stack.enter_async_context(aiohttp.ClientSession())
        url = await stack.enter_async_context(Switch({where: made.tap.url for where, made in stages.items()}, plain))
        operator = start_operator(
            PERENNIAL_NAMESPACES=",".join(stages), PERENNIAL_COLLECTOR_URL=f"{url}/{{namespace}}/{{name}}"
        )
        one, other = stages.values()
        for stage in (one, other):
            stage.rely_on(operator)
        yield one, other


class Switch:
    """Stands for the cluster's DNS: `/<namespace>/<name>/…` leads to that namespace's tap."""

    def __init__(self, taps: dict[str, str], session: aiohttp.ClientSession) -> None:
        self._taps = taps
        self._session = session
        app = web.Application()
        app.router.add_route("*", "/{namespace}/{name}/{path:.*}", self._pass_on)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5, handler_cancellation=True)

    async def __aenter__(self) -> str:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}"

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _pass_on(self, request: web.Request) -> web.Response:
        asked = request.match_info
        assert asked["name"] == NAME
        url = f"{self._taps[asked['namespace']]}/{asked['path']}?{request.query_string}"
        headers = {"Authorization": request.headers["Authorization"]}
        limit = aiohttp.ClientTimeout(total=90)
        async with self._session.request(
            request.method, url, data=await request.read(), headers=headers, timeout=limit
        ) as answer:
            return web.Response(body=await answer.read(), status=answer.status, content_type=answer.content_type)


async def test_equal_names_do_not_meet(tenants: tuple[CanaryStage, CanaryStage]) -> None:
    one, other = tenants
    for stage in (one, other):
        stage.cluster.offer("1")
        stage.cluster.apply(DEPLOYED)
    for stage in (one, other):
        await stage.until(
            "version 1 answers", lambda stage=stage: stage.history.now.stable and stage.history.now.stable.since
        )
        await stage.data.until_weight(0)
        await stage.quiet()
    before, written = other.history.now, other.cluster.writes()

    one.cluster.offer("2")
    await one.until_step(1)
    await one.data.until_weight(WEIGHTS[0])
    await one.begin_evidence()

    assert other.history.now.canary is None
    assert (other.history.now.stable, other.history.now.canaries) == (before.stable, before.canaries)
    assert other.cluster.writes() == written, "what happens next door is written nowhere here"
    await other.data.until_weight(0)
    assert other.data.answered("b") == other.data.models["b"].served == 0
    assert {told.policy.canary for told in other.tap.told} == {None}
    await check_nobody_reaches_across(one, other)


async def check_nobody_reaches_across(one: CanaryStage, other: CanaryStage) -> None:
    """Whatever the first tenant holds: the other's collector takes none of it, and what it knows stays as it is."""
    collector = other.data.collector
    before = await collector.state()
    now = before.time.isoformat()
    calls = [
        ("PUT", "/v1/policy", policy().model_dump(mode="json")),
        ("GET", "/v1/state", None),
        ("POST", "/v1/labels", {"labels": [{"id": "x", "label": 1}]}),
        (
            "POST",
            "/v1/predictions",
            {"version": "v", "modelVersion": "1", "predictions": [{"id": "x", "time": now, "score": 1}]},
        ),
        ("POST", "/v3/discovery:runtime", {"node": {"id": "router-1"}, "version_info": "1"}),
    ]
    mine, theirs = (user(stage.cluster.namespace, "somebody") for stage in (one, other))
    good_at_home = token(one.cluster.api, mine, audience(one.cluster.namespace, NAME))
    made_for_there = token(one.cluster.api, mine, audience(other.cluster.namespace, NAME))
    (seen_of_the_operator,) = (proof.removeprefix("Bearer ") for proof in one.tap.proofs)
    for method, path, body in calls:
        for shown, status in (("", 401), (good_at_home, 401), (seen_of_the_operator, 401), (made_for_there, 403)):
            answered, said = await collector.ask(method, path, body, token=shown)
            assert (answered, set(said)) == (status, {"error"}), (method, path, said)
    after = await collector.state()
    assert (after.labels, after.predictions) == (before.labels, before.predictions)
    assert (after.policy_revision, after.weights.desired) == (before.policy_revision, before.weights.desired)
    status, became = await collector.ask("POST", "/v1/labels", calls[2][2], user=theirs)
    assert (status, became["unmatched"]) == (200, 1), "so that the refusals above mean something"
