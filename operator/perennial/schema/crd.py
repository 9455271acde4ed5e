"""The CustomResourceDefinitions of the three kinds."""

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from perennial.api.dataset import DatasetSpec, DatasetStatus
from perennial.api.model_deployment import ModelDeploymentSpec, ModelDeploymentStatus
from perennial.api.training_run import TrainingRunSpec, TrainingRunStatus
from perennial.schema.structural import structural, without_listed_defaults, without_rules
from perennial.terms.names import GROUP, VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of `kubectl get`; `wide` ones show with `-o wide` alone."""

    name: str
    path: str
    type: str = "string"
    description: str
    wide: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What is needed to define a kind."""

    name: str
    plural: str
    short: str
    description: str
    spec: type[BaseModel]
    status: type[BaseModel]
    columns: tuple[Column, ...]
    immutable_spec: str | None = None
    """The sentence that refuses any change of spec but to `suspend`; None: spec may change."""
    rules: tuple[tuple[str, str], ...] = ()
    """What must hold of name and spec together, in CEL, with the sentence that says so."""
    services: bool = False
    """Whether Services are named after it, whose names begin with a letter (RFC 1035)."""


def _condition(kind: str, field: str = "status") -> str:
    return f'.status.conditions[?(@.type=="{kind}")].{field}'


AGE = Column(name="Age", path=".metadata.creationTimestamp", type="date", description="How long it exists.")

KINDS = (
    Kind(
        name="Dataset",
        plural="datasets",
        short="dset",
        description='Versioned, checked data: "what may we learn from?"',
        rules=(
            (
                (
                    "!self.spec.source.uri.startsWith('pvc://') || "
                    "self.spec.source.uri.split('/')[2] != self.metadata.name + '-snapshots'"
                ),
                "spec.source must not be the Dataset's own snapshots",
            ),
        ),
        spec=DatasetSpec,
        status=DatasetStatus,
        columns=(
            Column(name="Ready", path=_condition("Ready"), description="Whether runs may use it."),
            Column(
                name="Version",
                path=".status.version.ordinal",
                type="integer",
                description="The newest version's number.",
            ),
            Column(name="Rows", path=".status.version.rows", type="integer", description="Its rows."),
            Column(name="Reason", path=_condition("Ready", "reason"), description="Why it is or is not ready."),
            Column(name="To", path=".status.version.to", description="Its latest event time.", wide=True),
            Column(name="Digest", path=".status.version.digest", description="Its identity.", wide=True),
            AGE,
        ),
    ),
    Kind(
        name="TrainingRun",
        plural="trainingruns",
        short="trun",
        description=(
            'One training, pinned to its inputs, gated against the champion: "what did we learn, and is it better?"'
        ),
        spec=TrainingRunSpec,
        status=TrainingRunStatus,
        immutable_spec="spec is immutable but for suspend: a TrainingRun is one training; create another one",
        columns=(
            Column(name="Succeeded", path=_condition("Succeeded"), description="Whether it has succeeded."),
            Column(name="Reason", path=_condition("Succeeded", "reason"), description="Where it is, or why it failed."),
            Column(name="Gate", path=".status.gate.verdict", description="The gate's verdict."),
            Column(name="Model", path=".spec.model.name", description="The registered model."),
            Column(name="Version", path=".status.modelVersion", description="The version it became."),
            Column(name="Run", path=".status.mlflow.runId", description="The run in MLflow.", wide=True),
            Column(name="Data", path=".status.dataset.digest", description="The data it is pinned to.", wide=True),
            AGE,
        ),
    ),
    Kind(
        name="ModelDeployment",
        plural="modeldeployments",
        short="mdep",
        description='Serving, canary, monitoring and retraining: "is it still right, and if not, what do we do?"',
        services=True,
        spec=ModelDeploymentSpec,
        status=ModelDeploymentStatus,
        columns=(
            Column(name="Ready", path=_condition("Ready"), description="Whether it answers as promised."),
            Column(name="Model", path=".spec.model.name", description="The registered model."),
            Column(name="Stable", path=".status.stable.modelVersion", description="The model version that answers."),
            Column(name="Canary", path=".status.canary.modelVersion", description="The model version on trial."),
            Column(
                name="Weight",
                path=".status.canary.weight.verified",
                type="integer",
                description="Its share, in per cent.",
            ),
            Column(name="Verdict", path=".status.canary.slos[0].verdict", description="What the evidence says of it."),
            Column(
                name="SLOs", path=_condition("SLOsMet"), description="Whether the stable version keeps its promises."
            ),
            Column(
                name="Reason", path=_condition("Ready", "reason"), description="Why it is or is not ready.", wide=True
            ),
            AGE,
        ),
    ),
)


def definition(kind: Kind) -> dict[str, Any]:
    """Return a kind's CustomResourceDefinition."""
    spec = without_listed_defaults(structural(kind.spec))
    if kind.immutable_spec:
        rule = {"rule": _unchanged(spec, except_for="suspend"), "message": kind.immutable_spec}
        spec["x-kubernetes-validations"] = [rule, *spec.get("x-kubernetes-validations", [])]
    schema = {
        "type": "object",
        "description": kind.description,
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec,
            # What kstatus takes for done has been looked at: without this, an object would be as soon as it is created.
            "status": {**without_rules(structural(kind.status)), "default": {"observedGeneration": -1}},
        },
        "x-kubernetes-validations": _name_rules(kind),
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": kind.name,
                "listKind": f"{kind.name}List",
                "plural": kind.plural,
                "singular": kind.name.lower(),
                "shortNames": [kind.short],
                "categories": ["perennial", "ml"],
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [
                        {
                            "name": column.name,
                            "type": column.type,
                            "jsonPath": column.path,
                            "description": column.description,
                            **({"priority": 1} if column.wide else {}),
                        }
                        for column in kind.columns
                    ],
                }
            ],
        },
    }


def _unchanged(schema: dict[str, Any], *, except_for: str) -> str:
    """Return the CEL rule that all members of an object but one are what they were."""
    same = "self.{0} == oldSelf.{0}"
    same_or_absent = "has(self.{0}) == has(oldSelf.{0}) && (!has(self.{0}) || self.{0} == oldSelf.{0})"
    members = sorted(name for name in schema["properties"] if name != except_for)
    return " && ".join((same if name in schema["required"] else same_or_absent).format(name) for name in members)


def _name_rules(kind: Kind) -> list[dict[str, str]]:
    rules = [
        {
            "rule": "size(self.metadata.name) <= 46 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
            "message": (
                "metadata.name must have at most 46 letters, digits or '-': the names of children are made from it"
            ),
        }
    ]
    if kind.services:
        letter = "metadata.name must begin with a letter: Services are named after it"
        rules.append({"rule": "self.metadata.name.matches('^[a-z]')", "message": letter})
    return [*rules, *({"rule": rule, "message": message} for rule, message in kind.rules)]
