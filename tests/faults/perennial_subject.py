"""The operator of this repository as a subject of faults."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from kubelet import Kubelet
from operator_faults.run import Run, State, Subject

REPOSITORY = Path(__file__).parents[2]
PYTHON_PATH = (str(REPOSITORY / "operator"), str(REPOSITORY), str(Path(__file__).parent))
PRELOADED = ("perennial.app", "perennial.collector.__main__")
API = "/apis/perennial.dev/v1alpha1/namespaces/{namespace}"
KINDS = ("Dataset", "TrainingRun", "ModelDeployment")
LEASE = "/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/perennial-operator"
QUICK = {
    # The longest pause bounds how long a run waits for the next try, not what is tried.
    "PERENNIAL_MAX_BACKOFF_SECONDS": "2",
}
_UNTOLD = ("reconciling failed unexpectedly", "changed a status")
_KOPFS_CALLBACK = "Exception in callback stream.<locals>.request_cancel_callback"
"""kopf 1.45 looks for the current task where there is none, when a watch that awaits its answer is to end. It ends."""
_RUNS = re.compile(r"\b[0-9a-f]{32}\b")
_EXPERIMENTS = re.compile(r'("MLFLOW_EXPERIMENT_ID", "value": "|"experimentId": ")\d+')
_ACTIVE = re.compile(r'("activeSeconds": )[1-5]?\d\b|("activeDeadlineSeconds": )3(?:600|5[4-9]\d)\b')
"""How long a training was active before it was suspended, and what is left of its hour: seconds, as it happens."""
_NUMBERS = re.compile(r"(?<!version )\b\d[\d,.:]*(?:e[+-]?\d+)?\b")
_HASHES = re.compile(r'(?<=[.-])[0-9a-f]{8,16}\b|(?<="lastTemplate": ")[0-9a-f]{10}\b')
"""Of names of children, and of a template: it names its model after the run's namespace."""


@dataclass
class Beside:
    """What is beside the operator in one run."""

    kubelet: Kubelet
    mlflow: "Registry"
    settings: dict[str, str] = field(default_factory=dict)
    data: Any = None
    """The data plane, where there is one."""


class Registry:
    """A real MLflow server, asked by its REST API."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self._session = session

    async def runs(self, namespace: str) -> list[dict[str, Any]]:
        """Return the runs of a namespace's TrainingRuns."""
        found = await self._post("experiments/search", {"max_results": 1000})
        experiments = [each["experiment_id"] for each in found.get("experiments", [])]
        query = {"experiment_ids": experiments, "filter": f"tags.`perennial.dev/namespace` = '{namespace}'"}
        runs: list[dict[str, Any]] = (await self._post("runs/search", query)).get("runs", [])
        return runs

    async def versions(self, model: str) -> list[dict[str, Any]]:
        """Return the versions of a registered model."""
        url = f"{self.url}/api/2.0/mlflow/model-versions/search"
        async with self._session.get(url, params={"filter": f"name = '{model}'"}) as answer:
            found: list[dict[str, Any]] = (await answer.json()).get("model_versions", [])
            return found

    async def have_versions(self, model: str, number: int) -> None:
        """Register so many versions of a model."""
        await self._post("registered-models/create", {"name": model})
        for _ in range(number):
            await self._post("model-versions/create", {"name": model, "source": "s3://models/delay"})

    async def aliases(self, model: str) -> dict[str, str]:
        """Return a model's aliases."""
        url = f"{self.url}/api/2.0/mlflow/registered-models/get"
        async with self._session.get(url, params={"name": model}) as answer:
            found = (await answer.json())["registered_model"].get("aliases", [])
            return {each["alias"]: each["version"] for each in found}

    async def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        async with self._session.post(f"{self.url}/api/2.0/mlflow/{path}", json=body) as answer:
            answer.raise_for_status()
            found: dict[str, Any] = await answer.json()
            return found

    async def outside(self, run: Run) -> State:
        """Return how many runs and versions a namespace's objects have made, and how they ended."""
        runs = await self.runs(run.namespace)
        return {
            "mlflow runs": sorted(each["info"]["status"] for each in runs),
            "mlflow versions": sorted(each["version"] for each in await self.versions(model_of(run))),
        }


def model_of(run: Run) -> str:
    """Return the registered model's name: one for each run, because the registry is one for all."""
    return f"delay-{run.namespace}"


def environment(run: Run, who: str) -> dict[str, str]:
    """Return the settings of one process: its namespace's objects only, its lease there too."""
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(run.directory),
        "PERENNIAL_NAMESPACE": run.namespace,
        "PERENNIAL_NAMESPACES": run.namespace,
        "PERENNIAL_IMAGE_OPERATOR": "perennial.dev/operator:test",
        "PERENNIAL_IMAGE_SERVER": "perennial.dev/server:test",
        "PERENNIAL_IMAGE_ROUTER": "perennial.dev/router:test",
        "PERENNIAL_MLFLOW_URL": run.world.mlflow.url,
        # Models' names have the namespace in them already.
        "PERENNIAL_MODEL_NAMES": "{name}",
        "PERENNIAL_BIND": "127.0.0.1",
        "PERENNIAL_HEALTH_PORT": "0",
        "PERENNIAL_METRICS_PORT": "0",
        **QUICK,
        **run.world.settings,
    }


async def take_lease_away(run: Run) -> None:
    """Let the next process lead at once. That it would have to wait, and does, is another fault's story."""
    await run.api.delete(LEASE.format(namespace=run.namespace))


def normalise(found: dict[str, Any]) -> dict[str, Any] | None:
    """Keep what is decided: specs, labels, owners, and the status of the three kinds."""
    found["metadata"].get("annotations", {}).pop("perennial.dev/applied", None)
    if found["kind"] not in KINDS:
        found.pop("status", None)
    for address in ("clusterIP", "clusterIPs"):
        found.get("spec", {}).pop(address, None)
    template = found.get("spec", {}).get("template", {}).get("metadata", {})
    template.get("annotations", {}).pop("perennial.dev/structure", None)  # a hash, of the namespace among others
    text = _ACTIVE.sub(r'\1\2"(seconds)"', json.dumps(found))
    text = _EXPERIMENTS.sub(r"\1(experiment)", _RUNS.sub("(run)", _HASHES.sub("(hash)", text)))
    kept: dict[str, Any] = json.loads(text)
    if found["kind"] == "ModelDeployment":
        # How many requests it took is chance; what became of it is not.
        kept["status"] = _without_numbers(kept.get("status", {}))
    return kept


def _without_numbers(status: Any, field: str = "") -> Any:
    """Take the numbers out of messages, but for those of versions."""
    if isinstance(status, dict):
        return {name: _without_numbers(value, name) for name, value in status.items()}
    if isinstance(status, list):
        return [_without_numbers(each, field) for each in status]
    return _NUMBERS.sub("(number)", status) if field == "message" else status


def complaint(log: str) -> str | None:
    """Return the first line that must never be logged."""
    for line in log.splitlines():
        if '"logger": "kopf' in line or _KOPFS_CALLBACK in line:
            continue  # kopf says in its own way that a watch broke; what becomes of it is the runtime's to say
        if "Traceback" in line or any(words in line for words in _UNTOLD):
            return line[:1500]
    return None


def named(path: str) -> str:
    """Return a path without the hashes in names of Jobs and Events."""
    return _HASHES.sub("(hash)", path)


SUBJECT = Subject(
    module=PRELOADED[0],
    environment=environment,
    collections=(
        f"{API}/datasets",
        f"{API}/trainingruns",
        f"{API}/modeldeployments",
        "/apis/batch/v1/namespaces/{namespace}/jobs",
        "/apis/apps/v1/namespaces/{namespace}/deployments",
        "/api/v1/namespaces/{namespace}/services",
        "/api/v1/namespaces/{namespace}/configmaps",
        "/api/v1/namespaces/{namespace}/persistentvolumeclaims",
    ),
    normalise=normalise,
    named=named,
    killed=take_lease_away,
    complaint=complaint,
    # A process asks for tokens of its own, which change nothing in the cluster.
    counts=lambda _, path: "/leases" not in path and not path.endswith("/token"),
)


async def install(api: Any) -> None:
    """Install the CRDs and wait until they are served."""
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    for file in sorted((REPOSITORY / "crds").glob("*.yaml")):
        manifest = yaml.safe_load(file.read_text())
        await api.apply(f"{definitions}/{manifest['metadata']['name']}", manifest)
