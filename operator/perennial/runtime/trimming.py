"""What the cache keeps of an object: all that a planner may look at, and no more.

Most of the operator's memory is this cache: with a thousand TrainingRuns it has two thousand Jobs and as many pods,
each of which is 50 KiB as Python objects. Nine tenths of that are what nobody reads, and words that come again and
again.
"""

import sys
from collections.abc import Mapping
from typing import Any, Final

from perennial.manifests.manifest import Manifest

_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_WORD: Final = 24
"""Longer texts hardly ever come twice."""
_JOB_STATUS: Final = frozenset({"conditions", "startTime", "completionTime"})


def trimmed(manifest: Manifest) -> Manifest:
    """Return an object without what nobody reads; the object itself is not changed.

    Of all: who manages which field, and kubectl's copy of the manifest. Of a pod: its spec. Of a Job: its template, and
    the counts in its status, which change with each of its pods. Words that all objects have are in memory once.
    """
    kept = {**manifest, "metadata": _metadata(manifest["metadata"])}
    match manifest.get("kind"):
        case "Pod":
            kept.pop("spec", None)
        case "Job":
            kept["spec"] = {name: value for name, value in kept.get("spec", {}).items() if name != "template"}
            kept["status"] = {name: value for name, value in kept.get("status", {}).items() if name in _JOB_STATUS}
    return {sys.intern(name): _shared(value) for name, value in kept.items()}


def _shared(value: Any) -> Any:
    if isinstance(value, dict):
        return {sys.intern(name): _shared(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_shared(inner) for inner in value]
    return sys.intern(value) if type(value) is str and len(value) <= _WORD else value


def same(one: Manifest, other: Manifest) -> bool:
    """Return whether two trimmed states of an object are equal for every planner: all but the resourceVersion is."""
    if one.keys() != other.keys() or any(one[part] != other[part] for part in one if part != "metadata"):
        return False
    mine, its = one["metadata"], other["metadata"]
    return mine.keys() == its.keys() and all(mine[name] == its[name] for name in mine if name != "resourceVersion")


def _metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in metadata.items() if name != "managedFields"}
    if _LAST_APPLIED in kept.get("annotations", {}):
        kept["annotations"] = {name: text for name, text in kept["annotations"].items() if name != _LAST_APPLIED}
    return kept
