"""The configuration and the commands of the node's programs."""

import json
from pathlib import Path
from typing import Any

from cluster.control_plane import (
    apiserver_command,
    controller_manager_command,
    etcd_command,
    write_audit_policy,
)
from cluster.kubeconfig import write_for_certificate
from cluster.node.settings import ADDRESS, CONTAINERD_SOCKET, DNS_ADDRESS, NAME, POD_RANGE, NodeSettings, cgroup
from cluster.pki import Pair
from cluster.process import Program


def etcd(settings: NodeSettings) -> Program:
    """Return etcd."""
    return _program(settings, "etcd", etcd_command(settings.control_plane))


def apiserver(settings: NodeSettings) -> Program:
    """Return the API server."""
    write_audit_policy(settings.control_plane.audit_policy)
    return _program(settings, "kube-apiserver", apiserver_command(settings.control_plane))


def controller_manager(settings: NodeSettings) -> Program:
    """Return the controller manager."""
    kubeconfig = _kubeconfig(settings, "controller-manager", settings.credentials.controller_manager)
    return _program(settings, "kube-controller-manager", controller_manager_command(settings.control_plane, kubeconfig))


def scheduler(settings: NodeSettings) -> Program:
    """Return the scheduler."""
    kubeconfig = _kubeconfig(settings, "scheduler", settings.scheduler)
    command = [f"{settings.binaries}/kube-scheduler", f"--kubeconfig={kubeconfig}"]
    own = [f"--authentication-kubeconfig={kubeconfig}", f"--authorization-kubeconfig={kubeconfig}"]
    return _program(settings, "kube-scheduler", [*command, *own, "--leader-elect=false", "--bind-address=127.0.0.1"])


def containerd(settings: NodeSettings) -> Program:
    """Return containerd."""
    network = _write(settings, "cni/10-perennial.conflist", json.dumps(_network(), indent=2)).parent
    path = _write(settings, "containerd.toml", _containerd(settings, network))
    return _program(settings, "containerd", ["containerd", "--config", str(path)])


def kubelet(settings: NodeSettings) -> Program:
    """Return the kubelet."""
    kubeconfig = _kubeconfig(settings, "kubelet", settings.kubelet)
    path = _write(settings, "kubelet.json", json.dumps(_kubelet(settings), indent=2))
    options = [f"--kubeconfig={kubeconfig}", f"--config={path}", f"--hostname-override={NAME}", f"--node-ip={ADDRESS}"]
    return _program(settings, "kubelet", [f"{settings.binaries}/kubelet", *options])


def proxy(settings: NodeSettings) -> Program:
    """Return kube-proxy."""
    kubeconfig = _kubeconfig(settings, "proxy", settings.proxy)
    path = _write(settings, "kube-proxy.json", json.dumps(_proxy(kubeconfig), indent=2))
    return _program(settings, "kube-proxy", [f"{settings.binaries}/kube-proxy", f"--config={path}"])


def _program(settings: NodeSettings, name: str, command: list[str]) -> Program:
    return Program(name, command, settings.paths.logs / f"{name}.log")


def _kubeconfig(settings: NodeSettings, name: str, pair: Pair) -> Path:
    return write_for_certificate(
        settings.paths.root / "kubeconfigs" / name,
        server=settings.control_plane.url,
        authority=settings.credentials.authority.certificate,
        pair=pair,
    )


def _write(settings: NodeSettings, name: str, content: str) -> Path:
    path = settings.paths.root / "configuration" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def _containerd(settings: NodeSettings, network: Path) -> str:
    # restrict_oom_score_adj: where CAP_SYS_RESOURCE is missing, lowering the score would end every sandbox.
    return f"""\
version = 2
root = "{settings.paths.images}"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.tracing.processor.v1.otlp"]
[grpc]
  address = "{CONTAINERD_SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{settings.pause}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  disable_tcp_service = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{settings.cni}"
    conf_dir = "{network}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{settings.snapshotter}"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
"""


def _network() -> dict[str, Any]:
    ranges = [[{"subnet": POD_RANGE}]]
    addresses = {"type": "host-local", "ranges": ranges, "routes": [{"dst": "0.0.0.0/0"}]}
    bridge = {"type": "bridge", "bridge": "pods0", "isGateway": True, "ipMasq": True, "hairpinMode": True}
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge | {"ipam": addresses}, ports]}


def _kubelet(settings: NodeSettings) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(settings.credentials.authority.certificate)},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroup(settings.paths.name)}",
        "clusterDNS": [DNS_ADDRESS],
        "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        # The machine's disk and memory are its owner's business: nothing is evicted before they are really full.
        "evictionHard": {
            "imagefs.available": "1%",
            "memory.available": "1%",
            "nodefs.available": "1%",
            "nodefs.inodesFree": "1%",
        },
        "failCgroupV1": False,
        "failSwapOn": False,
        # An image that was collected could not be pulled again.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "nodeStatusUpdateFrequency": "2s",
        "resolvConf": "",
        "serializeImagePulls": False,
        "volumePluginDir": str(settings.paths.root / "volume-plugins"),
    }


def _proxy(kubeconfig: Path) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "clusterCIDR": POD_RANGE,
        # The kernel's connection tracking limits are the host's; zeros leave them alone.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpCloseWaitTimeout": "0s", "tcpEstablishedTimeout": "0s"},
        "healthzBindAddress": "127.0.0.1:10256",
        "hostnameOverride": NAME,
        "metricsBindAddress": "127.0.0.1:10249",
        "mode": "iptables",
    }
