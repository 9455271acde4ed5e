"""What the bench plays on: a real API server and etcd, the controller manager, the scheduler, and kwok for the node.

The operator runs on the first core alone. Everything else has all cores, that one included: the operator gets no more
than one core, and does not keep idle what the API server could use.
"""

import json
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from cluster import kubernetes, tools
from cluster.apiserver import ControlPlane
from cluster.process import Program, run, wait_until
from cluster.rest import Api
from perennial.api.messages.evaluation import Measured
from perennial.stats.days import Days
from perennial.stats.sums import Sums

REPOSITORY = Path(__file__).parents[2]
_HERE = Path(__file__).parent
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_RBAC = "/apis/rbac.authorization.k8s.io/v1"
SYSTEM = "perennial-system"
ACCOUNT = "perennial"

CONTROLLER_MANAGER = ("--kube-api-qps=200", "--kube-api-burst=400", "--concurrent-job-syncs=20")
"""Kubernetes' defaults are 20, 30 and 5: a thousand Jobs alone would take it 50 s to make a pod each."""
SCHEDULER_QPS = 200
CHECK_SECONDS = 10
"""How long the check of a Dataset's data takes."""

SAID = {
    "dataset-check": {
        "digest": f"sha256:{'1' * 64}",
        "rows": 1_000_000,
        "bytes": 50_000_000,
        "files": 52,
        "from": "2025-01-01T00:00:00Z",
        "to": "2025-12-31T00:00:00Z",
        "violations": [],
        "unmet": [],
    },
    "evaluation": {
        "source": "models:/m-1",
        "digest": f"sha256:{'2' * 64}",
        "results": [Measured.made("misses", Days.of([Sums.count(5000, 500), Sums.count(5000, 500)])).json_data()],
    },
}
"""What Perennial's worker would say at the end of a pod, by component (docs/design/001-how-the-parts-meet.md)."""


def cores() -> tuple[list[int], list[int]]:
    """Return the operator's core and everybody else's."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[:1], allowed


class Stage:
    """A cluster with Perennial's CRDs, one played node, and the operator's rights as the chart gives them.

    To be entered in the main thread; everything ends with it. Without `node` pods stay as they were made.
    """

    def __init__(
        self, directory: Path, *, controller_manager: Sequence[str] = CONTROLLER_MANAGER, node: bool = True
    ) -> None:
        self.directory = directory
        self._node = node
        self.control_plane = ControlPlane(
            directory / "control-plane", controller_manager=True, controller_manager_flags=controller_manager
        )
        self._everything = ExitStack()

    def __enter__(self) -> Self:
        with self._everything as undo:
            undo.enter_context(self.control_plane)
            self._install()
            if self._node:
                self._play()
            self._everything = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._everything.close()

    @property
    def api(self) -> Api:
        """The administrator's client."""
        return self.control_plane.api

    @property
    def user(self) -> str:
        """The operator's name in the audit log."""
        return f"system:serviceaccount:{SYSTEM}:{ACCOUNT}"

    def operator_kubeconfig(self) -> Path:
        """Return a kubeconfig with the operator's own rights."""
        return self.control_plane.service_account_kubeconfig(SYSTEM, ACCOUNT)

    def _install(self) -> None:
        for path in sorted((REPOSITORY / "crds").glob("*.yaml")):
            self.api.call("POST", _DEFINITIONS, yaml.safe_load(path.read_text()))
        self.api.call("POST", "/api/v1/namespaces", _named("v1", "Namespace", SYSTEM))
        chart = REPOSITORY / "charts" / "perennial"
        command = [tools.helm(), "template", ACCOUNT, chart, "-n", SYSTEM, "-f", chart / "ci" / "images.yaml"]
        rendered = run(command, because="Rendering the chart failed")
        for manifest in yaml.safe_load_all(rendered):
            if manifest and "helm.sh/hook" not in manifest["metadata"].get("annotations", {}):
                self._install_rights(manifest)
        wait_until(self._served, seconds=30, otherwise=lambda: "The CRDs are not served.")

    def _install_rights(self, manifest: dict[str, Any]) -> None:
        places = {
            "ServiceAccount": f"/api/v1/namespaces/{SYSTEM}/serviceaccounts",
            "Role": f"{_RBAC}/namespaces/{SYSTEM}/roles",
            "RoleBinding": f"{_RBAC}/namespaces/{SYSTEM}/rolebindings",
            "ClusterRole": f"{_RBAC}/clusterroles",
            "ClusterRoleBinding": f"{_RBAC}/clusterrolebindings",
        }
        if manifest["kind"] in places:
            self.api.call("POST", places[manifest["kind"]], manifest)

    def _served(self) -> bool:
        served = self.api.get(_DEFINITIONS)["items"]
        return len(served) > 0 and all(
            any(each["type"] == "Established" and each["status"] == "True" for each in one["status"]["conditions"])
            for one in served
        )

    def _play(self) -> None:
        """Start the scheduler and the node."""
        kubeconfig = self.control_plane.kubeconfig
        limits = [f"--kube-api-qps={SCHEDULER_QPS}", f"--kube-api-burst={2 * SCHEDULER_QPS}"]
        scheduler = [f"{kubernetes.node_binaries()}/kube-scheduler", f"--kubeconfig={kubeconfig}", *limits]
        self._start("kube-scheduler", [*scheduler, "--leader-elect=false", "--secure-port=0"])
        kwok = [kubernetes.kwok_binary(), f"--kubeconfig={kubeconfig}", "--manage-all-nodes=true"]
        stages = (_HERE / "kwok.yaml").read_text().replace("@check-seconds@", str(CHECK_SECONDS))
        for component, words in SAID.items():
            stages = stages.replace(f"@{component}@", json.dumps(words))
        configuration = self.directory / "kwok.yaml"
        configuration.write_text(stages)
        self._start("kwok", [*kwok, f"--config={configuration}", "--node-lease-duration-seconds=40"])
        self.api.call("POST", "/api/v1/nodes", _named("v1", "Node", "played"))
        wait_until(self._node_ready, seconds=60, otherwise=lambda: "The played node does not get ready.")

    def _node_ready(self) -> bool:
        node = self.api.get("/api/v1/nodes/played")
        conditions = node["status"].get("conditions", [])
        ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
        return ready and not node["spec"].get("taints")

    def _start(self, name: str, command: Sequence[str | Path]) -> None:
        program = Program(name, command, self.directory / "logs" / f"{name}.log")
        program.start()
        self._everything.callback(program.stop)


def _named(api_version: str, kind: str, name: str) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}}
