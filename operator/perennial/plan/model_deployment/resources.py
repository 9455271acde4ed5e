"""The children of a ModelDeployment."""

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from perennial.api.model_deployment import Deployed, Retraining
from perennial.manifests.build import Owner, child, claim, claim_volume, container, env, hashed, labels, pod, resources
from perennial.plan.model_deployment.observe import SLOTS, ModelDeploymentSeen, registered_as
from perennial.plan.model_deployment.router import bootstrap, token_secret
from perennial.plan.model_deployment.trust import TOKEN_FILE, TOKEN_MOUNT, token_volume, trust
from perennial.plan.observed import Issuer
from perennial.terms.kube import EnvVar, Resources
from perennial.terms.names import API_VERSION
from perennial.terms.words import Slot

ROUTER_REPLICAS = 2
SERVER_PORT = 8080
ROUTER_PORT = 8000
STATS_PORT = 9902
COLLECTOR_PORT = 9900
DRAIN = (
    "import time, urllib.request; "
    "urllib.request.urlopen('http://127.0.0.1:9901/healthcheck/fail', data=b'', timeout=2); time.sleep(6)"
)
"""Envoy answers "draining" to its readiness probe before it stops, so that nobody is sent to it any more."""


def selector(owner: Owner, component: str, **more: str) -> dict[str, str]:
    """Return the labels that tell a child's pods from all others."""
    return {
        key: value for key, value in labels(owner, component, **more).items() if key != "app.kubernetes.io/managed-by"
    }


def service(
    name: str, owner: Owner, component: str, *, port: int, target: int, headless: bool = False, **more: str
) -> dict[str, Any]:
    """Return a Service. A headless one lists its pods; that of the routers also those that are not ready."""
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
    **more: Any,
) -> dict[str, Any]:
    """Return a Deployment. `slot` and `version` in `more` become labels, `annotations` go to the pods."""
    annotations = more.pop("annotations", None)
    version = more.pop("version", None)
    made = child("apps/v1", "Deployment", name, owner, component, **more)
    pod_labels = labels(owner, component, **more) | ({"perennial.dev/version": version} if version else {})
    made["spec"] = {
        "replicas": replicas,
        "revisionHistoryLimit": 2,
        "selector": {"matchLabels": selector(owner, component, **more)},
        "strategy": dict(strategy),
        "template": {
            "metadata": {"labels": pod_labels, **({"annotations": annotations} if annotations else {})},
            "spec": dict(pod_spec),
        },
    }
    return made


def _probe(path: str, port: int, *, period: int, failures: int, timeout: int = 2) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": port, "scheme": "HTTP"},
        "periodSeconds": period,
        "timeoutSeconds": timeout,
        "failureThreshold": failures,
    }


def desired_slot(seen: ModelDeploymentSeen, deployed: Deployed, replicas: int) -> dict[str, Any]:
    """Return the Deployment of a slot: fetch and verify the model, then serve it."""
    owner, settings = seen.owner, seen.settings
    server, model = deployed.server, seen.spec.model.name
    fetch = container(
        "model",
        server.fetch_image,
        pull_policy=settings.image_pull_policy,
        command=["python3", "-m", "perennial.worker", "fetch-model"],
        args=[
            *("--model", registered_as(deployed, seen.spec), "--version", deployed.model_version),
            *(("--digest", deployed.digest) if deployed.digest else ()),
            *("--to", "/models"),
        ],
        env=env({"MLFLOW_TRACKING_URI": settings.mlflow_url}),
        mounts={"model": "/models"},
        resources=resources(Resources(), cpu="100m", memory="256Mi", memory_limit="2Gi"),
    )
    values = {
        "MODEL_DIR": "/models",
        "MODEL_NAME": model,
        "MODEL_VERSION": deployed.model_version,
        "PORT": str(SERVER_PORT),
        "PERENNIAL_VERSION": deployed.version,
        "PERENNIAL_COLLECTOR": f"http://{owner.name}-collector.{owner.namespace}.svc.{settings.cluster_domain}:{COLLECTOR_PORT}",
        "PERENNIAL_WARMUP": str(server.warmup.requests),
    }
    if server.collector_token:
        values["PERENNIAL_COLLECTOR_TOKEN"] = TOKEN_FILE
    serve = container(
        "server",
        server.image,
        pull_policy=settings.image_pull_policy,
        command=["python3", "-m", "perennial.server"] if server.serves_itself else server.command,
        args=server.args,
        env=env(values, tuple(EnvVar(name=item.name, value=item.value) for item in server.env)),
        read_only_mounts={"model": "/models", **({"token": TOKEN_MOUNT} if server.collector_token else {})},
        resources=resources(server.resources, cpu="200m", memory="512Mi", memory_limit="2Gi"),
        ports=[{"name": "http", "containerPort": SERVER_PORT, "protocol": "TCP"}],
        readinessProbe=_probe("/v2/health/ready", SERVER_PORT, period=1, failures=3),
        livenessProbe=_probe("/v2/health/live", SERVER_PORT, period=10, failures=6),
        startupProbe=_probe("/v2/health/live", SERVER_PORT, period=1, failures=600),
        lifecycle={"preStop": {"sleep": {"seconds": 5}}},
    )
    return deployment(
        f"{owner.name}-{deployed.slot}",
        owner,
        "server",
        replicas=replicas,
        pod_spec=pod(
            containers=[serve],
            init_containers=[fetch],
            volumes=[{"name": "model", "emptyDir": {}}, *([token_volume(owner)] if server.collector_token else [])],
            grace_seconds=60,
        ),
        strategy={"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        slot=deployed.slot,
        version=deployed.version,
    )


def desired_router(seen: ModelDeploymentSeen, stable: Slot) -> tuple[dict[str, Any], ...]:
    """Return the router's ConfigMap, Deployment and Services.

    The bootstrap's safe weights follow the stable slot, but only a change of its structure restarts the routers: one
    that restarts for any other reason reads the newest file.
    """
    owner, settings = seen.owner, seen.settings
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
            {"name": "http", "containerPort": ROUTER_PORT, "protocol": "TCP"},
            {"name": "stats", "containerPort": STATS_PORT, "protocol": "TCP"},
        ],
        readinessProbe=_probe("/ready", STATS_PORT, period=1, failures=2),
        livenessProbe=_probe("/stats/prometheus?usedonly&filter=server.live", STATS_PORT, period=10, failures=6),
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
        annotations={"perennial.dev/structure": structure},
    )
    stats = service(f"{owner.name}-routers", owner, "router", port=STATS_PORT, target=STATS_PORT, headless=True)
    stats["spec"]["publishNotReadyAddresses"] = True
    return (
        config,
        routers,
        service(owner.name, owner, "router", port=80, target=ROUTER_PORT),
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


def desired_collector(
    seen: ModelDeploymentSeen, issuer: Issuer, versions: Iterable[Deployed]
) -> tuple[dict[str, Any], ...]:
    """Return the collector's volume, ConfigMap, Deployment and Service.

    The ConfigMap says whom it believes. A change there restarts nothing: the kubelet brings the file, and it is read
    again.
    """
    owner, settings = seen.owner, seen.settings
    name = f"{owner.name}-collector"
    config = child("v1", "ConfigMap", name, owner, "collector")
    believed = trust(owner, seen.spec, versions, issuer, settings.operator_user)
    config["data"] = {"trust.json": json.dumps(believed.model_dump(mode="json"), indent=1, sort_keys=True)}
    collector = container(
        "collector",
        settings.operator_image,
        pull_policy=settings.image_pull_policy,
        command=["python3", "-m", "perennial.collector"],
        args=[
            *("--database", "/data/collector.sqlite", "--port", str(COLLECTOR_PORT)),
            *("--trust", "/etc/perennial/trust.json"),
            *("--routers", f"{owner.name}-routers.{owner.namespace}.svc.{settings.cluster_domain}:{STATS_PORT}"),
        ],
        mounts={"data": "/data"},
        read_only_mounts={"trust": "/etc/perennial"},
        resources=resources(Resources(), cpu="100m", memory="192Mi", memory_limit="1Gi"),
        ports=[{"name": "http", "containerPort": COLLECTOR_PORT, "protocol": "TCP"}],
        readinessProbe=_probe("/readyz", COLLECTOR_PORT, period=2, failures=3),
        livenessProbe=_probe("/healthz", COLLECTOR_PORT, period=10, failures=6, timeout=5),
    )
    believing = {"name": "trust", "configMap": {"name": name}}
    return (
        config,
        claim(name, owner, "collector", size=str(seen.spec.storage), access_mode="ReadWriteOnce", storage_class=None),
        deployment(
            name,
            owner,
            "collector",
            replicas=1,
            pod_spec=pod(containers=[collector], volumes=[claim_volume("data", name), believing]),
            strategy={"type": "Recreate"},
        ),
        service(name, owner, "collector", port=COLLECTOR_PORT, target=COLLECTOR_PORT),
    )


def desired_run(owner: Owner, retraining: Retraining, name: str) -> dict[str, Any]:
    """Return the TrainingRun of a retraining."""
    return {**child(API_VERSION, "TrainingRun", name, owner, "retraining"), "spec": retraining.template.json_data()}
