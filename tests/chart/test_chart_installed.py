"""The chart in a real API server: pods that `restricted` namespaces take, and what the operator's account may do."""

from typing import Any

import pytest

from cluster.apiserver import ControlPlane
from perennial.runtime.resources import RIGHTS

SYSTEM = "perennial-system"


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
