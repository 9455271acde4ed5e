"""The worker as a process, and a real MLflow server on loopback."""

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "facts"))  # the tests of `facts` own the server

from real_mlflow import MLflowServer
from worker_process import Worker, run_worker


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    return partial(run_worker, tmp_path / "termination-log")


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MLflowServer]:
    server = MLflowServer(tmp_path_factory.mktemp("mlflow"))
    try:
        server.start()
        yield server
    finally:
        server.stop()
