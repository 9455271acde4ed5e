"""The current provider: the cluster that the user's own kubeconfig points at. Used only when asked for by name."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from cluster import tools
from cluster.errors import ClusterError
from cluster.paths import ClusterPaths
from cluster.process import run
from cluster.progress import say


@dataclass(frozen=True, slots=True)
class CurrentCluster:
    """Somebody's cluster. It is neither started nor stopped, and it pulls images from a registry."""

    paths: ClusterPaths
    provider = "current"

    @staticmethod
    def obstacle() -> str | None:
        """Return what keeps this provider from working, or nothing."""
        return None if os.environ.get("REGISTRY") else "it needs REGISTRY, the name of a registry that it pulls from"

    @property
    def kubeconfig(self) -> Path:
        """The user's kubeconfig, reduced to the current context."""
        return self.paths.kubeconfig

    def up(self) -> None:
        """Check that the cluster answers, and keep a copy of its context.

        Raises:
            ClusterError: It does not answer.
        """
        kubectl = tools.kubectl()
        run([kubectl, "version"], because="The cluster of your current kubectl context must answer")
        reduced = run([kubectl, "config", "view", "--minify", "--flatten"], because="Reading your kubeconfig failed")
        self.paths.root.mkdir(parents=True, exist_ok=True)
        self.kubeconfig.touch(mode=0o600)
        self.kubeconfig.write_text(reduced)
        say(f"Using your current context: export KUBECONFIG={self.kubeconfig}")

    def down(self) -> None:
        """Forget the cluster, which stays as it is."""
        shutil.rmtree(self.paths.root, ignore_errors=True)

    def status(self) -> str:
        """Return one line."""
        return f"{self.paths.name}: your current kubectl context"

    def references(self) -> set[str]:
        """Return nothing, because nobody knows."""
        return set()

    def load(self, write: Callable[[IO[bytes]], None]) -> None:
        """Refuse: images get there through a registry."""
        del write
        raise ClusterError("CLUSTER=current takes no image archives: it pulls from your registry.")


def registry() -> str:
    """Return the registry that the user's cluster pulls images from.

    Raises:
        ClusterError: Nobody said which.
    """
    name = os.environ.get("REGISTRY", "").rstrip("/")
    if not name:
        raise ClusterError(
            "CLUSTER=current needs REGISTRY, for example REGISTRY=registry.example.com/perennial: the images are built "
            "with Docker and pushed there, and your cluster pulls them."
        )
    return name
