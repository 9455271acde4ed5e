"""What the planners make, judged by a real API server: every child, every pod, every status."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from waiting import until

for folder in ("plan", "schema"):
    path = str(Path(__file__).parents[1] / "unit" / folder)
    if path not in sys.path:
        sys.path.append(path)  # the planners' worlds are the unit tests'

import samples  # noqa: E402
from given import NAMESPACE, planned  # noqa: E402
from restricted import refusals  # noqa: E402

from cluster.apiserver import ControlPlane  # noqa: E402
from perennial.manifests.manifest import Manifest  # noqa: E402
from perennial.plan.actions import Plan  # noqa: E402

pytestmark = pytest.mark.api
GROUPS = {
    "PersistentVolumeClaim": "/api/v1/namespaces/{}/persistentvolumeclaims",
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "Service": "/api/v1/namespaces/{}/services",
    "Pod": "/api/v1/namespaces/{}/pods",
    "Job": "/apis/batch/v1/namespaces/{}/jobs",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "Dataset": "/apis/perennial.dev/v1alpha1/namespaces/{}/datasets",
    "TrainingRun": "/apis/perennial.dev/v1alpha1/namespaces/{}/trainingruns",
    "ModelDeployment": "/apis/perennial.dev/v1alpha1/namespaces/{}/modeldeployments",
}
NAMES = {"Dataset": "flights", "TrainingRun": "run-1", "ModelDeployment": "delay"}
LEVEL = "pod-security.kubernetes.io/enforce"
every_sample = pytest.mark.parametrize("name", samples.SAMPLES)


class Server:
    """A namespace of a real API server that holds pods to Pod Security's strictest level."""

    def __init__(self, control_plane: ControlPlane) -> None:
        self._api = control_plane.api
        labels = {LEVEL: "restricted"}
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}
        self._api.call("POST", "/api/v1/namespaces", manifest)
        accounts = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts"
        until("pods may be made", lambda: self._api.get(accounts)["items"])

    def send(self, method: str, path: str, body: Manifest, kind: str = "application/json") -> tuple[int, Any]:
        status, text = self._api._request(method, path, dict(body), kind)
        return status, json.loads(text)

    def try_apply(self, manifest: Manifest) -> tuple[int, Any]:
        """Server-side apply it as the operator does, strictly, but keep nothing."""
        path = GROUPS[manifest["kind"]].format(NAMESPACE) + f"/{manifest['metadata']['name']}"
        query = "?fieldManager=perennial&force=true&dryRun=All&fieldValidation=Strict"
        return self.send("PATCH", path + query, manifest, "application/apply-patch+yaml")

    def try_pod(self, spec: Mapping[str, Any]) -> tuple[int, Any]:
        manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "tried"}, "spec": dict(spec)}
        query = "?dryRun=All&fieldValidation=Strict"
        return self.send("POST", GROUPS["Pod"].format(NAMESPACE) + query, manifest)


@pytest.fixture(scope="module")
def server(control_plane: ControlPlane) -> Server:
    return Server(control_plane)


def plan_of(name: str) -> Plan:
    kind, world = samples.SAMPLES[name]
    return planned(world, kind, NAMES[kind])


def children(kind: str) -> list[Manifest]:
    names = [name for name, (owner, _) in samples.SAMPLES.items() if owner == kind]
    return [apply.manifest for name in names for apply in plan_of(name).applies]


@pytest.mark.parametrize("kind", samples.KINDS_OF_CHILDREN)
def test_the_samples_make_every_kind_of_child(kind: str) -> None:
    assert {manifest["kind"] for manifest in children(kind)} == samples.KINDS_OF_CHILDREN[kind]


@every_sample
def test_every_child_is_accepted(server: Server, name: str) -> None:
    for apply in plan_of(name).applies:
        status, answer = server.try_apply(apply.manifest)
        assert status in {200, 201}, f"{apply.manifest['kind']} {apply.manifest['metadata']['name']}: {answer}"


@every_sample
def test_every_pod_is_admitted_at_the_strictest_level(server: Server, name: str) -> None:
    for apply in plan_of(name).applies:
        template = apply.manifest.get("spec", {}).get("template", {})
        if apply.manifest["kind"] in {"Job", "Deployment"}:
            status, answer = server.try_pod(template["spec"])
            assert status == 201, answer
            assert refusals(template["spec"]) == []


def pod_spec() -> dict[str, Any]:
    """Return the spec of a pod that is admitted, with one container."""
    (deployment,) = (
        apply.manifest
        for apply in plan_of("a trial").applies
        if (apply.manifest["kind"], apply.manifest["metadata"]["name"]) == ("Deployment", "delay-collector")
    )
    spec: dict[str, Any] = json.loads(json.dumps(deployment["spec"]["template"]["spec"]))
    return spec


@pytest.mark.parametrize(
    "change",
    [
        {"hostNetwork": True},
        {"hostPID": True},
        {"hostIPC": True},
        {"volumes": [{"name": "host", "hostPath": {"path": "/"}}]},
        {"volumes": [{"name": "nfs", "nfs": {"server": "s", "path": "/"}}]},
        {"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}},
        {"securityContext": {"runAsNonRoot": None}},
        {"securityContext": {"runAsUser": 0}},
        {"securityContext": {"seccompProfile": None}},
        {"securityContext": {"seccompProfile": {"type": "Unconfined"}}},
        {"containers": {"privileged": True, "allowPrivilegeEscalation": None}},
        {"containers": {"allowPrivilegeEscalation": True}},
        {"containers": {"allowPrivilegeEscalation": None}},
        {"containers": {"capabilities": {"drop": ["NET_RAW"]}}},
        {"containers": {"capabilities": {"drop": ["ALL"], "add": ["SYS_TIME"]}}},
        {"containers": {"runAsUser": 0}},
        {"containers": {"runAsNonRoot": False}},
        {"ports": [{"containerPort": 80, "hostPort": 80}]},
    ],
    ids=str,
)
def test_the_unit_tests_judge_of_pods_agrees_with_the_servers(server: Server, change: dict[str, Any]) -> None:
    spec = pod_spec()
    (container,) = spec["containers"]
    context = change.pop("containers", None)
    if context is not None:
        container["securityContext"] |= context
    if "ports" in change:
        container["ports"] = change.pop("ports")
    for name, value in change.items():
        spec[name] = spec[name] | value if isinstance(value, dict) else value
    if "volumes" in change:
        container["volumeMounts"] = []
    status, answer = server.try_pod(spec)
    assert (status, answer["reason"]) == (403, "Forbidden"), answer
    assert 'violates PodSecurity "restricted' in answer["message"]
    assert refusals(spec) != []


def test_the_unchanged_pod_of_these_changes_is_admitted(server: Server) -> None:
    assert server.try_pod(pod_spec())[0] == 201
    assert refusals(pod_spec()) == []


@every_sample
def test_every_status_is_kept_as_it_was_written(server: Server, name: str) -> None:
    """Else the operator would see another status than it wrote, and write it again, for ever."""
    kind, world = samples.SAMPLES[name]
    known, plan = world.subject_of(kind, NAMES[kind]), plan_of(name)
    if plan.status is None:
        return
    path, metadata = GROUPS[kind].format(NAMESPACE), {"name": name.replace(" ", "-").replace("'", "")}
    made = {"apiVersion": known["apiVersion"], "kind": kind, "metadata": metadata, "spec": known["spec"]}
    status, created = server.send("POST", f"{path}?fieldValidation=Strict", made)
    assert status == 201, created
    written = {**created, "status": json.loads(json.dumps(plan.status))}
    status, answer = server.send("PUT", f"{path}/{metadata['name']}/status?fieldValidation=Strict", written)
    assert status == 200, answer
    assert answer["status"] == plan.status
    assert answer["metadata"]["generation"] == created["metadata"]["generation"] == 1
    assert answer["spec"] == created["spec"]
