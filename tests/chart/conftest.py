"""helm, and a real API server that the chart is installed into."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from rendering import CHART, IMAGES, RELEASE, SYSTEM, Helm, run_helm

from cluster import tools
from cluster.apiserver import ControlPlane


@pytest.fixture(scope="session")
def chart() -> Path:
    return CHART


@pytest.fixture(scope="session", params=["helm", "helm3"])
def helm(request: pytest.FixtureRequest) -> Helm:
    """Helm 4 and helm 3: a test that asks for it runs with both."""
    program = {"helm": tools.helm, "helm3": tools.helm3}[request.param]()

    def run(*arguments: str, kubeconfig: Path | None = None) -> subprocess.CompletedProcess[str]:
        return run_helm(program, *arguments, kubeconfig=kubeconfig)

    return run


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane(tmp_path_factory.mktemp("control-plane")) as running:
        yield running


@pytest.fixture(scope="session")
def installed(control_plane: ControlPlane, chart: Path) -> ControlPlane:
    """The API server with the chart in it, in a namespace that only takes restricted pods."""
    for path in sorted((Path(__file__).parent / "crds").glob("*.yaml")):
        crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        control_plane.api.call("POST", crds, yaml.safe_load(path.read_text()))
    labels = {"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted"}
    for name in (SYSTEM, "team-a", "team-b"):
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        control_plane.api.call("POST", "/api/v1/namespaces", namespace)
    arguments = ["install", RELEASE, str(chart), "-n", SYSTEM, "-f", str(IMAGES)]
    done = run_helm(tools.helm(), *arguments, kubeconfig=control_plane.kubeconfig)
    assert done.returncode == 0, done.stderr
    assert "PodSecurity" not in done.stderr, "a Deployment's pods would be refused"
    return control_plane
