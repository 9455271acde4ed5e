"""One API server for the session, with Perennial's CRDs, and what the plugin wants to know of the operator."""

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
sys.path += [str(REPOSITORY / "tests" / part) for part in ("unit/facts", "dataplane")]

import aiohttp  # noqa: E402
import pytest  # noqa: E402
import pytest_asyncio  # noqa: E402
from operator_faults.plugin import *  # noqa: E402, F403
from operator_faults.run import Subject  # noqa: E402
from operator_faults.upstream import upstream  # noqa: E402
from perennial_subject import PRELOADED, SUBJECT, Registry, install  # noqa: E402
from real_mlflow import MLflowServer  # noqa: E402

from cluster.apiserver import ControlPlane  # noqa: E402


@pytest.fixture(scope="session")
def faults_kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One API server for the session, with the controllers of Jobs, Deployments and garbage, but no node."""
    with ControlPlane(tmp_path_factory.mktemp("control-plane"), controller_manager=True) as running:
        yield running.kubeconfig


@pytest.fixture(scope="session")
def faults_subject() -> Subject:
    return SUBJECT


@pytest.fixture
def faults_preloaded() -> tuple[str, ...]:
    return PRELOADED


@pytest.fixture(scope="session")
def mlflow_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real MLflow server."""
    server = MLflowServer(tmp_path_factory.mktemp("mlflow"))
    try:
        server.start()
        yield server.url
    finally:
        server.stop()


@pytest_asyncio.fixture
async def registry(mlflow_url: str, faults_kubeconfig: Path) -> AsyncIterator[Registry]:
    """MLflow; the CRDs are installed, too."""
    unshared = aiohttp.TCPConnector(force_close=True)  # a server may close what is kept
    async with aiohttp.ClientSession(connector=unshared) as session, upstream(faults_kubeconfig) as api:
        await install(api)
        yield Registry(mlflow_url, session)
