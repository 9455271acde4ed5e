"""Images in a Docker engine: where images are built that can't be built without one (no root, or no Linux)."""

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import IO

from cluster.process import run


def answers() -> bool:
    """Return whether there is a Docker engine."""
    return (
        shutil.which("docker") is not None
        and subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0
    )


def has(reference: str) -> bool:
    """Return whether Docker has an image."""
    if shutil.which("docker") is None:
        return False
    command = ["docker", "image", "inspect", reference]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def build(reference: str, containerfile: Path, context: Path) -> None:
    """Build an image from its Containerfile.

    Args:
        reference: Its name and tag.
        containerfile: What to build.
        context: The directory that the Containerfile copies from.

    Raises:
        ClusterError: The build failed; the message quotes its end.
    """
    command: list[str | Path] = ["docker", "build", "--quiet", "--file", containerfile, "--tag", reference, context]
    run(command, because=f"Building {reference} with Docker failed", environment={"DOCKER_BUILDKIT": "1"})


def save(reference: str, file: IO[bytes]) -> None:
    """Write an image as an archive to a file."""
    with tempfile.NamedTemporaryFile(suffix=".tar") as archive:
        run(["docker", "save", "--output", archive.name, reference], because=f"Docker could not save {reference}")
        with Path(archive.name).open("rb") as saved:
            shutil.copyfileobj(saved, file, 1 << 20)


def push(reference: str) -> None:
    """Push an image to the registry that its name begins with."""
    run(["docker", "push", "--quiet", reference], because=f"Pushing {reference} failed")
