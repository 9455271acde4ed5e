"""Facts about registered models, against a real MLflow server."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest
from eventually import until
from real_mlflow import MLflowServer, free_port

from perennial.facts import MLflow, ModelFacts
from perennial.facts.mlflow import Registration, VersionRecord
from perennial.plan.actions import EnsureRun, RegisterVersion, SetAlias
from perennial.plan.observed import Fact, RegisteredModel


class Counting:
    """The real registry, and how often it was asked."""

    def __init__(self, registry: MLflow) -> None:
        self.registry = registry
        self.asked: list[str] = []

    async def get_registered_model(self, name: str) -> Registration | None:
        self.asked.append(name)
        return await self.registry.get_registered_model(name)

    async def get_model_version(self, name: str, version: str) -> VersionRecord | None:
        self.asked.append(f"{name}/{version}")
        return await self.registry.get_model_version(name, version)


async def a_version(mlflow: MLflow, model: str) -> str:
    run = await mlflow.ensure_run(EnsureRun(experiment="e", uid=str(uuid.uuid4()), run_name="r", tags={}))
    source = f"runs:/{run['runId']}/model"
    tags = {"perennial.dev/digest": "sha256:cd"}
    call = RegisterVersion(model=model, run_id=run["runId"], source=source, tags=tags)
    return (await mlflow.register_version(call))["version"]


@pytest.fixture
def mlflow(mlflow_server: MLflowServer, session: aiohttp.ClientSession) -> MLflow:
    return MLflow(mlflow_server.url, session, timeout_seconds=30)


class Kept:
    """Facts under test with what they told."""

    def __init__(self, mlflow: MLflow, ttl_seconds: float, idle_seconds: float = 1800) -> None:
        self.changes: list[str] = []
        self.registry = Counting(mlflow)
        self.facts = ModelFacts(
            self.registry,
            self.changes.append,
            ttl_seconds=ttl_seconds,
            idle_seconds=idle_seconds,
            first_retry_seconds=0.1,
        )

    def value(self, model: str, version: str | None = None) -> RegisteredModel | None:
        return self.facts.get(model, version).value


@pytest.fixture
async def keep(mlflow: MLflow) -> AsyncIterator[Callable[..., Kept]]:
    kept: list[Kept] = []

    def make(ttl_seconds: float = 600, idle_seconds: float = 1800, registry: MLflow = mlflow) -> Kept:
        kept.append(Kept(registry, ttl_seconds, idle_seconds))
        return kept[-1]

    yield make
    for each in kept:
        await each.facts.close()


async def test_nothing_is_known_before_the_first_answer_and_then_it_is_told(
    keep: Callable[..., Kept], mlflow: MLflow
) -> None:
    model = f"m{uuid.uuid4()}"
    await a_version(mlflow, model)
    await mlflow.set_alias(SetAlias(model=model, alias="champion", version="1"))
    kept = keep()
    assert kept.facts.get(model) == Fact()
    await until(lambda: kept.changes == [model])
    value = kept.value(model)
    assert value is not None
    assert value.exists
    assert value.aliases == {"champion": "1"}
    assert value.versions["1"].digest == "sha256:cd"
    assert value.versions["1"].run_id is not None


async def test_asking_a_thousand_times_asks_mlflow_once(keep: Callable[..., Kept], mlflow: MLflow) -> None:
    model = f"m{uuid.uuid4()}"
    await a_version(mlflow, model)
    kept = keep()
    for _ in range(1000):
        kept.facts.get(model, "1")
    await until(lambda: kept.value(model, "1") is not None)
    for _ in range(1000):
        kept.facts.get(model, "1")
    assert kept.registry.asked == [model, f"{model}/1"]


async def test_a_version_is_unknown_until_it_was_looked_for_and_then_it_is_there_or_not(
    keep: Callable[..., Kept], mlflow: MLflow
) -> None:
    model = f"m{uuid.uuid4()}"
    await a_version(mlflow, model)
    kept = keep()
    await until(lambda: kept.value(model) is not None)
    for version, there in (("1", True), ("7", False), ("latest", False)):
        kept.changes.clear()
        assert kept.facts.get(model, version) == Fact()
        await until(lambda: kept.changes == [model])
        value = kept.value(model, version)
        assert value is not None
        assert (version in value.versions) == there


async def test_a_model_that_is_missing_is_no_error_and_is_seen_when_it_comes(
    keep: Callable[..., Kept], mlflow: MLflow
) -> None:
    model = f"m{uuid.uuid4()}"
    kept = keep(ttl_seconds=0.5)
    await until(lambda: kept.value(model) is not None)
    assert kept.facts.get(model) == Fact(value=RegisteredModel(name=model, exists=False, aliases={}, versions={}))
    await a_version(mlflow, model)
    await until(lambda: (value := kept.value(model)) is not None and value.exists)


async def test_a_foreign_change_is_seen_after_the_time_to_live(keep: Callable[..., Kept], mlflow: MLflow) -> None:
    model = f"m{uuid.uuid4()}"
    await a_version(mlflow, model)
    kept = keep(ttl_seconds=0.5)
    await until(lambda: kept.value(model) is not None)
    kept.changes.clear()
    await mlflow.set_alias(SetAlias(model=model, alias="champion", version="1"))
    await until(lambda: kept.changes == [model])
    value = kept.value(model)
    assert value is not None
    assert value.aliases == {"champion": "1"}


async def test_an_own_change_is_seen_at_once_and_no_change_is_not_told(
    keep: Callable[..., Kept], mlflow: MLflow
) -> None:
    model = f"m{uuid.uuid4()}"
    await a_version(mlflow, model)
    kept = keep(ttl_seconds=600)
    await until(lambda: kept.value(model) is not None)
    kept.changes.clear()
    kept.facts.refresh(model)
    await until(lambda: kept.registry.asked.count(model) == 2)
    await mlflow.set_alias(SetAlias(model=model, alias="champion", version="1"))
    kept.facts.refresh(model)
    await until(lambda: kept.changes != [])
    assert kept.changes == [model], "the refresh that brought nothing new told nobody"


async def test_an_outage_keeps_the_value_and_one_error(
    keep: Callable[..., Kept], mlflow_server: MLflowServer, session: aiohttp.ClientSession
) -> None:
    mlflow = MLflow(mlflow_server.url, session, timeout_seconds=30)
    model = f"m{uuid.uuid4()}"
    await a_version(mlflow, model)
    kept = keep(ttl_seconds=0.2, registry=mlflow)
    await until(lambda: kept.value(model) is not None)
    before = kept.value(model)
    kept.changes.clear()
    mlflow_server.stop()
    try:
        await until(lambda: kept.registry.asked.count(model) >= 6 and kept.facts.get(model).error is not None)
        assert kept.facts.get(model).value == before
        assert "connection refused" in (kept.facts.get(model).error or "")
        assert kept.changes == [model], "many failures are one outage"
    finally:
        mlflow_server.start()
    await until(lambda: kept.facts.get(model) == Fact(value=before))
    assert kept.changes == [model, model]


async def test_an_outage_from_the_beginning_is_an_error_without_a_value(
    keep: Callable[..., Kept], session: aiohttp.ClientSession
) -> None:
    kept = keep(registry=MLflow(f"http://127.0.0.1:{free_port()}", session))
    await until(lambda: kept.facts.get("m", "1").error is not None)
    assert kept.facts.get("m", "1").value is None


async def test_a_model_nobody_asks_for_is_forgotten(keep: Callable[..., Kept]) -> None:
    kept = keep(ttl_seconds=0.05, idle_seconds=0.3)
    kept.facts.get("m")
    await until(lambda: len(asyncio.all_tasks()) == 1)
    asked = len(kept.registry.asked)
    assert asked >= 1
    assert kept.facts.get("m") == Fact(), "asked for again, it starts anew"


async def test_a_model_is_kept_as_long_as_its_users_ask_when_they_are_told(keep: Callable[..., Kept]) -> None:
    """Objects that are as they should be are not planned for hours; their facts must not go stale for that."""
    kept = keep(ttl_seconds=0.05, idle_seconds=0.2)
    told: list[str] = []

    def ask(model: str) -> None:
        told.append(model)
        kept.facts.get(model, "1")

    kept.facts._on_change = ask
    kept.facts.get("m", "1")
    await until(lambda: kept.facts.get("m").value is not None)
    first = len(told)
    await until(lambda: len(told) >= first + 3)
    assert kept.facts.get("m", "1").value is not None, "it was forgotten in between"
