"""What is written for Argo CD: a folder a kind, in the layout of argo-cd's own `resource_customizations`."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).parents[2]
KINDS = ("Dataset", "TrainingRun", "ModelDeployment")


def folder(kind: str) -> Path:
    return REPOSITORY / "gitops" / "argocd" / "resource_customizations" / "perennial.dev" / kind


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


@cache
def cases(kind: str) -> dict[str, tuple[dict[str, Any], dict[str, str]]]:
    """Return a kind's health tests: the name of the moment → (object, health)."""
    found = {}
    for test in load(folder(kind) / "health_test.yaml")["tests"]:
        path = folder(kind) / test["inputPath"]
        found[path.stem] = load(path), test["healthStatus"]
    return found
