"""Mounts and network of the node's own namespaces, made by its first process before anything else starts."""

from pathlib import Path

from cluster.control_plane import SERVICE_RANGE
from cluster.node.settings import ADDRESS, NodeSettings
from cluster.process import run

_BRIDGE = "node0"
# The kubelet writes these for the whole kernel. Behind files that hold the values it wants, the host keeps its own.
_KERNEL_SETTINGS = {
    "kernel/keys/root_maxbytes": "25000000",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
}
_NETWORK_SETTINGS = {
    "ipv4/ip_forward": "1",
    "ipv4/conf/all/rp_filter": "0",
}
_BRIDGE_SETTINGS = {
    "bridge/bridge-nf-call-iptables": "1",
    "bridge/bridge-nf-call-ip6tables": "1",
}


def isolate(settings: NodeSettings) -> None:
    """Prepare the mounts, the host name and the network."""
    _call("mount", "--make-rshared", "/")
    _call("hostname", settings.paths.name)
    for directory in ("/run/containerd", "/run/netns", "/var/lib/cni"):
        Path(directory).mkdir(parents=True, exist_ok=True)
        _call("mount", "-t", "tmpfs", "-o", "mode=0755", "perennial", directory)
    _bind(settings.paths.root / "kubelet", Path("/var/lib/kubelet"))
    _bind(settings.paths.root / "pod-logs", Path("/var/log"))
    _shield_kernel_settings(settings.paths.root / "kernel")
    _connect()


def _bind(source: Path, target: Path) -> None:
    source.mkdir(parents=True, exist_ok=True)
    target.mkdir(parents=True, exist_ok=True)
    _call("mount", "--bind", str(source), str(target))
    _call("mount", "--make-rshared", str(target))


def _shield_kernel_settings(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, value in _KERNEL_SETTINGS.items():
        target = Path("/proc/sys") / name
        if target.exists():
            source = directory / name.replace("/", ".")
            source.write_text(f"{value}\n")
            _call("mount", "--bind", str(source), str(target))


def _connect() -> None:
    """Give the node an address and a way to Services; there is no way out."""
    _call("ip", "link", "set", "lo", "up")
    _call("ip", "link", "add", _BRIDGE, "type", "bridge")
    _call("ip", "address", "add", f"{ADDRESS}/24", "dev", _BRIDGE)
    _call("ip", "link", "set", _BRIDGE, "up")
    _call("ip", "route", "add", SERVICE_RANGE, "dev", _BRIDGE)
    for name, value in _NETWORK_SETTINGS.items():
        (Path("/proc/sys/net") / name).write_text(value)
    for name, value in _BRIDGE_SETTINGS.items():
        path = Path("/proc/sys/net") / name
        if path.exists():  # absent where the kernel has no bridge netfilter; Services then fail between pods of a node
            path.write_text(value)


def _call(*arguments: str) -> None:
    run(arguments, because="Preparing the node's namespaces failed")
