"""The two images that a node itself needs: pause, which holds a pod's namespaces, and CoreDNS."""

import hashlib
import platform
from pathlib import Path

from cluster import debian, kubernetes
from cluster.oci import Entry, Image, RunConfig, Store
from cluster.paths import REPOSITORY, cache_directory
from cluster.process import exclusive, run

_PAUSE_SOURCE = REPOSITORY / "cluster" / "internals" / "pause.c"


def store() -> Store:
    """Return the store of all images that are built here."""
    return Store(cache_directory() / "images")


def pause() -> Image:
    """Return the pause image, compiled when it is missing."""
    binary = _pause_binary()
    layer = store().add_layer([Entry("pause", source=binary, mode=0o755)])
    config = RunConfig(user="65535:65535", entrypoint=["/pause"])
    return store().add_image("perennial.dev/pause", [(layer, "cluster/internals/pause.c")], config)


def coredns() -> Image:
    """Return the CoreDNS image, compiled when it is missing."""
    layer = store().add_layer([Entry("coredns", source=kubernetes.coredns_binary(), mode=0o755)])
    config = RunConfig(user="65532:65532", entrypoint=["/coredns"])
    return store().add_image("perennial.dev/coredns", [(layer, "github.com/coredns/coredns")], config)


def _pause_binary() -> Path:
    key = hashlib.sha256(_PAUSE_SOURCE.read_bytes()).hexdigest()[:12]
    binary = cache_directory() / "binaries" / f"pause-{platform.machine()}-{key}"
    with exclusive(binary.with_name(f".{binary.name}.lock")):
        if not binary.exists():
            debian.require(["gcc"], purpose="Compiling the pause program")
            unfinished = binary.with_name(f".{binary.name}.part")
            command: list[str | Path] = ["gcc", "-static", "-Os", "-s", "-o", unfinished, _PAUSE_SOURCE]
            run(
                command, because="Compiling the pause program failed (it needs gcc and the static C library, libc6-dev)"
            )
            unfinished.rename(binary)
    return binary
