"""The API without a node: what other levels of tests stand on."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from local_cluster import eventually

from cluster.apiserver import ControlPlane
from cluster.errors import ClusterError
from cluster.paths import REPOSITORY
from cluster.tools import kubectl


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane(tmp_path_factory.mktemp("control-plane"), controller_manager=True) as one:
        yield one


def test_a_service_accounts_kubeconfig_is_that_account(control_plane: ControlPlane) -> None:
    kubeconfig = control_plane.service_account_kubeconfig("default", "default")

    command = [str(kubectl()), f"--kubeconfig={kubeconfig}", "auth", "whoami", "-o", "json"]
    answer = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)

    assert answer["status"]["userInfo"]["username"] == "system:serviceaccount:default:default"


def test_a_namespace_is_deleted_with_what_is_in_it(control_plane: ControlPlane) -> None:
    api = control_plane.api
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "short-lived"}}
    api.call("POST", "/api/v1/namespaces", namespace)
    path = "/api/v1/namespaces/short-lived"
    api.apply(f"{path}/configmaps/one", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}})

    api.call("DELETE", path)

    names = lambda: [item["metadata"]["name"] for item in api.get("/api/v1/namespaces")["items"]]  # noqa: E731
    eventually(lambda: "short-lived" not in names(), "the namespace to be gone")


def test_the_audit_log_counts_writes(control_plane: ControlPlane) -> None:
    item = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "counted"}}
    for _ in range(2):
        control_plane.api.apply("/api/v1/namespaces/default/configmaps/counted", item)

    events = [json.loads(line) for line in control_plane.audit_log.read_text().splitlines()]

    verbs = [event["verb"] for event in events if event.get("objectRef", {}).get("name") == "counted"]
    assert verbs == ["patch", "patch"]


def test_nothing_outlives_a_killed_parent(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from cluster.apiserver import ControlPlane\n"
        "with ControlPlane(Path(sys.argv[1])) as one: print(one.url, flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline().startswith(b"https://127.0.0.1:")
        assert mentions(tmp_path) >= 2  # etcd and the API server
        parent.send_signal(signal.SIGKILL)

    eventually(lambda: mentions(tmp_path) == 0, "etcd and the API server to end with their parent")


def mentions(directory: Path) -> int:
    """How many programs run with files in a directory."""
    count = 0
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = file.read_bytes().split(b"\0")
        except OSError:
            continue
        if any(argument.startswith(b"--") and str(directory).encode() in argument for argument in arguments):
            count += 1
    return count


def test_it_must_be_entered_before_it_is_asked(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="must be entered"):
        _ = ControlPlane(tmp_path).url
