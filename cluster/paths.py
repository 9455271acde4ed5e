"""Where things are kept: caches that survive everything, and one state directory for each cluster.

Nothing is ever written into the repository but ``build/``.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from cluster.errors import ClusterError

REPOSITORY = Path(__file__).resolve().parent.parent
DEFAULT_NAME = "perennial"
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")


def cache_directory() -> Path:
    """Return the directory for what is expensive to make and the same for every checkout (binaries, image layers)."""
    return _base("XDG_CACHE_HOME", ".cache")


def state_directory() -> Path:
    """Return the directory that holds one directory for each cluster."""
    return _base("XDG_STATE_HOME", ".local/state")


def _base(variable: str, fallback: str) -> Path:
    value = os.environ.get(variable, "")
    root = Path(value) if value.startswith("/") else Path.home() / fallback
    return root / "perennial"


@dataclass(frozen=True, slots=True)
class ClusterPaths:
    """The files of one cluster. Two clusters with different names share nothing that either of them writes.

    Attributes:
        name: The cluster's name: lower case letters, digits and dashes.
        root: The state directory; ``down`` removes it.
    """

    name: str
    root: Path

    @classmethod
    def of(cls, name: str) -> "ClusterPaths":
        """Return the paths of the cluster with this name.

        Raises:
            ClusterError: The name can't be used in paths, cgroups and host names.
        """
        if not _NAME.fullmatch(name):
            raise ClusterError(
                f"A cluster's name must be 1 to 40 lower case letters, digits or inner dashes, and '{name}' is not."
            )
        return cls(name=name, root=state_directory() / name)

    @property
    def lock(self) -> Path:
        """Held by whoever starts or stops the cluster. Beside the state directory, because ``down`` removes that."""
        return self.root.parent / f".{self.name}.lock"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig, for use on the host."""
        return self.root / "kubeconfig"

    @property
    def provider(self) -> Path:
        """The name of the provider that started the cluster."""
        return self.root / "provider"

    @property
    def logs(self) -> Path:
        """One log file for each process."""
        return self.root / "logs"

    @property
    def audit_log(self) -> Path:
        """The API server's audit log: one JSON event a line."""
        return self.root / "audit" / "audit.log"

    @property
    def images(self) -> Path:
        """Containerd's root. In the cache: images that were loaded once need not be loaded again after ``down``."""
        return cache_directory() / "containerd" / self.name
