"""The operator under the bench: a real process that is held to one core."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from operator_process import Process

_TICKS = os.sysconf("SC_CLK_TCK")


@contextmanager
def operator(
    kubeconfig: Path, log: Path, *, core: Sequence[int], mlflow: str, namespace: str = "perennial-system", **more: str
) -> Iterator[Process]:
    """Run an operator; keyword arguments are further variables of its environment. It is killed at the end."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PERENNIAL_", "KUBE"))}
    environment = kept | {
        "KUBECONFIG": str(kubeconfig),
        "PYTHONPATH": os.pathsep.join(part for part in sys.path if part),
        "PERENNIAL_NAMESPACE": namespace,
        "PERENNIAL_IMAGE_OPERATOR": "perennial.dev/operator:bench",
        "PERENNIAL_IMAGE_SERVER": "perennial.dev/server:bench",
        "PERENNIAL_IMAGE_ROUTER": "perennial.dev/router:bench",
        "PERENNIAL_MLFLOW_URL": mlflow,
        "PERENNIAL_BIND": "127.0.0.1",
        "PERENNIAL_HEALTH_PORT": "0",
        "PERENNIAL_METRICS_PORT": "0",
        **more,
    }
    log.parent.mkdir(parents=True, exist_ok=True)
    command = ["taskset", "-c", ",".join(map(str, core)), sys.executable, "-m", "perennial.app"]
    with log.open("wb") as output:
        popen = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT, cwd=log.parent)
    process = Process(popen, log)
    try:
        yield process
    finally:
        process.stop(signal.SIGKILL)


def rss_mib(process: Process) -> float:
    """Return how much memory a process has, as the kernel counts it."""
    for line in Path(f"/proc/{process.popen.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("the operator is gone")


def cpu_seconds(process: Process) -> float:
    """Return the processor time that a process has used since its start."""
    fields = Path(f"/proc/{process.popen.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
