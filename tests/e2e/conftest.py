"""One cluster for all end-to-end tests, with Perennial installed from its chart; a namespace for each story."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import parcels
import pytest
from kube import Kube, until
from session import ROOT, SYSTEM, cluster


@pytest.fixture(scope="session")
def images() -> dict[str, str]:
    """The images by name, as they were built."""
    found = ROOT / "build" / "images.json"
    if not found.exists():
        pytest.fail("the images are not built: run `make images` (`make e2e` does)", pytrace=False)
    names: dict[str, str] = json.loads(found.read_text())
    return names


@pytest.fixture(scope="session")
def system(images: dict[str, str]) -> Iterator[Kube]:
    """The cluster with Perennial on it; kubectl for the operator's namespace."""
    cluster("up")
    try:
        cluster("load")
        kube = Kube(Path(cluster("kubeconfig")), SYSTEM)
        values = ROOT / "build" / "images.yaml"
        install = [
            "helm",
            "upgrade",
            "--install",
            "perennial",
            str(ROOT / "charts" / "perennial"),
            "--namespace",
            SYSTEM,
        ]
        done = subprocess.run(
            [*install, "--create-namespace", "--values", str(values), "--wait", "--timeout", "5m"],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "KUBECONFIG": str(kube.kubeconfig)},
        )
        assert done.returncode == 0, done.stderr
        yield kube
    finally:
        if not os.environ.get("PERENNIAL_KEEP_CLUSTER"):
            cluster("down")


@pytest.fixture(scope="module")
def kube(system: Kube, images: dict[str, str], request: pytest.FixtureRequest) -> Iterator[Kube]:
    """A namespace for the module's story, with the toolbox in it."""
    name = request.module.__name__.removeprefix("test_").replace("_", "-")
    mine = system.at(f"e2e-{name}")
    parcels.namespace(mine)
    parcels.toolbox(mine, images["flights"])
    yield mine
    mine("delete", "namespace", mine.namespace, "--wait=false")


@pytest.fixture(scope="module")
def trained(kube: Kube, images: dict[str, str]) -> str:
    """A Dataset and a first TrainingRun that passed: returns the model version."""
    parcels.fill_lake(kube, 1, 10)
    kube.apply(parcels.dataset(), parcels.training_run("first", parcels.training_spec(images["flights"])))
    kube.wait_condition("trainingrun", "first", "Succeeded", "True", seconds=240)
    version: str = kube.status("trainingrun", "first")["modelVersion"]
    return version


class Audit:
    """The API server's audit log: who wrote what."""

    def __init__(self, log: Path, user: str) -> None:
        self.log, self.user = log, user

    def writes(self, since: float) -> list[str]:
        """Return the operator's writes since a time, but for its Lease."""
        found = []
        for line in self.log.read_text().splitlines():
            event = json.loads(line)
            reference = event.get("objectRef", {})
            # Whoever could not prove who they are has no name.
            mine = event["user"].get("username") == self.user and event["verb"] in {
                "create",
                "update",
                "patch",
                "delete",
            }
            late = datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp() >= since
            if mine and late and reference.get("resource") != "leases":
                what = f"{reference.get('resource')}/{reference.get('name')}"
                found.append(f"{event['verb']} {what} {reference.get('subresource', '')}")
        return found

    def quiet_writes(self, seconds: float) -> list[str]:
        """Wait until the operator has been quiet for ten seconds; return what it writes in the seconds after that."""
        until("the operator to settle", lambda: not self.writes(time.time() - 10), 120)
        since = time.time()
        time.sleep(seconds)  # what is measured is this span
        return self.writes(since)


@pytest.fixture(scope="session")
def audit(system: Kube) -> Audit:
    """The audit log of the cluster, for the operator's identity."""
    return Audit(Path(cluster("audit-log")), f"system:serviceaccount:{system.namespace}:perennial")


@pytest.fixture
def until_healthy(system: Kube) -> Iterator[None]:
    """After a test that broke something of the system's, wait until it is whole again."""
    yield
    for deployment in ("perennial", "perennial-mlflow"):
        until(
            f"{deployment} to be whole",
            lambda name=deployment: (
                system.status("deployment", name).get("readyReplicas", 0)
                == system.get("deployment", name)["spec"]["replicas"]
            ),
            180,
        )
