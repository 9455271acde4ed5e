"""A real kube-apiserver and etcd with Perennial's CRDs, a namespace a test, and the operator as a real process."""

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import yaml
from kubernetes.aio import config
from kubernetes.aio.client import Configuration
from operator_process import Process, Start
from waiting import until
from widgets import DEFINITION, WIDGET

from cluster.apiserver import ControlPlane
from perennial.manifests.resources import SERVICE_ACCOUNT, Resource
from perennial.runtime.client import Client
from perennial.runtime.connection import Connection

REPOSITORY = Path(__file__).parents[2]
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """One for the session, with the controllers of Jobs, Deployments and garbage, but no node."""
    with ControlPlane(tmp_path_factory.mktemp("control-plane"), controller_manager=True) as running:
        for path in sorted((REPOSITORY / "crds").glob("*.yaml")):
            install(running, yaml.safe_load(path.read_text()))
        yield running


def install(control_plane: ControlPlane, definition: dict[str, Any]) -> None:
    """Install a CRD and wait until it is served."""
    name = definition["metadata"]["name"]
    control_plane.api.call("POST", _DEFINITIONS, definition)

    def established() -> bool:
        conditions = control_plane.api.get(f"{_DEFINITIONS}/{name}").get("status", {}).get("conditions") or []
        return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)

    until(f"{name} is served", established)


@pytest.fixture(scope="session")
def widgets(control_plane: ControlPlane) -> Resource:
    """The kind that only tests know is installed."""
    install(control_plane, DEFINITION)
    return WIDGET


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    """A namespace of the test's own; it is deleted with all that is in it, which nobody waits for."""
    name = f"test-{next(_numbers)}-{os.getpid()}"
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    control_plane.api.call("POST", "/api/v1/namespaces", manifest)
    yield name
    control_plane.api.call("DELETE", f"/api/v1/namespaces/{name}")


@pytest_asyncio.fixture
async def connection(control_plane: ControlPlane) -> Connection:
    """The administrator's way to the API, as the operator would find it."""
    configuration = Configuration()
    loader = await config.load_kube_config(
        config_file=str(control_plane.kubeconfig), client_configuration=configuration, persist_config=False
    )
    return Connection(configuration, loader)


@pytest_asyncio.fixture
async def session(connection: Connection) -> AsyncIterator[aiohttp.ClientSession]:
    async with connection.session() as session:
        yield session


@pytest_asyncio.fixture
async def client(connection: Connection, session: aiohttp.ClientSession) -> Client:
    """The operator's own client, with the administrator's rights."""
    return Client(session, connection.server)


@pytest.fixture
def start_operator(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Start]:
    """Start operators that watch the test's namespace; keyword arguments are further variables of the environment.

    Its lease is in the test's namespace, too. Nothing is left running, also where the test fails.
    """
    started: list[Process] = []
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "perennial"}}
    control_plane.api.call("POST", SERVICE_ACCOUNT.path(namespace), account)

    def start(module: str = "perennial.app", *, kubeconfig: Path = control_plane.kubeconfig, **more: str) -> Process:
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("PERENNIAL_", "KUBE"))
        } | {
            "KUBECONFIG": str(kubeconfig),
            "PYTHONPATH": os.pathsep.join(part for part in sys.path if part),
            "PERENNIAL_NAMESPACE": namespace,
            "PERENNIAL_NAMESPACES": namespace,
            "PERENNIAL_IMAGE_OPERATOR": "perennial.dev/operator:test",
            "PERENNIAL_IMAGE_SERVER": "perennial.dev/server:test",
            "PERENNIAL_IMAGE_ROUTER": "perennial.dev/router:test",
            "PERENNIAL_MLFLOW_URL": "http://127.0.0.1:9",
            "PERENNIAL_BIND": "127.0.0.1",
            "PERENNIAL_HEALTH_PORT": "0",
            "PERENNIAL_METRICS_PORT": "0",
            **more,
        }
        log = tmp_path / f"operator-{len(started)}.log"
        with log.open("wb") as output:
            popen = subprocess.Popen(
                [sys.executable, "-m", module], env=environment, stdout=output, stderr=subprocess.STDOUT, cwd=tmp_path
            )
        process = Process(popen, log)
        started.append(process)
        return process

    yield start
    for process in started:
        process.stop(signal.SIGKILL)
