"""What all children of a ModelDeployment have: Deployments, Services and probes as they are made here."""

from collections.abc import Mapping
from typing import Any

from perennial.manifests.build import Owner, child, labels
from perennial.terms.words import Slot


def selector(owner: Owner, component: str, **more: str) -> dict[str, str]:
    """Return the labels that tell a child's pods from all others."""
    return {
        key: value for key, value in labels(owner, component, **more).items() if key != "app.kubernetes.io/managed-by"
    }


def service(
    name: str,
    owner: Owner,
    component: str,
    *,
    port: int,
    target: int,
    headless: bool = False,
    slot: Slot | None = None,
) -> dict[str, Any]:
    """Return a Service. A headless one lists its pods; that of the routers also those that are not ready."""
    more = {"slot": slot} if slot is not None else {}
    made = child("v1", "Service", name, owner, component, **more)
    made["spec"] = {
        "selector": selector(owner, component, **more),
        "ports": [{"name": "http", "port": port, "targetPort": target, "protocol": "TCP"}],
        **({"clusterIP": "None"} if headless else {}),
    }
    return made


def deployment(
    name: str,
    owner: Owner,
    component: str,
    *,
    replicas: int,
    pod_spec: Mapping[str, Any],
    strategy: Mapping[str, Any],
    slot: Slot | None = None,
    version: str | None = None,
    annotations: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return a Deployment.

    Args:
        name: of the Deployment.
        owner: the ModelDeployment.
        component: what its pods are.
        replicas: how many pods.
        pod_spec: what they are made of.
        strategy: how they are replaced.
        slot: the slot that it serves, if it does; its pods are told from the other slot's by it.
        version: the version that its pods run, if any; no part of the selector, which can't be changed.
        annotations: of its pods.
    """
    more = {"slot": slot} if slot is not None else {}
    made = child("apps/v1", "Deployment", name, owner, component, **more)
    pod_labels = labels(owner, component, **more, **({"version": version} if version is not None else {}))
    made["spec"] = {
        "replicas": replicas,
        "revisionHistoryLimit": 2,
        "selector": {"matchLabels": selector(owner, component, **more)},
        "strategy": dict(strategy),
        "template": {
            "metadata": {"labels": pod_labels, **({"annotations": dict(annotations)} if annotations else {})},
            "spec": dict(pod_spec),
        },
    }
    return made


def probe(path: str, port: int, *, period: int, failures: int, timeout: int = 2) -> dict[str, Any]:
    """Return a probe by HTTP: every `period` seconds, failed after so many `failures`."""
    return {
        "httpGet": {"path": path, "port": port, "scheme": "HTTP"},
        "periodSeconds": period,
        "timeoutSeconds": timeout,
        "failureThreshold": failures,
    }
