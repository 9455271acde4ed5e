"""What happens to a Dataset: recorded, refused, recorded anew."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from kubelet import Ends, Fate, kubelet
from operator_faults.run import Run, State
from perennial_subject import API, Beside, Registry

NAME = "flights"
REFRESH_SECONDS = 5


def dataset(**more: Any) -> dict[str, Any]:
    """Return a Dataset of flights."""
    schema = {
        "target": "late",
        "time": "scheduled",
        "columns": [{"name": "late", "type": "Boolean"}, {"name": "scheduled", "type": "Timestamp"}],
    }
    return {
        "apiVersion": "perennial.dev/v1alpha1",
        "kind": "Dataset",
        "metadata": {"name": NAME},
        "spec": {"source": {"uri": "pvc://lake/flights"}, "schema": schema, **more},
    }


def path(run: Run, subresource: str = "") -> str:
    """Return the path of the Dataset."""
    return f"{API.format(namespace=run.namespace)}/datasets/{NAME}{subresource}"


def digest(letter: str) -> str:
    """Return a digest that is easily told from others."""
    return f"sha256:{letter * 64}"


def found(letter: str, rows: int, *, failing: bool = False) -> Ends:
    """Return the words of a check."""
    message = f"rows must number at least 1000, but there are {rows}"
    unmet = [{"name": "enough", "verdict": "Fail", "reason": "OutOfRange", "message": message}] if failing else []
    return Ends(
        {
            "digest": digest(letter),
            "rows": rows,
            "bytes": rows * 10,
            "files": 1,
            "from": "2026-01-01T00:00:00Z",
            "to": "2026-03-01T00:00:00Z",
            "passed": 1 - len(unmet),
            "failed": len(unmet),
            "unmet": unmet,
        }
    )


async def ready(run: Run, ordinal: int) -> Any:
    """Return the Dataset once it is ready with its so-and-so-many-th version."""

    async def look() -> Any:
        now = await run.api.get(path(run))
        status = now.get("status", {})
        condition = {each["type"]: each["status"] for each in status.get("conditions", [])}
        is_ready = condition.get("Ready") == "True" and condition.get("Reconciling", "False") == "False"
        return now if is_ready and status.get("version", {}).get("ordinal") == ordinal else None

    return await run.until(f"version {ordinal} is recorded", look)


async def condition(run: Run, kind: str, status: str, reason: str) -> Any:
    """Wait until the Dataset has a condition."""

    async def look() -> Any:
        conditions = (await run.api.get(path(run))).get("status", {}).get("conditions", [])
        wanted = (kind, status, reason)
        return any((each["type"], each["status"], each["reason"]) == wanted for each in conditions)

    return await run.until(f"the Dataset's {kind} is {status} ({reason})", look)


@dataclass(frozen=True)
class DatasetStory:
    """One Dataset. Its checks find, one after the other, what `checks` says; the last again and again."""

    name: str
    checks: tuple[Ends, ...]
    mlflow: Registry
    clocked: Mapping[str, float] = field(default_factory=dict)
    kind: str = "Dataset"

    @asynccontextmanager
    async def world(self, run: Run) -> AsyncIterator[Beside]:
        """Have a kubelet that runs each check's pod once."""
        coming = iter(self.checks)
        known: dict[str, Ends] = {}

        def fate(component: str, pod: dict[str, Any]) -> Fate:
            job = pod["metadata"]["labels"]["job-name"]
            if job not in known:
                known[job] = next(coming, self.checks[-1])
            return known[job]

        async with kubelet(run.api, run.namespace, fate) as playing:
            yield Beside(playing, self.mlflow)

    async def outside(self, _: Run) -> State:
        """Nothing."""
        return {}

    async def play(self, run: Run) -> None:
        """Tell the story of this name."""
        await getattr(self, f"_{self.name.replace(' ', '_')}")(run)

    async def _recorded(self, run: Run) -> None:
        await run.api.apply(path(run), dataset())
        await ready(run, 1)

    async def _refused(self, run: Run) -> None:
        """The data is not fit; a spec that asks for less is applied; it is."""
        await run.api.apply(path(run), dataset(expectations=[{"name": "enough", "rowCount": {"min": 1000}}]))
        await condition(run, "Ready", "False", "ExpectationFailed")
        await run.api.apply(path(run), dataset(expectations=[{"name": "enough", "rowCount": {"min": 10}}]))
        await ready(run, 1)

    async def _refreshed(self, run: Run) -> None:
        """The data is looked at again by itself, and is new; then nobody looks any more."""
        await run.api.apply(path(run), dataset(refresh={"intervalSeconds": REFRESH_SECONDS}))
        await ready(run, 2)
        await run.api.apply(path(run), dataset(refresh={"intervalSeconds": REFRESH_SECONDS}, suspend=True))
        await condition(run, "Stalled", "True", "Suspended")


def dataset_stories(mlflow: Registry) -> Iterator[DatasetStory]:
    """Yield the stories of Datasets."""
    yield DatasetStory("recorded", (found("a", 5000),), mlflow)
    yield DatasetStory("refused", (found("a", 500, failing=True), found("a", 500)), mlflow)
    # The time of the next check is recorded in whole seconds.
    clocked = {"/apis/batch/v1/namespaces/(namespace)/jobs": REFRESH_SECONDS - 1.0}
    yield DatasetStory("refreshed", (found("a", 5000), found("b", 6000)), mlflow, clocked)
