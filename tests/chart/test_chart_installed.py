"""The chart in a real API server: pods that `restricted` namespaces take, and what the operator's account may do."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from rendering import EVERYTHING, SYSTEM, render

from cluster import tools
from cluster.apiserver import ControlPlane
from perennial.plan.rights import RIGHTS


def may(control_plane: ControlPlane, verb: str, resource: str, namespace: str = "team-a") -> bool:
    """Whether the operator's account may: `resource` is `[group/]resource[:subresource]`."""
    group, _, plain = resource.rpartition("/")
    plain, _, subresource = plain.partition(":")
    attributes = {"verb": verb, "group": group, "resource": plain, "subresource": subresource, "namespace": namespace}
    user = f"system:serviceaccount:{SYSTEM}:perennial"
    groups = ["system:authenticated", "system:serviceaccounts", f"system:serviceaccounts:{SYSTEM}"]
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "groups": groups, "resourceAttributes": attributes},
    }
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    return bool(control_plane.api.call("POST", path, review)["status"]["allowed"])


ALLOWED = sorted(
    {
        (verb, f"{right.resource.group}/{right.resource.plural}:{right.subresource}".lstrip("/").rstrip(":"))
        for right in RIGHTS
        for verb in right.verbs
    }
)
DENIED = [
    *((verb, "secrets") for verb in ("get", "list", "watch", "create", "patch", "delete")),
    *((verb, "pods") for verb in ("get", "create", "patch", "delete")),
    ("create", "pods:exec"),
    ("get", "pods:log"),
    *(("delete", kind) for kind in ("persistentvolumeclaims", "services", "configmaps")),
    ("patch", "perennial.dev/datasets"),
    ("patch", "perennial.dev/modeldeployments"),
    ("delete", "perennial.dev/trainingruns"),
    ("list", "serviceaccounts"),
    ("create", "serviceaccounts:token"),
    ("create", "rbac.authorization.k8s.io/rolebindings"),
    ("list", "namespaces"),
    ("get", "coordination.k8s.io/leases"),
]


@pytest.mark.parametrize(("verb", "resource"), ALLOWED)
def test_the_operator_may(installed: ControlPlane, verb: str, resource: str) -> None:
    assert may(installed, verb, resource)


@pytest.mark.parametrize(("verb", "resource"), DENIED)
def test_the_operator_may_not(installed: ControlPlane, verb: str, resource: str) -> None:
    assert not may(installed, verb, resource)


@pytest.mark.parametrize("verb", ["get", "create", "update"])
def test_leases_only_in_its_own_namespace(installed: ControlPlane, verb: str) -> None:
    assert may(installed, verb, "coordination.k8s.io/leases", SYSTEM)
    assert not may(installed, verb, "coordination.k8s.io/leases", "kube-system")


@pytest.mark.parametrize("name", ["perennial", "perennial-mlflow"])
def test_its_pods_pass_pod_security_restricted(installed: ControlPlane, name: str) -> None:
    deployment = installed.api.get(f"/apis/apps/v1/namespaces/{SYSTEM}/deployments/{name}")
    template: dict[str, Any] = deployment["spec"]["template"]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"{name}-probe", "labels": {}},
        "spec": template["spec"],
    }
    created = installed.api.call("POST", f"/api/v1/namespaces/{SYSTEM}/pods?dryRun=All", pod)
    assert created["spec"]["securityContext"]["runAsUser"] == 10001
    (only,) = created["spec"]["containers"]
    assert only["securityContext"]["readOnlyRootFilesystem"] is True
    assert "memory" in only["resources"]["limits"]
    assert created["spec"]["automountServiceAccountToken"] is (name == "perennial")


def test_the_namespace_refuses_pods_that_are_not_restricted(installed: ControlPlane) -> None:
    """So that the test above can fail."""
    spec = {"containers": [{"name": "root", "image": "x:1", "securityContext": {"privileged": True}}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "root"}, "spec": spec}
    with pytest.raises(Exception, match="violates PodSecurity"):
        installed.api.call("POST", f"/api/v1/namespaces/{SYSTEM}/pods?dryRun=All", pod)


def test_the_three_kinds_are_served(installed: ControlPlane) -> None:
    served = installed.api.get("/apis/perennial.dev/v1alpha1")["resources"]
    assert {"Dataset", "TrainingRun", "ModelDeployment"} <= {resource["kind"] for resource in served}


def test_people_get_the_kinds_through_the_clusters_own_roles(installed: ControlPlane) -> None:
    for suffix, verb in (("view", "list"), ("edit", "create")):
        path = f"/apis/rbac.authorization.k8s.io/v1/clusterroles/perennial-{SYSTEM}-{suffix}"
        role = installed.api.get(path)
        assert role["metadata"]["labels"][f"rbac.authorization.k8s.io/aggregate-to-{suffix}"] == "true"
        assert verb in role["rules"][0]["verbs"]


@pytest.mark.parametrize("values", [{}, {"watchNamespaces": ["team-a", "team-b"]}], ids=["all-namespaces", "some"])
def test_everything_at_once_is_taken_under_strict_validation(
    installed: ControlPlane, values: dict[str, Any], tmp_path: Path
) -> None:
    monitoring = {f"prometheus.{each}.namespace": "team-a" for each in ("serviceMonitor", "podMonitor", "rules")}
    objects = render({**values, **monitoring, "fullnameOverride": "another"}, files=(EVERYTHING,)).objects
    (tmp_path / "objects.yaml").write_text(yaml.safe_dump_all(objects))
    apply = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict"]
    checked = subprocess.run(
        [tools.kubectl(), *apply, "--filename", str(tmp_path / "objects.yaml")],
        env={**os.environ, "KUBECONFIG": str(installed.kubeconfig)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr
    assert len(checked.stdout.splitlines()) == len(objects) > 20
    assert "PodSecurity" not in checked.stderr, "pods would be refused"


def test_helm_test_finds_what_is_missing(installed: ControlPlane, tmp_path: Path) -> None:
    """Here the API is served, and nobody works: its own account may ask, and what is wrong is named."""
    path = f"/api/v1/namespaces/{SYSTEM}/serviceaccounts/perennial/token"
    token = installed.api.call("POST", path, {"spec": {"expirationSeconds": 600}})["status"]["token"]
    (tmp_path / "token").write_text(token)
    (tmp_path / "ca.crt").write_bytes(installed.authority.read_bytes())
    container = render().get("Pod", "perennial-test")["spec"]["containers"][0]
    given = {item["name"]: item["value"] for item in container["env"] if "value" in item}
    here = {"API_SERVER": installed.url, "ACCOUNT": str(tmp_path), "NAMESPACE": SYSTEM, "PATIENCE_SECONDS": "0"}
    nowhere = {"OPERATORS": "operators.invalid", "MLFLOW_URL": "http://mlflow.invalid"}
    done = subprocess.run(
        [sys.executable, *container["command"][1:], *container["args"]],
        env={**os.environ, **given, **here, **nowhere},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    first, lease, operators, mlflow = done.stdout.splitlines()
    assert first == "ok      the API is served: datasets, modeldeployments, trainingruns"
    assert lease.startswith("FAILED  the lease is held: HTTP Error 404"), "this account may ask, and there is none"
    assert operators.startswith("FAILED  the operators are ready:")
    assert mlflow.startswith("FAILED  MLflow answers:")
