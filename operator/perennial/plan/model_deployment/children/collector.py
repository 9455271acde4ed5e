"""The collector: predictions, labels, evidence and the brake of one ModelDeployment."""

import json
from collections.abc import Iterable
from typing import Any

from perennial.api.model_deployment import Deployed
from perennial.manifests.build import child, claim, claim_volume, container, pod, resources
from perennial.plan.model_deployment.children.parts import deployment, probe, service
from perennial.plan.model_deployment.seen import ModelDeploymentSeen
from perennial.plan.model_deployment.trust import trust
from perennial.plan.observed import Issuer
from perennial.terms.kube import Resources
from perennial.terms.names import COLLECTOR_PORT, STATISTICS_PORT


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
            *("--routers", f"{owner.name}-routers.{owner.namespace}.svc.{settings.cluster_domain}:{STATISTICS_PORT}"),
        ],
        mounts={"data": "/data"},
        read_only_mounts={"trust": "/etc/perennial"},
        resources=resources(Resources(), cpu="100m", memory="192Mi", memory_limit="1Gi"),
        ports=[{"name": "http", "containerPort": COLLECTOR_PORT, "protocol": "TCP"}],
        readinessProbe=probe("/readyz", COLLECTOR_PORT, period=2, failures=3),
        livenessProbe=probe("/healthz", COLLECTOR_PORT, period=10, failures=6, timeout=5),
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
