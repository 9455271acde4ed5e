"""What the Dataset planner sees."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from perennial.api.dataset import DatasetSpec, DatasetStatus
from perennial.manifests.build import Owner, hashed
from perennial.manifests.manifest import Manifest
from perennial.plan.observed import PlanSettings, owner_of, refused
from perennial.plan.view import View


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSeen:
    """A Dataset, its check Jobs and their pods."""

    owner: Owner
    generation: int
    spec: DatasetSpec
    status: DatasetStatus
    jobs: Sequence[Manifest] = ()
    pods: Sequence[Manifest] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    """Why no pods may be created for some of the Jobs, by uid."""
    settings: PlanSettings

    @property
    def check_name(self) -> str:
        """The name of the Job that checks next: the same until its result is recorded or the spec changes."""
        return f"{self.owner.name}-check-{hashed(self.owner.uid, self.generation, self.status.checks)}"


def observe(view: View, namespace: str, name: str) -> DatasetSeen | None:
    """Return what is known of a Dataset; None if it is gone or going."""
    cache = view.cache
    seen = cache.get("Dataset", namespace, name)
    if seen is None or seen["metadata"].get("deletionTimestamp"):
        return None
    jobs = cache.children(seen["metadata"]["uid"], "Job")
    pods = [pod for job in jobs for pod in cache.children(job["metadata"]["uid"], "Pod")]
    return DatasetSeen(
        owner=owner_of(seen),
        generation=seen["metadata"]["generation"],
        spec=DatasetSpec.model_validate(seen["spec"]),
        status=DatasetStatus.model_validate(seen.get("status", {})),
        jobs=jobs,
        pods=pods,
        refused=refused(jobs, pods, view.facts),
        settings=view.settings,
    )
