"""Builds the images from their Containerfiles with Docker, where they can't be built without: no root, or no Linux."""

import hashlib
import re
from pathlib import Path

from cluster import docker
from cluster.paths import REPOSITORY
from cluster.progress import step
from images.recipes import REGISTRY


def containerfile(name: str) -> Path:
    """Return the Containerfile of an image."""
    return REPOSITORY / "images" / name / "Containerfile"


def sources(name: str) -> list[Path]:
    """Return the files that an image is made of: its Containerfile, and what that copies from the repository."""
    path = containerfile(name)
    found = {path}
    for line in re.findall(r"(?m)^COPY (?!--from)(.+)$", path.read_text()):
        for pattern in line.split()[:-1]:
            for match in REPOSITORY.glob(pattern):
                found.update([match] if match.is_file() else match.rglob("*"))
    return sorted(file for file in found if file.is_file() and "__pycache__" not in file.parts)


def build(name: str, registry: str = REGISTRY) -> str:
    """Build an image, unless Docker has one of the same content, and return its name and tag.

    Args:
        name: Which image.
        registry: What its name begins with.
    """
    hashing = hashlib.sha256()
    for file in sources(name):
        hashing.update(f"{file.relative_to(REPOSITORY)}\0".encode() + file.read_bytes())
    reference = f"{registry}/{name}:{hashing.hexdigest()[:12]}"
    if not docker.has(reference):
        with step(f"Image {name}: building it with Docker"):
            docker.build(reference, containerfile(name), REPOSITORY)
    return reference
