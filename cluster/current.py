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
        """Return nothing: whoever asks for it by name has it."""
        return None

    @property
    def kubeconfig(self) -> Path:
        """The user's kubeconfig, reduced to the current context."""
        return self.paths.kubeconfig

    def up(self) -> None:
        """Check that the cluster answers, and keep a copy of its context.

        Raises:
            ClusterError: It does not answer, or ``REGISTRY`` does not say where it can pull images from.
        """
        if not os.environ.get("REGISTRY"):
            raise ClusterError(
                "CLUSTER=current needs REGISTRY, the name of a registry that your cluster pulls from: build "
                "images/*/Containerfile, push them there and name them in build/images.json and build/images.yaml."
            )
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
        raise ClusterError("CLUSTER=current takes no image archives: push the images to REGISTRY instead.")
