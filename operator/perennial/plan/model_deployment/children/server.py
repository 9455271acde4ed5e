"""The pods of a slot: fetch and verify a model's version, then serve it."""

from typing import Any

from perennial.api.model_deployment import Deployed
from perennial.manifests.build import container, env, pod, resources
from perennial.plan.model_deployment.champion import registered_as
from perennial.plan.model_deployment.children.parts import deployment, probe
from perennial.plan.model_deployment.seen import ModelDeploymentSeen
from perennial.plan.model_deployment.trust import TOKEN_FILE, TOKEN_MOUNT, token_volume
from perennial.terms import names
from perennial.terms.kube import EnvVar, Resources
from perennial.terms.names import COLLECTOR_PORT, SERVER_PORT


def desired_slot(seen: ModelDeploymentSeen, deployed: Deployed, replicas: int) -> dict[str, Any]:
    """Return the Deployment of a slot: fetch and verify the model, then serve it."""
    owner, settings = seen.owner, seen.settings
    server, model = deployed.server, seen.spec.model.name
    fetch = container(
        names.FETCH,
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
        readinessProbe=probe("/v2/health/ready", SERVER_PORT, period=1, failures=3),
        livenessProbe=probe("/v2/health/live", SERVER_PORT, period=10, failures=6),
        startupProbe=probe("/v2/health/live", SERVER_PORT, period=1, failures=600),
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
