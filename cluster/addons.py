"""What every cluster has besides Kubernetes: DNS and a default StorageClass."""

from collections.abc import Mapping
from typing import Any

from cluster.node.settings import DNS_ADDRESS
from cluster.node.volumes import STORAGE_CLASS
from cluster.rest import Api

_NAMESPACE = "kube-system"
_DNS_PORT = 1053
# Two blocks: names of the cluster, and everything else, which does not exist here. In one block, names from outside
# would fail as "temporary" and be asked for again. `lameduck` lets a stopping server answer until nobody asks it.
_COREFILE = f"""\
cluster.local:{_DNS_PORT} in-addr.arpa:{_DNS_PORT} ip6.arpa:{_DNS_PORT} {{
    errors
    health :8080 {{
        lameduck 4s
    }}
    ready :8181
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        pods insecure
        ttl 5
    }}
    cache 5
}}
.:{_DNS_PORT} {{
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
"""
_LABELS = {"k8s-app": "kube-dns"}


def apply(api: Api, *, coredns: str) -> None:
    """Bring the add-ons to their desired state.

    Args:
        api: The cluster, with an administrator's rights.
        coredns: The reference of the CoreDNS image.
    """
    for path, item in desired_addons(coredns):
        api.apply(path, item)


def desired_addons(coredns: str) -> list[tuple[str, dict[str, Any]]]:
    """Return each add-on object with its path in the API."""
    core, apps = f"/api/v1/namespaces/{_NAMESPACE}", f"/apis/apps/v1/namespaces/{_NAMESPACE}"
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    return [
        (f"/apis/storage.k8s.io/v1/storageclasses/{STORAGE_CLASS}", _storage_class()),
        (f"{core}/serviceaccounts/coredns", _object("v1", "ServiceAccount", "coredns")),
        (f"{rbac}/clusterroles/system:coredns", _role()),
        (f"{rbac}/clusterrolebindings/system:coredns", _binding()),
        (f"{core}/configmaps/coredns", _object("v1", "ConfigMap", "coredns") | {"data": {"Corefile": _COREFILE}}),
        (f"{core}/services/kube-dns", _service()),
        (f"{apps}/deployments/coredns", _deployment(coredns)),
    ]


def _object(version: str, kind: str, name: str, labels: Mapping[str, str] | None = None) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": _NAMESPACE}
    if labels:
        metadata["labels"] = dict(labels)
    return {"apiVersion": version, "kind": kind, "metadata": metadata}


def _storage_class() -> dict[str, Any]:
    default = {"storageclass.kubernetes.io/is-default-class": "true"}
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": STORAGE_CLASS, "annotations": default},
        "provisioner": "kubernetes.io/no-provisioner",
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
    }


def _role() -> dict[str, Any]:
    verbs = ["list", "watch"]
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "system:coredns"},
        "rules": [
            {"apiGroups": [""], "resources": ["services", "namespaces"], "verbs": verbs},
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": verbs},
        ],
    }


def _binding() -> dict[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "system:coredns"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:coredns"},
        "subjects": [{"kind": "ServiceAccount", "name": "coredns", "namespace": _NAMESPACE}],
    }


def _service() -> dict[str, Any]:
    ports = [
        {"name": name, "port": 53, "protocol": protocol, "targetPort": _DNS_PORT}
        for name, protocol in (("dns", "UDP"), ("dns-tcp", "TCP"))
    ]
    spec = {"clusterIP": DNS_ADDRESS, "ports": ports, "selector": _LABELS}
    return _object("v1", "Service", "kube-dns", _LABELS) | {"spec": spec}


def _deployment(image: str) -> dict[str, Any]:
    container = {
        "name": "coredns",
        "image": image,
        "args": ["-conf", "/etc/coredns/Corefile"],
        "livenessProbe": {"httpGet": {"path": "/health", "port": 8080}, "periodSeconds": 10, "failureThreshold": 6},
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"memory": "170Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [{"name": "configuration", "mountPath": "/etc/coredns", "readOnly": True}],
    }
    pod = {
        "containers": [container],
        "dnsPolicy": "Default",
        "priorityClassName": "system-cluster-critical",
        "serviceAccountName": "coredns",
        "volumes": [{"name": "configuration", "configMap": {"name": "coredns"}}],
    }
    spec = {
        "replicas": 1,
        "selector": {"matchLabels": _LABELS},
        "template": {"metadata": {"labels": _LABELS}, "spec": pod},
    }
    return _object("apps/v1", "Deployment", "coredns", _LABELS) | {"spec": spec}
