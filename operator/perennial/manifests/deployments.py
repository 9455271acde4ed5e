"""Whether a slot's pods are what they should be, and what keeps them from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from perennial.manifests.manifest import Manifest, name_of
from perennial.manifests.pods import SHORTAGES, Trouble, refusal, trouble
from perennial.terms import reasons
from perennial.terms.names import SLOT_LABEL, VERSION_LABEL


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """How far a Deployment is.

    `since`: when the controllers knew of it at the earliest; None while they do not know of it as it should be.
    """

    since: datetime | None = None
    ready: bool
    ready_replicas: int
    reason: str
    message: str


def rollout(deployment: Manifest | None, pods: Sequence[Manifest], *, version: str | None = None) -> Rollout:
    """Judge a Deployment: ready when every replica of the newest template is, and none of an older one is left.

    Args:
        deployment: as observed, or None.
        pods: its ModelDeployment's pods, in any order; those of other Deployments are passed over.
        version: the version that the pods must be of; None for those that have none.
    """
    if deployment is None:
        return Rollout(
            ready=False, ready_replicas=0, reason=reasons.STARTING, message="The Deployment is not there yet."
        )
    status, spec = deployment.get("status", {}), deployment["spec"]
    template = spec["template"]["metadata"].get("labels", {})
    current = version is None or template.get(VERSION_LABEL) == version
    seen = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    since = datetime.fromisoformat(deployment["metadata"]["creationTimestamp"]) if current and seen else None
    replicas, ready = spec.get("replicas", 1), status.get("readyReplicas", 0) if current else 0
    if (
        current
        and seen
        and status.get("updatedReplicas", 0) >= replicas
        and ready >= replicas
        and status.get("replicas", 0) <= status.get("updatedReplicas", 0)
    ):
        said = f"{ready} of {replicas} pods are ready."
        return Rollout(since=since, ready=True, ready_replicas=ready, reason=reasons.READY, message=said)
    count = f"{ready} of {replicas} pods are ready."
    found = (_trouble(deployment, pods, version) if current else None) or Trouble(
        reason=reasons.STARTING, message=count
    )
    return Rollout(since=since, ready=False, ready_replicas=ready, reason=found.reason, message=found.message)


def _trouble(deployment: Manifest, pods: Sequence[Manifest], version: str | None) -> Trouble | None:
    """Return what a pod waits for or died of, or why pods may not be created.

    What is the pods' own comes first: where some fail, it does not matter that others find no room.
    """
    found = [said for pod in sorted(pods, key=name_of) if _is_of(pod, deployment, version) and (said := trouble(pod))]
    refused = [
        refusal(condition.get("message", ""))
        for condition in deployment.get("status", {}).get("conditions", ())
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True"
    ]
    own = [each for each in found if each.reason not in SHORTAGES]
    return next(iter((*own, *refused, *found)), None)


def _is_of(pod: Manifest, deployment: Manifest, version: str | None) -> bool:
    labels = pod["metadata"].get("labels", {})
    wanted = deployment["spec"]["selector"]["matchLabels"].items()
    return wanted <= labels.items() and (version is None or labels.get(VERSION_LABEL) == version)


def ready_addresses(pods: Sequence[Manifest], slot: str, version: str) -> tuple[str, ...]:
    """Return the addresses of a slot's pods of one version that take requests, sorted."""
    wanted = {SLOT_LABEL: slot, VERSION_LABEL: version}.items()
    return tuple(
        sorted(
            pod["status"]["podIP"]
            for pod in pods
            if wanted <= pod["metadata"].get("labels", {}).items()
            and not pod["metadata"].get("deletionTimestamp")
            and pod.get("status", {}).get("podIP")
            and any(
                item["type"] == "Ready" and item["status"] == "True" for item in pod["status"].get("conditions", ())
            )
        )
    )
