"""Who is planned anew when something changes, and what an outside error means to the runtime."""

from typing import Any

import pytest
from test_store import pod
from virtual_time import run

from perennial import facts
from perennial.app import calls_to, has_no_pods, owner_key, plan_settings, references, users_of_model
from perennial.plan.actions import Call, SetAlias
from perennial.runtime.errors import Terminal, Unavailable
from perennial.runtime.resources import Key
from perennial.runtime.store import Store
from perennial.settings import from_environment

CALL = SetAlias(model="delay", alias="champion", version="3")


@pytest.fixture
def store() -> Store:
    store = Store()

    def put(kind: str, name: str, spec: dict[str, Any], namespace: str = "ns") -> None:
        store.put(kind, {**pod(name, 5, namespace=namespace), "kind": kind, "spec": spec})

    put("TrainingRun", "run-1", {"datasetRef": {"name": "flights"}, "model": {"name": "delay"}})
    put("TrainingRun", "run-2", {"datasetRef": {"name": "weather"}, "model": {"name": "rain"}})
    put("TrainingRun", "run-1", {"datasetRef": {"name": "flights"}, "model": {"name": "delay"}}, "other")
    put("ModelDeployment", "delay", {"model": {"name": "delay"}})
    learns = {"template": {"datasetRef": {"name": "flights"}}}
    put("ModelDeployment", "learns", {"model": {"name": "trains"}, "retraining": learns})
    put("ModelDeployment", "rain", {"model": {"name": "rain"}})
    put("ModelDeployment", "delay", {"model": {"name": "delay"}}, "other")
    return store


def test_a_dataset_concerns_those_who_learn_from_it_in_its_namespace(store: Store) -> None:
    concerned = [key for mapper in references(store)["Dataset"] for key in mapper({**pod("flights", 6), "spec": {}})]
    assert concerned == [Key("TrainingRun", "ns", "run-1"), Key("ModelDeployment", "ns", "learns")]


def test_a_job_is_without_pods_while_it_is_there_and_none_is_its_own(store: Store) -> None:
    job = {**pod("run-1-train", 5), "kind": "Job", "spec": {}, "status": {}}
    job["metadata"]["labels"] = {"perennial.dev/kind": "TrainingRun", "perennial.dev/name": "run-1"}
    assert owner_key(job) == Key("TrainingRun", "ns", "run-1")
    assert not has_no_pods(store, job)
    store.put("Job", job)
    assert has_no_pods(store, job)
    assert not has_no_pods(store, {**job, "metadata": {**job["metadata"], "uid": "of the one before"}})
    owned = [{"uid": job["metadata"]["uid"], "kind": "Job", "name": "run-1-train", "controller": True}]
    made = pod("run-1-train-x", 6)
    store.put("Pod", {**made, "metadata": {**made["metadata"], "ownerReferences": owned}})
    assert not has_no_pods(store, job)


def test_a_run_concerns_the_deployments_of_its_model_in_its_namespace(store: Store) -> None:
    (mapper,) = references(store)["TrainingRun"]
    run = store.get("TrainingRun", "ns", "run-1")
    assert run is not None
    assert list(mapper(run)) == [Key("ModelDeployment", "ns", "delay")]


USERS = (("TrainingRun", "run-1"), ("ModelDeployment", "delay"))


@pytest.mark.parametrize(
    ("names", "registered", "namespaces"),
    [
        ("{namespace}.{name}", "ns.delay", ["ns"]),
        ("{namespace}.{name}", "delay", []),
        ("{name}", "delay", ["ns", "other"]),
    ],
)
def test_a_registered_model_concerns_those_who_mean_it(
    store: Store, names: str, registered: str, namespaces: list[str]
) -> None:
    environment = {
        f"PERENNIAL_{name}": "x" for name in ("IMAGE_OPERATOR", "IMAGE_SERVER", "IMAGE_ROUTER", "MLFLOW_URL")
    }
    planning = plan_settings(from_environment({**environment, "PERENNIAL_MODEL_NAMES": names}))
    concerned = set(users_of_model(store, planning, registered))
    assert concerned == {Key(kind, namespace, name) for kind, name in USERS for namespace in namespaces}


class Outside:
    """Stands for `facts.Outside`, which has tests of its own against real services."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.carried_out: list[tuple[Call, str, str]] = []

    async def carry_out(self, call: Call, namespace: str, name: str) -> dict[str, str]:
        if self.error is not None:
            raise self.error
        self.carried_out.append((call, namespace, name))
        return {"version": "3"}


def test_calls_are_made_for_their_object() -> None:
    outside = Outside()
    brought = run(calls_to(outside)(Key("TrainingRun", "ns", "run-1"), CALL))  # type: ignore[arg-type]
    assert brought == {"version": "3"}
    assert outside.carried_out == [(CALL, "ns", "run-1")]


def test_an_outage_is_retried_and_a_refusal_is_not() -> None:
    key = Key("TrainingRun", "ns", "run-1")
    with pytest.raises(Unavailable, match="MLflow is unavailable: connection refused") as away:
        run(calls_to(Outside(facts.Unavailable("MLflow", "connection refused", 7)))(key, CALL))  # type: ignore[arg-type]
    assert away.value.after == 7
    with pytest.raises(Terminal, match="MLflow: no such model"):
        run(calls_to(Outside(facts.Refused("MLflow", "no such model", 404)))(key, CALL))  # type: ignore[arg-type]
