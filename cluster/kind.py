"""The kind provider: a cluster in Docker containers, for machines that have Docker and kind."""

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from cluster import docker, kubernetes
from cluster.errors import ClusterError
from cluster.paths import REPOSITORY, ClusterPaths
from cluster.process import exclusive, run
from cluster.progress import say, step

_CONFIGURATION = REPOSITORY / "kind-config.yaml"


@dataclass(frozen=True, slots=True)
class KindCluster:
    """A kind cluster, with a kubeconfig of its own."""

    paths: ClusterPaths
    provider = "kind"

    @staticmethod
    def obstacle() -> str | None:
        """Return what keeps this provider from working on this machine, or nothing."""
        missing = [program for program in ("docker", "kind") if shutil.which(program) is None]
        if missing:
            return f"it needs {' and '.join(missing)}"
        if not docker.answers():
            return "it needs a Docker engine that answers `docker info`"
        return None

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.paths.kubeconfig

    def up(self) -> None:
        """Create the cluster, unless it is there, and wait until it is ready."""
        with exclusive(self.paths.lock):
            self.paths.root.mkdir(parents=True, exist_ok=True)
            name = ["--name", self.paths.name, "--kubeconfig", str(self.kubeconfig)]
            if self._exists():
                run(["kind", "export", "kubeconfig", *name], because="Asking kind for the kubeconfig failed")
            else:
                # kind brings its own version of Kubernetes, unless one is asked for.
                wanted = os.environ.get("KUBERNETES_VERSION")
                image = ["--image", f"kindest/node:v{kubernetes.version()}"] if wanted else []
                command = [
                    "kind",
                    "create",
                    "cluster",
                    *name,
                    "--config",
                    str(_CONFIGURATION),
                    "--wait",
                    "180s",
                    *image,
                ]
                with step(f"Cluster {self.paths.name}: creating it with kind (about 1 min)"):
                    run(command, because="kind could not create the cluster")
        say(f"Cluster {self.paths.name} is ready: export KUBECONFIG={self.kubeconfig}")

    def down(self) -> None:
        """Delete the cluster; nothing to do when there is none."""
        with exclusive(self.paths.lock):
            run(["kind", "delete", "cluster", "--name", self.paths.name], because="kind could not delete the cluster")
            shutil.rmtree(self.paths.root, ignore_errors=True)

    def status(self) -> str:
        """Return one line on whether the cluster is there."""
        state = f"running, kubeconfig {self.kubeconfig}" if self._exists() else "not running"
        return f"{self.paths.name}: kind, {state}"

    def references(self) -> set[str]:
        """Return the names of the images that the node has."""
        node = f"{self.paths.name}-control-plane"
        command = ["docker", "exec", node, "ctr", "--namespace=k8s.io", "images", "list", "--quiet"]
        return set(run(command, because="Listing the node's images failed").split())

    def load(self, write: Callable[[IO[bytes]], None]) -> None:
        """Import the OCI archive that ``write`` writes, into every node."""
        if not self._exists():
            raise ClusterError(f"The cluster {self.paths.name} must be running; start it with `make cluster`.")
        with tempfile.NamedTemporaryFile(suffix=".tar") as archive:
            write(archive.file)
            archive.file.flush()
            command = ["kind", "load", "image-archive", archive.name, "--name", self.paths.name]
            run(command, because="kind refused the archive")

    def _exists(self) -> bool:
        return (
            self.paths.name in run(["kind", "get", "clusters"], because="Asking kind for its clusters failed").split()
        )
