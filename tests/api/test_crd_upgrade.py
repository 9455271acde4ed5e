"""Objects that were written for the last release, under this release's CRDs: what the API server makes of them."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from waiting import until

from cluster import tools
from cluster.apiserver import ControlPlane
from cluster.last_release import Release, unpack

pytestmark = pytest.mark.api
REPOSITORY = Path(__file__).parents[2]
BEFORE = Release(version="0.2.0", commit="59799317920b94b3630c583c0dfdd1b330cf1c7d")
"""The release whose shapes these are."""
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
NAMESPACE = "default"
OBJECTS = f"/apis/perennial.dev/v1alpha1/namespaces/{NAMESPACE}"
TRAINER = {"image": "registry.test/trainer:1"}

OLD_GATE = {
    "metrics": [
        {"name": "falseNegativeRate", "threshold": "0.4", "max": "0.3"},
        {"name": "errorRate", "max": "0.2", "maxRegression": "0.02"},
    ]
}
OLD_RUN = {"datasetRef": {"name": "delays"}, "model": {"name": "delay"}, "trainer": TRAINER, "gate": OLD_GATE}
OLD = {
    "model": {"name": "delay", "fromRetraining": {}},
    "slos": [
        {"name": "errors", "errorRate": {"max": "0.01", "maxRatio": "1.5"}},
        {"name": "misses", "outcome": {"metric": "falseNegativeRate", "threshold": "0.4", "max": "0.3"}},
        {"name": "wrong", "outcome": {"metric": "errorRate", "max": "0.2"}, "role": "Advisory"},
    ],
    "retraining": {"template": OLD_RUN, "triggers": [{"slo": "misses"}, {"slo": "wrong"}]},
}
"""A ModelDeployment with everything that release 0.2 wrote in another way."""

GATE = {
    "metrics": [
        {"name": "misses", "falseNegativeRate": {"threshold": "0.4"}, "max": "0.3"},
        {"name": "errors", "errorRate": {}, "max": "0.2", "maxRegression": "0.02"},
    ]
}
NEW = {
    **OLD,
    "slos": [
        {"name": "errors", "requests": {"max": "0.01", "maxRatio": "1.5"}},
        {"name": "misses", "outcome": {"falseNegativeRate": {"threshold": "0.4"}, "max": "0.3"}},
        {"name": "wrong", "outcome": {"errorRate": {}, "max": "0.2"}, "role": "Advisory"},
    ],
    "retraining": {
        "template": {**OLD_RUN, "gate": GATE},
        "triggers": [{"name": "missing", "slo": "misses"}, {"name": "erring", "slo": "wrong"}],
    },
}
"""The same, as docs/upgrading.md says that it is written now."""


def manifest(spec: Mapping[str, Any], kind: str = "ModelDeployment") -> dict[str, Any]:
    return {"apiVersion": "perennial.dev/v1alpha1", "kind": kind, "metadata": {"name": "delay"}, "spec": spec}


class Upgraded:
    """An API server of this test's own, whose CRDs are changed."""

    def __init__(self, server: ControlPlane, before: Path) -> None:
        self.server, self._before = server, before

    def install(self, release: str) -> None:
        """Bring the CRDs to a release, as the chart does; wait until what it serves is that."""
        folder = {"before": self._before, "now": REPOSITORY}[release] / "crds"
        for path in sorted(folder.glob("*.yaml")):
            definition = yaml.safe_load(path.read_text())
            self.server.api.apply(f"{DEFINITIONS}/{definition['metadata']['name']}", definition)
        until(f"the shapes of {release}", lambda: self._shapes() == {"before": "errorRate", "now": "requests"}[release])

    def _shapes(self) -> str:
        """Return what the API server keeps of an SLO that is written in both shapes."""
        both = {"name": "errors", "errorRate": {"max": "0.01"}, "requests": {"max": "0.01"}}
        probe = {**manifest({"model": OLD["model"], "slos": [both]}), "metadata": {"name": "probe"}}
        made = self.server.api.call("POST", f"{OBJECTS}/modeldeployments?dryRun=All", probe)
        return next(key for key in made["spec"]["slos"][0] if key in both and key not in {"name", "role"})

    def apply(self, item: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        """Apply it server-side, strictly, as users and GitOps tools do."""
        command = [
            *(str(tools.kubectl()), "--kubeconfig", str(self.server.kubeconfig), "--namespace", NAMESPACE),
            *("apply", "--server-side", "--force-conflicts", "--validate=strict", "--filename", "-"),
        ]
        return subprocess.run(command, input=json.dumps(item), capture_output=True, text=True, timeout=60, check=False)

    def get(self) -> dict[str, Any]:
        return self.server.api.get(f"{OBJECTS}/modeldeployments/delay")

    def tell(self, reason: str) -> dict[str, Any]:
        """Write the status as the operator does."""
        now = self.get()
        condition = {
            "type": "Stalled",
            "status": "True",
            "reason": reason,
            "message": "Say it otherwise.",
            "lastTransitionTime": "2026-11-26T12:00:00Z",
            "observedGeneration": now["metadata"]["generation"],
        }
        patch = [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": now["metadata"]["resourceVersion"]},
            {"op": "add", "path": "/status", "value": {**now.get("status", {}), "conditions": [condition]}},
        ]
        path = f"{OBJECTS}/modeldeployments/delay/status"
        return self.server.api.call("PATCH", path, patch, content_type="application/json-patch+json")  # type: ignore[arg-type]


@pytest.fixture
def upgraded(tmp_path: Path) -> Iterator[Upgraded]:
    """The last release's CRDs, with an object of its shapes; then this release's CRDs."""
    unpack(BEFORE, ["crds"], tmp_path / "before")
    with ControlPlane(tmp_path / "control-plane") as server:
        cluster = Upgraded(server, tmp_path / "before")
        cluster.install("before")
        done = cluster.apply(manifest(OLD))
        assert done.returncode == 0, done.stderr
        cluster.install("now")
        yield cluster


def test_an_object_of_the_last_release_can_be_told_so_and_is_written_anew(upgraded: Upgraded) -> None:
    """Its status can be written though its spec breaks rules, and a server-side apply leaves nothing of the old."""
    told = upgraded.tell("SpecOutdated")
    assert told["status"]["conditions"][0]["reason"] == "SpecOutdated"
    assert told["metadata"]["generation"] == 1, "nobody's spec is written"
    refused = upgraded.apply(manifest(OLD))
    assert refused.returncode != 0
    assert '.spec.slos[name="errors"].errorRate: field not declared in schema' in refused.stderr

    applied = upgraded.apply(manifest(NEW))
    assert applied.returncode == 0, applied.stderr
    spec = upgraded.get()["spec"]
    assert spec["slos"] == NEW["slos"]
    assert spec["retraining"]["triggers"] == NEW["retraining"]["triggers"]
    assert spec["retraining"]["template"]["gate"]["metrics"] == GATE["metrics"]


def test_what_is_written_now_has_to_be_applied_in_the_old_shape_after_going_back(upgraded: Upgraded) -> None:
    """Under the last release's CRDs new fields are not there: its own manifests bring all of it back."""
    upgraded.tell("SpecOutdated")
    assert upgraded.apply(manifest(NEW)).returncode == 0
    upgraded.install("before")
    assert "errorRate" not in upgraded.get()["spec"]["slos"][0]
    upgraded.tell("Whatever")

    applied = upgraded.apply(manifest(OLD))
    assert applied.returncode == 0, applied.stderr
    spec = upgraded.get()["spec"]
    assert [{key: slo[key] for key in was} for slo, was in zip(spec["slos"], OLD["slos"], strict=True)] == OLD["slos"]
    assert {"slo": "misses"} in spec["retraining"]["triggers"]
    assert {"slo": "wrong"} in spec["retraining"]["triggers"]
