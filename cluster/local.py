"""The local provider: a node in namespaces of its own. Needs Linux and root, and nothing that runs beforehand."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from cluster import addons, debian, internal_images, kubernetes
from cluster.errors import ClusterError
from cluster.kubeconfig import write_for_certificate
from cluster.loading import load_image
from cluster.node.settings import CONTAINERD_SOCKET, NodeSettings
from cluster.node.supervisor import Supervisor
from cluster.oci import Image
from cluster.paths import ClusterPaths
from cluster.process import exclusive, last_lines, run
from cluster.progress import say, step
from cluster.rest import Api

_PROGRAMS = (
    "conntrack",
    "containerd",
    "ctr",
    "ip",
    "iptables",
    "mount",
    "nsenter",
    "openssl",
    "runc",
    "setpriv",
    "unshare",
)
_KERNEL_MODULES = ("overlay", "br_netfilter", "ip_tables", "nf_conntrack", "veth")
_CTR = ("ctr", "--namespace=k8s.io", f"--address={CONTAINERD_SOCKET}")
_READY_SECONDS = 180.0
# A store of images that grew beyond this is thrown away when a cluster starts afresh.
_STORE_LIMIT_BYTES = 16 << 30


@dataclass(frozen=True, slots=True)
class LocalCluster:
    """A cluster of one node, as one process tree on this machine."""

    paths: ClusterPaths
    provider = "local"

    @staticmethod
    def obstacle() -> str | None:
        """Return what keeps this provider from working on this machine, or nothing."""
        if sys.platform != "linux":
            return "it needs Linux"
        if os.geteuid() != 0:
            return "it needs root"
        return None

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.paths.kubeconfig

    @property
    def _supervisor(self) -> Supervisor:
        return Supervisor(self.paths)

    def up(self) -> None:
        """Start the cluster, unless it runs, and wait until it is ready.

        Raises:
            ClusterError: Something is missing, or it did not get ready; the message says what or quotes a log.
        """
        debian.require(_PROGRAMS, purpose="A local cluster")
        cni, binaries = debian.require_cni(), kubernetes.node_binaries()
        pause, coredns = internal_images.pause(), internal_images.coredns()
        with exclusive(self.paths.lock):
            running = self._supervisor.process() is not None
            if not running:
                self._supervisor.stop()
                self._prepare_machine()
            snapshotter = "" if running else self._snapshotter()
            settings = NodeSettings.create(
                self.paths, binaries=binaries, cni=cni, pause=pause.reference, snapshotter=snapshotter
            )
            with step(f"Cluster {self.paths.name}: {'checking' if running else 'starting'} it"):
                if not running:
                    self._supervisor.start(settings)
                self._become_ready(settings, pause, coredns)
        say(f"Cluster {self.paths.name} is ready: export KUBECONFIG={self.kubeconfig}")

    def down(self) -> None:
        """Stop the cluster and remove everything but its store of images; nothing to do when there is no cluster."""
        with exclusive(self.paths.lock):
            self._supervisor.stop()
            shutil.rmtree(self.paths.root, ignore_errors=True)

    def status(self) -> str:
        """Return one line on whether the cluster runs."""
        process = self._supervisor.process()
        if process is None:
            return f"{self.paths.name}: local, not running"
        return f"{self.paths.name}: local, running (first process {process}), kubeconfig {self.kubeconfig}"

    def references(self) -> set[str]:
        """Return the names of the images that the node has."""
        return set(run(self._inside(*_CTR, "images", "list", "--quiet"), because="Listing the images failed").split())

    def load(self, write: Callable[[IO[bytes]], None]) -> None:
        """Import an OCI archive.

        Args:
            write: Writes the archive to a file.

        Raises:
            ClusterError: The cluster does not run, or containerd refused the archive.
        """
        command = self._inside(*_CTR, "images", "import", "-")
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors)
            # A broken pipe: it refused before it had read all; the exit code and its message tell why.
            with process as importing, contextlib.suppress(BrokenPipeError):
                write(importing.stdin)  # type: ignore[arg-type]  # never None: it is a pipe
            if importing.returncode != 0:
                errors.seek(0)
                raise ClusterError(f"containerd refused the archive:\n{last_lines(errors.read().decode())}")

    def execute(self, command: Sequence[str]) -> int:
        """Run a command inside all of the node's namespaces and return its exit code."""
        everything = ["--net", "--pid", "--uts", "--ipc"]
        return subprocess.run(self._inside(*command, namespaces=everything), check=False).returncode

    def _become_ready(self, settings: NodeSettings, pause: Image, coredns: Image) -> None:
        supervisor, authority = self._supervisor, settings.credentials.authority.certificate
        api = Api(supervisor.url(), authority, settings.credentials.admin)
        supervisor.wait(api.ready, "the API server to answer", _READY_SECONDS)
        write_for_certificate(
            self.kubeconfig, server=api.url, authority=authority, pair=api.pair, name=f"perennial-{self.paths.name}"
        )
        supervisor.wait(self._containerd_answers, "containerd to answer", _READY_SECONDS)
        for image in (pause, coredns):
            load_image(self, image)
        addons.apply(api, coredns=coredns.reference)
        supervisor.wait(lambda: _node_ready(api), "the node to be ready", _READY_SECONDS)
        supervisor.wait(lambda: _dns_ready(api), "DNS to be ready", _READY_SECONDS)

    def _inside(self, *command: str, namespaces: Sequence[str] = ()) -> list[str]:
        process = self._supervisor.process()
        if process is None:
            raise ClusterError(f"The cluster {self.paths.name} must be running; start it with `make cluster`.")
        return ["nsenter", f"--target={process}", "--mount", "--root", *namespaces, "--", *command]

    def _containerd_answers(self) -> bool:
        return subprocess.run(self._inside(*_CTR, "version"), capture_output=True, check=False).returncode == 0

    def _prepare_machine(self) -> None:
        # Best effort: what is built into the kernel is no module, and what is really missing shows in the node's log.
        modprobe = debian.which("modprobe")
        for module in _KERNEL_MODULES if modprobe else ():
            subprocess.run([str(modprobe), "--quiet", module], capture_output=True, check=False)
        blobs = self.paths.images / "io.containerd.content.v1.content" / "blobs" / "sha256"
        afresh = not (self.paths.root / "etcd").exists()
        if afresh and blobs.exists() and sum(blob.stat().st_size for blob in blobs.iterdir()) > _STORE_LIMIT_BYTES:
            shutil.rmtree(self.paths.images)

    def _snapshotter(self) -> str:
        """Return ``overlayfs``, or ``native`` where overlays can't be stacked on this file system."""
        self.paths.images.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.paths.images.parent) as name:
            directories = {part: Path(name) / part for part in ("lower", "upper", "work", "merged")}
            for directory in directories.values():
                directory.mkdir()
            options = ",".join(f"{part}dir={directories[part]}" for part in ("lower", "upper", "work"))
            mount = ["mount", "-t", "overlay", "overlay", "-o", options, str(directories["merged"])]
            tried = subprocess.run(["unshare", "--mount", *mount], capture_output=True, check=False)
        if tried.returncode == 0:
            return "overlayfs"
        say("This file system can't carry overlays, so images are copied: loading and starting takes longer.")
        return "native"


def _node_ready(api: Api) -> bool:
    nodes: list[dict[str, Any]] = api.get("/api/v1/nodes")["items"]
    conditions = [condition for node in nodes for condition in node["status"].get("conditions", [])]
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def _dns_ready(api: Api) -> bool:
    deployment = api.get("/apis/apps/v1/namespaces/kube-system/deployments/coredns")
    return bool(deployment.get("status", {}).get("availableReplicas"))
