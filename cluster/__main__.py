"""The command line: ``python3 -m cluster VERB``. Results go to standard output, everything else to standard error."""

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from cluster import kubernetes, providers, tools
from cluster.errors import ClusterError
from cluster.loading import BUILT, load_archive, load_built
from cluster.local import LocalCluster
from cluster.paths import DEFAULT_NAME, ClusterPaths


def main(arguments: Sequence[str]) -> int:
    """Run one verb and return the exit code."""
    parsed = _parser().parse_args(arguments)
    verb: Callable[[argparse.Namespace], int] = parsed.verb
    try:
        return verb(parsed)
    except ClusterError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 130


def _up(parsed: argparse.Namespace) -> int:
    tools.kubectl()
    providers.choose(_paths(parsed)).up()
    return 0


def _down(parsed: argparse.Namespace) -> int:
    providers.started(_paths(parsed)).down()
    return 0


def _kubeconfig(parsed: argparse.Namespace) -> int:
    return _print_path(_paths(parsed).kubeconfig, parsed)


def _audit_log(parsed: argparse.Namespace) -> int:
    return _print_path(_paths(parsed).audit_log, parsed)


def _print_path(path: Path, parsed: argparse.Namespace) -> int:
    if not path.exists():
        raise ClusterError(f"{path} is not there: start the cluster with `python3 -m cluster up --name {parsed.name}`.")
    print(path)
    return 0


def _status(parsed: argparse.Namespace) -> int:
    print(providers.started(_paths(parsed)).status())
    return 0


def _load(parsed: argparse.Namespace) -> int:
    cluster = providers.started(_paths(parsed))
    if parsed.archive:
        for archive in parsed.archive:
            load_archive(cluster, archive)
    else:
        load_built(cluster, parsed.built)
    return 0


def _execute(parsed: argparse.Namespace) -> int:
    command = parsed.command[1:] if parsed.command[:1] == ["--"] else parsed.command
    return LocalCluster(_paths(parsed)).execute(command or ["sh"])


def _environment(parsed: argparse.Namespace) -> int:
    tools.kubectl()
    directories = [str(tools.directory() / "bin"), os.environ.get("PATH", "")]
    print(f"export PATH={shlex.quote(os.pathsep.join(directories))}")
    print(f"export KUBECONFIG={shlex.quote(str(_paths(parsed).kubeconfig))}")
    return 0


def _tools(_parsed: argparse.Namespace) -> int:
    for tool in (tools.kubectl, tools.helm, tools.helm3, tools.uv):
        tool()
    print(tools.directory() / "bin")
    return 0


def _binaries(_parsed: argparse.Namespace) -> int:
    kubernetes.coredns_binary()
    kubernetes.pause_binary()
    print(kubernetes.node_binaries())
    return 0


def _paths(parsed: argparse.Namespace) -> ClusterPaths:
    name: str = parsed.name
    return ClusterPaths.of(name)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m cluster",
        description="A real Kubernetes on any Linux machine.",
        epilog="CLUSTER chooses the provider (local, kind, current), KUBERNETES_VERSION another version than "
        f"{kubernetes.DEFAULT_VERSION}, CLUSTER_NAME another name than {DEFAULT_NAME}.",
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    def add(name: str, verb: Callable[[argparse.Namespace], int], description: str) -> argparse.ArgumentParser:
        one = verbs.add_parser(name, help=description, description=description)
        one.add_argument("--name", default=os.environ.get("CLUSTER_NAME") or DEFAULT_NAME, help="the cluster's name")
        one.set_defaults(verb=verb)
        return one

    add("up", _up, "start the cluster, unless it runs, and wait until it is ready")
    add("down", _down, "stop the cluster and remove what it left, except loaded images")
    add("status", _status, "say whether the cluster runs")
    add("kubeconfig", _kubeconfig, "print the path of the administrator's kubeconfig")
    add("audit-log", _audit_log, "print the path of the API server's audit log")
    add("env", _environment, "print shell commands that put kubectl and helm on PATH and set KUBECONFIG")
    load = add("load", _load, "load images into the cluster")
    load.add_argument("archive", nargs="*", type=Path, help="OCI archives (default: the images that --built names)")
    load.add_argument("--built", type=Path, default=BUILT, help="what `python3 -m images build` wrote (default: here)")
    execute = add("exec", _execute, "run a command inside the local node")
    execute.add_argument("command", nargs=argparse.REMAINDER, help="the command (default: a shell)")
    add("tools", _tools, "fetch kubectl, helm and uv, and print their directory")
    add("binaries", _binaries, "compile Kubernetes and CoreDNS, and print the directory of Kubernetes")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
