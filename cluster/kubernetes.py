"""Compiles Kubernetes, etcd, CoreDNS, kwok and pause from their Go modules, once; the binaries stay in the cache.

``modules/kubernetes`` pins the default version by its ``go.mod`` and ``go.sum``. For another version
(``KUBERNETES_VERSION=1.34.4``) the same module is made in the cache, because only the default's sums are committed.
"""

import hashlib
import json
import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cluster import tools
from cluster.errors import ClusterError
from cluster.paths import REPOSITORY, cache_directory
from cluster.process import exclusive, run
from cluster.progress import step

DEFAULT_VERSION = "1.37.2"
CONTROL_PLANE: Mapping[str, str] = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
}
NODE: Mapping[str, str] = {
    "kube-proxy": "k8s.io/kubernetes/cmd/kube-proxy",
    "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
    "kubelet": "k8s.io/kubernetes/cmd/kubelet",
}
_MODULES = REPOSITORY / "cluster" / "modules"
_PAUSE = {"pause": "perennial.dev/cluster/pause"}
_COREDNS = {"coredns": "github.com/coredns/coredns"}
_KWOK = {"kwok": "sigs.k8s.io/kwok/cmd/kwok"}


def version() -> str:
    """Return the version of Kubernetes to run, without the ``v``: ``KUBERNETES_VERSION`` or the default."""
    wanted = os.environ.get("KUBERNETES_VERSION") or DEFAULT_VERSION
    if not re.fullmatch(r"1\.\d+\.\d+", wanted):
        raise ClusterError(f"KUBERNETES_VERSION must look like {DEFAULT_VERSION}, and '{wanted}' does not.")
    return wanted


def control_plane_binaries() -> Path:
    """Return the directory with etcd, kube-apiserver and kube-controller-manager, compiled when they are missing."""
    return _kubernetes(CONTROL_PLANE, "etcd, API server and controller manager", "about 5 min, once")


def node_binaries() -> Path:
    """Return the directory with all of Kubernetes, compiled when it is missing."""
    control_plane_binaries()
    return _kubernetes(NODE, "kubelet, scheduler and proxy", "about 2 min, once")


def coredns_binary() -> Path:
    """Return CoreDNS, compiled when it is missing."""
    module = _Module(directory=_MODULES / "coredns", linking="-s -w")
    return module.binaries("coredns", _COREDNS, title="CoreDNS: compiling (about 2 min, once)") / "coredns"


def kwok_binary() -> Path:
    """Return kwok, which plays nodes and their pods, compiled when it is missing."""
    module = _Module(directory=_MODULES / "kwok", linking="-s -w")
    return module.binaries("kwok", _KWOK, title="kwok: compiling (about 2 min, once)") / "kwok"


def pause_binary() -> Path:
    """Return the program that holds a pod's namespaces, compiled when it is missing."""
    module = _Module(directory=_MODULES / "pause", linking="-s -w")
    return module.binaries("pause", _PAUSE, title="pause: compiling (once)") / "pause"


def _kubernetes(packages: Mapping[str, str], what: str, expectation: str) -> Path:
    wanted = version()
    title = f"Kubernetes {wanted}, {what}: compiling ({expectation})"
    directory = _MODULES / "kubernetes" if wanted == DEFAULT_VERSION else _generated(wanted)
    module = _Module(directory=directory, linking=_linking(wanted))
    return module.binaries(f"kubernetes-{wanted}", packages, title=title)


def _linking(wanted: str) -> str:
    # Without these the API server takes itself for v0.0.0 and refuses to work with itself.
    _, minor, _ = wanted.split(".")
    values = {
        "k8s.io/component-base/version.gitVersion": f"v{wanted}",
        "k8s.io/component-base/version.gitMajor": "1",
        "k8s.io/component-base/version.gitMinor": minor,
        "k8s.io/component-base/version.gitTreeState": "clean",
        "k8s.io/client-go/pkg/version.gitVersion": f"v{wanted}",
    }
    return " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in values.items())])


@dataclass(frozen=True, slots=True)
class _Module:
    """A Go module that pins programs.

    Attributes:
        directory: Where its ``go.mod`` is.
        linking: The linker's flags.
    """

    directory: Path
    linking: str

    def binaries(self, name: str, packages: Mapping[str, str], *, title: str) -> Path:
        """Return the directory of the binaries, after compiling those that are missing.

        Args:
            name: The beginning of the directory's name.
            packages: The Go package of each binary.
            title: What to say while compiling.
        """
        files = [self.directory / name for name in ("go.mod", "go.sum", "main.go")]
        sources = b"".join(file.read_bytes() for file in files if file.exists())
        key = hashlib.sha256(sources + self.linking.encode()).hexdigest()[:12]
        target = cache_directory() / "binaries" / f"{name}-{platform.machine()}-{key}"
        if all((target / binary).exists() for binary in packages):
            return target
        with exclusive(target.with_name(f".{target.name}.lock")):
            missing = {binary: package for binary, package in packages.items() if not (target / binary).exists()}
            if missing:
                with step(title):
                    self._compile(missing, target)
        return target

    def _compile(self, packages: Mapping[str, str], target: Path) -> None:
        unfinished = target / "unfinished"
        unfinished.mkdir(parents=True, exist_ok=True)
        flags = ["-trimpath", "-mod=readonly", "-buildvcs=false", "-ldflags", self.linking]
        command: list[str | Path] = [
            tools.go(_go_version(self.directory)),
            "build",
            *flags,
            "-o",
            f"{unfinished}/",
            *packages.values(),
        ]
        environment = {"CGO_ENABLED": "0", "GOFLAGS": "", "GOTOOLCHAIN": "local"}
        run(command, because="Compiling failed", environment=environment, directory=self.directory)
        for binary, package in packages.items():
            (unfinished / _default_name(package)).rename(target / binary)
        unfinished.rmdir()


def _default_name(package: str) -> str:
    """Return what Go calls the binary of a package: its last element that is not a major version."""
    elements = [element for element in package.split("/") if not re.fullmatch(r"v\d+", element)]
    return elements[-1]


def _go_version(module: Path) -> tuple[int, int]:
    found = re.search(r"(?m)^go (\d+)\.(\d+)", (module / "go.mod").read_text())
    if found is None:
        raise ClusterError(f"{module / 'go.mod'} must say which version of Go it needs.")
    return int(found[1]), int(found[2])


def _generated(wanted: str) -> Path:
    """Return a module that pins another version of Kubernetes, made in the cache when it is missing."""
    module = cache_directory() / "modules" / f"kubernetes-{wanted}"
    with exclusive(module.with_name(f".{module.name}.lock")):
        if not (module / "complete").exists():
            with step(f"Kubernetes {wanted}: writing its Go module"):
                _write_module(module, wanted)
                (module / "complete").touch()
    return module


def _write_module(module: Path, wanted: str) -> None:
    """Write the ``go.mod`` of a version of Kubernetes, with released modules instead of those of its staging area."""
    module.mkdir(parents=True, exist_ok=True)
    command: list[str | Path] = [tools.go((1, 24)), "mod", "download", "-json", f"k8s.io/kubernetes@v{wanted}"]
    environment = {"GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local"}
    answer = run(
        command, because=f"Fetching Kubernetes {wanted} failed", environment=environment, directory=module.parent
    )
    theirs = Path(json.loads(answer)["GoMod"]).read_text()
    needed, etcd = re.search(r"(?m)^go (.+)$", theirs), re.search(r"go\.etcd\.io/etcd/client/v3 (\S+)", theirs)
    if needed is None or etcd is None:
        raise ClusterError(f"The go.mod of Kubernetes {wanted} must name its Go and its etcd, and it does not.")
    packages = sorted([*CONTROL_PLANE.values(), *NODE.values()])
    staged = re.findall(r"(k8s\.io/[\w-]+) => \./staging", theirs)
    lines = ["module perennial.dev/cluster/kubernetes", "", f"go {needed[1]}", "", "tool ("]
    lines += [*(f"\t{package}" for package in packages), ")", "", "require ("]
    lines += [f"\tgo.etcd.io/etcd/server/v3 {etcd[1]}", f"\tk8s.io/kubernetes v{wanted}", ")", "", "replace ("]
    lines += [*(f"\t{name} => {name} v0.{wanted.split('.', 1)[1]}" for name in staged), ")", ""]
    (module / "go.mod").write_text("\n".join(lines))
    command = [tools.go(_go_version(module)), "mod", "tidy"]
    run(command, because=f"Resolving Kubernetes {wanted} failed", environment=environment, directory=module)
