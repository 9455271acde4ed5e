"""Dataset: versioned, checked data. "What may we learn from?"."""

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from perennial.terms.forms import Decimal, Digest, PartName, Quantity, Time
from perennial.terms.kube import Conditions
from perennial.terms.part import Part, exactly_one_of, more_than_0, rules


class Format(StrEnum):
    """How the files are encoded."""

    PARQUET = "Parquet"


class AccessMode(StrEnum):
    """How many nodes may mount the snapshots at once."""

    READ_WRITE_ONCE = "ReadWriteOnce"
    READ_WRITE_MANY = "ReadWriteMany"


class ColumnType(StrEnum):
    """What a column holds."""

    STRING = "String"
    INTEGER = "Integer"
    FLOAT = "Float"
    BOOLEAN = "Boolean"
    TIMESTAMP = "Timestamp"


class Severity(StrEnum):
    """Whether a failed expectation blocks the version (Error) or is only reported (Warn)."""

    ERROR = "Error"
    WARN = "Warn"


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
    format: Annotated[Format, Field(description="How the files are encoded.")] = Format.PARQUET


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


class Refresh(Part):
    """When the source is looked at again."""

    interval_seconds: Annotated[
        int, Field(ge=5, le=31_536_000, description="Seconds from the end of a check to the beginning of the next.")
    ]


class Column(Part):
    """One column that every file must have."""

    name: Annotated[str, Field(min_length=1, max_length=128, description="The column's name.")]
    type: Annotated[ColumnType, Field(description="What it holds.")]
    nullable: Annotated[bool, Field(description="Whether values may be missing.")] = True


class Schema(Part):
    """What every file must look like. Columns beyond those named here are allowed and kept."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("self.columns.exists(c, c.name == self.target)", "target must be one of columns"),
            (
                "!has(self.time) || self.columns.exists(c, c.name == self.time && c.type == 'Timestamp')",
                "time must be one of columns, of type Timestamp",
            ),
        )
    )

    target: Annotated[
        str, Field(min_length=1, max_length=128, description="The column that a model learns to predict.")
    ]
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


class NotNull(Part):
    """No value may be missing."""


class Range(Part):
    """Every value must lie between min and max, both included."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("has(self.min) || has(self.max)", "range needs min, max or both"),
            ("!has(self.min) || !has(self.max) || double(self.min) <= double(self.max)", "min must not exceed max"),
        )
    )

    min: Annotated[Decimal | None, Field(description="The least value allowed.")] = None
    max: Annotated[Decimal | None, Field(description="The greatest value allowed.")] = None


class RowCount(Part):
    """How many rows a version has, over all its files."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("has(self.min) || has(self.max)", "rowCount needs min, max or both"),
            ("!has(self.min) || !has(self.max) || self.min <= self.max", "min must not exceed max"),
        )
    )

    min: Annotated[int | None, Field(ge=0, le=10**15, description="The least number of rows.")] = None
    max: Annotated[int | None, Field(ge=0, le=10**15, description="The greatest number of rows.")] = None


class Expectation(Part):
    """Something the data must fulfil."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            exactly_one_of("notNull", "range", "rowCount"),
            (
                "has(self.column) == (has(self.notNull) || has(self.range))",
                "notNull and range need a column, rowCount must not have one",
            ),
        )
    )

    name: Annotated[PartName, Field(description="What the expectation is called in status and messages.")]
    column: Annotated[str | None, Field(min_length=1, max_length=128, description="The column that is looked at.")] = (
        None
    )
    not_null: Annotated[NotNull | None, Field(description="No value of the column may be missing.")] = None
    range: Annotated[Range | None, Field(description="Every value of the column must lie in a range.")] = None
    row_count: Annotated[RowCount | None, Field(description="How many rows a version has.")] = None
    severity: Annotated[Severity, Field(description="Error blocks the version, Warn is reported.")] = Severity.ERROR


class ByTime(Part):
    """The newest rows are held out, by event time."""

    last_seconds: Annotated[
        int, Field(ge=1, le=315_360_000, description="How much of the end of a run's window is held out for its gate.")
    ]


class Split(Part):
    """How the rows of a TrainingRun's window are divided into those learnt from and those held out."""

    by_time: Annotated[ByTime, Field(description="Hold out the newest rows.")]


class DatasetSpec(Part):
    """What data is to be versioned, and what it must fulfil."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("!has(self.split) || has(self.schema.time)", "split.byTime needs schema.time, the column it goes by"),
            (
                (
                    "!has(self.expectations) || self.expectations.all(e, !has(e.range) || !has(e.column) || "
                    "self.schema.columns.all(c, c.name != e.column || c.type in ['Integer', 'Float']))"
                ),
                "range needs a column of type Integer or Float",
            ),
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
    ordinal: Annotated[int, Field(ge=1, description="The how-manieth version of this Dataset it is.")]
    rows: Annotated[int, Field(ge=0, description="Rows in all files.")]
    bytes: Annotated[int, Field(ge=0, description="Bytes in all files.")]
    files: Annotated[int, Field(ge=0, description="Number of files.")]
    recorded_time: Annotated[Time, Field(description="When the version was recorded.")]
    from_: Annotated[Time | None, Field(alias="from", description="The earliest event time.")] = None
    to: Annotated[Time | None, Field(description="The latest event time.")] = None


class FailedExpectation(Part):
    """An expectation (or the schema) that the data did not fulfil."""

    name: Annotated[str, Field(max_length=256, description="The expectation's name, or schema/COLUMN.")]
    severity: Annotated[Severity, Field(description="Whether it blocks the version.")]
    observed: Annotated[str, Field(max_length=256, description="What was seen.")] = ""
    message: Annotated[str, Field(max_length=512, description="What must hold.")] = ""


class Expectations(Part):
    """How the data that was looked at last did."""

    passed: Annotated[int, Field(ge=0, description="Expectations that held.")] = 0
    warned: Annotated[int, Field(ge=0, description="Expectations of severity Warn that did not hold.")] = 0
    failed: Annotated[tuple[FailedExpectation, ...], Field(max_length=32, description="Those that did not hold.")] = ()


class DatasetStatus(Part):
    """What was found."""

    observed_generation: Annotated[
        int, Field(ge=-1, description="The generation that the status describes; -1: nobody has looked at it yet.")
    ] = -1
    checks: Annotated[int, Field(ge=0, description="Checks whose result is recorded.")] = 0
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
