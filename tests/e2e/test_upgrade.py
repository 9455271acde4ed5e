"""From the last release to this one, under traffic, in the middle of a canary; away and home again; with both helms.

What is applied first is what was written for release 0.2, in its shapes. docs/upgrading.md says what becomes of it, and
what to do on the way there and back: this story does just that.
"""

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
CANARY = {"steps": [{"weight": 10, "minSeconds": 3600}, {"weight": 50}]}
"""A step that lasts longer than this story."""
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


def old_training_spec(image: str) -> dict[str, Any]:
    """Return a TrainingRun's spec as it was written for release 0.2: a metric's name says which it is."""
    gate = {"metrics": [{"name": "errorRate", "max": "0.2", "maxRegression": "0.02"}]}
    return parcels.training_spec(image, gate=gate)


def old_model_deployment(image: str, **more: Any) -> dict[str, Any]:
    """Return the ModelDeployment as it was written for release 0.2: all that is written otherwise now is in it."""
    missed = {"metric": "falseNegativeRate", "threshold": "0.4", "max": "0.9", "minSamples": 50}
    return parcels.model_deployment(
        NAME,
        canary=CANARY,
        slos=[{"name": "errors", "errorRate": {"max": "0.1"}}, {"name": "missed", "outcome": missed}],
        retraining={"template": old_training_spec(image), "triggers": [{"slo": "missed"}]},
        **more,
    )


def model_deployment(image: str, canary: dict[str, Any] = CANARY, **more: Any) -> dict[str, Any]:
    """Return the same ModelDeployment as it is written now."""
    missed = {"falseNegativeRate": {"threshold": "0.4"}, "max": "0.9", "minSamples": 50}
    return parcels.model_deployment(
        NAME,
        canary=canary,
        slos=[{"name": "errors", "requests": {"max": "0.1"}}, {"name": "missed", "outcome": missed}],
        retraining={"template": parcels.training_spec(image), "triggers": [{"name": "wrong", "slo": "missed"}]},
        **more,
    )


BLUE = {"replicas": 1, "env": [{"name": "COLOUR", "value": "blue"}], "resources": {"requests": {"cpu": "50m"}}}
"""Another server, as good as the first: it is on trial all the time."""


@pytest.fixture(scope="module")
def trained(release: Release, kube: Kube, images: dict[str, str]) -> str:
    """A model that the last release has trained and gated."""
    parcels.fill_lake(kube, 1, 10)
    kube.apply(parcels.dataset(), parcels.training_run("first", old_training_spec(images["flights"])))
    kube.wait_condition("trainingrun", "first", "Succeeded", "True", seconds=240)
    version: str = kube.status("trainingrun", "first")["modelVersion"]
    return version


@pytest.fixture(scope="module")
def traffic(kube: Kube, trained: str, images: dict[str, str]) -> Iterator[Traffic]:
    """A ModelDeployment of the last release's in the middle of a canary."""
    kube.apply(old_model_deployment(images["flights"]))
    kube.wait_condition("modeldeployment", NAME, "Ready", "True", "Serving", seconds=240)
    flowing = Traffic(kube, NAME, rate=20)
    flowing.flows()
    kube.apply(old_model_deployment(images["flights"], server=BLUE))
    until("a tenth of the traffic on the canary", lambda: weights(kube) == {"a": 900, "b": 100}, 120)
    yield flowing
    flowing.stop()


def collector(kube: Kube) -> dict[str, Any]:
    """What the collector tells those who prove who they are."""
    said = kube.execute("toolbox", "python3", "/scripts/ask.py", f"http://{NAME}-collector:9900/v1/state")
    state: dict[str, Any] = json.loads(said)
    return state


def weights(kube: Kube) -> dict[str, int]:
    """What every router has acknowledged."""
    verified: dict[str, int] = collector(kube)["weights"]["verified"]
    return verified


def shown(kube: Kube) -> int:
    """How many of the candidate's requests the evidence of this canary rests on."""
    found = next(item for item in collector(kube)["verdicts"] if item["slo"] == "errors")
    return int(found["candidate"]["total"])


def pods(kube: Kube, component: str) -> dict[str, list[int]]:
    """The pods of a component, with how often each container was restarted."""
    found = kube.list("pods", f"perennial.dev/name={NAME},app.kubernetes.io/component={component}")
    return {p["metadata"]["uid"]: [c["restartCount"] for c in p["status"]["containerStatuses"]] for p in found}


def written(kube: Kube) -> dict[str, int]:
    """Each object of the user's, and how often its spec was changed."""
    kinds = ("dataset", "trainingrun", "modeldeployment")
    return {one["metadata"]["uid"]: one["metadata"]["generation"] for kind in kinds for one in kube.list(kind)}


def life(kube: Kube) -> dict[str, Any]:
    """What must outlive the operator: each object of the user's, each pod that serves, and where the canary is."""
    status = kube.status("modeldeployment", NAME)
    return {
        "objects": set(written(kube)),
        "pods": pods(kube, "server"),
        "canary": {key: status["canary"][key] for key in ("id", "slot", "version", "step")},
        "stable": {key: status["stable"][key] for key in ("slot", "version", "modelVersion")},
        "canaries": status["canaries"],
    }


def reconciled(kube: Kube, files: Path) -> None:
    """Wait until the release has its hands on the ModelDeployment: its own image runs the collector and the routers."""
    images = json.loads((files / "build" / "images.json").read_text())

    def look(component: str, image: str, replicas: int) -> bool:
        found = kube.get("deployment", f"{NAME}-{component}")
        status = found["status"]
        ready = status.get("replicas") == status.get("updatedReplicas") == status.get("readyReplicas") == replicas
        seen = status["observedGeneration"] == found["metadata"]["generation"]
        return ready and seen and found["spec"]["template"]["spec"]["containers"][0]["image"] == image

    until(f"the collector of {files}", lambda: look("collector", images["operator"], 1), 180)
    until(f"the routers of {files}", lambda: look("router", images["router"], 2), 120)
    until("a tenth of the traffic on the canary", lambda: weights(kube) == {"a": 900, "b": 100}, 60)


def outdated(kube: Kube) -> None:
    """Wait until the ModelDeployment says that it is written for another release, and how it is written now."""
    message = kube.wait_condition("modeldeployment", NAME, "Stalled", "True", "SpecOutdated", seconds=60)["message"]
    assert "spec.slos[0]" in message
    assert "requests" in message


def still_served(traffic: Traffic) -> None:
    """Requests are answered at this moment, and none has failed so far; labels may wait for a collector."""
    before = traffic.counts()["200"]
    until("more answers", lambda: traffic.counts()["200"] > before + 20, 30)
    assert set(traffic.counts()) - {"labels"} == {"200"}


def test_an_upgrade_touches_nothing_of_what_was_written_for_the_last_release(
    release: Release, kube: Kube, traffic: Traffic, last: Path
) -> None:
    """No pod is replaced, no weight moves; the object says which fields must be written otherwise."""
    before, specs = life(kube), written(kube)
    others = {component: pods(kube, component) for component in ("router", "collector")}
    assert len(before["pods"]) == 2, "both slots serve"
    release.upgrade("helm", ROOT)
    outdated(kube)
    assert kube.condition("trainingrun", "first", "Succeeded")["status"] == "True", "what has ended stays as it was"
    assert life(kube) == before
    assert written(kube) == specs, "nobody writes a user's spec"
    assert {component: pods(kube, component) for component in others} == others
    assert weights(kube) == {"a": 900, "b": 100}
    still_served(traffic)
    told = release("helm", "test", "--logs")
    assert told.count("ok      ") == 4, told


def test_written_in_the_new_shapes_the_canary_goes_on_where_it_was(
    release: Release, kube: Kube, traffic: Traffic, images: dict[str, str]
) -> None:
    """Routers and collector are this release's then. No model restarts; the evidence goes on from what there was."""
    before, evidence, predictions = life(kube), shown(kube), collector(kube)["predictions"]
    assert evidence > 0
    kube.apply(model_deployment(images["flights"], server=BLUE))
    kube.wait_condition("modeldeployment", NAME, "Ready", "True", "Serving", seconds=120)
    reconciled(kube, ROOT)
    assert life(kube) == before
    until("the evidence that there was, and more", lambda: shown(kube) > evidence, 60)
    assert collector(kube)["predictions"] >= predictions
    assert kube.condition("modeldeployment", NAME, "Stalled")["status"] == "False"
    still_served(traffic)


def test_uninstalled_models_serve_and_nothing_is_lost(release: Release, kube: Kube, traffic: Traffic) -> None:
    before, specs = life(kube), written(kube)
    release("helm", "uninstall", "--wait")
    until("the operators to be gone", lambda: release.system.list("pods", OPERATORS) == [], 60)
    still_served(traffic)
    assert life(kube) == before
    assert written(kube) == specs
    until("every router to acknowledge the weights", lambda: weights(kube) == {"a": 900, "b": 100}, 60)


def test_a_downgrade_and_an_upgrade_by_the_other_helm_serve_on(
    release: Release, kube: Kube, traffic: Traffic, last: Path, images: dict[str, str]
) -> None:
    """Going back as docs/upgrading.md says: the chart, the old manifests, a new volume for the collector."""
    before = life(kube)
    release.upgrade("helm3", last)
    still_served(traffic)
    kube.apply(old_model_deployment(images["flights"], server=BLUE))
    kube("delete", "pvc", f"{NAME}-collector", "--wait=false")
    kube("delete", "pod", "--selector", f"perennial.dev/name={NAME},app.kubernetes.io/component=collector")
    reconciled(kube, last)
    assert life(kube) == before
    still_served(traffic)

    release.upgrade("helm3", ROOT)
    outdated(kube)
    kube.apply(model_deployment(images["flights"], server=BLUE))
    reconciled(kube, ROOT)
    assert life(kube) == before
    still_served(traffic)
    assert release("helm3", "test", "--logs").count("ok      ") == 4


def test_the_canary_that_has_seen_it_all_is_promoted(
    release: Release, kube: Kube, traffic: Traffic, images: dict[str, str]
) -> None:
    """The loop goes on: with steps that end, the same candidate goes the rest of its way."""
    trial = life(kube)["canary"]
    kube.apply(model_deployment(images["flights"], canary={"steps": [{"weight": 10}, {"weight": 50}]}, server=BLUE))

    def over() -> dict[str, Any] | None:
        status = kube.status("modeldeployment", NAME)
        return dict(status["history"][0]) if "canary" not in status else None

    record = until("the trial to end", over, 240)
    assert (record["id"], record["decision"]) == (trial["id"], "Promoted")
    assert kube.status("modeldeployment", NAME)["stable"]["version"] == trial["version"]
    until("all traffic on the promoted version", lambda: weights(kube) == {"a": 0, "b": 1000}, 30)
    still_served(traffic)
