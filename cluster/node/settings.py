"""The node's constants and files, shared by the host's side and the inside."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cluster.control_plane import ControlPlaneSettings, Credentials
from cluster.paths import ClusterPaths
from cluster.pki import Pair

NAME = "node"
ADDRESS = "10.200.0.1"
APISERVER_PORT = 6443
POD_RANGE = "10.244.0.0/24"
DNS_ADDRESS = "10.96.0.10"
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"


def cgroup(cluster: str) -> str:
    """Return the name of a cluster's cgroup."""
    return f"perennial.{cluster}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """Everything that the node's first process must know.

    Attributes:
        paths: The cluster's files.
        binaries: The directory of Kubernetes' programs.
        cni: The directory of the CNI plugins.
        pause: The reference of the pause image.
        snapshotter: containerd's snapshotter, ``overlayfs`` or ``native``.
        credentials: The control plane's keys and certificates.
        kubelet: The kubelet's client certificate.
        scheduler: The scheduler's.
        proxy: kube-proxy's.
    """

    paths: ClusterPaths
    binaries: Path
    cni: Path
    pause: str
    snapshotter: str
    credentials: Credentials
    kubelet: Pair
    scheduler: Pair
    proxy: Pair

    @classmethod
    def create(cls, paths: ClusterPaths, *, binaries: Path, cni: Path, pause: str, snapshotter: str) -> Self:
        """Make the settings, and the certificates that are missing."""
        credentials = Credentials.create(paths.root / "pki", [f"IP:{ADDRESS}", "DNS:node"])
        authority = credentials.authority
        return cls(
            paths=paths,
            binaries=binaries,
            cni=cni,
            pause=pause,
            snapshotter=snapshotter,
            credentials=credentials,
            kubelet=authority.issue("kubelet", user=f"system:node:{NAME}", group="system:nodes"),
            scheduler=authority.issue("scheduler", user="system:kube-scheduler"),
            proxy=authority.issue("proxy", user="system:kube-proxy"),
        )

    @property
    def control_plane(self) -> ControlPlaneSettings:
        """The settings of etcd, the API server and the controller manager."""
        return ControlPlaneSettings(
            binaries=self.binaries,
            data=self.paths.root / "etcd",
            audit_log=self.paths.audit_log,
            audit_policy=self.paths.root / "audit" / "policy.json",
            credentials=self.credentials,
            advertise=ADDRESS,
            bind="0.0.0.0",  # noqa: S104  inside namespaces that no packet leaves
            port=APISERVER_PORT,
            etcd_port=2379,
            etcd_peer_port=2380,
        )

    @property
    def volumes(self) -> Path:
        """The directory of the volumes' directories."""
        return self.paths.root / "volumes"
