"""What a ModelDeployment's planner is shown: gathered from the cache, from what calls brought, and from outside."""

from perennial.api.model_deployment import ModelDeploymentSpec, ModelDeploymentStatus
from perennial.api.training_run import TrainingRunStatus
from perennial.manifests.build import Owner
from perennial.manifests.manifest import Manifest
from perennial.plan.actions import PutPolicy
from perennial.plan.kind import field
from perennial.plan.model_deployment.champion import set_champion
from perennial.plan.model_deployment.policy import policy
from perennial.plan.model_deployment.seen import SLOTS, ModelDeploymentSeen, RunFound
from perennial.plan.model_deployment.situation import Situation, situation
from perennial.plan.observed import Cache, Fact, owner_of
from perennial.plan.view import View
from perennial.terms.names import KIND_LABEL, NAME_LABEL, REQUEST


def observe(view: View, namespace: str, name: str) -> Situation | None:
    """Return the situation of a ModelDeployment; None if it is gone or going."""
    cache, results, facts, settings = view.cache, view.results, view.facts, view.settings
    found = cache.get("ModelDeployment", namespace, name)
    if found is None or found["metadata"].get("deletionTimestamp"):
        return None
    owner = owner_of(found)
    spec = ModelDeploymentSpec.model_validate(found["spec"])
    status = ModelDeploymentStatus.model_validate(found.get("status", {}))
    deployments = {item["metadata"]["name"]: item for item in cache.children(owner.uid, "Deployment")}
    champion, will = set_champion(spec, status), policy(spec, status)
    registered = settings.registered_model(namespace, spec.model.name)
    return situation(
        ModelDeploymentSeen(
            owner=owner,
            generation=found["metadata"]["generation"],
            request=found["metadata"].get("annotations", {}).get(REQUEST),
            spec=spec,
            status=status,
            slots={slot: deployments[f"{name}-{slot}"] for slot in SLOTS if f"{name}-{slot}" in deployments},
            router=deployments.get(f"{name}-router"),
            collector_pods=deployments.get(f"{name}-collector"),
            pods=[pod for pod in cache.list("Pod", namespace) if _of(pod, owner)],
            runs=[
                RunFound(name=run["metadata"]["name"], status=TrainingRunStatus.model_validate(run.get("status", {})))
                for run in cache.list("TrainingRun", namespace)
                if field(run, "spec", "model", "name") == spec.model.name
            ],
            dataset=_newest(cache, namespace, spec),
            collector=facts.collector(namespace, name),
            registry=facts.model(registered, spec.model.version) if spec.model.from_retraining is None else Fact(),
            issuer=facts.issuer(),
            alias_result=results.result(champion) if champion else None,
            put_result=results.result(PutPolicy(policy=will)) if will else None,
            settings=settings,
        )
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
    return bool(labels.get(KIND_LABEL) == owner.kind and labels.get(NAME_LABEL) == owner.name)
