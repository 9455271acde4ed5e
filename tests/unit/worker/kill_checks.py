"""Runs checks that are killed before their n-th change of a file, for n = 0, 1, … until one gets through.

After each, every version on the volume is verified. Prints the list of whether each was killed. A program of its own,
because it forks.
"""

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pyarrow.compute
import pyarrow.parquet

from perennial.worker.check import check, requested
from perennial.worker.snapshots import Snapshots

CHANGES = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "os.truncate"}


def main(source: Path, snapshots: Path, spec: str) -> None:
    pyarrow.compute.min_max([1])  # Arrow sets itself up on first use, which takes half a second
    killed: list[bool] = []
    while not killed or killed[-1]:
        shutil.rmtree(snapshots, ignore_errors=True)
        killed.append(_checked(source, snapshots, spec, changes=len(killed)))
        _checked(source, snapshots, spec, changes=len(killed) // 2)  # and again, on what the first one left
    sys.stdout.write(json.dumps(killed))


def _checked(source: Path, snapshots: Path, spec: str, *, changes: int) -> bool:
    """Run a check that may change files so many times; verify what it leaves; return whether it was killed."""
    child = os.fork()
    if child == 0:
        _die_after(changes, snapshots)
        check(source, snapshots, requested(spec))
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status not in (0, -signal.SIGKILL):
        sys.exit(f"a check ended with {status}")
    _verify(Snapshots(snapshots))
    return status != 0


def _die_after(changes: int, below: Path) -> None:
    left = changes

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        opened = event == "open" and isinstance(arguments[2], int) and bool(arguments[2] & (os.O_WRONLY | os.O_RDWR))
        if (event in CHANGES or opened) and str(below) in str(arguments[0]):
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

    sys.addaudithook(hook)


def _verify(snapshots: Snapshots) -> None:
    for found in snapshots.root.glob("manifests/*"):
        for entry in snapshots.manifest(f"sha256:{found.name}").entries:
            with snapshots.verified(entry):
                pass


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
