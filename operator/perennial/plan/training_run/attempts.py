"""How often a model was held against the same held-out rows: whoever tries long enough must not pass for it."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

from perennial.api.training_run import TrainingRunSpec, TrainingRunStatus
from perennial.manifests.build import Owner
from perennial.manifests.manifest import Manifest
from perennial.plan.kind import field


def attempt(
    owner: Owner, spec: TrainingRunSpec, status: TrainingRunStatus, runs: Callable[[], Sequence[Manifest]]
) -> int:
    """Return the number, from 1, of a run's gate among those of its model on the same version of the same Dataset.

    Runs count in the order in which they were pinned to their data, so that two that are judged at once have different
    numbers. One that failed before its gate said anything has looked at nothing. A number that is on record is kept,
    and the next is greater, though the runs before may have been deleted. An identical run is no exception: the script
    may have a chance of its own.
    """
    if status.gate is not None:
        return status.gate.attempt
    if spec.gate is None or status.dataset is None or status.start_time is None:
        return 1
    begun = (status.start_time, owner.name)
    same = (spec.model.name, status.dataset.digest)
    earlier = [
        number
        for found in runs()
        if found["metadata"]["uid"] != owner.uid and _looked_at(found) == same and _begun(found) < begun
        for number in _number(found)
    ]
    return 1 + max([len(earlier), *earlier])


def _looked_at(run: Manifest) -> tuple[str | None, str | None]:
    """Return a run's model and the version that it is pinned to. It may be of any release."""
    return field(run, "spec", "model", "name"), field(run, "status", "dataset", "digest")


def _begun(run: Manifest) -> tuple[datetime, str]:
    """Return when a run was pinned; one that does not say counts as an early one."""
    started = field(run, "status", "startTime")
    return datetime.fromisoformat(started) if started else datetime.min.replace(tzinfo=UTC), run["metadata"]["name"]


def _number(run: Manifest) -> Iterator[int]:
    """Yield the number of a run's gate (1 if it has none yet), unless it can't or couldn't look at held-out rows."""
    judged = field(run, "status", "gate", "verdict") or not field(run, "status", "terminalState")
    if field(run, "spec", "gate") and judged:
        yield field(run, "status", "gate", "attempt") or 1
