"""kstatus' judgement of a custom resource, by which Flux, Helm and kpt know whether what they applied has arrived.

A port of `checkGenericProperties` and of the Ready condition's rule in `GetLegacyConditionsFn`'s absence:
https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/status (generic.go, core.go).
"""

from typing import Any, Literal

Status = Literal["InProgress", "Failed", "Current", "Terminating"]


def kstatus(seen: dict[str, Any]) -> Status:
    """Return the status of an object."""
    metadata, status = seen["metadata"], seen.get("status", {})
    if metadata.get("deletionTimestamp"):
        return "Terminating"
    if status.get("observedGeneration", metadata["generation"]) != metadata["generation"]:
        return "InProgress"
    conditions = status.get("conditions", [])
    for condition in conditions:
        if condition["type"] == "Reconciling" and condition["status"] == "True":
            return "InProgress"
        if condition["type"] == "Stalled" and condition["status"] == "True":
            return "Failed"
    ready = [condition["status"] for condition in conditions if condition["type"] == "Ready"]
    return "Current" if not ready or ready[0] == "True" else "InProgress"
