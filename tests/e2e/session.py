"""The cluster of the end-to-end tests' session, by the command line of `cluster`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CLUSTER = "perennial-test"
SYSTEM = "perennial-system"


def cluster(*arguments: str) -> str:
    """Run the cluster's command line for the tests' own cluster."""
    done = subprocess.run(
        [sys.executable, "-m", "cluster", *arguments, "--name", CLUSTER],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "CLUSTER_NAME": CLUSTER},
    )
    if done.returncode:
        pytest.fail(f"cluster {' '.join(arguments)}: {done.stderr or done.stdout}", pytrace=False)
    return done.stdout.strip()
