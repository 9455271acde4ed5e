"""Starting, killing and stopping local clusters; nothing may stay, and nothing of the host may change."""

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from local_cluster import Cluster, eventually

from cluster import cgroups
from cluster.node.settings import cgroup

_KERNEL = ["vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "net/ipv4/ip_forward"]


def kernel_settings() -> dict[str, str]:
    return {name: (Path("/proc/sys") / name).read_text() for name in _KERNEL}


def interfaces() -> set[str]:
    return {path.name for path in Path("/sys/class/net").iterdir()}


def kept_namespaces() -> list[str]:
    """Namespaces that are mounted somewhere; those without a process end otherwise."""
    return [line for line in Path("/proc/mounts").read_text().splitlines() if line.startswith("nsfs ")]


def traces(cluster: Cluster) -> list[str]:
    """What a cluster left on the machine, in words."""
    name, state = cgroup(cluster.name), f"{cluster.environment['XDG_STATE_HOME']}/perennial/{cluster.name}"
    groups = [str(h.mount / name) for h in cgroups.hierarchies() if (h.mount / name).exists()]
    mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if state in line]
    processes = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if state in command or f"--name={cluster.name}" in command:
            processes.append(command)
    files = [str(path) for path in Path(state).rglob("*")]
    return [*groups, *mounts, *processes, *files[:5]]


def program(cluster: Cluster, name: str) -> int:
    """The process id of one of the node's programs, as the host counts."""
    for process in cgroups.processes(f"{cgroup(cluster.name)}/system"):
        command = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")[0].decode()
        if command.rsplit("/", 1)[-1] == name:
            return process
    raise LookupError(name)


def runs(cluster: Cluster, name: str, instead_of: int) -> bool:
    try:
        return program(cluster, name) != instead_of
    except (LookupError, OSError):
        return False


def node_is_ready(cluster: Cluster) -> bool:
    try:
        return "True" in cluster.kubectl("get", "nodes", "-o", r"jsonpath={..conditions[?(@.type=='Ready')].status}")
    except AssertionError:
        return False


def test_up_twice_then_killed_then_up_again_then_down_twice(clusters: Callable[[str], Cluster]) -> None:
    cluster = clusters("a")
    cluster.must("down")
    settings, links, namespaces = kernel_settings(), interfaces(), kept_namespaces()

    cluster.must("up")
    first, kubeconfig = cluster.first_process(), Path(cluster.kubeconfig).read_text()
    cluster.must("up")
    assert cluster.first_process() == first
    assert kernel_settings() == settings
    assert interfaces() == links

    cluster.kubectl("create", "configmap", "before", "--from-literal=kept=yes")
    os.kill(first, signal.SIGKILL)
    eventually(lambda: not cgroups.processes(cgroup(cluster.name)), "the end of every process with the first one")
    assert "not running" in cluster.must("status")

    cluster.must("up")
    assert cluster.first_process() != first
    assert cluster.kubectl("get", "configmap", "before", "-o", "jsonpath={.data.kept}") == "yes"
    server = re.compile(r'"server": "(.+)"')
    assert server.findall(Path(cluster.kubeconfig).read_text()) == server.findall(kubeconfig)

    cluster.must("down")
    cluster.must("down")
    assert traces(cluster) == []
    assert kept_namespaces() == namespaces
    assert kernel_settings() == settings
    assert interfaces() == links


@pytest.mark.parametrize("name", ["kube-apiserver", "containerd", "kubelet", "etcd"])
def test_a_killed_program_starts_again(clusters: Callable[[str], Cluster], name: str) -> None:
    cluster = clusters("b")
    cluster.must("up")
    first, killed = cluster.first_process(), program(cluster, name)

    os.kill(killed, signal.SIGKILL)

    eventually(lambda: runs(cluster, name, instead_of=killed), f"{name} to start again")
    eventually(lambda: node_is_ready(cluster), "the node to be ready")
    assert cluster.first_process() == first


def test_two_clusters_at_once_share_nothing(clusters: Callable[[str], Cluster]) -> None:
    one, other = clusters("b"), clusters("c")
    one.must("up")
    other.must("up")

    one.kubectl("create", "namespace", "only-in-one")

    assert "only-in-one" not in other.kubectl("get", "namespaces", "-o", "name")
    assert Path(one.kubeconfig).read_text() != Path(other.kubeconfig).read_text()
    other.must("down")
    assert traces(other) == []
    assert "only-in-one" in one.kubectl("get", "namespaces", "-o", "name")


def test_a_name_that_cannot_be_a_cgroup_is_refused_in_one_sentence(clusters: Callable[[str], Cluster]) -> None:
    done = Cluster("../etc", clusters("b").environment).call("up")

    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "A cluster's name must be 1 to 40 lower case letters, digits or inner dashes, and '../etc' is not."
    ]


def test_verbs_without_a_cluster_say_what_to_do(clusters: Callable[[str], Cluster]) -> None:
    missing = Cluster("selftest-none", clusters("b").environment)

    assert "start the cluster with" in missing.call("kubeconfig").stderr
    assert "start it with `make cluster`" in missing.call("load", __file__).stderr
    assert missing.call("down").returncode == 0


def test_exec_runs_inside_the_node_and_returns_its_exit_code(clusters: Callable[[str], Cluster]) -> None:
    cluster = clusters("b")
    cluster.must("up")

    assert "10.200.0.1/24" in cluster.must("exec", "--", "ip", "-brief", "address")
    assert cluster.call("exec", "--", "sh", "-c", "exit 3").returncode == 3
