"""GitOps tools know what is theirs by labels and annotations: no child carries its owner's, whoever makes it."""

from typing import Any

import pytest
import yaml
from canary_cluster import DEPLOYED, run_of
from operator_process import Start
from waiting import until

from cluster.apiserver import ControlPlane
from perennial.plan.kinds import DATASET, MODEL_DEPLOYMENT, TRAINING_RUN

pytestmark = pytest.mark.api

TRACKING = {
    "labels": {
        "app.kubernetes.io/instance": "copied",
        "app.kubernetes.io/managed-by": "copied",
        "argocd.argoproj.io/instance": "copied",
        "helm.sh/chart": "copied",
        "kustomize.toolkit.fluxcd.io/name": "copied",
    },
    "annotations": {
        "argocd.argoproj.io/tracking-id": "copied",
        "kustomize.toolkit.fluxcd.io/prune": "copied",
        "meta.helm.sh/release-name": "copied",
    },
}
DATA = yaml.safe_load("""
apiVersion: perennial.dev/v1alpha1
kind: Dataset
metadata: {name: flights}
spec:
  source: {uri: pvc://lake/flights}
  schema: {target: late, columns: [{name: late, type: Boolean}]}
""")
UNDER_WAY = {
    "dataset": {"digest": "sha256:" + "1" * 64, "target": "late"},
    "mlflow": {"experimentId": "1", "runId": "abc", "state": "RUNNING"},
}
DONE = {"terminalState": "Succeeded", "modelVersion": "1"}
MADE = {
    "apps/v1": ("deployments", "replicasets"),
    "batch/v1": ("jobs",),
    "discovery.k8s.io/v1": ("endpointslices",),
    "v1": ("configmaps", "persistentvolumeclaims", "pods", "services"),
}


COMPONENTS = {"dataset-check", "training", "server", "router", "collector"}


def _components(found: list[dict[str, Any]]) -> set[str]:
    return {each["metadata"].get("labels", {}).get("app.kubernetes.io/component", "") for each in found}


def test_no_child_carries_the_tracking_of_its_owner(
    control_plane: ControlPlane, namespace: str, start_operator: Start
) -> None:
    api = control_plane.api
    kinds = {each.kind: each for each in (DATASET.resource, TRAINING_RUN.resource, MODEL_DEPLOYMENT.resource)}

    def create(manifest: dict[str, Any], status: dict[str, Any] | None = None) -> None:
        resource = kinds[manifest["kind"]]
        metadata = {**manifest["metadata"], **TRACKING}
        made = api.call("POST", resource.path(namespace), {**manifest, "metadata": metadata})
        if status is not None:
            path = resource.path(namespace, made["metadata"]["name"], "status")
            api.call("PUT", path, {**made, "status": status})

    def children() -> list[dict[str, Any]] | None:
        found = []
        for group, plurals in MADE.items():
            for plural in plurals:
                prefix = f"/apis/{group}" if "/" in group else f"/api/{group}"
                items = api.get(f"{prefix}/namespaces/{namespace}/{plural}")["items"]
                owned = [{**each, "kind": plural} for each in items if each["metadata"].get("ownerReferences")]
                found += owned
        whole = {each["kind"] for each in found} == {each for all_ in MADE.values() for each in all_}
        return found if whole and _components(found) >= COMPONENTS else None

    create(DATA)
    create(run_of("1"), DONE)
    create(run_of("2"), UNDER_WAY)
    create(DEPLOYED)
    start_operator()
    found = until("every kind of child is there", children, seconds=60)
    for child in found:
        metadata = {key: value for key, value in child["metadata"].items() if key in TRACKING}
        assert "copied" not in str(metadata), f"{child['kind']} {child['metadata']['name']}"
