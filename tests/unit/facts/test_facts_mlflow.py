"""The MLflow client against a real MLflow server."""

import asyncio
import json
import socket
import uuid
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.test_utils import TestServer
from real_mlflow import MLflowServer, free_port

from perennial.facts import MLflow, Refused, Unavailable
from perennial.facts.breaker import CircuitBreaker
from perennial.plan.actions import EnsureRun, FinishRun, RegisterVersion, SetAlias

pytestmark = pytest.mark.asyncio


@pytest.fixture
def mlflow(mlflow_server: MLflowServer, session: aiohttp.ClientSession) -> MLflow:
    return MLflow(mlflow_server.url, session, timeout_seconds=30)


def an_ensure_run(uid: str | None = None, experiment: str = "team/flights") -> EnsureRun:
    return EnsureRun(
        experiment=experiment, uid=uid or str(uuid.uuid4()), run_name="first", tags={"perennial.dev/name": "first"}
    )


async def rest(server: MLflowServer, method: str, path: str, **kwargs: Any) -> Any:
    async with (
        aiohttp.ClientSession() as raw,
        raw.request(method, f"{server.url}/api/2.0/mlflow/{path}", **kwargs) as answer,
    ):
        return await answer.json()


async def test_ensure_experiment_is_created_once(mlflow: MLflow) -> None:
    name = f"experiment {uuid.uuid4()}"
    first = await mlflow.ensure_experiment(name)
    assert await mlflow.ensure_experiment(name) == first


async def test_ensure_experiment_may_be_asked_by_many_at_once(mlflow: MLflow) -> None:
    name = f"experiment {uuid.uuid4()}"
    ids = await asyncio.gather(*(mlflow.ensure_experiment(name) for _ in range(8)))
    assert len(set(ids)) == 1


async def test_a_deleted_experiment_is_refused_with_what_to_do(mlflow: MLflow, mlflow_server: MLflowServer) -> None:
    name = f"experiment {uuid.uuid4()}"
    experiment = await mlflow.ensure_experiment(name)
    await rest(mlflow_server, "POST", "experiments/delete", json={"experiment_id": experiment})
    with pytest.raises(Refused, match="restore it"):
        await mlflow.ensure_experiment(name)


async def test_ensure_run_twice_and_at_once_is_one_run(mlflow: MLflow, mlflow_server: MLflowServer) -> None:
    call = an_ensure_run()
    outcomes = await asyncio.gather(*(mlflow.ensure_run(call) for _ in range(6)))
    outcomes.append(await mlflow.ensure_run(call))
    assert len({outcome["runId"] for outcome in outcomes}) == 1
    run = (await rest(mlflow_server, "GET", "runs/get", params={"run_id": outcomes[0]["runId"]}))["run"]
    tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
    assert tags["perennial.dev/uid"] == call.uid
    assert tags["perennial.dev/name"] == "first"
    assert run["info"]["status"] == "RUNNING"
    assert run["info"]["experiment_id"] == outcomes[0]["experimentId"]


async def test_runs_of_different_uids_are_different(mlflow: MLflow) -> None:
    first, second = await mlflow.ensure_run(an_ensure_run()), await mlflow.ensure_run(an_ensure_run())
    assert first["runId"] != second["runId"]
    assert first["experimentId"] == second["experimentId"]


async def test_of_two_runs_with_one_uid_everybody_picks_the_older(mlflow: MLflow, mlflow_server: MLflowServer) -> None:
    call = an_ensure_run()
    mine = await mlflow.ensure_run(call)
    body = {
        "experiment_id": mine["experimentId"],
        "start_time": 1,
        "tags": [{"key": "perennial.dev/uid", "value": call.uid}],
    }
    older = (await rest(mlflow_server, "POST", "runs/create", json=body))["run"]["info"]["run_id"]
    assert (await mlflow.ensure_run(call))["runId"] == older


async def test_finish_run_ends_it_once_and_overrules_the_script(mlflow: MLflow, mlflow_server: MLflowServer) -> None:
    run_id = (await mlflow.ensure_run(an_ensure_run()))["runId"]
    await rest(mlflow_server, "POST", "runs/update", json={"run_id": run_id, "status": "FINISHED", "end_time": 4711})
    for _ in range(2):
        await mlflow.finish_run(FinishRun(run_id=run_id, status="FAILED"))
        info = (await rest(mlflow_server, "GET", "runs/get", params={"run_id": run_id}))["run"]["info"]
        assert (info["status"], info["end_time"]) == ("FAILED", 4711)


async def test_finish_run_gives_a_running_run_an_end(mlflow: MLflow, mlflow_server: MLflowServer) -> None:
    run_id = (await mlflow.ensure_run(an_ensure_run()))["runId"]
    await mlflow.finish_run(FinishRun(run_id=run_id, status="FINISHED"))
    info = (await rest(mlflow_server, "GET", "runs/get", params={"run_id": run_id}))["run"]["info"]
    assert info["status"] == "FINISHED"
    assert info["end_time"] >= info["start_time"]


async def test_finish_run_of_a_run_that_is_gone_is_done(mlflow: MLflow) -> None:
    assert await mlflow.finish_run(FinishRun(run_id="0" * 32, status="KILLED")) == {}


def a_registration(model: str, run_id: str) -> RegisterVersion:
    return RegisterVersion(
        model=model, run_id=run_id, source=f"runs:/{run_id}/model", tags={"perennial.dev/digest": "sha256:ab"}
    )


async def test_register_version_never_makes_two_for_a_run(mlflow: MLflow, mlflow_server: MLflowServer) -> None:
    model = f"Flight delays {uuid.uuid4()}"
    run_id = (await mlflow.ensure_run(an_ensure_run()))["runId"]
    outcomes = await asyncio.gather(*(mlflow.register_version(a_registration(model, run_id)) for _ in range(6)))
    assert [outcome["version"] for outcome in outcomes] == ["1"] * 6
    other = (await mlflow.ensure_run(an_ensure_run()))["runId"]
    assert await mlflow.register_version(a_registration(model, other)) == {"version": "2"}
    assert await mlflow.register_version(a_registration(model, run_id)) == {"version": "1"}
    found = await rest(mlflow_server, "GET", "model-versions/search", params={"filter": f"name='{model}'"})
    assert len(found["model_versions"]) == 2


async def test_a_logged_model_is_registered_by_its_id(mlflow: MLflow, mlflow_server: MLflowServer) -> None:
    run = await mlflow.ensure_run(an_ensure_run())
    body = {"experiment_id": run["experimentId"], "name": "model", "source_run_id": run["runId"]}
    logged = (await rest(mlflow_server, "POST", "logged-models", json=body))["model"]["info"]["model_id"]
    model = f"m{uuid.uuid4()}"
    call = RegisterVersion(model=model, run_id=run["runId"], source=f"models:/{logged}", tags={})
    assert await mlflow.register_version(call) == {"version": "1"}
    record = await mlflow.get_model_version(model, "1")
    assert record is not None
    assert (record.source, record.run_id, record.digest) == (f"models:/{logged}", run["runId"], None)


async def test_aliases_and_digests_are_read_back(mlflow: MLflow) -> None:
    model = f"m{uuid.uuid4()}"
    run_id = (await mlflow.ensure_run(an_ensure_run()))["runId"]
    await mlflow.register_version(a_registration(model, run_id))
    for _ in range(2):
        await mlflow.set_alias(SetAlias(model=model, alias="champion", version="1"))
    registration = await mlflow.get_registered_model(model)
    assert registration is not None
    assert registration.aliases == {"champion": "1"}
    record = await mlflow.get_model_version(model, "1")
    assert record is not None
    assert (record.version, record.run_id, record.digest) == ("1", run_id, "sha256:ab")


async def test_what_does_not_exist_is_none(mlflow: MLflow) -> None:
    assert await mlflow.get_registered_model("no such model") is None
    assert await mlflow.get_model_version("no such model", "1") is None
    assert await mlflow.get_model_version("no such model", "latest") is None


async def test_an_alias_for_a_version_that_is_not_there_is_refused(mlflow: MLflow) -> None:
    with pytest.raises(Refused, match="not found"):
        await mlflow.set_alias(SetAlias(model="no such model", alias="champion", version="9"))


class LoopbackResolver(AbstractResolver):
    """Every name is this machine's, as a Service's name is in a cluster."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [ResolveResult(hostname=host, host="127.0.0.1", port=port, family=family, proto=0, flags=0)]

    async def close(self) -> None:
        pass


async def test_a_host_that_is_not_allowed_says_what_to_set(mlflow_server: MLflowServer) -> None:
    host = f"mlflow.team-a.svc:{mlflow_server.port}"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=LoopbackResolver())) as session:
        with pytest.raises(Refused, match=f"--allowed-hosts={host}") as refused:
            await MLflow(f"http://user:hush@{host}", session).get_registered_model("m")
    assert "hush" not in str(refused.value)


async def test_a_url_that_is_no_mlflow_is_not_taken_for_a_missing_model(
    mlflow_server: MLflowServer, session: aiohttp.ClientSession
) -> None:
    with pytest.raises(Refused, match="no MLflow server"):
        await MLflow(f"{mlflow_server.url}/elsewhere", session).get_registered_model("m")


async def test_a_server_that_is_down_is_unavailable_and_then_spared(session: aiohttp.ClientSession) -> None:
    now = 0.0
    breaker = CircuitBreaker(now=lambda: now)
    mlflow = MLflow(f"http://127.0.0.1:{free_port()}", session, breaker=breaker)
    messages = set()
    for attempt in range(5):
        with pytest.raises(Unavailable, match="connection refused") as unavailable:
            await mlflow.get_registered_model("m")
        messages.add(str(unavailable.value))
        assert (unavailable.value.retry_after > 0) == (attempt >= 3)
    assert len(messages) == 1, "one outage has one message: it stands in a status"
    assert unavailable.value.service == "MLflow"


@pytest.fixture
async def sick_server() -> AsyncIterator[TestServer]:
    """Something that speaks HTTP but is not well."""
    asked = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        match request.query.get("name"):
            case "slow":
                async with asyncio.timeout(60):
                    await asked.wait()
            case "html":
                return web.Response(text="<html>Sign in</html>", content_type="text/html")
            case "redirect":
                raise web.HTTPFound("/login")
            case "locked":
                return web.json_response({"error_code": "INTERNAL_ERROR", "message": "database is locked"}, status=500)
            case "hang up":
                assert request.transport is not None
                request.transport.close()
        return web.Response(text=json.dumps({}))

    app = web.Application()
    app.router.add_get("/api/2.0/mlflow/registered-models/get", answer)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server()
    yield server
    asked.set()
    await server.close()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("slow", "did not answer within 0.2 s"),
        ("html", "not JSON"),
        ("locked", "database is locked"),
        ("hang up", "closed the connection"),
    ],
)
async def test_a_server_that_is_not_well_is_unavailable(
    sick_server: TestServer, session: aiohttp.ClientSession, name: str, message: str
) -> None:
    mlflow = MLflow(str(sick_server.make_url("/")), session, timeout_seconds=0.2 if name == "slow" else 30)
    with pytest.raises(Unavailable, match=message):
        await mlflow.get_registered_model(name)


async def test_a_redirect_to_a_login_page_is_refused(sick_server: TestServer, session: aiohttp.ClientSession) -> None:
    with pytest.raises(Refused, match="302"):
        await MLflow(str(sick_server.make_url("/")), session).get_registered_model("redirect")
