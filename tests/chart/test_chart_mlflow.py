"""The chart's MLflow: a real server, started with the arguments that are rendered, asked as the kubelet asks."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from rendering import run_helm

from cluster import tools


@pytest.fixture(scope="module")
def rendered(chart: Path) -> dict[str, Any]:
    images = str(chart / "ci" / "images.yaml")
    done = run_helm(tools.helm(), "template", "perennial", str(chart), "-n", "perennial-system", "-f", images)
    deployments = [one for one in yaml.safe_load_all(done.stdout) if one and one["kind"] == "Deployment"]
    (mlflow,) = [one for one in deployments if one["metadata"]["name"] == "perennial-mlflow"]
    return dict(mlflow["spec"]["template"]["spec"]["containers"][0])


def ask(port: int, path: str, host: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path, headers={"Host": host})
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.fixture(scope="module")
def port(rendered: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    data = tmp_path_factory.mktemp("data")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = int(probe.getsockname()[1])
    replace = {"--host=0.0.0.0": "--host=127.0.0.1", "--port=5000": f"--port={free}"}
    arguments = [replace.get(one, one).replace("/data/", f"{data}/") for one in rendered["args"]]
    environment = {**os.environ, **{item["name"]: item["value"] for item in rendered["env"]}, "HOME": str(data)}
    with (data / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, *rendered["command"][1:], *arguments],
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd=data,
        )
    try:
        deadline = time.monotonic() + 120
        while True:
            assert server.poll() is None, (data / "log").read_text()[-2000:]
            assert time.monotonic() < deadline, (data / "log").read_text()[-2000:]
            try:
                if ask(free, rendered["startupProbe"]["httpGet"]["path"], "anything") == 200:
                    break
            except OSError:
                time.sleep(0.1)
        yield free
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def test_it_is_ready_by_the_name_that_pods_use(rendered: dict[str, Any], port: int) -> None:
    probe = rendered["readinessProbe"]["httpGet"]
    (header,) = probe["httpHeaders"]
    assert header == {"name": "Host", "value": "perennial-mlflow.perennial-system.svc.cluster.local:5000"}
    assert ask(port, probe["path"], header["value"]) == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("perennial-mlflow:5000", 200),
        ("perennial-mlflow.perennial-system:5000", 200),
        ("perennial-mlflow.perennial-system.svc:5000", 200),
        ("localhost:5000", 200),
        ("127.0.0.1:34567", 200),
        ("perennial-mlflow.perennial-system.svc.cluster.local", 403),
        ("evil.example:5000", 403),
    ],
)
def test_it_answers_to_its_own_names_alone(rendered: dict[str, Any], port: int, host: str, status: int) -> None:
    assert ask(port, rendered["readinessProbe"]["httpGet"]["path"], host) == status


def test_the_health_page_proves_nothing_about_names(port: int) -> None:
    """Why readiness asks the API: this page is green for everybody."""
    assert ask(port, "/health", "evil.example:5000") == 200
