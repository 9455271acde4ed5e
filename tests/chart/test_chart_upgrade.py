"""Upgrades from the last release and back: helm's part, on a real API server without a node, with live objects.

Their manifests are each release's own examples; what must be changed by hand is taken from docs/upgrading.md.
"""

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from rendering import CHART, IMAGES, RELEASE, SYSTEM, Helm

from cluster import tools
from cluster.apiserver import ControlPlane
from cluster.last_release import last_release, unpack

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
DEPLOYMENTS = f"/apis/apps/v1/namespaces/{SYSTEM}/deployments"
LIVE = {"dataset": "datasets", "trainingrun": "trainingruns", "modeldeployment": "modeldeployments"}
MUTABLE = ("dataset", "modeldeployment")
"""What its user writes anew for another release; a TrainingRun is never changed."""
EXAMPLES = Path(__file__).parents[2] / "examples" / "flights"
UPGRADING = Path(__file__).parents[2] / "docs" / "upgrading.md"
MAP = '{"parquet": {}}'
"""How a Dataset states its format; the last release stated it as a text."""
SOME = ("--set", f"watchNamespaces={{default,{SYSTEM}}}")


@pytest.fixture(scope="module")
def last(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The last release's chart and examples."""
    to = tmp_path_factory.mktemp("last-release") / "files"
    unpack(last_release(), ["charts/perennial", "examples/flights"], to)
    return to


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[ControlPlane]:
    """An API server of this test's own: there is one installation a cluster."""
    with ControlPlane(tmp_path) as running:
        yield running


class Installation:
    """An installation by one helm."""

    def __init__(self, helm: Helm, cluster: ControlPlane) -> None:
        self.helm, self.cluster = helm, cluster

    def upgrade(self, chart: Path, *values: str) -> None:
        """Install or upgrade."""
        self("upgrade", str(chart), "--install", "--create-namespace", "--values", str(IMAGES), *values)

    def __call__(self, verb: str, *arguments: str) -> None:
        kubeconfig = self.cluster.kubeconfig
        done = self.helm(verb, RELEASE, "--namespace", SYSTEM, *arguments, kubeconfig=kubeconfig)
        assert done.returncode == 0, f"helm {verb}: {done.stderr}"

    def names(self, path: str) -> list[str]:
        """Return the names of what is there and the chart's."""
        labels = {one["metadata"]["name"]: one["metadata"].get("labels", {}) for one in self.items(path)}
        return sorted(name for name, label in labels.items() if label.get("app.kubernetes.io/name") == "perennial")

    def items(self, path: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.cluster.api.get(path)["items"]
        return items

    def live(self) -> dict[str, str]:
        """Return everybody's objects and their versions. A new schema may show them new defaults, which is no write.

        kubectl asks again while the API server takes that schema up (429).
        """
        command = [tools.kubectl(), "--kubeconfig", self.cluster.kubeconfig, "get", ",".join(LIVE), "-A", "-o", "json"]
        found = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["items"]
        return {one["metadata"]["uid"]: one["metadata"]["resourceVersion"] for one in found}

    def reformat(self, old: str, new: str) -> None:
        """Change every Dataset's format by the commands of docs/upgrading.md: no apply can do that first step."""
        (commands,) = re.findall(r"```sh\n(kubectl get datasets .*?)```", UPGRADING.read_text(), re.DOTALL)
        assert old in commands
        found = f"{tools.kubectl().parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": found, "KUBECONFIG": str(self.cluster.kubeconfig)}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands.replace(old, new)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (0, "dataset.perennial.dev/flights patched\n"), done.stderr

    def apply(self, example: Path) -> None:
        """Apply an example as its user does: strictly, server-side; a new schema may take a moment."""
        manifest = yaml.safe_load(example.read_text())
        manifest["metadata"].pop("namespace", None)
        command = [
            *(str(tools.kubectl()), "--kubeconfig", str(self.cluster.kubeconfig), "--namespace", "default"),
            *("apply", "--server-side", "--force-conflicts", "--validate=strict", "--filename", "-"),
        ]
        deadline = time.monotonic() + 30
        while True:
            done = subprocess.run(command, input=json.dumps(manifest), capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return
            assert time.monotonic() < deadline, done.stderr
            time.sleep(0.2)


def test_up_and_back_and_away(helm: Helm, empty: ControlPlane, last: Path) -> None:
    installation = Installation(helm, empty)
    installation.upgrade(last / "charts" / "perennial")
    for name, kind in LIVE.items():
        example = yaml.safe_load((last / "examples" / "flights" / f"{name}.yaml").read_text())
        example["metadata"].pop("namespace", None)
        empty.api.call("POST", f"/apis/perennial.dev/v1alpha1/namespaces/default/{kind}", example)
    made = installation.live()
    assert len(made) == len(LIVE)

    installation.upgrade(CHART)
    assert installation.live() == made, "an upgrade writes nobody's object"
    assert len(installation.names(f"{RBAC}/clusterrolebindings")) == 1
    installation.reformat(MAP, MAP)
    for name in MUTABLE:
        installation.apply(EXAMPLES / f"{name}.yaml")
    installation.upgrade(last / "charts" / "perennial", *SOME)
    installation.reformat(MAP, '"Parquet"')
    for name in MUTABLE:
        installation.apply(last / "examples" / "flights" / f"{name}.yaml")
    made = installation.live()
    installation.upgrade(CHART, *SOME)
    assert installation.names(f"{RBAC}/clusterrolebindings") == installation.names(f"{RBAC}/clusterroles") == []
    assert len(installation.names(f"{RBAC}/namespaces/default/rolebindings")) == 1
    assert installation.live() == made, "an upgrade writes nobody's object"

    installation("uninstall")
    assert installation.names(DEPLOYMENTS) == []
    assert installation.names(CRDS) == sorted(f"{kind}.perennial.dev" for kind in LIVE.values())
    assert installation.names(f"/api/v1/namespaces/{SYSTEM}/persistentvolumeclaims") == ["perennial-mlflow"]
    installation.upgrade(CHART)
    assert installation.names(DEPLOYMENTS) == ["perennial", "perennial-mlflow"]
    assert installation.live() == made, "what was kept is taken over"
