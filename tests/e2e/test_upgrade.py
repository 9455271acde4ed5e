"""From the last release to this one, under traffic, in the middle of a canary; away and home again; with both helms."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import parcels
import pytest
from kube import Kube, until
from parcels import Traffic
from session import ROOT, SYSTEM, cluster

from cluster.last_release import last_release, unpack
from cluster.paths import cache_directory
from cluster.process import exclusive

pytestmark = pytest.mark.e2e

NAME = parcels.DEPLOYMENT
OPERATORS = "app.kubernetes.io/instance=perennial,app.kubernetes.io/component=operator"


@pytest.fixture(scope="session")
def last() -> Path:
    """The last release's files, with its images built: their names are in build/images.yaml, as for this release."""
    release = last_release()
    files = cache_directory() / "releases" / release.commit
    with exclusive(files.with_name(f".{release.commit}.lock")):
        if not (files / "complete").exists():
            unpack(release, ["."], files)
            (files / "complete").touch()
        build = [sys.executable, "-m", "images", "build", "operator", "server", "router", "mlflow"]
        subprocess.run(build, cwd=files, check=True, capture_output=True, env={**os.environ, "PYTHONSAFEPATH": ""})
    return files


class Release:
    """The installation, under the hands of either helm."""

    def __init__(self, system: Kube) -> None:
        self.system = system

    def __call__(self, helm: str, verb: str, *arguments: str) -> str:
        done = subprocess.run(
            [helm, verb, "perennial", *arguments, "--namespace", SYSTEM, "--timeout", "3m"],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "KUBECONFIG": str(self.system.kubeconfig)},
        )
        assert done.returncode == 0, f"{helm} {verb}: {done.stderr}"
        return done.stdout

    def upgrade(self, helm: str, files: Path) -> None:
        """Install or upgrade to the release whose files these are, and wait until an operator of its own leads."""
        values, chart = files / "build" / "images.yaml", files / "charts" / "perennial"
        self(helm, "upgrade", str(chart), "--install", "--values", str(values), "--wait")
        until(f"an operator of {files} to lead", self._leads, 60)

    def _leads(self) -> bool:
        holder = self.system.get("lease", "perennial-operator")["spec"].get("holderIdentity", "")
        return any(holder.startswith(f"{pod['metadata']['name']}_") for pod in self.system.list("pods", OPERATORS))


@pytest.fixture(scope="module")
def release(system: Kube, last: Path) -> Iterator[Release]:
    """The last release in place of this one; at the end it is this one that runs."""
    cluster("load", "--built", str(last / "build" / "images.json"))
    installed = Release(system)
    installed("helm3", "uninstall", "--wait")
    installed.upgrade("helm3", last)
    yield installed
    installed.upgrade("helm", ROOT)


@pytest.fixture(scope="module")
def traffic(release: Release, kube: Kube, trained: str) -> Iterator[Traffic]:
    """A ModelDeployment in the middle of a canary, in a step that lasts longer than this story."""
    canary = {"steps": [{"weight": 10, "minSeconds": 3600}, {"weight": 50}]}
    kube.apply(parcels.model_deployment(NAME, canary=canary))
    kube.wait_condition("modeldeployment", NAME, "Ready", "True", "Serving", seconds=240)
    flowing = Traffic(kube, NAME, rate=20)
    flowing.flows()
    blue = {"replicas": 1, "env": [{"name": "COLOUR", "value": "blue"}], "resources": {"requests": {"cpu": "50m"}}}
    kube.apply(parcels.model_deployment(NAME, canary=canary, server=blue))
    until("a tenth of the traffic on the canary", lambda: weights(kube) == {"a": 900, "b": 100}, 120)
    yield flowing
    flowing.stop()


def weights(kube: Kube) -> dict[str, int]:
    """What every router has acknowledged, as the collector tells those who prove who they are."""
    said = kube.execute("toolbox", "python3", "/scripts/ask.py", f"http://{NAME}-collector:9900/v1/state")
    verified: dict[str, int] = json.loads(said)["weights"]["verified"]
    return verified


def life(kube: Kube) -> dict[str, Any]:
    """What must outlive the operator: each object of the user's, each pod that serves, and where the canary is."""
    pods = kube.list("pods", f"perennial.dev/name={NAME},app.kubernetes.io/component=server")
    kinds = ("dataset", "trainingrun", "modeldeployment")
    canary = kube.status("modeldeployment", NAME)["canary"]
    return {
        "objects": {one["metadata"]["uid"]: one["metadata"]["generation"] for kind in kinds for one in kube.list(kind)},
        "pods": {p["metadata"]["uid"]: [c["restartCount"] for c in p["status"]["containerStatuses"]] for p in pods},
        "canary": {key: canary[key] for key in ("slot", "version", "step")},
        "canaries": kube.status("modeldeployment", NAME).get("canaries", 0),
        "weights": until("the collector", lambda: weights(kube), 60),
    }


def reconciled(kube: Kube, files: Path) -> None:
    """Wait until the release has its hands on the ModelDeployment: its own image runs the collector."""
    image = json.loads((files / "build" / "images.json").read_text())["operator"]

    def look() -> bool:
        collector = kube.get("deployment", f"{NAME}-collector")
        ready = collector["status"].get("updatedReplicas") == collector["status"].get("readyReplicas") == 1
        seen = collector["status"]["observedGeneration"] == collector["metadata"]["generation"]
        return ready and seen and collector["spec"]["template"]["spec"]["containers"][0]["image"] == image

    until(f"the collector of {files}", look, 60)


def still_served(traffic: Traffic) -> None:
    """Requests are answered at this moment, and none has failed so far."""
    before = traffic.counts()["200"]
    until("more answers", lambda: traffic.counts()["200"] > before + 20, 30)
    assert set(traffic.counts()) == {"200"}


def test_an_upgrade_restarts_no_model_and_moves_no_weight(
    release: Release, kube: Kube, traffic: Traffic, last: Path
) -> None:
    before = life(kube)
    assert len(before["pods"]) == 2, "both slots serve"
    release.upgrade("helm", ROOT)
    reconciled(kube, ROOT)
    assert life(kube) == before
    still_served(traffic)
    told = release("helm", "test", "--logs")
    assert told.count("ok      ") == 4, told


def test_uninstalled_models_serve_and_nothing_is_lost(release: Release, kube: Kube, traffic: Traffic) -> None:
    before = life(kube)
    release("helm", "uninstall", "--wait")
    until("the operators to be gone", lambda: release.system.list("pods", OPERATORS) == [], 60)
    still_served(traffic)
    assert life(kube) == before


def test_a_downgrade_and_an_upgrade_by_the_other_helm_change_nothing_either(
    release: Release, kube: Kube, traffic: Traffic, last: Path
) -> None:
    """Each takes over what the other left: it gives the collector its own image."""
    before = life(kube)
    for files in (last, ROOT):
        release.upgrade("helm3", files)
        reconciled(kube, files)
        assert life(kube) == before
    still_served(traffic)
    assert release("helm3", "test", "--logs").count("ok      ") == 4
