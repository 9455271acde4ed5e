"""Which rows a run learns from, and which are held out: fixed once, when the run starts."""

from dataclasses import dataclass
from datetime import timedelta

from perennial.api.dataset import DatasetSpec, DatasetStatus, DatasetVersion
from perennial.api.training_run import PinnedDataset, TrainingRunSpec
from perennial.plan.conditions import condition
from perennial.terms import reasons
from perennial.terms.reasons import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFound:
    """The Dataset that a run refers to."""

    spec: DatasetSpec
    status: DatasetStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpinned:
    """Why the data can't be pinned yet, and what to do about it."""

    reason: Reason
    message: str


def pin(  # noqa: PLR0911 - a list of what may be missing, the first that is
    spec: TrainingRunSpec, dataset: DatasetFound | None
) -> PinnedDataset | Unpinned:
    """Return the version and the bounds that the run is pinned to.

    Bounds are half-open, [from, until). The window ends one second after the version's newest row (or at `to`), and the
    Dataset's split holds out its end.
    """
    name = spec.dataset_ref.name
    if dataset is None:
        return Unpinned(
            reason=reasons.DATASET_NOT_FOUND,
            message=f"There is no Dataset {name} in this namespace: create it, or fix spec.datasetRef.",
        )
    version = _version(spec, dataset)
    if isinstance(version, Unpinned):
        return version
    if spec.gate is not None and dataset.spec.split is None:
        return Unpinned(
            reason=reasons.NOTHING_HELD_OUT,
            message=(
                f"The gate needs held-out rows, but Dataset {name} has no spec.split: add split.byTime.lastSeconds."
            ),
        )
    schema = dataset.spec.schema_
    if schema.target is None:
        return Unpinned(
            reason=reasons.NO_TARGET,
            message=f"Dataset {name} names no column that a model could learn to predict: set its spec.schema.target.",
        )
    pinned = PinnedDataset(digest=version.digest, target=schema.target, time=schema.time)
    if spec.window is None and dataset.spec.split is None:
        return pinned
    timeless = _timeless(spec, dataset, version)
    if timeless is not None:
        return timeless
    assert version.from_ is not None
    assert version.to is not None
    newest = version.to + timedelta(seconds=1)
    begin, end = version.from_, newest
    if spec.window is not None and spec.window.last_seconds is not None:
        begin = end - timedelta(seconds=spec.window.last_seconds)
    elif spec.window is not None and spec.window.from_ is not None and spec.window.to is not None:
        begin, end = spec.window.from_, min(spec.window.to, newest)
    held_out = dataset.spec.split.held_out() if dataset.spec.split else timedelta()
    split = end - held_out
    if split <= begin:
        return Unpinned(
            reason=reasons.WINDOW_TOO_SHORT,
            message=(
                "Nothing is left to learn from: the split holds out "
                f"{held_out.total_seconds():.0f} s of a window from {begin:%Y-%m-%d} to {end:%Y-%m-%d}. "
                "Make the window longer or the split shorter, or wait for more data."
            ),
        )
    return PinnedDataset(
        digest=version.digest,
        target=schema.target,
        time=schema.time,
        train_from=begin,
        train_until=split,
        test_from=split if held_out else None,
        test_until=end if held_out else None,
    )


def _timeless(spec: TrainingRunSpec, dataset: DatasetFound, version: DatasetVersion) -> Unpinned | None:
    """Return why rows can't be told apart by event time, or None."""
    name, time = spec.dataset_ref.name, dataset.spec.schema_.time
    what = "spec.window goes" if spec.window is not None else f"The split of Dataset {name} goes"
    if time is None:
        why = f"{what} by event time, but Dataset {name} has no spec.schema.time: name the column there."
        return Unpinned(reason=reasons.NO_EVENT_TIME, message=why)
    if not version.rows:
        why = f"Version {version.digest[:19]}… of Dataset {name} has no rows: put files with rows into its source."
        return Unpinned(reason=reasons.NO_ROWS, message=why)
    if version.from_ is None or version.to is None:
        why = (
            f"{what} by event time, but no row of version {version.digest[:19]}… of Dataset {name} has one: fill "
            f"column {time}, or name another in spec.schema.time."
        )
        return Unpinned(reason=reasons.NO_EVENT_TIME, message=why)
    return None


def _version(spec: TrainingRunSpec, dataset: DatasetFound) -> DatasetVersion | Unpinned:
    name = spec.dataset_ref.name
    ready = condition(dataset.status.conditions, "Ready")
    if spec.dataset_ref.digest is not None:
        known = {version.digest: version for version in dataset.status.versions}
        found = known.get(spec.dataset_ref.digest)
        if found is not None:
            return found
        return Unpinned(
            reason=reasons.VERSION_NOT_FOUND,
            message=f"Dataset {name} keeps no version {spec.dataset_ref.digest[:19]}…: see its status.versions.",
        )
    if ready is None or ready.status != "True" or dataset.status.version is None:
        why = f"{ready.reason}: {ready.message}" if ready else "it has not been looked at yet"
        return Unpinned(reason=reasons.DATASET_NOT_READY, message=f"Dataset {name} is not ready ({why}).")
    return dataset.status.version
