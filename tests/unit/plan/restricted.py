"""Pod Security's `restricted` level, from https://kubernetes.io/docs/concepts/security/pod-security-standards/.

Only for Linux pods; every control of `baseline` and `restricted` that a pod spec can break is here.
"""

from collections.abc import Iterator, Mapping
from typing import Any

VOLUMES = {
    *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim"),
    *("projected", "secret"),
}
SYSCTLS = {"kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start"}
PROFILES = {"RuntimeDefault", "Localhost"}


def refusals(spec: Mapping[str, Any]) -> list[str]:
    """Return what the level forbids about a pod spec, a sentence each."""
    containers = [
        container
        for kind in ("initContainers", "containers", "ephemeralContainers")
        for container in spec.get(kind, ())
    ]
    found = list(_pod(spec))
    for container in containers:
        context = spec.get("securityContext", {}) | container.get("securityContext", {})
        found += [f"container {container['name']}: {reason}" for reason in _container(container, context)]
    return found


def _pod(spec: Mapping[str, Any]) -> Iterator[str]:
    for host in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(host):
            yield f"{host} must not be true"
    for volume in spec.get("volumes", ()):
        if kinds := set(volume) - {"name"} - VOLUMES:
            yield f"volume {volume['name']} must not be of type {kinds.pop()}"
    for sysctl in spec.get("securityContext", {}).get("sysctls", ()):
        if sysctl["name"] not in SYSCTLS:
            yield f"sysctl {sysctl['name']} must not be set"


def _container(container: Mapping[str, Any], context: Mapping[str, Any]) -> Iterator[str]:
    own = container.get("securityContext", {})
    capabilities = own.get("capabilities", {})
    controls = {
        "privileged must not be true": not own.get("privileged"),
        "allowPrivilegeEscalation must be false": own.get("allowPrivilegeEscalation") is False,
        "capabilities.drop must have ALL": "ALL" in capabilities.get("drop", ()),
        "capabilities.add may have NET_BIND_SERVICE only": {*capabilities.get("add", ())} <= {"NET_BIND_SERVICE"},
        "runAsNonRoot must be true": context.get("runAsNonRoot") is True,
        "runAsUser must not be 0": context.get("runAsUser") != 0,
        "seccompProfile must be set": (context.get("seccompProfile") or {}).get("type") in PROFILES,
        "procMount must be Default": context.get("procMount", "Default") == "Default",
        "ports must not be the host's": not any(port.get("hostPort") for port in container.get("ports", ())),
        "probes must not name a host": not any(
            container.get(probe, {}).get("httpGet", {}).get("host")
            for probe in ("livenessProbe", "readinessProbe", "startupProbe")
        ),
    }
    yield from (sentence for sentence, held in controls.items() if not held)
