"""The plugin on an operator that it knows nothing of: right where it is right, and found out where it is not."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from operator_faults import faults
from operator_faults.campaign import Campaign, failures
from operator_faults.run import Run, State, Subject
from operator_faults.upstream import upstream

pytestmark = pytest.mark.api

PONIES = "/apis/farm.example/v1/namespaces/{namespace}/ponies"
OPEN = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "ponies.farm.example"},
    "spec": {
        "group": "farm.example",
        "scope": "Namespaced",
        "names": {"plural": "ponies", "singular": "pony", "kind": "Pony", "listKind": "PonyList"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": OPEN, "status": OPEN}}},
            }
        ],
    },
}


def without_kopfs_notes(found: dict[str, Any]) -> dict[str, Any] | None:
    if found["metadata"]["name"] == "kube-root-ca.crt":
        return None
    found["metadata"].pop("annotations", None)
    found["metadata"].pop("generateName", None)
    found.get("status", {}).pop("kopf", None)
    return found


@pytest.fixture(scope="session")
def faults_subject() -> Subject:
    return Subject(
        module="kopf",
        arguments=("run", "--standalone", "--namespace={namespace}", str(Path(__file__).parent / "ponies.py")),
        environment=lambda run, _: {"PATH": "/usr/bin:/bin", "NAMED": run.world},
        collections=(PONIES, "/api/v1/namespaces/{namespace}/configmaps"),
        normalise=without_kopfs_notes,
        complaint=lambda log: "a lost argument" if "TypeError" in log else None,
    )


@pytest.fixture
def faults_preloaded() -> tuple[str, ...]:
    return ("kopf",)


@pytest_asyncio.fixture(autouse=True)
async def ponies(faults_kubeconfig: Path) -> None:
    async with upstream(faults_kubeconfig) as api:
        await api.apply("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/ponies.farm.example", DEFINITION)


@dataclass(frozen=True)
class Stabled:
    """A pony comes, and has a stable."""

    named: str
    kind: str = "Pony"
    name: str = "stabled"

    @asynccontextmanager
    async def world(self, _: Run) -> AsyncIterator[str]:
        yield self.named

    async def play(self, run: Run) -> None:
        path = f"{PONIES.format(namespace=run.namespace)}/blaze"
        pony = {"apiVersion": "farm.example/v1", "kind": "Pony", "metadata": {"name": "blaze"}}

        async def applied() -> Any:
            return await run.api.apply(path, pony | {"spec": {"colour": "brown"}})  # 404 until the kind is served

        async def built() -> bool:
            return bool((await run.api.get(path)).get("status", {}).get("built"))

        await run.until("the pony is there", applied)
        await run.until("it has a stable", built)

    async def outside(self, _: Run) -> State:
        return {}


async def test_an_operator_that_names_its_children_passes(campaign: Campaign) -> None:
    row = await campaign.row("F1", Stabled("1"), lambda _, seen: faults.kills(seen))
    assert row is not None
    assert row.runs >= 4
    assert failures([row]) == []


async def test_an_operator_that_builds_twice_is_found_out_and_its_time_line_is_kept(
    campaign: Campaign, faults_build: Path
) -> None:
    def after_the_stable(_: Any, seen: Any) -> Any:
        return [each for each in faults.kills(seen) if "after" in each.name and "configmaps" in each.name]

    row = await campaign.row("F1", Stabled("0"), after_the_stable)
    assert row is not None
    assert (row.runs, row.passed) == (1, 0)
    (failure,) = row.failures
    assert "configmaps/blaze-" in failure["problem"]
    (page,) = [each.read_text() for each in faults_build.glob("*/history.html")]  # noqa: ASYNC240
    assert "operator-1 killed" in page
    assert "reply lost" in page


@pytest.fixture
def faults_build(tmp_path: Path) -> Path:
    """Failures that are wanted are none to look at."""
    return tmp_path / "build" / "faults"
