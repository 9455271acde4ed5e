"""Chooses who provides the cluster: what started it, what ``CLUSTER`` asks for, or the first that works here."""

import os

from cluster.current import CurrentCluster
from cluster.errors import ClusterError
from cluster.kind import KindCluster
from cluster.loading import Provider
from cluster.local import LocalCluster
from cluster.paths import ClusterPaths

_BY_NAME: dict[str, type[LocalCluster] | type[KindCluster] | type[CurrentCluster]] = {
    "local": LocalCluster,
    "kind": KindCluster,
    "current": CurrentCluster,
}
# The user's own cluster is never a default: installing things into it must be asked for.
_AUTOMATIC = ("kind", "local")


def choose(paths: ClusterPaths) -> Provider:
    """Return the provider to start a cluster with, and remember the choice for as long as the cluster exists.

    Raises:
        ClusterError: None works on this machine, or ``CLUSTER`` asks for one that does not or that nobody knows.
    """
    wanted = os.environ.get("CLUSTER", "")
    if wanted and wanted not in _BY_NAME:
        raise ClusterError(f"CLUSTER must be one of {', '.join(_BY_NAME)}, and '{wanted}' is not.")
    started = _remembered(paths)
    if started is not None and wanted not in {"", started.provider}:
        raise ClusterError(
            f"The cluster {paths.name} was made by {started.provider}: stop it (`make cluster-down`) before you make "
            f"one with CLUSTER={wanted}."
        )
    if started is not None:
        return started
    obstacles = {name: _BY_NAME[name].obstacle() for name in ([wanted] if wanted else _AUTOMATIC)}
    for name, obstacle in obstacles.items():
        if obstacle is None:
            paths.provider.parent.mkdir(parents=True, exist_ok=True)
            paths.provider.write_text(f"{name}\n")
            return _BY_NAME[name](paths)
    reasons = "; ".join(f"CLUSTER={name}: {obstacle}" for name, obstacle in obstacles.items())
    raise ClusterError(f"No provider of a cluster works on this machine ({reasons}).")


def started(paths: ClusterPaths) -> Provider:
    """Return the provider that the cluster was started with; the local one when nobody knows."""
    return _remembered(paths) or LocalCluster(paths)


def _remembered(paths: ClusterPaths) -> Provider | None:
    if not paths.provider.exists():
        return None
    provider = _BY_NAME.get(paths.provider.read_text().strip())
    return None if provider is None else provider(paths)
