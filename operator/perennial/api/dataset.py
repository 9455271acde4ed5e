"""Dataset: versioned, checked data. "What may we learn from?"."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field

from perennial.families.expectations import Expectation, type_rules
from perennial.terms.finding import Finding
from perennial.terms.forms import Digest, Quantity, Time
from perennial.terms.kube import Conditions
from perennial.terms.part import Member, OneOf, Part, Scalar, more_than_0, rules
from perennial.terms.words import ColumnType


class Parquet(Member):
    """Apache Parquet: files whose names end in .parquet."""

    suffix: ClassVar[str] = ".parquet"
    """What the names of files of this format end in."""


class Format(OneOf):
    """How the files are encoded."""

    parquet: Parquet | None = None

    def suffix(self) -> str:
        """Return what the names of the files end in."""
        found = self.member()
        assert isinstance(found, Parquet)
        return found.suffix


class AccessMode(StrEnum):
    """How many nodes may mount the snapshots at once."""

    READ_WRITE_ONCE = "ReadWriteOnce"
    READ_WRITE_MANY = "ReadWriteMany"


class Source(Part):
    """Where the data comes from."""

    uri: Annotated[
        str,
        Field(
            max_length=512,
            pattern=r"^pvc://[a-z0-9]([-a-z0-9.]*[a-z0-9])?(/[^/\s]+)*/?$",
            description=(
                "pvc://CLAIM/FOLDER: a folder on a PersistentVolumeClaim in the same namespace; "
                "its files are never written."
            ),
            json_schema_extra=rules(
                ("!self.contains('/..')", "must not leave the claim: no path segment may begin with '..'"),
                (
                    (
                        "!self.startsWith('pvc://') || (!self.split('/')[2].matches('[-.][.]|[.]-') "
                        "&& size(self.split('/')[2]) <= 253)"
                    ),
                    (
                        "the claim's name must have at most 253 letters, digits, '-' or '.', "
                        "each part beginning and ending with a letter or digit"
                    ),
                ),
            ),
        ),
    ]
    format: Annotated[Format, Field(description="How the files are encoded.")] = Format(parquet=Parquet())


class Snapshots(Part):
    """The volume that keeps every version's files, content-addressed, so that a version never changes."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("self == oldSelf", "snapshots is immutable: the volume already exists; make a new Dataset"),
            (more_than_0("size"), "size must be more than 0"),
            (
                (
                    "!has(self.storageClassName) || self.storageClassName.matches("
                    "'^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*)?$')"
                ),
                "storageClassName must be a StorageClass's name",
            ),
        )
    )

    size: Annotated[Quantity, Field(description="How much the volume holds.")] = "1Gi"
    storage_class_name: Annotated[
        str | None, Field(max_length=253, description="StorageClass of the volume; the cluster's default if absent.")
    ] = None
    access_mode: Annotated[
        AccessMode, Field(description="ReadWriteMany lets checks and trainings run on different nodes at once.")
    ] = AccessMode.READ_WRITE_ONCE


class IntervalSeconds(Scalar[Annotated[int, Field(ge=5, le=31_536_000)]]):
    """Seconds from the end of a check to the beginning of the next."""

    def next_after(self, checked: datetime) -> datetime:
        """Return when the source is looked at again, if it was looked at last at `checked`."""
        return checked + timedelta(seconds=self.root)


class Refresh(OneOf):
    """When the source is looked at again."""

    interval_seconds: IntervalSeconds | None = None

    def next_after(self, checked: datetime) -> datetime:
        """Return when the source is looked at again, if it was looked at last at `checked`."""
        found = self.member()
        assert isinstance(found, IntervalSeconds)
        return found.next_after(checked)


class Column(Part):
    """One column that every file must have."""

    name: Annotated[str, Field(min_length=1, max_length=128, description="The column's name.")]
    type: Annotated[ColumnType, Field(description="What it holds.")]
    nullable: Annotated[bool, Field(description="Whether values may be missing.")] = True


class Schema(Part):
    """What every file must look like. Columns beyond those named here are allowed and kept."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.target) || self.columns.exists(c, c.name == self.target)",
                "target must be one of columns",
            ),
            (
                "!has(self.time) || self.columns.exists(c, c.name == self.time && c.type == 'Timestamp')",
                "time must be one of columns, of type Timestamp",
            ),
        )
    )

    target: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=128,
            description="The column that a model learns to predict. TrainingRuns need one; a Dataset may have none.",
        ),
    ] = None
    time: Annotated[
        str | None,
        Field(min_length=1, max_length=128, description="The column with the event time: windows and splits go by it."),
    ] = None
    columns: Annotated[
        tuple[Column, ...],
        Field(
            min_length=1,
            max_length=500,
            description="The columns that every file must have.",
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ]


class ByTime(Member):
    """The newest rows are held out, by event time."""

    last_seconds: Annotated[
        int, Field(ge=1, le=315_360_000, description="How much of the end of a run's window is held out for its gate.")
    ]


class Split(OneOf):
    """How the rows of a TrainingRun's window are divided into those learnt from and those held out."""

    by_time: ByTime | None = None

    def held_out(self) -> timedelta:
        """Return how much of the end of a window is held out."""
        found = self.member()
        assert isinstance(found, ByTime)
        return timedelta(seconds=found.last_seconds)


class DatasetSpec(Part):
    """What data is to be versioned, and what it must fulfil."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.split) || !has(self.split.byTime) || has(self.schema.time)",
                "split.byTime needs schema.time, the column it goes by",
            ),
            *type_rules("expectations", "schema.columns"),
        )
    )

    source: Annotated[Source, Field(description="Where the data comes from.")]
    snapshots: Annotated[Snapshots, Field(description="The volume that keeps every version's files.")] = Snapshots()
    refresh: Annotated[
        Refresh | None,
        Field(description="When the source is looked at again; absent: once for each change of the spec."),
    ] = None
    schema_: Annotated[Schema, Field(description="What every file must look like.", alias="schema")]
    expectations: Annotated[
        tuple[Expectation, ...],
        Field(
            max_length=100,
            description="What a version must fulfil.",
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ] = ()
    split: Annotated[Split | None, Field(description="What TrainingRuns hold out for their gates.")] = None
    suspend: Annotated[bool, Field(description="True stops new checks; the recorded version stays usable.")] = False


class DatasetVersion(Part):
    """A version: the identity is the content, so equal data has equal digests everywhere."""

    digest: Annotated[Digest, Field(description="SHA-256 over the manifest of the version's files.")]
    ordinal: Annotated[int, Field(ge=1, description="Its number: the versions of a Dataset are counted from 1.")]
    rows: Annotated[int, Field(ge=0, description="Rows in all files.")]
    bytes: Annotated[int, Field(ge=0, description="Bytes in all files.")]
    files: Annotated[int, Field(ge=0, description="Number of files.")]
    recorded_time: Annotated[Time, Field(description="When the version was recorded.")]
    from_: Annotated[Time | None, Field(alias="from", description="The earliest event time.")] = None
    to: Annotated[Time | None, Field(description="The latest event time.")] = None


class Expectations(Part):
    """How the data that was looked at last did."""

    passed: Annotated[int, Field(ge=0, description="Expectations that hold.")] = 0
    warned: Annotated[int, Field(ge=0, description="Expectations of severity Warn that do not hold.")] = 0
    findings: Annotated[
        tuple[Finding, ...],
        Field(
            max_length=32,
            description=(
                "What does not hold, of the schema (schema/COLUMN) and of the expectations (by name). "
                "What blocks the version comes first."
            ),
        ),
    ] = ()


class DatasetStatus(Part):
    """What was found."""

    observed_generation: Annotated[
        int, Field(ge=-1, description="The generation that the status describes; -1: nobody has looked at it yet.")
    ] = -1
    checks_recorded: Annotated[int, Field(ge=0, description="How many checks' results were recorded.")] = 0
    checked_generation: Annotated[int | None, Field(ge=0, description="The generation that was checked last.")] = None
    fetched_generation: Annotated[
        int | None, Field(ge=0, description="The generation whose source could be read last.")
    ] = None
    last_checked_time: Annotated[Time | None, Field(description="When the source was looked at last.")] = None
    next_check_time: Annotated[Time | None, Field(description="When it is looked at next.")] = None
    version: Annotated[DatasetVersion | None, Field(description="The newest version that fulfils everything.")] = None
    versions: Annotated[
        tuple[DatasetVersion, ...], Field(max_length=10, description="The last ten versions, newest first.")
    ] = ()
    expectations: Annotated[Expectations | None, Field(description="How the data that was looked at last did.")] = None
    conditions: Annotated[Conditions, Field(description="Ready, Fetched, Valid, Reconciling, Stalled.")] = ()
