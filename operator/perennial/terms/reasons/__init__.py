"""Every reason that a condition, a finding, an Event or a decision may have: its name, its meaning, what to do.

The documentation's tables and the plugin's advice are generated from these lists, so a reason that is not here can't be
given, and one that is here is explained. One more reason is one line in the list of what it is about.
"""

from collections.abc import Mapping
from types import MappingProxyType, ModuleType

from perennial.terms.reasons import dataset, gate, model_deployment, objects, outcomes, pods, requests, training_run
from perennial.terms.reasons.dataset import *  # noqa: F403 - one list in parts
from perennial.terms.reasons.gate import *  # noqa: F403 - one list in parts
from perennial.terms.reasons.model_deployment import *  # noqa: F403 - one list in parts
from perennial.terms.reasons.objects import *  # noqa: F403 - one list in parts
from perennial.terms.reasons.outcomes import *  # noqa: F403 - one list in parts
from perennial.terms.reasons.pods import *  # noqa: F403 - one list in parts
from perennial.terms.reasons.reason import Reason as Reason
from perennial.terms.reasons.requests import *  # noqa: F403 - one list in parts
from perennial.terms.reasons.training_run import *  # noqa: F403 - one list in parts

LISTS: Mapping[str, ModuleType] = MappingProxyType(
    {
        "Every object": objects,
        "Pods": pods,
        "Dataset": dataset,
        "TrainingRun": training_run,
        "What a gate finds": gate,
        "ModelDeployment": model_deployment,
        "What is found of requests": requests,
        "What is found of outcomes": outcomes,
    }
)
"""By title, in the order in which they are shown."""


def listed(one: ModuleType) -> tuple[Reason, ...]:
    """Return the reasons of a list, in its order."""
    return tuple(each for each in vars(one).values() if isinstance(each, Reason))


ALL: Mapping[str, Reason] = MappingProxyType({str(each): each for one in LISTS.values() for each in listed(one)})
"""By name."""
