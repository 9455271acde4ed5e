"""What the ModelDeployment planner sees."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from perennial.api.messages.state import State
from perennial.api.model_deployment import Deployed, ModelDeploymentSpec, ModelDeploymentStatus
from perennial.api.training_run import TrainingRunStatus
from perennial.manifests.build import Owner
from perennial.manifests.manifest import Manifest
from perennial.plan.actions import PutPolicy, SetAlias
from perennial.plan.model_deployment.policy import policy
from perennial.plan.observed import (
    Cache,
    CallResult,
    Fact,
    Facts,
    Issuer,
    PlanSettings,
    RegisteredModel,
    Results,
    owner_of,
)
from perennial.terms.words import Slot

CHAMPION = "champion"
SLOTS: tuple[Slot, Slot] = ("a", "b")


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
    spec: ModelDeploymentSpec
    status: ModelDeploymentStatus
    slots: Mapping[Slot, Manifest]
    router: Manifest | None = None
    collector_pods: Manifest | None = None
    pods: Sequence[Manifest] = ()
    runs: Sequence[RunFound] = ()
    dataset: str | None = None
    """The newest version of the data that a retraining would learn from; None: there is none, or no retraining."""
    collector: Fact[State] = field(default_factory=Fact)
    registry: Fact[RegisteredModel] = field(default_factory=Fact)
    issuer: Fact[Issuer] = field(default_factory=Fact)
    aliased: CallResult | None = None
    told: CallResult | None = None
    settings: PlanSettings


def set_champion(spec: ModelDeploymentSpec, status: ModelDeploymentStatus) -> SetAlias | None:
    """Return the call that makes the stable version MLflow's champion; None if it is, or there is none."""
    stable = status.stable
    if stable is None or stable.since is None or status.champion == stable.model_version:
        return None
    return SetAlias(model=registered_as(stable, spec), alias=CHAMPION, version=stable.model_version)


def registered_as(version: Deployed, spec: ModelDeploymentSpec) -> str:
    """Return the name in MLflow that a version was found under. Release 0.1 recorded none: it used the plain one."""
    return version.server.registered_model or spec.model.name


def observe(  # noqa: PLR0917 - the one signature of all kinds
    cache: Cache, results: Results, facts: Facts, settings: PlanSettings, namespace: str, name: str
) -> ModelDeploymentSeen | None:
    """Return what is known of a ModelDeployment; None if it is gone or going."""
    seen = cache.get("ModelDeployment", namespace, name)
    if seen is None or seen["metadata"].get("deletionTimestamp"):
        return None
    owner = owner_of(seen)
    spec = ModelDeploymentSpec.model_validate(seen["spec"])
    status = ModelDeploymentStatus.model_validate(seen.get("status", {}))
    deployments = {item["metadata"]["name"]: item for item in cache.children(owner.uid, "Deployment")}
    champion, will = set_champion(spec, status), policy(spec, status)
    asks_registry = spec.model.from_retraining is None
    return ModelDeploymentSeen(
        owner=owner,
        generation=seen["metadata"]["generation"],
        spec=spec,
        status=status,
        slots={slot: deployments[f"{name}-{slot}"] for slot in SLOTS if f"{name}-{slot}" in deployments},
        router=deployments.get(f"{name}-router"),
        collector_pods=deployments.get(f"{name}-collector"),
        pods=[pod for pod in cache.list("Pod", namespace) if _of(pod, owner)],
        runs=[
            RunFound(name=run["metadata"]["name"], status=TrainingRunStatus.model_validate(run.get("status", {})))
            for run in cache.list("TrainingRun", namespace)
            if run["spec"]["model"]["name"] == spec.model.name
        ],
        dataset=_newest(cache, namespace, spec),
        collector=facts.collector(namespace, name),
        registry=facts.model(settings.registered_model(namespace, spec.model.name), spec.model.version)
        if asks_registry
        else Fact(),
        issuer=facts.issuer(),
        aliased=results.result(champion) if champion else None,
        told=results.result(PutPolicy(policy=will)) if will else None,
        settings=settings,
    )


def _newest(cache: Cache, namespace: str, spec: ModelDeploymentSpec) -> str | None:
    """Return the digest of the data that a retraining would learn from now."""
    if spec.retraining is None:
        return None
    reference = spec.retraining.template.dataset_ref
    found = cache.get("Dataset", namespace, reference.name)
    newest = ((found or {}).get("status", {}).get("version") or {}).get("digest")
    return reference.digest or newest


def _of(pod: Manifest, owner: Owner) -> bool:
    labels = pod["metadata"].get("labels", {})
    return bool(labels.get("perennial.dev/kind") == owner.kind and labels.get("perennial.dev/name") == owner.name)
