"""The two images that a node itself needs: pause, which holds a pod's namespaces, and CoreDNS."""

from cluster import kubernetes
from cluster.oci import Entry, Image, RunConfig, Store
from cluster.paths import cache_directory


def store() -> Store:
    """Return the store of all images that are built here."""
    return Store(cache_directory() / "images")


def pause() -> Image:
    """Return the pause image, compiled when it is missing."""
    layer = store().add_layer([Entry("pause", source=kubernetes.pause_binary(), mode=0o755)])
    config = RunConfig(user="65535:65535", entrypoint=["/pause"])
    return store().add_image("perennial.dev/pause", [(layer, "cluster/modules/pause")], config)


def coredns() -> Image:
    """Return the CoreDNS image, compiled when it is missing."""
    layer = store().add_layer([Entry("coredns", source=kubernetes.coredns_binary(), mode=0o755)])
    config = RunConfig(user="65532:65532", entrypoint=["/coredns"])
    return store().add_image("perennial.dev/coredns", [(layer, "github.com/coredns/coredns")], config)
