"""The host's side of a node: starts its first process in new namespaces, finds it again, ends it with all its own.

Nothing is remembered in files: a cluster runs if its cgroup holds the first process of a process namespace.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cluster import cgroups
from cluster.errors import ClusterError
from cluster.node.settings import NodeSettings, cgroup
from cluster.paths import REPOSITORY, ClusterPaths
from cluster.process import last_lines

_NAMESPACES = ("--mount", "--net", "--pid", "--uts", "--ipc")
# It enters the cgroups before it is anything else, so that it can be found and ended from its first instant.
_JOIN = (
    'count=$0; while [ "$count" -gt 0 ]; do echo 0 > "$1/cgroup.procs"; shift; count=$((count - 1)); done; exec "$@"'
)
_POLITE_SECONDS = 8.0
_KILL_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Supervisor:
    """The first process of a cluster's namespaces, as seen from the host."""

    paths: ClusterPaths

    @property
    def log(self) -> Path:
        """What the first process wrote."""
        return self.paths.logs / "node.log"

    def process(self) -> int | None:
        """Return the id of the first process, or nothing when the cluster does not run."""
        for candidate in cgroups.processes(f"{cgroup(self.paths.name)}/system"):
            if _is_first_of_namespace(candidate):
                return candidate
        return None

    def url(self) -> str:
        """Return the API server's address on the host."""
        return f"https://127.0.0.1:{self._port_file.read_text().strip()}"

    def start(self, settings: NodeSettings) -> None:
        """Start the first process. What an earlier one left behind must have been cleared."""
        groups = cgroups.create(cgroup(self.paths.name))
        listening = self._listen()
        node = ["-m", "cluster.node", f"--name={self.paths.name}", f"--binaries={settings.binaries}"]
        node += [f"--cni={settings.cni}", f"--pause={settings.pause}", f"--snapshotter={settings.snapshotter}"]
        joined = ["sh", "-c", _JOIN, str(len(groups)), *map(str, groups)]
        isolated = ["unshare", *_NAMESPACES, "--fork", "--kill-child", "--mount-proc", "--propagation", "private"]
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with listening, self.log.open("ab") as log:
            subprocess.Popen(
                [*joined, *isolated, sys.executable, *node, f"--socket={listening.fileno()}"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd="/",
                env=os.environ | {"PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"},
                pass_fds=[listening.fileno()],
                start_new_session=True,
            )

    def stop(self) -> None:
        """End everything: politely first, by force after some seconds. Then remove the cgroups."""
        name = cgroup(self.paths.name)
        first = self.process()
        if first is not None:
            _signal(first, signal.SIGTERM)
            deadline = time.monotonic() + _POLITE_SECONDS
            while _alive(first) and time.monotonic() < deadline:
                time.sleep(0.02)
        deadline = time.monotonic() + _KILL_SECONDS
        while remaining := cgroups.processes(name):
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"The processes {sorted(remaining)} of cluster {self.paths.name} must end when killed."
                )
            for process in remaining:
                _signal(process, signal.SIGKILL)
            time.sleep(0.02)
        cgroups.remove(name)

    def wait(self, condition: Callable[[], bool], what: str, seconds: float) -> None:
        """Wait for a condition while the node lives.

        Args:
            condition: Returns whether it came true.
            what: What is waited for, for the message.
            seconds: How long.

        Raises:
            ClusterError: The node ended, or the time is up.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            if self.process() is None:
                raise ClusterError(f"The node ended while it started; the end of {self.log}:\n{self._tail()}")
            if time.monotonic() > deadline:
                raise ClusterError(f"Waited {seconds:.0f} s for {what} in vain; the logs are in {self.paths.logs}.")
            time.sleep(0.05)

    @property
    def _port_file(self) -> Path:
        return self.paths.root / "port"

    def _listen(self) -> socket.socket:
        """Return a listening socket on the loopback interface: on the port of last time if it is free."""
        last = int(self._port_file.read_text()) if self._port_file.exists() else 0
        try:
            listening = socket.create_server(("127.0.0.1", last), backlog=128)
        except OSError:
            listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._port_file.parent.mkdir(parents=True, exist_ok=True)
        self._port_file.write_text(f"{listening.getsockname()[1]}\n")
        return listening

    def _tail(self) -> str:
        return last_lines(self.log.read_text(errors="replace")) if self.log.exists() else ""


def _is_first_of_namespace(process: int) -> bool:
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    numbers = fields.get("NSpid", "").split()
    return len(numbers) > 1 and numbers[-1] == "1" and not fields["State"].strip().startswith("Z")


def _alive(process: int) -> bool:
    return _is_first_of_namespace(process)


def _signal(process: int, number: signal.Signals) -> None:
    try:
        os.kill(process, number)
    except ProcessLookupError:
        return
