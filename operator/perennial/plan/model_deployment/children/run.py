"""The TrainingRun of a retraining."""

from typing import Any

from perennial.api.model_deployment import Retraining
from perennial.manifests.build import Owner, child
from perennial.terms.names import API_VERSION


def desired_run(owner: Owner, retraining: Retraining, name: str) -> dict[str, Any]:
    """Return the TrainingRun of a retraining."""
    return {**child(API_VERSION, "TrainingRun", name, owner, "retraining"), "spec": retraining.template.json_data()}
