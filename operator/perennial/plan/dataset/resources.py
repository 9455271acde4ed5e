"""The children of a Dataset."""

from typing import Any

from perennial.api.messages.check import CheckRequest
from perennial.manifests.build import claim, claim_volume, container, env, job, literal, pod, resources
from perennial.plan.dataset.observe import DatasetSeen
from perennial.terms.kube import Resources
from perennial.terms.names import snapshots_claim

COMPONENT = "dataset-check"
CHECK_SECONDS = 3600


def desired_snapshots(seen: DatasetSeen) -> dict[str, Any]:
    """Return the volume that keeps every version's files."""
    snapshots = seen.spec.snapshots
    return claim(
        snapshots_claim(seen.owner.name),
        seen.owner,
        "snapshots",
        size=snapshots.size,
        access_mode=snapshots.access_mode.value,
        storage_class=snapshots.storage_class_name,
    )


def source_of(uri: str) -> tuple[str, str]:
    """Return the claim and the folder of a `pvc://CLAIM/FOLDER`."""
    name, _, folder = uri.removeprefix("pvc://").partition("/")
    return name, folder.strip("/")


def desired_check(seen: DatasetSeen) -> dict[str, Any]:
    """Return the Job that looks at the source, copies what is new and reports what it found."""
    source, folder = source_of(seen.spec.source.uri)
    request = CheckRequest(
        dataset=seen.owner.name,
        format=seen.spec.source.format,
        schema_=seen.spec.schema_,
        expectations=seen.spec.expectations,
    )
    check = container(
        "check",
        seen.settings.server_image,
        pull_policy=seen.settings.image_pull_policy,
        command=["python3", "-m", "perennial.worker", "check"],
        args=[
            "--source",
            literal(f"/source/{folder}".rstrip("/")),
            "--snapshots",
            "/snapshots",
            "--spec",
            "$(PERENNIAL_DATASET)",
        ],
        env=env({"PERENNIAL_DATASET": request.written()}),
        mounts={"snapshots": "/snapshots"},
        read_only_mounts={"source": "/source"},
        resources=resources(Resources(), cpu="100m", memory="256Mi", memory_limit="2Gi"),
    )
    spec = pod(
        containers=[check],
        volumes=[
            claim_volume("source", source, read_only=True),
            claim_volume("snapshots", snapshots_claim(seen.owner.name)),
        ],
    )
    return job(seen.check_name, seen.owner, COMPONENT, pod_spec=spec, retry_limit=1, deadline_seconds=CHECK_SECONDS)
