"""Which faults strike which stories."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, Final

import generated
import stories_dataset
import stories_deployment
import stories_training
from operator_faults import answers, faults, hands
from operator_faults.campaign import Reference, Variant
from operator_faults.run import Run, Scenario, operated
from perennial_subject import API, LEASE, Registry
from stories_dataset import dataset_stories
from stories_deployment import deployment_stories
from stories_training import training_stories

MATRIX: Final[dict[str, Callable[[Scenario, Reference], Iterable[Variant]]]] = {
    "F1": lambda _, seen: faults.kills(seen),
    "F2": lambda _, seen: faults.double_kills(seen, sample=5),
    "F3": lambda _, seen: faults.lost_replies(seen),
    "F4": lambda story, seen: answers.refusals(seen, says(story.kind)),
    "F5": lambda _, seen: answers.outages(seen),
    "F6": lambda _, seen: answers.delays(seen),
    "F7": lambda _, seen: answers.broken_watches(seen),
    "F8": lambda _, seen: answers.stale_reads(seen),
    "F10": lambda _, seen: hands.two_operators(seen, LEASE),
    "F11": lambda _, seen: hands.spoilt_children(seen, edit),
    "F12": lambda story, seen: [*hands.deletions(seen, PATHS[story.kind]), *without_mlflow(story, seen)],
    "F14": lambda story, _: generated.variants(story.kind),
}
"""For each fault its variants, given a story and what is known of it. None: it is not the story's business."""

PATHS: Final = {
    "Dataset": f"{API}/datasets/{stories_dataset.NAME}",
    "TrainingRun": f"{API}/trainingruns/{stories_training.NAME}",
    "ModelDeployment": f"{API}/modeldeployments/{stories_deployment.NAME}",
}


def says(kind: str) -> Callable[[Run], Awaitable[bool]]:
    """Return what asks whether the object says that it cannot go on, and why."""

    async def look(run: Run) -> bool:
        found = await run.api.get(PATHS[kind].format(namespace=run.namespace))
        conditions = found.get("status", {}).get("conditions", [])
        return any(
            (each["type"], each["status"]) == ("Stalled", "True") and "injected" in each["message"]
            for each in conditions
        )

    return look


def edit(child: dict[str, Any]) -> dict[str, Any] | None:
    """Return how somebody spoils a child by hand; None for Jobs and runs: what has run is not done again."""
    spec = child.get("spec", {})
    if "ports" in spec:
        return {"spec": {"ports": [{**each, "port": each["port"] + 1} for each in spec["ports"]]}}
    if "template" in spec and "replicas" in spec:
        return {"spec": {"replicas": 3}}
    if "data" in child:
        return {"data": dict.fromkeys(child["data"], "spoilt")}
    if "accessModes" in spec:
        return {"metadata": {"labels": {"perennial.dev/name": "spoilt"}}}
    return None


def without_mlflow(story: Scenario, seen: Reference) -> Iterator[Variant]:
    """Yield the deletion of a TrainingRun while MLflow is down."""
    if story.kind != "TrainingRun":
        return

    def down(run: Run) -> None:
        run.world.settings["PERENNIAL_MLFLOW_URL"] = "http://127.0.0.1:9"

    async def drive(run: Run, scenario: Scenario, _: Reference) -> None:
        async with operated(run):
            playing = asyncio.create_task(scenario.play(run))
            await run.until("it holds, and says why", lambda: holds(run))
            playing.cancel()
            await asyncio.gather(playing, return_exceptions=True)
            await hands.delete(run, PATHS[story.kind])

    async def holds(run: Run) -> bool:
        found = await run.api.get(PATHS[story.kind].format(namespace=run.namespace))
        return any(each["reason"] == "RegistryUnavailable" for each in found.get("status", {}).get("conditions", []))

    yield Variant(name="deleted while MLflow is down", set_up=down, drive=drive)


def stories(mlflow: Registry) -> Iterator[Scenario]:
    """Yield all stories of the three kinds."""
    yield from dataset_stories(mlflow)
    yield from training_stories(mlflow)
    yield from deployment_stories(mlflow)


def struck(fault: str, mlflow: Registry) -> Iterator[Scenario]:
    """Yield the stories that a fault strikes: generated objects have one of their own."""
    if fault == "F14":
        yield from (generated.Generated(kind, mlflow) for kind in PATHS)
    else:
        yield from stories(mlflow)
