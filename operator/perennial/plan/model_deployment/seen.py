"""What is seen of a ModelDeployment, before anybody has thought about it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import get_args

from perennial.api.messages.state import State
from perennial.api.model_deployment import ModelDeploymentSpec, ModelDeploymentStatus
from perennial.api.training_run import TrainingRunStatus
from perennial.manifests.build import Owner
from perennial.manifests.manifest import Manifest
from perennial.plan.observed import CallResult, Fact, Issuer, PlanSettings, RegisteredModel
from perennial.terms.words import Slot

SLOTS: tuple[Slot, ...] = get_args(Slot)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFound:
    """A TrainingRun of the same namespace that trains this ModelDeployment's model."""

    name: str
    status: TrainingRunStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDeploymentSeen:
    """A ModelDeployment, its children, the runs of its model, its collector and the registry."""

    owner: Owner
    generation: int
    request: str | None = None
    """The annotation by which somebody asks for something: `<verb>@<token>`."""
    spec: ModelDeploymentSpec
    status: ModelDeploymentStatus
    slots: Mapping[Slot, Manifest]
    """The Deployments that serve."""
    router: Manifest | None = None
    collector_pods: Manifest | None = None
    """The collector's Deployment."""
    pods: Sequence[Manifest] = ()
    """The pods of all its Deployments."""
    runs: Sequence[RunFound] = ()
    dataset: str | None = None
    """The newest version of the data that a retraining would learn from; None: there is none, or no retraining."""
    collector: Fact[State] = field(default_factory=Fact)
    """What the collector says."""
    registry: Fact[RegisteredModel] = field(default_factory=Fact)
    """What MLflow says of the model; nothing where the version comes from a TrainingRun."""
    issuer: Fact[Issuer] = field(default_factory=Fact)
    alias_result: CallResult | None = None
    """What became of the call that makes the stable version MLflow's champion."""
    put_result: CallResult | None = None
    """What became of the call that tells the collector the policy."""
    settings: PlanSettings
