"""What happens to a ModelDeployment: it serves, replaces a version, keeps one out, has one trained anew."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from dataplane import COHORT_SECONDS, DataPlane
from kubelet import Fate, Lives, kubelet
from operator_faults.run import Run, State
from perennial_subject import API, Beside, Registry, model_of

NAME = "delay"
STEPS = (20, 50)


def deployment(run: Run, **more: Any) -> dict[str, Any]:
    """Return a ModelDeployment of the newest version that was trained."""
    spec = {
        "model": {"name": model_of(run), "fromRetraining": {}},
        # About 23 requests without a failure show a rate below 0.2, about 6 failures one above.
        "slos": [{"name": "errors", "requests": {"max": "0.2"}}],
        "canary": {"steps": [{"weight": weight} for weight in STEPS], "scaleDownDelaySeconds": 0},
    }
    return {
        "apiVersion": "perennial.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": NAME},
        "spec": spec | more,
    }


def path(run: Run, subresource: str = "") -> str:
    """Return the path of the ModelDeployment."""
    return f"{API.format(namespace=run.namespace)}/modeldeployments/{NAME}{subresource}"


async def offer(run: Run, version: str) -> None:
    """Let a TrainingRun have registered a version of the model."""
    spec = {
        "datasetRef": {"name": "flights"},
        "model": {"name": model_of(run)},
        "trainer": {"image": "registry.test/trainer:1"},
    }
    manifest = {"apiVersion": "perennial.dev/v1alpha1", "kind": "TrainingRun", "spec": spec}
    manifest["metadata"] = {"name": f"flights-{version}"}
    runs = f"{API.format(namespace=run.namespace)}/trainingruns/flights-{version}"
    await run.api.apply(runs, manifest)

    async def looked_at() -> bool:
        return bool((await run.api.get(runs)).get("status", {}).get("conditions"))

    await run.until("the operator has looked at the TrainingRun", looked_at)  # else its first status may come or not
    await run.api.merge(f"{runs}/status", {"status": {"terminalState": "Succeeded", "modelVersion": version}})


@dataclass(frozen=True)
class DeploymentStory:
    """One ModelDeployment, with real routers, a real collector and a real MLflow."""

    name: str
    mlflow: Registry
    kind: str = "ModelDeployment"

    @asynccontextmanager
    async def world(self, run: Run) -> AsyncIterator[Beside]:
        """Have two versions in MLflow, pods that live at 127.0.0.1, and what they would run."""
        await self.mlflow.have_versions(model_of(run), 2)

        def fate(component: str, pod: dict[str, Any]) -> Fate:
            return Lives()

        async with (
            aiohttp.ClientSession() as session,
            DataPlane(run, NAME, session).running() as data,
            kubelet(run.api, run.namespace, fate) as playing,
        ):
            settings = {"PERENNIAL_COLLECTOR_URL": data.collector.url}
            yield Beside(playing, self.mlflow, settings, data)

    async def outside(self, run: Run) -> State:
        """Return what MLflow calls the champion, and what the router does."""
        state = await run.world.data.collector.state()
        aliases = await self.mlflow.aliases(model_of(run))
        return {"aliases": aliases, "weights": state.weights.model_dump(mode="json", include={"desired", "verified"})}

    async def play(self, run: Run) -> None:
        """Tell the story of this name."""
        await getattr(self, f"_{self.name.replace(' ', '_')}")(run)

    async def _serving(self, run: Run, **more: Any) -> None:
        await offer(run, "1")
        await run.api.apply(path(run), deployment(run, **more))
        await until(run, "version 1 serves", stable="1", champion="1")

    async def _promoted(self, run: Run) -> None:
        await self._serving(run)
        async with run.world.data.traffic.running():
            await offer(run, "2")
            await until(run, "version 2 is promoted", stable="2", champion="2")
            await run.world.data.until_weight(100)
        assert run.world.data.traffic.lost == 0, "a request was lost"

    async def _rolled_back(self, run: Run) -> None:
        await self._serving(run)
        run.world.data.models["b"].failing = 0.9
        async with run.world.data.traffic.running():
            await offer(run, "2")
            await until(run, "version 2 is rolled back", stable="1", champion="1", rejected=1)
            await run.world.data.until_weight(0)

    async def _retrained(self, run: Run) -> None:
        template = {
            "datasetRef": {"name": "flights"},
            "model": {"name": model_of(run)},
            "trainer": {"image": "registry.test/trainer:1"},
        }
        missed = {"falseNegativeRate": {}, "max": "0.3", "minSamples": 50}
        await self._serving(
            run,
            slos=[{"name": "errors", "requests": {"max": "0.2"}}, {"name": "missed", "outcome": missed}],
            monitoring={"cohortSeconds": COHORT_SECONDS, "maturity": {"maxLabelDelaySeconds": 0}},
            retraining={"template": template, "triggers": [{"name": "wrong", "slo": "missed"}]},
        )
        stable = (await run.api.get(path(run)))["status"]["stable"]
        await run.world.data.break_promise(stable["version"], stable["modelVersion"])

        async def started() -> bool:
            status = (await run.api.get(path(run)))["status"]
            name = status.get("retraining", {}).get("currentRun")
            runs = await run.api.items(f"{API.format(namespace=run.namespace)}/trainingruns")
            held = [each for each in runs if each["metadata"]["name"] == name and each.get("status")]
            return bool(held)

        await run.until("a TrainingRun is made", started)


async def until(run: Run, what: str, *, stable: str, champion: str, rejected: int = 0) -> None:
    """Wait until a version serves alone, and it is recorded."""

    async def look() -> bool:
        status = (await run.api.get(path(run))).get("status", {})
        serving = status.get("stable", {})
        return (
            serving.get("modelVersion") == stable
            and bool(serving.get("since"))
            and status.get("champion") == champion
            and len(status.get("rejected", [])) == rejected
            and not status.get("canary")
            and status.get("previous", {"scaledDown": True}).get("scaledDown", False)
            and any((each["type"], each["status"]) == ("Ready", "True") for each in status["conditions"])
        )

    await run.until(what, look, 90)


def deployment_stories(mlflow: Registry) -> Iterator[DeploymentStory]:
    """Yield the stories of ModelDeployments."""
    for name in ("serving", "promoted", "rolled back", "retrained"):
        yield DeploymentStory(name, mlflow)
