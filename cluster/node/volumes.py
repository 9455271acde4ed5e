"""The volumes of the StorageClass ``standard``: a pool of directories on the node, wiped and offered again after use.

Kubernetes' own ``local`` volumes need no provisioner. What they lack is somebody who cleans up when a claim is deleted,
and this process is that: it watches the volumes, and empties those that are released.
"""

import shutil
import sys
import time
from pathlib import Path
from typing import Any

from cluster.control_plane import Credentials
from cluster.errors import ClusterError
from cluster.node.settings import APISERVER_PORT, NAME
from cluster.rest import Api

STORAGE_CLASS = "standard"
COUNT = 96
# What a claim may ask for at most. Directories have no quota, so that the number promises nothing.
_CAPACITY = "200Gi"
_PATH = "/api/v1/persistentvolumes"
_WATCH_SECONDS = 240
_WAIT_SECONDS = 1.0


def desired_volume(directory: Path) -> dict[str, Any]:
    """Return the PersistentVolume of a directory on the node."""
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [NAME]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": directory.name},
        "spec": {
            "accessModes": ["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany"],
            "capacity": {"storage": _CAPACITY},
            "local": {"path": str(directory)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": STORAGE_CLASS,
            "volumeMode": "Filesystem",
        },
    }


def create_pool(api: Api, root: Path) -> None:
    """Make the directories and the volumes that are missing."""
    existing = {item["metadata"]["name"] for item in api.get(_PATH)["items"]}
    for number in range(COUNT):
        directory = root / f"volume-{number:02}"
        if not directory.exists():
            _create_directory(directory)
        if directory.name not in existing:
            api.call("POST", _PATH, desired_volume(directory))


def recycle(api: Api, root: Path, volume: dict[str, Any]) -> None:
    """Empty a volume whose claim is gone, and offer it again; do nothing to any other volume."""
    name = volume["metadata"]["name"]
    if volume.get("status", {}).get("phase") != "Released" or volume["spec"].get("storageClassName") != STORAGE_CLASS:
        return
    directory = root / name
    if volume["spec"].get("local", {}).get("path") != str(directory):
        return
    shutil.rmtree(directory, ignore_errors=True)
    _create_directory(directory)
    # With the version, so that nothing is wiped under a claim that took the volume meanwhile.
    patch = {"metadata": {"resourceVersion": volume["metadata"]["resourceVersion"]}, "spec": {"claimRef": None}}
    api.call("PATCH", f"{_PATH}/{name}", patch, content_type="application/merge-patch+json")


def _create_directory(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o777)  # for pods of any user, with an fsGroup or without


def _follow(api: Api, root: Path) -> None:
    create_pool(api, root)
    listed = api.get(_PATH)
    for volume in listed["items"]:
        recycle(api, root, volume)
    version = listed["metadata"]["resourceVersion"]
    for event in api.watch(f"{_PATH}?resourceVersion={version}", _WATCH_SECONDS):
        if event["type"] == "ERROR":
            return
        if event["type"] != "DELETED":
            recycle(api, root, event["object"])


def main(keys: Path, root: Path) -> None:
    """Keep the pool, for ever.

    Args:
        keys: The directory of the control plane's keys.
        root: The directory of the volumes' directories.
    """
    credentials = Credentials.create(keys)
    api = Api(f"https://127.0.0.1:{APISERVER_PORT}", credentials.authority.certificate, credentials.admin)
    while True:
        try:
            _follow(api, root)
        except (ClusterError, OSError, ValueError) as error:
            sys.stderr.write(f"{error}\n")
            time.sleep(_WAIT_SECONDS)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
