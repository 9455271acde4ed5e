"""Clusters of these tests' own: their state is in a temporary directory, their names are taken by nobody else."""

import os
from collections.abc import Callable, Iterator

import pytest
from local_cluster import Cluster

from cluster.paths import cache_directory
from cluster.process import exclusive


@pytest.fixture(scope="session")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Cluster]]:
    """A maker of clusters; those that run at the end are stopped."""
    if os.geteuid() != 0:
        pytest.skip("a local cluster needs root")
    state = tmp_path_factory.mktemp("state")
    environment = {**os.environ, "XDG_STATE_HOME": str(state), "CLUSTER": "local"}
    made: dict[str, Cluster] = {}

    def make(suffix: str) -> Cluster:
        return made.setdefault(suffix, Cluster(f"selftest-{suffix}", environment))

    # Cgroups and stores of images go by the cluster's name: one run of these tests at a time on a machine.
    with exclusive(cache_directory() / ".selftest.lock"):
        try:
            yield make
        finally:
            for cluster in made.values():
                cluster.must("down")
