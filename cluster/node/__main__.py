"""The node's first process: prepares the namespaces, starts the programs, and starts again those that end.

When it ends, however it ends, the kernel ends every process of its namespace, and with them the mounts and the network.
"""

import argparse
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from cluster.errors import ClusterError
from cluster.node import programs
from cluster.node.isolation import isolate
from cluster.node.settings import NodeSettings
from cluster.paths import ClusterPaths
from cluster.process import Program, wait_until
from cluster.rest import Api

_READY_SECONDS = 120.0
_RESTART_SECONDS = 1.0


def main() -> None:
    """Run the node until it is told to stop."""
    signal.signal(signal.SIGTERM, _end)
    arguments = _arguments()
    settings = NodeSettings.create(
        ClusterPaths.of(arguments.name),
        binaries=arguments.binaries,
        cni=arguments.cni,
        pause=arguments.pause,
        snapshotter=arguments.snapshotter,
    )
    isolate(settings)
    running: list[Program] = []
    try:
        _start(settings, arguments.socket, running)
        _supervise(running)
    finally:
        # containerd's store outlives the cluster: let it close its database before the kernel ends the rest.
        for program in running:
            if program.name in {"containerd", "etcd"}:
                program.stop(seconds=3)


def _start(settings: NodeSettings, descriptor: int, running: list[Program]) -> None:
    _launch(programs.etcd(settings), running)
    _launch(programs.containerd(settings), running)
    _launch(programs.apiserver(settings), running)
    _launch(_own(settings, "forward", str(descriptor)), running, descriptor)
    api = Api(settings.control_plane.url, settings.credentials.authority.certificate, settings.credentials.admin)

    def ready() -> bool:
        for program in running:
            if program.ended():
                raise ClusterError(program.failure())
        return api.ready()

    wait_until(ready, seconds=_READY_SECONDS, otherwise=lambda: "The API server did not get ready in two minutes.")
    for program in (programs.controller_manager, programs.scheduler, programs.kubelet, programs.proxy):
        _launch(program(settings), running)
    _launch(_own(settings, "volumes", str(settings.paths.root / "pki"), str(settings.volumes)), running)


def _own(settings: NodeSettings, module: str, *arguments: str) -> Program:
    command = [sys.executable, "-m", f"cluster.node.{module}", *arguments]
    return Program(module, command, settings.paths.logs / f"{module}.log")


def _launch(program: Program, running: list[Program], *descriptors: int) -> None:
    program.descriptors = descriptors
    program.start()
    running.append(program)


def _supervise(running: list[Program]) -> None:
    """Wait for processes to end, for ever. Ours start again; orphans of pods' processes are just reaped."""
    while True:
        ended, status = os.waitpid(-1, 0)
        for program in running:
            if program.pid == ended:
                code = os.waitstatus_to_exitcode(status)
                sys.stderr.write(f"{program.name} ended with {code}; starting it again\n")
                sys.stderr.flush()
                time.sleep(_RESTART_SECONDS)
                program.start()


def _end(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", required=True)
    parser.add_argument("--binaries", type=Path, required=True)
    parser.add_argument("--cni", type=Path, required=True)
    parser.add_argument("--pause", required=True)
    parser.add_argument("--snapshotter", required=True)
    parser.add_argument("--socket", type=int, required=True, help="the descriptor of the host's listening socket")
    return parser.parse_args()


if __name__ == "__main__":
    main()
