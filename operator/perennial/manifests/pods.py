"""What ails a pod, or keeps it from being there: read from the pod, or from who should have made it.

The one place for it: Jobs, Deployments and `kubectl perennial why` say the same of the same.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from perennial.manifests.manifest import Manifest
from perennial.terms import names, reasons
from perennial.terms.text import clip

WAITING_REASONS: Mapping[str, str] = {
    "ErrImagePull": reasons.IMAGE_NOT_PULLED,
    "ImagePullBackOff": reasons.IMAGE_NOT_PULLED,
    "InvalidImageName": reasons.IMAGE_NOT_PULLED,
    "ErrImageNeverPull": reasons.IMAGE_NOT_PULLED,
    "CreateContainerConfigError": reasons.CONTAINER_NOT_CREATED,
    "CreateContainerError": reasons.CONTAINER_NOT_CREATED,
}
"""The kubelet's words for a container that can't start, and ours."""

CLAIM_MISSING = re.compile(r'persistentvolumeclaim "[^"]*" (?:not found|is being deleted)')
CLAIM_UNBOUND = re.compile(
    r"unbound immediate PersistentVolumeClaims|persistent volumes to bind|bound to non-existent persistentvolume"
)
"""How kube-scheduler says it: pkg/scheduler/framework/plugins/{volumebinding,volumezone}."""

OVER_QUOTA = re.compile(r"exceeded quota: |failed quota: ")
"""How the API server's admission says it: k8s.io/apiserver/pkg/admission/plugin/resourcequota."""

EACH_POD = re.compile(r'^pods "[^"]*" is forbidden: ')
"""How it begins: with the name of a pod that will never be, another one each time."""

REFUSALS = frozenset({reasons.QUOTA_EXCEEDED, reasons.PODS_REFUSED})
"""Reasons that pods are not there for."""

SHORTAGES = frozenset({*REFUSALS, reasons.NOT_SCHEDULED, reasons.REGISTRY_UNAVAILABLE})
"""Reasons that pods are not ready for which say nothing of what would run in them."""

UNAVAILABLE = 75
"""How Perennial's own containers end where a service that they need is not there (`perennial.worker.errors`)."""

STUCK = frozenset(
    {
        *WAITING_REASONS.values(),
        *REFUSALS,
        reasons.NOT_SCHEDULED,
        reasons.CLAIM_NOT_FOUND,
        reasons.CLAIM_NOT_BOUND,
    }
)
"""Reasons to wait that mostly need somebody's hand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What is the matter: a reason of ours, and a sentence with the words of whoever said it."""

    reason: str
    message: str


def trouble(pod: Manifest) -> Trouble | None:
    """Return what a pod waits for or died of, if it says."""
    return next((found for each in _containers(pod) if (found := _stuck(each) or _ended(each)) is not None), None) or (
        unplaced(pod)
    )


def waits(pod: Manifest | None) -> Trouble | None:
    """Return what a pod that should run waits for; None where it runs, or has."""
    if pod is None:
        return Trouble(reason=reasons.POD_PENDING, message="The pod is not there yet.")
    stuck = next((found for each in _containers(pod) if (found := _stuck(each)) is not None), None) or unplaced(pod)
    if stuck is not None:
        return stuck
    if pod.get("status", {}).get("phase", "Pending") == "Pending":
        return Trouble(reason=reasons.POD_PENDING, message="The pod is being prepared.")
    return None


def refusal(said: str) -> Trouble:
    """Return why pods may not be created, in the API server's own words.

    Whoever makes pods is told by admission: a ResourceQuota, a LimitRange, Pod Security, a webhook.
    """
    reason = reasons.QUOTA_EXCEEDED if OVER_QUOTA.search(said) else reasons.PODS_REFUSED
    return Trouble(reason=reason, message=clip(f"The pods may not be created: {EACH_POD.sub('', said)}", 1000))


def unplaced(pod: Manifest) -> Trouble | None:
    """Return why a pod has no node. The scheduler's words tell whether a claim is the reason."""
    for condition in pod.get("status", {}).get("conditions", ()):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            said = condition.get("message", "")
            if CLAIM_MISSING.search(said):
                return Trouble(reason=reasons.CLAIM_NOT_FOUND, message=f"The pod waits for a volume: {said}")
            if CLAIM_UNBOUND.search(said):
                return Trouble(reason=reasons.CLAIM_NOT_BOUND, message=f"The pod waits for a volume: {said}")
            return Trouble(reason=reasons.NOT_SCHEDULED, message=f"The pod waits for a node: {said}")
    return None


def _containers(pod: Manifest) -> Iterator[Mapping[str, Any]]:
    status = pod.get("status", {})
    yield from status.get("initContainerStatuses") or ()
    yield from status.get("containerStatuses") or ()


def _stuck(container: Mapping[str, Any]) -> Trouble | None:
    waiting = (container.get("state") or {}).get("waiting") or {}
    reason = WAITING_REASONS.get(waiting.get("reason", ""))
    if reason is None:
        return None
    why, image = waiting.get("message") or waiting["reason"], container.get("image") or "?"
    return Trouble(reason=reason, message=f"Container {container['name']} can't start with image {image}: {why}")


def _ended(container: Mapping[str, Any]) -> Trouble | None:
    now, before = container.get("state") or {}, container.get("lastState") or {}
    ended = now.get("terminated") or before.get("terminated") or {}
    if not ended.get("exitCode"):
        return None
    lines = (ended.get("message") or ended.get("reason") or "").strip().splitlines()
    said = lines[-1][:400] if lines else "it said nothing"
    message = f"Container {container['name']} ended with exit code {ended['exitCode']}: {said}"
    away = container["name"] == names.FETCH and ended["exitCode"] == UNAVAILABLE
    return Trouble(reason=reasons.REGISTRY_UNAVAILABLE if away else reasons.CONTAINER_FAILED, message=message)
