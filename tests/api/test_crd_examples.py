"""What a member of a family gives as its example is taken by a real API server, where users would write it."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from cluster.apiserver import ControlPlane
from perennial.families.expectations import kinds
from perennial.families.guardrails import Guardrails
from perennial.families.metrics import OneMetric
from perennial.families.slos import SLO
from perennial.families.triggers import RetrainingTrigger
from perennial.terms.part import camel
from perennial.terms.words import ColumnType

pytestmark = pytest.mark.api
RUN: Mapping[str, Any] = {
    "datasetRef": {"name": "flights"},
    "model": {"name": "flight-delay"},
    "trainer": {"image": "registry.test/trainer:1"},
}
REQUESTS = {"name": "errors", "requests": {"max": "0.01"}}
OUTCOME = {"name": "misses", "outcome": {"falseNegativeRate": {}, "max": "0.3"}}


def dataset(expectation: Mapping[str, Any]) -> dict[str, Any]:
    columns = [{"name": type_.value.lower(), "type": type_.value} for type_ in ColumnType]
    schema = {"target": "boolean", "columns": columns}
    return {"source": {"uri": "pvc://lake/flights"}, "schema": schema, "expectations": [{"name": "it", **expectation}]}


def deployment(*slos: Mapping[str, Any], **retraining: Any) -> dict[str, Any]:
    spec = {"model": {"name": "flight-delay", "version": "2"}, "slos": [REQUESTS, *slos]}
    if not retraining:
        return spec
    usual = {"template": RUN, "triggers": [{"name": "wrong", "slo": "misses"}]}
    spec["slos"].append(OUTCOME)
    return {**spec, "model": {"name": "flight-delay", "fromRetraining": {}}, "retraining": {**usual, **retraining}}


def examples() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield a name, a kind and a spec for each member of each family."""
    for name, expectation in kinds().items():
        fitting = ColumnType.FLOAT if ColumnType.FLOAT in expectation.types else min(expectation.types, default=None)
        column = {} if fitting is None else {"column": fitting.value.lower()}
        yield name, "Dataset", dataset({name: expectation.example, **column})
    for name, metric in OneMetric.types.items():
        metrics = [{"name": "it", camel(name): metric.example, "maxRegression": "0.02"}]
        yield f"{camel(name)} of a gate", "TrainingRun", {**RUN, "gate": {"metrics": metrics}}
        outcome = {camel(name): metric.example, "max": "0.3"}
        yield f"{camel(name)} of an outcome", "ModelDeployment", deployment({"name": "it", "outcome": outcome})
    for name, slo in SLO.types.items():
        yield camel(name), "ModelDeployment", deployment({"name": "it", camel(name): slo.example})
    for name, trigger in RetrainingTrigger.types.items():
        yield (
            camel(name),
            "ModelDeployment",
            deployment(triggers=[{"name": "it", camel(name): trigger.example}]),
        )
    for name, field in Guardrails.model_fields.items():
        example = field.annotation.example  # type: ignore[union-attr]
        yield camel(name), "ModelDeployment", deployment(guardrails={camel(name): example})


@pytest.mark.parametrize(("kind", "spec"), [pytest.param(kind, spec, id=name) for name, kind, spec in examples()])
def test_an_example_is_taken(control_plane: ControlPlane, namespace: str, kind: str, spec: dict[str, Any]) -> None:
    path = f"/apis/perennial.dev/v1alpha1/namespaces/{namespace}/{kind.lower()}s?dryRun=All&fieldValidation=Strict"
    manifest = {"apiVersion": "perennial.dev/v1alpha1", "kind": kind, "metadata": {"name": "it"}, "spec": spec}
    assert control_plane.api.call("POST", path, manifest)["spec"].keys() >= spec.keys()
