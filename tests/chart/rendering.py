"""helm 4 and helm 3, where the chart is, and what it renders."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
if str(REPOSITORY) not in sys.path:
    sys.path.insert(0, str(REPOSITORY))  # `cluster` is no installed package

from cluster import tools  # noqa: E402

CHART = REPOSITORY / "charts" / "perennial"
IMAGES = CHART / "ci" / "images.yaml"
EVERYTHING = CHART / "ci" / "everything-values.yaml"
RELEASE, SYSTEM = "perennial", "perennial-system"
Helm = Callable[..., subprocess.CompletedProcess[str]]
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def run_helm(program: Path, *arguments: str, kubeconfig: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig or "/nonexistent")}
    return subprocess.run(
        [program, *arguments], env=environment, capture_output=True, text=True, timeout=120, check=False
    )


@dataclass(frozen=True)
class Rendered:
    """The objects that a rendering made."""

    objects: tuple[dict[str, Any], ...]

    def get(self, kind: str, name: str = "perennial") -> dict[str, Any]:
        """Return an object; LookupError if there is none."""
        found = [one for one in self.objects if (one["kind"], one["metadata"]["name"]) == (kind, name)]
        if not found:
            raise LookupError(f"{kind} {name}")
        (only,) = found
        return only

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [one for one in self.objects if one["kind"] == kind]

    @property
    def operator(self) -> dict[str, Any]:
        """The spec of the operator's Deployment."""
        spec: dict[str, Any] = self.get("Deployment")["spec"]
        return spec

    @property
    def pod(self) -> dict[str, Any]:
        spec: dict[str, Any] = self.operator["template"]["spec"]
        return spec

    @property
    def container(self) -> dict[str, Any]:
        (only,) = self.pod["containers"]
        return dict(only)

    @property
    def environment(self) -> dict[str, str]:
        """The operator's variables, but for those that are taken from elsewhere."""
        return {item["name"]: item.get("value", "") for item in self.container["env"]}

    @property
    def mlflow(self) -> dict[str, Any]:
        """The pod template of MLflow's Deployment."""
        template: dict[str, Any] = self.get("Deployment", "perennial-mlflow")["spec"]["template"]
        return template

    @property
    def mlflow_container(self) -> dict[str, Any]:
        (only,) = self.mlflow["spec"]["containers"]
        return dict(only)


def render(
    values: Mapping[str, Any] | None = None, *, program: Path | None = None, files: tuple[Path, ...] = ()
) -> Rendered:
    """Render the chart with images, files of values and values. Renderings are kept."""
    return _rendered(json.dumps(values or {}, sort_keys=True), program or tools.helm(), files)


@lru_cache(maxsize=64)
def _rendered(values: str, program: Path, files: tuple[Path, ...]) -> Rendered:
    more = [argument for file in (IMAGES, *files) for argument in ("--values", str(file))]
    each = [
        argument
        for name, value in json.loads(values).items()
        for argument in ("--set-json", f"{name}={json.dumps(value)}")
    ]
    done = run_helm(program, "template", RELEASE, str(CHART), "--namespace", SYSTEM, *more, *each)
    assert done.returncode == 0, done.stderr
    return Rendered(tuple(documents(done.stdout)))


def documents(text: str) -> Iterator[dict[str, Any]]:
    return (document for document in yaml.load_all(text, Loader=Loader) if document)
