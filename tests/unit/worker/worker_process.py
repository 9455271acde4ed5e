"""The worker as a process, and small Parquet files."""

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from perennial.worker.__main__ import main


@dataclass(frozen=True)
class Ended:
    """A worker's end: its exit code, its termination message, and what it told people."""

    code: int
    message: dict[str, Any]
    told: str


Worker = Callable[..., Ended]


def run_worker(log: Path, *arguments: object, **variables: str) -> Ended:
    """Run `python3 -m perennial.worker ARGUMENTS…` with more environment variables."""
    log.unlink(missing_ok=True)
    environment = os.environ | {"PERENNIAL_TERMINATION_LOG": str(log)} | variables
    command = [sys.executable, "-m", "perennial.worker", *map(str, arguments)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert log.exists(), ended.stderr
    assert len(log.read_bytes()) <= 4096
    assert "Traceback" not in ended.stderr
    return Ended(ended.returncode, json.loads(log.read_text()), ended.stderr)


def call_worker(monkeypatch: pytest.MonkeyPatch, log: Path, *arguments: object, **variables: str) -> Ended:
    """Do what `run_worker` does, in this process: imports that take seconds are done once."""
    log.unlink(missing_ok=True)
    with monkeypatch.context() as patch, contextlib.redirect_stderr(io.StringIO()) as told:
        for name, value in ({"PERENNIAL_TERMINATION_LOG": str(log)} | variables).items():
            patch.setenv(name, value)
        code = main([str(argument) for argument in arguments])
    assert len(log.read_bytes()) <= 4096
    return Ended(code, json.loads(log.read_text()), told.getvalue())


def write_parquet(file: Path, columns: Mapping[str, Any]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), file)
    return file
