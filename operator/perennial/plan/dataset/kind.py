"""What a Dataset is."""

from collections.abc import Iterator
from typing import Any

from perennial.api.dataset import DatasetSpec, DatasetStatus
from perennial.manifests.manifest import Manifest
from perennial.plan.dataset.observe import DatasetSeen, observe
from perennial.plan.dataset.planner import plan
from perennial.plan.kind import AGE, CONDITIONS, Figure, Kind, Printed, Sample, condition_path, number
from perennial.terms import names


def _rows(_: Manifest, status: DatasetStatus) -> Iterator[Sample]:
    if status.version is not None:
        yield from number(status.version.rows)


def _bytes(_: Manifest, status: DatasetStatus) -> Iterator[Sample]:
    if status.version is not None:
        yield from number(status.version.bytes)


def _recorded(_: Manifest, status: DatasetStatus) -> Iterator[Sample]:
    if status.version is not None:
        yield from number(status.version.recorded_time)


FIGURES: tuple[Figure[Any], ...] = (
    CONDITIONS,
    Figure(name="perennial_dataset_rows", text="Rows of the newest version that may be used.", read=_rows),
    Figure(name="perennial_dataset_bytes", text="Bytes of the newest version that may be used.", read=_bytes),
    Figure(
        name="perennial_dataset_version_timestamp_seconds",
        text="When the newest version was recorded.",
        read=_recorded,
    ),
    Figure(
        name="perennial_dataset_checked_timestamp_seconds",
        text="When the source was looked at last.",
        read=lambda _, status: number(status.last_checked_time),
    ),
)

DATASET: Kind[DatasetSeen] = Kind(
    names=names.DATASET,
    description='Versioned, checked data: "what may we learn from?"',
    spec=DatasetSpec,
    status=DatasetStatus,
    rules=(
        (
            (
                "!self.spec.source.uri.startsWith('pvc://') || "
                "self.spec.source.uri.split('/')[2] != self.metadata.name + '-snapshots'"
            ),
            "spec.source must not be the Dataset's own snapshots",
        ),
    ),
    columns=(
        Printed(name="Ready", path=condition_path("Ready"), description="Whether runs may use it."),
        Printed(
            name="Version", path=".status.version.ordinal", type="integer", description="The newest version's number."
        ),
        Printed(name="Rows", path=".status.version.rows", type="integer", description="Its rows."),
        Printed(name="Reason", path=condition_path("Ready", "reason"), description="Why it is or is not ready."),
        Printed(name="To", path=".status.version.to", description="Its latest event time.", wide=True),
        Printed(name="Digest", path=".status.version.digest", description="Its identity.", wide=True),
        AGE,
    ),
    observe=observe,
    plan=plan,
    looks_at={},
    renamed={
        "source.format": "Release 0.2 had the format as a word: leave it out, or write `format: {parquet: {}}`.",
    },
    figures=FIGURES,
)
