"""The kinds there are."""

from collections.abc import Mapping
from typing import Any

from perennial.plan.dataset.kind import DATASET
from perennial.plan.kind import Figure, Kind
from perennial.plan.model_deployment.kind import MODEL_DEPLOYMENT
from perennial.plan.training_run.kind import TRAINING_RUN

__all__ = ["DATASET", "KINDS", "MODEL_DEPLOYMENT", "TRAINING_RUN", "figures"]

KINDS: tuple[Kind[Any], ...] = (DATASET, TRAINING_RUN, MODEL_DEPLOYMENT)
"""In the order of the loop: data, training, serving."""


def figures() -> Mapping[str, tuple[Figure[Any], tuple[Kind[Any], ...]]]:
    """Return every figure by its name, with the kinds that have it."""
    every = {figure.name: figure for kind in KINDS for figure in kind.figures}
    return {name: (each, tuple(kind for kind in KINDS if each in kind.figures)) for name, each in every.items()}
