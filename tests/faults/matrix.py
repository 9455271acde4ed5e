"""Which faults strike which stories."""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from operator_faults import faults
from operator_faults.campaign import Reference, Variant
from operator_faults.run import Scenario
from perennial_subject import Registry
from stories_dataset import dataset_stories
from stories_deployment import deployment_stories
from stories_training import training_stories

MATRIX: Final[dict[str, Callable[[Scenario, Reference], Iterable[Variant]]]] = {
    "F1": lambda _, seen: faults.kills(seen),
    "F2": lambda _, seen: faults.double_kills(seen, sample=5),
    "F3": lambda _, seen: faults.lost_replies(seen),
}
"""For each fault its variants, given a story and what is known of it. None: it is not the story's business."""


def struck(_: str, mlflow: Registry) -> Iterator[Scenario]:
    """Yield the stories that a fault strikes."""
    yield from dataset_stories(mlflow)
    yield from training_stories(mlflow)
    yield from deployment_stories(mlflow)


def stories(mlflow: Registry) -> Iterator[Scenario]:
    """Yield all stories of the three kinds."""
    yield from struck("F1", mlflow)
