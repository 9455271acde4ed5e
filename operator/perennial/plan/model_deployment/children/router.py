"""The routers: Envoys that share the requests out among the slots, and the Services around them."""

import json
from functools import lru_cache
from typing import Any

from perennial.manifests.build import Owner, child, container, hashed, pod, resources
from perennial.plan.model_deployment.children.parts import deployment, probe, service
from perennial.plan.model_deployment.router import bootstrap, token_secret
from perennial.plan.model_deployment.seen import SLOTS
from perennial.plan.model_deployment.trust import TOKEN_FILE, TOKEN_MOUNT, token_volume
from perennial.plan.observed import PlanSettings
from perennial.terms.kube import Resources
from perennial.terms.names import ADMIN_PORT, SERVER_PORT, SERVICE_PORT, STATISTICS_PORT, STRUCTURE, TRAFFIC_PORT
from perennial.terms.words import Slot

ROUTER_REPLICAS = 2
DRAIN = (
    "import time, urllib.request; "
    f"urllib.request.urlopen('http://127.0.0.1:{ADMIN_PORT}/healthcheck/fail', data=b'', timeout=2); time.sleep(6)"
)
"""Envoy answers "draining" to its readiness probe before it stops, so that nobody is sent to it any more."""


def desired_router(owner: Owner, settings: PlanSettings, stable: Slot) -> tuple[dict[str, Any], ...]:
    """Return the router's ConfigMap, Deployment and Services.

    The bootstrap's safe weights follow the stable slot, but only a change of its structure restarts the routers: one
    that restarts for any other reason reads the newest file.
    """
    config = child("v1", "ConfigMap", f"{owner.name}-router", owner, "router")
    text, structure = _router_file(owner.name, owner.namespace, stable, settings.cluster_domain)
    config["data"] = {"envoy.yaml": text, "token.json": json.dumps(token_secret(TOKEN_FILE), sort_keys=True)}
    envoy = container(
        "envoy",
        settings.router_image,
        pull_policy=settings.image_pull_policy,
        command=["envoy"],
        args=[
            *("--config-path", "/etc/envoy/envoy.yaml", "--concurrency", "1", "--disable-hot-restart"),
            *("--file-flush-interval-msec", "500", "--log-level", "warning"),
            *("--service-cluster", owner.name, "--service-node", "$(POD_NAME)"),
        ],
        env=[{"name": "POD_NAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}}],
        read_only_mounts={"config": "/etc/envoy", "token": TOKEN_MOUNT},
        resources=resources(Resources(), cpu="50m", memory="96Mi", memory_limit="512Mi"),
        ports=[
            {"name": "http", "containerPort": TRAFFIC_PORT, "protocol": "TCP"},
            {"name": "stats", "containerPort": STATISTICS_PORT, "protocol": "TCP"},
        ],
        readinessProbe=probe("/ready", STATISTICS_PORT, period=1, failures=2),
        livenessProbe=probe("/stats/prometheus?usedonly&filter=server.live", STATISTICS_PORT, period=10, failures=6),
        lifecycle={"preStop": {"exec": {"command": ["python3", "-c", DRAIN]}}},
    )
    routers = deployment(
        f"{owner.name}-router",
        owner,
        "router",
        replicas=ROUTER_REPLICAS,
        pod_spec=pod(
            containers=[envoy],
            volumes=[{"name": "config", "configMap": {"name": f"{owner.name}-router"}}, token_volume(owner)],
            grace_seconds=30,
        ),
        strategy={"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        annotations={STRUCTURE: structure},
    )
    stats = service(
        f"{owner.name}-routers", owner, "router", port=STATISTICS_PORT, target=STATISTICS_PORT, headless=True
    )
    stats["spec"]["publishNotReadyAddresses"] = True
    return (
        config,
        routers,
        service(owner.name, owner, "router", port=SERVICE_PORT, target=TRAFFIC_PORT),
        stats,
        *(
            service(
                f"{owner.name}-{slot}", owner, "server", port=SERVER_PORT, target=SERVER_PORT, headless=True, slot=slot
            )
            for slot in SLOTS
        ),
    )


@lru_cache(maxsize=4096)
def _router_file(name: str, namespace: str, stable: Slot, cluster_domain: str) -> tuple[str, str]:
    """Return the router's file and the hash of its structure. Kept: writing it was two thirds of a plan's time."""
    text = json.dumps(bootstrap(name, namespace, stable, cluster_domain=cluster_domain), indent=1, sort_keys=True)
    return text, hashed(bootstrap(name, namespace, "a", cluster_domain=cluster_domain))
