"""How every child of Perennial's is made: its owner, its labels, and pods that pass Pod Security `restricted`."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from perennial.terms.kube import EnvVar, Resources
from perennial.terms.names import API_VERSION, GROUP, KIND_LABEL, NAME_LABEL

UID = 10001
"""The user and group of Perennial's images."""

MANAGED_BY = {"app.kubernetes.io/managed-by": "perennial"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The custom resource that children belong to."""

    kind: str
    namespace: str
    name: str
    uid: str


def hashed(*parts: object, length: int = 10) -> str:
    """Return a short hash of JSON data: equal data, equal names, on every machine."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:length]


def labels(owner: Owner, component: str, **more: str) -> dict[str, str]:
    """Return the labels of a child. None is copied from the owner: GitOps tools would take the child for their own."""
    return {
        **MANAGED_BY,
        "app.kubernetes.io/component": component,
        KIND_LABEL: owner.kind,
        NAME_LABEL: owner.name,
        **{f"{GROUP}/{key}": value for key, value in more.items()},
    }


def child(api_version: str, kind: str, name: str, owner: Owner, component: str, **more: str) -> dict[str, Any]:
    """Return a child without its spec: identity, labels and a controller owner reference."""
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": owner.namespace,
            "labels": labels(owner, component, **more),
            "ownerReferences": [
                {
                    "apiVersion": API_VERSION,
                    "kind": owner.kind,
                    "name": owner.name,
                    "uid": owner.uid,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
    }


def literal(text: str) -> str:
    """Return a text that a container sees as it is: Kubernetes expands `$(NAME)` and `$$` in arguments and values."""
    return text.replace("$", "$$")


def env(values: Mapping[str, str], extra: Sequence[EnvVar] = ()) -> list[dict[str, str]]:
    """Return environment variables; the user's come last and may use `$(NAME)` of ours, but never replace one."""
    own = [{"name": name, "value": literal(value)} for name, value in values.items()]
    return own + [{"name": item.name, "value": item.value} for item in extra if item.name not in values]


def resources(asked: Resources, *, cpu: str, memory: str, memory_limit: str) -> dict[str, Any]:
    """Return a container's resources: the user's, completed so that each pod has requests and a memory limit."""
    enough = asked.requests.get("memory", memory_limit)
    limits = {"memory": enough if _amount(enough) > _amount(memory_limit) else memory_limit} | asked.limits
    # Where there is a limit of the user's, it is also the default request, as Kubernetes itself has it.
    requests = {"cpu": cpu, "memory": memory} | asked.limits | asked.requests
    return {"requests": requests, "limits": limits}


def _amount(quantity: str) -> Decimal:
    """Return the number that a quantity (`500m`, `2Gi`, `1e3`) stands for."""
    number = quantity.rstrip("numkKMGTPEi")
    suffix = quantity[len(number) :]
    if suffix.endswith("i"):
        return Decimal(number) * Decimal(1024) ** (1 + "KMGTPE".index(suffix[0]))
    powers = {"": 0, "n": -3, "u": -2, "m": -1, "k": 1, "M": 2, "G": 3, "T": 4, "P": 5, "E": 6}
    return Decimal(number) * Decimal(1000) ** powers[suffix]


def container(
    name: str,
    image: str,
    *,
    pull_policy: str,
    command: Sequence[str] = (),
    args: Sequence[str] = (),
    env: Sequence[Mapping[str, Any]] = (),
    mounts: Mapping[str, str] | None = None,
    read_only_mounts: Mapping[str, str] | None = None,
    resources: Mapping[str, Any],
    **more: Any,
) -> dict[str, Any]:
    """Return a container that may write to its mounts alone. `mounts` maps volume names to paths."""
    volume_mounts: list[dict[str, Any]] = [
        {"name": volume, "mountPath": path} for volume, path in (mounts or {}).items()
    ]
    volume_mounts += [
        {"name": volume, "mountPath": path, "readOnly": True} for volume, path in (read_only_mounts or {}).items()
    ]
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": pull_policy,
        **({"command": list(command)} if command else {}),
        **({"args": list(args)} if args else {}),
        "env": list(env),
        "volumeMounts": [*volume_mounts, {"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - a path in the container
        "resources": dict(resources),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        **more,
    }


def pod(
    *,
    containers: Sequence[Mapping[str, Any]],
    init_containers: Sequence[Mapping[str, Any]] = (),
    volumes: Sequence[Mapping[str, Any]] = (),
    grace_seconds: int = 30,
    **more: Any,
) -> dict[str, Any]:
    """Return a pod spec that passes Pod Security `restricted` and carries no credentials of the cluster."""
    return {
        **({"initContainers": list(init_containers)} if init_containers else {}),
        "containers": list(containers),
        "volumes": [*volumes, {"name": "tmp", "emptyDir": {}}],
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": grace_seconds,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": UID,
            "runAsGroup": UID,
            "fsGroup": UID,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        **more,
    }


def claim_volume(name: str, claim: str, *, read_only: bool = False) -> dict[str, Any]:
    """Return a volume of a PersistentVolumeClaim."""
    source: dict[str, Any] = {"claimName": claim, **({"readOnly": True} if read_only else {})}
    return {"name": name, "persistentVolumeClaim": source}


def claim(
    name: str, owner: Owner, component: str, *, size: str, access_mode: str, storage_class: str | None
) -> dict[str, Any]:
    """Return a PersistentVolumeClaim."""
    return {
        **child("v1", "PersistentVolumeClaim", name, owner, component),
        "spec": {
            "accessModes": [access_mode],
            "resources": {"requests": {"storage": size}},
            **({"storageClassName": storage_class} if storage_class else {}),
        },
    }


def changed_job(live: Mapping[str, Any], **spec: Any) -> dict[str, Any]:
    """Return what changes some fields of a Job's spec; most others can't be changed any more."""
    metadata = {key: live["metadata"][key] for key in ("name", "namespace", "uid", "resourceVersion")}
    return {"apiVersion": live["apiVersion"], "kind": live["kind"], "metadata": metadata, "spec": spec}


def job(
    name: str,
    owner: Owner,
    component: str,
    *,
    pod_spec: Mapping[str, Any],
    retry_limit: int,
    deadline_seconds: int,
) -> dict[str, Any]:
    """Return a Job. Exit codes 64 (the spec is wrong) and 65 (the data is) are final, evictions are no failures."""
    made = child("batch/v1", "Job", name, owner, component)
    made["spec"] = {
        "backoffLimit": retry_limit,
        "activeDeadlineSeconds": deadline_seconds,
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {
            "rules": [
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [64, 65]}},
            ]
        },
        "template": {"metadata": {"labels": labels(owner, component)}, "spec": {**pod_spec, "restartPolicy": "Never"}},
    }
    return made
