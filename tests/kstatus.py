"""What `flux`, `kapp`, `kpt` and `cli-utils` take an object for: a port of kstatus for custom resources.

Source: sigs.k8s.io/cli-utils/pkg/kstatus/status, `Compute` in status.go with `checkGenericProperties` and
`checkGeneration` in generic.go, and the last look at `Ready`. The order of the questions is theirs. Left out are the
rules for built-in kinds.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

Object = Mapping[str, Any]


class Status(StrEnum):
    """What a tool that waits makes of it: goes on waiting, gives up, or goes on."""

    IN_PROGRESS = "InProgress"
    FAILED = "Failed"
    CURRENT = "Current"
    TERMINATING = "Terminating"


def kstatus(obj: Object) -> tuple[Status, str]:
    """Return the status of a custom resource and the message that goes with it."""
    if obj["metadata"].get("deletionTimestamp"):
        return Status.TERMINATING, "Resource scheduled for deletion"
    generation, observed = obj["metadata"].get("generation"), obj.get("status", {}).get("observedGeneration")
    # An object without one of the two is not held up by that: a status that was never written passes here.
    if generation is not None and observed is not None and observed != generation:
        told = f"{obj['kind']} generation is {generation}, but latest observed generation is {observed}"
        return Status.IN_PROGRESS, told
    return _of_conditions(obj.get("status", {}).get("conditions") or ())


def _of_conditions(conditions: Sequence[Object]) -> tuple[Status, str]:
    for condition in conditions:  # the first of the two that is true, in the order of the list
        if condition["type"] == "Reconciling" and condition["status"] == "True":
            return Status.IN_PROGRESS, condition.get("message", "")
        if condition["type"] == "Stalled" and condition["status"] == "True":
            return Status.FAILED, condition.get("message", "")
    for condition in conditions:
        if condition["type"] == "Ready" and condition["status"] == "True":
            return Status.CURRENT, "Resource is Ready"
        if condition["type"] == "Ready" and condition["status"] in {"False", "Unknown"}:
            return Status.IN_PROGRESS, condition.get("message", "")
    return Status.CURRENT, "Resource is current"
