"""A local cluster as a user sees it: by the command line and by kubectl."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cluster.paths import REPOSITORY
from cluster.tools import kubectl

SECONDS = 120.0


def eventually(condition: Callable[[], bool], what: str, seconds: float = SECONDS) -> None:
    """Poll until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.1)


@dataclass(frozen=True)
class Cluster:
    name: str
    environment: Mapping[str, str]

    def call(self, verb: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "cluster", verb, "--name", self.name, *arguments]
        return subprocess.run(
            command, cwd=REPOSITORY, env=self.environment, capture_output=True, text=True, timeout=600, check=False
        )

    def must(self, verb: str, *arguments: str) -> str:
        done = self.call(verb, *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    @property
    def kubeconfig(self) -> str:
        return self.must("kubeconfig")

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        command = [str(kubectl()), f"--kubeconfig={self.kubeconfig}", *arguments]
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def create(self, *items: Mapping[str, Any]) -> None:
        everything = {"apiVersion": "v1", "kind": "List", "items": items}
        self.kubectl("create", "-f", "-", text=json.dumps(everything))

    def first_process(self) -> int:
        status = self.must("status")
        assert "first process" in status, status
        return int(status.split("first process ")[1].split(")")[0])
