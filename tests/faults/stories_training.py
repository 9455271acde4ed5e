"""What happens to a TrainingRun: it becomes a version, or it says why not."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import stories_dataset
from kubelet import Ends, Fate, kubelet
from operator_faults.run import Run, State
from perennial_subject import API, Beside, Registry, model_of
from stories_dataset import dataset, digest

from perennial.api.messages.evaluation import Measured
from perennial.stats.days import Days
from perennial.stats.sums import Sums

NAME = "flights-1"
WELL = Ends()
_GATE = {"metrics": [{"name": "errors", "errorRate": {}, "max": "0.3"}]}
_VERSION = {
    "digest": digest("a"),
    "ordinal": 1,
    "rows": 5000,
    "bytes": 50000,
    "files": 1,
    "recordedTime": "2026-03-02T00:00:00Z",
    "from": "2026-01-01T00:00:00Z",
    "to": "2026-03-01T00:00:00Z",
}


def training_run(run: Run, **more: Any) -> dict[str, Any]:
    """Return a TrainingRun on flights."""
    spec = {
        "datasetRef": {"name": stories_dataset.NAME},
        "model": {"name": model_of(run)},
        "trainer": {"image": "registry.test/trainer:1"},
        "retryLimit": 0,
    }
    return {
        "apiVersion": "perennial.dev/v1alpha1",
        "kind": "TrainingRun",
        "metadata": {"name": NAME},
        "spec": spec | more,
    }


def path(run: Run, subresource: str = "") -> str:
    """Return the path of the TrainingRun."""
    return f"{API.format(namespace=run.namespace)}/trainingruns/{NAME}{subresource}"


async def have_dataset(run: Run) -> None:
    """Have a Dataset with a version, that nobody looks at any more."""
    await run.api.apply(stories_dataset.path(run), dataset(suspend=True, split={"byTime": {"lastSeconds": 1_209_600}}))
    status = {"version": _VERSION, "versions": [_VERSION], "checksRecorded": 1, "checkedGeneration": 1}
    await run.api.merge(stories_dataset.path(run, "/status"), {"status": status})


def evaluated(pod: dict[str, Any], bad: int | None) -> Ends:
    """Return the words of an evaluation that found so many of 1000 predictions wrong; None: nobody asked."""
    arguments = pod["spec"]["containers"][0]["args"]
    run_id = arguments[arguments.index("--run-id") + 1]
    measured = [] if bad is None else [Measured.made("errors", Days.of([Sums.count(1000, bad)])).json_data()]
    return Ends({"source": f"runs:/{run_id}/model", "digest": digest("d"), "results": measured})


@dataclass(frozen=True)
class TrainingStory:
    """One TrainingRun. `trained`: how its script ends; `bad`: what its evaluation finds, in thousandths."""

    name: str
    mlflow: Registry
    ends: tuple[str, str]
    """`terminalState` and the reason of the condition Succeeded."""
    gate: dict[str, Any] | None = None
    trained: Ends = WELL
    bad: int = 200
    pauses: bool = False
    kind: str = "TrainingRun"

    @asynccontextmanager
    async def world(self, run: Run) -> AsyncIterator[Beside]:
        """Have a Dataset with a version, and a kubelet that trains and evaluates."""

        def fate(component: str, pod: dict[str, Any]) -> Fate:
            if component == "evaluation":
                return evaluated(pod, self.bad if self.gate else None)
            return self.trained if not self.pauses or "resumed" in run.facts else None

        await have_dataset(run)
        async with kubelet(run.api, run.namespace, fate) as playing:
            yield Beside(playing, self.mlflow)

    async def outside(self, run: Run) -> State:
        """Return what MLflow has."""
        return await self.mlflow.outside(run)

    async def play(self, run: Run) -> None:
        """Apply it and wait for its end, in MLflow too."""
        spec = {"gate": self.gate} if self.gate else {}
        await run.api.apply(path(run), training_run(run, **spec))
        if self.pauses:
            await self._pause(run, spec)

        async def ended() -> bool:
            status = (await run.api.get(path(run))).get("status", {})
            reasons = {each["type"]: each["reason"] for each in status.get("conditions", [])}
            closed = status.get("mlflow", {}).get("state") in {"FINISHED", "FAILED"}
            return closed and (status.get("terminalState"), reasons.get("Succeeded")) == self.ends

        await run.until(f"the run has ended: {', '.join(self.ends)}", ended)

    async def _pause(self, run: Run, spec: dict[str, Any]) -> None:
        """Suspend the run while its pod waits for a node, see its Job suspended, and let it go on."""
        job = f"/apis/batch/v1/namespaces/{run.namespace}/jobs/{NAME}-train"

        async def suspended(wanted: bool) -> bool:
            found = await run.api.get(job)
            return bool(found["spec"].get("suspend", False)) == wanted

        await run.until("the Job is there", lambda: suspended(wanted=False))
        await run.api.apply(path(run), training_run(run, **spec, suspend=True))
        await run.until("the Job is suspended", lambda: suspended(wanted=True))
        run.facts["resumed"] = True
        await run.api.apply(path(run), training_run(run, **spec, suspend=False))
        await run.until("the Job goes on", lambda: suspended(wanted=False))
        await run.world.kubelet.again()


def training_stories(mlflow: Registry) -> Iterator[TrainingStory]:
    """Yield the stories of TrainingRuns."""
    succeeded = ("Succeeded", "Succeeded")
    yield TrainingStory("registered", mlflow, succeeded)
    yield TrainingStory("gated", mlflow, succeeded, _GATE)
    yield TrainingStory("refused by the gate", mlflow, ("Failed", "GateRejected"), _GATE, bad=500)
    bad_data = Ends({"error": "column late has no rows"}, 65)
    yield TrainingStory("failed on its data", mlflow, ("Failed", "DataFailure"), _GATE, trained=bad_data)
    yield TrainingStory("suspended and resumed", mlflow, succeeded, _GATE, pauses=True)
