"""What a ModelDeployment is."""

from collections.abc import Iterator

from perennial.api.model_deployment import ModelDeploymentSpec, ModelDeploymentStatus
from perennial.manifests.manifest import Manifest
from perennial.plan.kind import AGE, GATE_METRICS, TOO_MANY_METRICS, Kind, Printed, condition_path, field
from perennial.plan.model_deployment.figures import FIGURES
from perennial.plan.model_deployment.observe import observe
from perennial.plan.model_deployment.planner import plan
from perennial.plan.model_deployment.situation import Situation
from perennial.plan.observed import Cache
from perennial.terms import names


def _model(manifest: Manifest) -> str | None:
    found: str | None = field(manifest, "spec", "model", "name")
    return found


def _deployments_of_model(cache: Cache, changed: Manifest) -> Iterator[str]:
    """A run's outcome is taken up by those that serve its model; its owner is known by the owner reference."""
    model = _model(changed)
    for deployment in cache.list(names.MODEL_DEPLOYMENT.kind, changed["metadata"]["namespace"]):
        if model is not None and _model(deployment) == model:
            yield deployment["metadata"]["name"]


def _retrained_on(cache: Cache, changed: Manifest) -> Iterator[str]:
    """New data lets those that would learn from it retrain again."""
    for deployment in cache.list(names.MODEL_DEPLOYMENT.kind, changed["metadata"]["namespace"]):
        learnt = field(deployment, "spec", "retraining", "template", "datasetRef", "name")
        if learnt == changed["metadata"]["name"]:
            yield deployment["metadata"]["name"]


MODEL_DEPLOYMENT: Kind[Situation] = Kind(
    names=names.MODEL_DEPLOYMENT,
    description='Serving, canary, monitoring and retraining: "is it still right, and if not, what do we do?"',
    services=True,
    spec=ModelDeploymentSpec,
    status=ModelDeploymentStatus,
    columns=(
        Printed(name="Ready", path=condition_path("Ready"), description="Whether it answers as promised."),
        Printed(name="Model", path=".spec.model.name", description="The registered model."),
        Printed(name="Stable", path=".status.stable.modelVersion", description="The model version that answers."),
        Printed(name="Canary", path=".status.canary.modelVersion", description="The model version on trial."),
        Printed(
            name="Weight", path=".status.canary.weight.verified", type="integer", description="Its share, in per cent."
        ),
        Printed(name="Verdict", path=".status.canary.slos[0].verdict", description="What the evidence says of it."),
        Printed(
            name="SLOs", path=condition_path("SLOsMet"), description="Whether the stable version keeps its promises."
        ),
        Printed(
            name="Reason", path=condition_path("Ready", "reason"), description="Why it is or is not ready.", wide=True
        ),
        AGE,
    ),
    observe=observe,
    plan=plan,
    looks_at={names.TRAINING_RUN.kind: _deployments_of_model, names.DATASET.kind: _retrained_on},
    registered_model=_model,
    figures=FIGURES,
    renamed={
        "slos[]": (
            "Release 0.2 called `requests` errorRate, and had the metric of an outcome in `metric`: write, for "
            'example, `requests: {max: "0.01"}`, or `outcome: {falseNegativeRate: {}, max: "0.3"}`.'
        ),
        "slos[].outcome": (
            "Release 0.2 had the metric of an outcome in `metric` and `threshold`: write, for example, "
            '`outcome: {falseNegativeRate: {threshold: "0.5"}, max: "0.3"}`.'
        ),
        "retraining.triggers[].name": "Release 0.2 had triggers without a name: write, for example, `name: wrong`.",
        "retraining.template.gate.metrics[]": GATE_METRICS,
        "retraining.template.gate.metrics[].name": GATE_METRICS,
        "retraining.template.gate.metrics": TOO_MANY_METRICS,
    },
)
