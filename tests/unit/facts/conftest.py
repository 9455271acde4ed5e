"""A real MLflow server on loopback, one for the test session, and a session to talk to it."""

from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
from real_mlflow import MLflowServer

from perennial.facts import client_session


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MLflowServer]:
    server = MLflowServer(tmp_path_factory.mktemp("mlflow"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with client_session() as opened:
        yield opened
