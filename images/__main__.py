"""The command line: ``python3 -m images build [NAME…]`` writes build/images.json and build/images.yaml."""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from cluster import docker, internal_images
from cluster.current import registry
from cluster.errors import ClusterError
from cluster.paths import REPOSITORY
from images import containerfiles
from images.recipes import RECIPES, build

_KEPT_SECONDS = 30 * 86400.0
_BUILD = REPOSITORY / "build"
# The images that the chart installs; the others belong to users.
_CHART = ("operator", "server", "router", "mlflow")


def main(arguments: Sequence[str]) -> int:
    """Build images and return the exit code."""
    parser = argparse.ArgumentParser(prog="python3 -m images", description="Build images without Docker.")
    parser.add_argument("verb", choices=["build"])
    parser.add_argument("name", nargs="*", help=f"which ones (default: all): {', '.join(RECIPES)}")
    parsed = parser.parse_args(arguments)
    unknown = sorted(set(parsed.name) - set(RECIPES))
    if unknown:
        sys.stderr.write(f"Images are {', '.join(RECIPES)}; there is no {', '.join(unknown)}.\n")
        return 1
    try:
        references = {name: _build(name) for name in parsed.name or RECIPES}
    except ClusterError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    internal_images.store().prune(_KEPT_SECONDS)
    _write(references)
    print(json.dumps(references, indent=2))
    return 0


def _build(name: str) -> str:
    """Build an image the way that this machine allows, and return its name and tag.

    Images for the user's own cluster are pushed to the registry that it pulls from.
    """
    if os.environ.get("CLUSTER") == "current":
        reference = containerfiles.build(name, registry())
        docker.push(reference)
        return reference
    without_docker = sys.platform == "linux" and os.geteuid() == 0
    if without_docker or not docker.answers():
        return build(name).reference
    return containerfiles.build(name)


def _write(references: Mapping[str, str]) -> None:
    """Remember the images' names: for programs, and as values for the chart."""
    _BUILD.mkdir(exist_ok=True)
    names = _BUILD / "images.json"
    known: dict[str, str] = json.loads(names.read_text()) if names.exists() else {}
    known = {name: reference for name, reference in known.items() if name in RECIPES} | dict(references)
    _replace(names, json.dumps(known, indent=2, sort_keys=True) + "\n")
    values = "".join(f"  {name}: {known[name]}\n" for name in _CHART if name in known)
    _replace(_BUILD / "images.yaml", f"images:\n{values}")


def _replace(path: Path, content: str) -> None:
    unfinished = path.with_name(f".{path.name}.part")
    unfinished.write_text(content)
    unfinished.rename(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
