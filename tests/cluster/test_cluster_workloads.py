"""What Perennial needs of a cluster, on a local one: restricted pods, DNS, Services, volumes, Jobs, the audit log."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from local_cluster import Cluster, eventually

from cluster.loading import load_image
from cluster.local import LocalCluster
from cluster.paths import ClusterPaths
from images.recipes import build

RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}
NAMESPACE = "workloads"


@pytest.fixture(scope="module")
def image() -> str:
    """An image with Python."""
    return build("operator").reference


@pytest.fixture(scope="module")
def cluster(clusters: Callable[[str], Cluster], image: str) -> Iterator[Cluster]:
    one = clusters("b")
    one.must("up")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", one.environment["XDG_STATE_HOME"])
        node = LocalCluster(ClusterPaths.of(one.name))
        load_image(node, _built(image))
        assert image in node.references()
    label = {"pod-security.kubernetes.io/enforce": "restricted"}
    one.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": label}})
    yield one
    one.kubectl("delete", "namespace", NAMESPACE)


def _built(reference: str) -> Any:
    from cluster.internal_images import store

    image = store().image(reference)
    assert image is not None
    return image


def pod_spec(image: str, script: str, *, claim: str | None = None) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": "main",
        "image": image,
        "command": ["python3", "-c", script],
        "securityContext": RESTRICTED,
    }
    spec: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "containers": [container],
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 0,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    }
    if claim:
        container["volumeMounts"] = [{"name": "claim", "mountPath": "/claim"}]
        spec["volumes"] = [{"name": "claim", "persistentVolumeClaim": {"claimName": claim}}]
    return spec


def pod(name: str, spec: dict[str, Any], **labels: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": NAMESPACE, "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def run_to_end(cluster: Cluster, item: dict[str, Any]) -> str:
    """Run a pod and return its log; it must succeed."""
    name = item["metadata"]["name"]
    cluster.create(item)

    def phase() -> str:
        return cluster.kubectl("get", "pod", name, "-n", NAMESPACE, "-o", "jsonpath={.status.phase}")

    eventually(lambda: phase() in {"Succeeded", "Failed"}, f"the pod {name} to end")
    log = cluster.kubectl("logs", name, "-n", NAMESPACE)
    assert phase() == "Succeeded", log
    return log


def test_a_restricted_pod_runs_as_our_user(cluster: Cluster, image: str) -> None:
    script = "import getpass, os; print(os.getuid(), getpass.getuser(), os.environ['HOME'])"

    assert run_to_end(cluster, pod("restricted", pod_spec(image, script))) == "10001 perennial /tmp"


def test_a_privileged_pod_is_refused(cluster: Cluster, image: str) -> None:
    spec = pod_spec(image, "pass")
    spec["containers"][0]["securityContext"] = {"privileged": True}

    with pytest.raises(AssertionError, match="violates PodSecurity"):
        cluster.create(pod("privileged", spec))


def test_a_service_is_found_by_name_and_reached_and_other_names_do_not_exist(cluster: Cluster, image: str) -> None:
    cluster.create(
        pod(
            "web", pod_spec(image, "import http.server as h; h.test(h.SimpleHTTPRequestHandler, port=8000)"), app="web"
        ),
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web", "namespace": NAMESPACE},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8000}]},
        },
    )
    script = f"""
import socket, time, urllib.request
deadline = time.monotonic() + 60
while True:
    try:
        print(urllib.request.urlopen("http://web.{NAMESPACE}.svc.cluster.local/etc/hostname", timeout=2).status)
        break
    except OSError:
        if time.monotonic() > deadline:
            raise
        time.sleep(0.2)
try:
    socket.getaddrinfo("perennial.example", 80)
except socket.gaierror as error:
    print(error.errno == socket.EAI_NONAME)
"""
    assert run_to_end(cluster, pod("client", pod_spec(image, script))).split() == ["200", "True"]


def meeting(own: str, other: str) -> str:
    """A script that leaves a file on the volume and waits for the other pod's."""
    return f"""
import os, time
open("/claim/{own}", "w").write("here")
while not os.path.exists("/claim/{other}"):
    time.sleep(0.1)
"""


def volume_of(cluster: Cluster, claim: str) -> str:
    return cluster.kubectl("get", "pvc", claim, "-n", NAMESPACE, "-o", "jsonpath={.spec.volumeName}")


def test_a_claim_binds_keeps_data_for_many_pods_and_its_volume_is_wiped_afterwards(
    cluster: Cluster, image: str
) -> None:
    cluster.create(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "data", "namespace": NAMESPACE},
            "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}},
        }
    )
    cluster.create(pod("left", pod_spec(image, meeting("left", "right"), claim="data")))
    run_to_end(cluster, pod("right", pod_spec(image, meeting("right", "left"), claim="data")))
    eventually(
        lambda: cluster.kubectl("get", "pod", "left", "-n", NAMESPACE, "-o", "jsonpath={.status.phase}") == "Succeeded",
        "the pod left to end",
    )
    volume = volume_of(cluster, "data")
    directory = Path(cluster.environment["XDG_STATE_HOME"]) / "perennial" / cluster.name / "volumes" / volume
    assert sorted(path.name for path in directory.iterdir()) == ["left", "right"]

    cluster.kubectl("delete", "pod", "left", "right", "-n", NAMESPACE)
    cluster.kubectl("delete", "pvc", "data", "-n", NAMESPACE)

    def phase() -> str:
        return cluster.kubectl("get", "pv", volume, "-o", "jsonpath={.status.phase}")

    eventually(lambda: phase() == "Available", f"the volume {volume} to be offered again")
    assert list(directory.iterdir()) == []


def test_exit_code_65_fails_a_job_by_its_rule_without_a_second_try(cluster: Cluster, image: str) -> None:
    rule = {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [64, 65]}}
    cluster.create(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "bad-data", "namespace": NAMESPACE},
            "spec": {
                "backoffLimit": 3,
                "podFailurePolicy": {"rules": [rule]},
                "template": {"spec": pod_spec(image, "raise SystemExit(65)")},
            },
        }
    )

    cluster.kubectl("wait", "job/bad-data", "-n", NAMESPACE, "--for=condition=Failed", "--timeout=120s")

    job = json.loads(cluster.kubectl("get", "job", "bad-data", "-n", NAMESPACE, "-o", "json"))
    failed = next(condition for condition in job["status"]["conditions"] if condition["type"] == "Failed")
    assert failed["reason"] == "PodFailurePolicy"
    assert job["status"]["failed"] == 1


def test_the_audit_log_tells_who_wrote_what(cluster: Cluster) -> None:
    cluster.kubectl("create", "configmap", "audited", "-n", NAMESPACE)

    def written() -> list[dict[str, Any]]:
        events = [json.loads(line) for line in Path(cluster.must("audit-log")).read_text().splitlines()]
        return [event for event in events if event.get("objectRef", {}).get("name") == "audited"]

    eventually(lambda: bool(written()), "the event")
    assert [(event["verb"], event["user"]["username"]) for event in written()] == [("create", "kubernetes-admin")]
