"""What the Dataset planner sees."""

from dataclasses import dataclass

from perennial.api.dataset import DatasetSpec, DatasetStatus
from perennial.manifests.build import Owner, hashed
from perennial.manifests.jobs import ENDED, JobOutcome, job_outcome
from perennial.manifests.manifest import Manifest, name_of
from perennial.plan.observed import PlanSettings, owner_of, refused
from perennial.plan.view import View


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSeen:
    """A Dataset, the check that its status and spec ask for, and what is left of others."""

    owner: Owner
    generation: int
    spec: DatasetSpec
    status: DatasetStatus
    check_name: str
    """The name of the Job that checks next: the same until its result is recorded or the spec changes."""
    check: Manifest | None = None
    """That Job, where there is one."""
    outcome: JobOutcome
    """What became of it."""
    others: tuple[Manifest, ...] = ()
    """Checks of an older spec, or recorded already, by name."""
    others_ended: bool = True
    """Whether none of those runs any more."""
    settings: PlanSettings


def observe(view: View, namespace: str, name: str) -> DatasetSeen | None:
    """Return what is known of a Dataset; None if it is gone or going."""
    cache = view.cache
    seen = cache.get("Dataset", namespace, name)
    if seen is None or seen["metadata"].get("deletionTimestamp"):
        return None
    owner, generation = owner_of(seen), seen["metadata"]["generation"]
    status = DatasetStatus.model_validate(seen.get("status", {}))
    jobs = {name_of(job): job for job in cache.children(owner.uid, "Job")}
    pods = [pod for job in jobs.values() for pod in cache.children(job["metadata"]["uid"], "Pod")]
    check_name = f"{owner.name}-check-{hashed(owner.uid, generation, status.checks_recorded)}"
    why = refused(tuple(jobs.values()), pods, view.facts)
    check = jobs.pop(check_name, None)
    others = tuple(jobs[each] for each in sorted(jobs))
    return DatasetSeen(
        owner=owner,
        generation=generation,
        spec=DatasetSpec.model_validate(seen["spec"]),
        status=status,
        check_name=check_name,
        check=check,
        outcome=job_outcome(check, pods, why),
        others=others,
        others_ended=all(job_outcome(other, pods, why).phase in ENDED for other in others),
        settings=view.settings,
    )
