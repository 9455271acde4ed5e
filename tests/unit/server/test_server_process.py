"""The server as a process: ready when warm, answers with ids, reports in the background, drains."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from logged_models import Logged

# MLflow warns of its own insides, already when it is imported.
pytestmark = pytest.mark.filterwarnings("ignore")

ID = "x-perennial-prediction-id"


class CollectorStandIn:
    """Takes reports down; the real one is met in tests/dataplane."""

    def __init__(self) -> None:
        self.reports: list[dict[str, Any]] = []
        self.status = 200

    async def take(self, request: web.Request) -> web.Response:
        report = await request.json()
        if self.status == 200:
            self.reports.append(report)
        return web.json_response({}, status=self.status)

    def predictions(self) -> dict[str, float]:
        return {p["id"]: p["score"] for report in self.reports for p in report["predictions"]}


@pytest.fixture
async def collector() -> AsyncIterator[tuple[CollectorStandIn, str]]:
    stand_in = CollectorStandIn()
    app = web.Application()
    app.router.add_post("/v1/predictions", stand_in.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    yield stand_in, f"http://127.0.0.1:{port}"
    await runner.cleanup()


class Server:
    def __init__(self, url: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.url = url
        self.process = process
        self.log = log

    async def stop(self) -> int:
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            return await self.process.wait()


@asynccontextmanager
async def serving(directory: Path, tmp_path: Path, **environment: str) -> AsyncIterator[Server]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    source = str(Path(__file__).parents[3] / "operator")
    settings = {
        "MODEL_DIR": str(directory),
        "MODEL_NAME": "flights",
        "MODEL_VERSION": "3",
        "PERENNIAL_VERSION": "v-1",
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "PERENNIAL_DRAIN_SECONDS": "0",
        "PYTHONPATH": source,
    }
    log = tmp_path / "server.log"
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "perennial.server",
            env={**os.environ, **settings, **environment},
            stdout=out,
            stderr=out,
        )
    server = Server(f"http://127.0.0.1:{port}", process, log)
    try:
        yield server
    finally:
        await server.stop()


async def eventually(look: Callable[[], Any], what: str, patience: float = 90) -> Any:
    deadline = monotonic() + patience
    while True:
        found = look()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        assert monotonic() < deadline, f"did not happen within {patience:g} s: {what}"
        await asyncio.sleep(0.05)


async def status_of(url: str) -> int:
    try:
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return response.status
    except aiohttp.ClientError:
        return 0


async def is_ready(server: Server) -> bool:
    assert server.process.returncode is None, server.log.read_text()
    return await status_of(f"{server.url}/v2/health/ready") == 200


def one_row(logged: Logged, row: int = 0) -> dict[str, Any]:
    return {"dataframe_split": json.loads(logged.frame.iloc[[row]].to_json(orient="split"))}


async def test_it_predicts_reports_and_drains(
    booster: Logged, tmp_path: Path, collector: tuple[CollectorStandIn, str]
) -> None:
    taken, address = collector
    taken.status = 503  # away at first: nothing may be lost
    async with (
        serving(booster.directory, tmp_path, PERENNIAL_COLLECTOR=address, PERENNIAL_WARMUP="5") as server,
        aiohttp.ClientSession() as session,
    ):
        seen: set[int] = set()

        async def ready() -> bool:
            seen.add(await status_of(f"{server.url}/v2/health/ready"))
            return await is_ready(server)

        await eventually(ready, "the server is ready")
        assert seen <= {0, 200, 503}

        async with session.post(f"{server.url}/invocations", json=one_row(booster), headers={ID: "p-1"}) as response:
            assert (response.status, response.headers[ID]) == (200, "p-1")
            assert await response.json() == {"predictions": [pytest.approx(booster.scores[0])]}
        batch = {"dataframe_split": json.loads(booster.frame.head(3).to_json(orient="split"))}
        async with session.post(f"{server.url}/invocations", json=batch) as response:
            made = response.headers[ID]
        tensors = [
            {"name": name, "shape": [1], "datatype": "FP64", "data": [float(booster.frame[name][5])]}
            for name in booster.frame.columns
        ]
        infer = f"{server.url}/v2/models/flights/infer"
        async with session.post(infer, json={"id": "oip-1", "inputs": tensors}) as response:
            body = await response.json()
            assert (body["id"], body["model_version"]) == ("oip-1", "3")
            assert body["outputs"][0]["data"] == [pytest.approx(booster.scores[5])]
        async with session.post(f"{server.url}/v2/models/other/infer", json={"inputs": tensors}) as response:
            assert response.status == 404
        async with session.post(f"{server.url}/invocations", json={"inputs": {"hour": [7]}}) as response:
            assert response.status == 400
            assert await response.json() == {"error": "column 'distance': must be given (double)"}
        async with session.post(
            f"{server.url}/invocations", json=one_row(booster), headers={ID: "x" * 201}
        ) as response:
            assert response.status == 400
        async with session.get(f"{server.url}/metrics") as response:
            text = await response.text()
            assert 'perennial_server_requests_total{status="200"} 3.0' in text
            assert 'perennial_server_requests_total{status="400"} 2.0' in text
        assert taken.reports == []
        taken.status = 200
        expected = {"p-1": 0, f"{made}:0": 0, f"{made}:1": 1, f"{made}:2": 2, "oip-1": 5}
        assert await server.stop() == 0
        assert taken.predictions() == {name: pytest.approx(booster.scores[row]) for name, row in expected.items()}
        assert (taken.reports[0]["version"], taken.reports[0]["modelVersion"]) == ("v-1", "3")


async def test_a_request_in_flight_is_finished_before_the_end(tmp_path: Path) -> None:
    directory = tmp_path / "slow"
    source = (
        "import time\nfrom mlflow.models import set_model\nfrom mlflow.pyfunc import PythonModel\n\n"
        "class Slow(PythonModel):\n    def predict(self, context, model_input, params=None):\n"
        f"        open({str(tmp_path / 'asked')!r}, 'w').close()\n"
        "        time.sleep(2)\n        return [0.5] * len(model_input)\n\nset_model(Slow())\n"
    )
    code = tmp_path / "slow_model.py"
    code.write_text(source)
    import mlflow.pyfunc

    mlflow.pyfunc.save_model(str(directory), python_model=str(code), pip_requirements=[])
    async with serving(directory, tmp_path) as server, aiohttp.ClientSession() as session:
        await eventually(lambda: is_ready(server), "the server is ready")
        request = asyncio.create_task(session.post(f"{server.url}/invocations", json={"inputs": {"x": [1]}}))
        await eventually((tmp_path / "asked").exists, "the model is asked")
        assert not request.done()
        assert await server.stop() == 0
        async with await request as response:
            assert await response.json() == {"predictions": [0.5]}


async def test_a_model_that_cannot_be_loaded_ends_the_server_with_a_sentence(tmp_path: Path) -> None:
    async with serving(tmp_path, tmp_path) as server:
        async with asyncio.timeout(60):
            assert await server.process.wait() == 1
        line = json.loads(server.log.read_text().strip().splitlines()[-1])
        assert line["message"] == f"{tmp_path} must have an MLflow model in it, but there is no file MLmodel"
        assert "exception" not in line


async def test_a_missing_setting_ends_the_server_with_a_sentence(tmp_path: Path) -> None:
    async with serving(tmp_path, tmp_path, MODEL_NAME="") as server:
        async with asyncio.timeout(60):
            assert await server.process.wait() == 1
        assert "MODEL_NAME must be set" in server.log.read_text()
