"""TrainingRun: one training, pinned to its inputs, gated against the champion. "What did we learn; is it better?"."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field

from perennial.families.metrics import OneMetric, difference_rules, limit_rules
from perennial.terms.finding import Finding
from perennial.terms.forms import Decimal, Digest, ModelName, ModelVersionName, Name, PartName, Time
from perennial.terms.kube import Conditions, EnvVars, Image, Resources, Words
from perennial.terms.part import Member, OneOf, Part, own_variables, rules
from perennial.terms.words import Verdict


class Baseline(StrEnum):
    """What a candidate is compared with."""

    CHAMPION = "Champion"
    NONE = "None"


class OnUndecided(StrEnum):
    """What becomes of a run whose gate cannot decide on the held-out rows."""

    PASS = "Pass"  # noqa: S105 - a verdict, no secret
    REJECT = "Reject"


class FailureClass(StrEnum):
    """Why a training run failed, and so who can mend it.

    Spec: the spec's author. Data: the data's owner. App, OutOfMemory and Deadline: the script's author. Gate: the
    model is not shown to be good enough. Lost: the platform's keeper; try again.
    """

    SPEC = "Spec"
    DATA = "Data"
    APP = "App"
    OUT_OF_MEMORY = "OutOfMemory"
    DEADLINE = "Deadline"
    GATE = "Gate"
    LOST = "Lost"


class TerminalState(StrEnum):
    """How the run ended, for good."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


class DatasetRef(Part):
    """A Dataset of the same namespace."""

    name: Annotated[Name, Field(description="The Dataset's name.")]
    digest: Annotated[
        Digest | None,
        Field(description="The version; absent: the one that is ready when the run starts is pinned in status."),
    ] = None


class Window(Part):
    """The rows that the run sees, by event time: learnt from and held out together."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "has(self.lastSeconds) != (has(self.from) || has(self.to))",
                "window needs either lastSeconds or from and to",
            ),
            ("has(self.from) == has(self.to)", "from and to go together"),
            ("!has(self.from) || !has(self.to) || timestamp(self.from) < timestamp(self.to)", "from must be before to"),
        )
    )

    last_seconds: Annotated[
        int | None,
        Field(ge=1, le=3_153_600_000, description="The rows of the last so many seconds before the version's newest."),
    ] = None
    from_: Annotated[Time | None, Field(alias="from", description="The first event time that is seen.")] = None
    to: Annotated[Time | None, Field(description="The event time before which rows are seen.")] = None


class ModelRef(Part):
    """A registered model in MLflow."""

    name: Annotated[
        ModelName,
        Field(
            description=(
                "The model that gets a new version if the gate passes. MLflow has it as <namespace>.<name>, unless the "
                "operator is set otherwise."
            )
        ),
    ]
    logged_as: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=128,
            description=(
                "The name that the script logs the model by (log_model(name=…)). Needed where it logs several; of "
                "those of one name, the last is taken."
            ),
        ),
    ] = None


class JobEngine(Member):
    """One pod, run by a Kubernetes Job."""


class Engine(OneOf):
    """What runs the trainer."""

    job: JobEngine | None = None


class Trainer(Part):
    """The user's container: any image; a script that logs a model to MLflow, to the run that the environment names."""

    model_config = ConfigDict(
        json_schema_extra=rules(own_variables("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID"))
    )

    image: Annotated[Image, Field(description="The image; pin it by digest or by an immutable tag.")]
    command: Annotated[Words, Field(description="The entry point; absent: the image's.")] = ()
    args: Annotated[Words, Field(description="Its arguments; $(PERENNIAL_DATA) is the folder with the rows.")] = ()
    env: Annotated[EnvVars, Field(description="Environment variables beside those that Perennial sets.")] = ()
    resources: Annotated[Resources, Field(description="What the container asks for and may use at most.")] = Resources()


class GateMetric(OneMetric):
    """A metric on the held-out rows that must be low enough, or not worse than the champion's, or both."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("has(self.max) || has(self.maxRegression)", "a metric needs max, maxRegression or both"),
            *limit_rules(OneMetric, "max"),
            *difference_rules(OneMetric, "max_regression"),
        )
    )

    name: Annotated[PartName, Field(description="What it is called in status and Events.")]
    max: Annotated[Decimal | None, Field(description="The candidate's value must be shown to be at most this.")] = None
    max_regression: Annotated[
        Decimal | None,
        Field(
            description=(
                "The candidate's value minus the champion's, on the same rows, must be shown to be at most this."
            )
        ),
    ] = None


class Gate(Part):
    """What the trained model must show on held-out rows before it becomes a version of the registered model."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.baseline) || self.baseline != 'None' || self.metrics.all(m, has(m.max))",
                "with baseline None each metric needs max: there is nothing to compare with",
            )
        )
    )

    baseline: Annotated[
        Baseline, Field(description="Champion: the version with MLflow's alias `champion`, if there is one.")
    ] = Baseline.CHAMPION
    metrics: Annotated[
        tuple[GateMetric, ...],
        Field(
            min_length=1,
            max_length=10,
            description="What must hold; every metric must pass.",
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ]
    on_undecided: Annotated[
        OnUndecided, Field(description="What becomes of the run if the held-out rows are too few to decide.")
    ] = OnUndecided.REJECT


class TrainingRunSpec(Part):
    """What is trained, on what, and what it must show.

    Immutable in a TrainingRun but for `suspend`, like a Job's; not in a template.
    """

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.parameters) || self.parameters.all(k, k.matches('^[A-Za-z][A-Za-z0-9_]{0,62}$'))",
                "names of parameters must be at most 63 letters, digits and underscores, beginning with a letter",
            ),
        )
    )

    dataset_ref: Annotated[DatasetRef, Field(description="The data.")]
    window: Annotated[Window | None, Field(description="The rows that the run sees; absent: all of the version.")] = (
        None
    )
    model: Annotated[ModelRef, Field(description="The registered model.")]
    trainer: Annotated[Trainer, Field(description="The container that trains.")]
    engine: Annotated[Engine, Field(description="What runs the trainer.")] = Engine(job=JobEngine())
    parameters: Annotated[
        dict[str, Annotated[str, Field(max_length=1024)]],
        Field(
            max_length=64,
            description="Handed to the script as PERENNIAL_PARAMETERS (JSON) and PERENNIAL_PARAMETER_<NAME> each.",
        ),
    ] = {}  # noqa: RUF012 - pydantic copies defaults
    seed: Annotated[int, Field(ge=0, le=2**31 - 1, description="Handed to the script as PERENNIAL_SEED.")] = 0
    retry_limit: Annotated[
        int, Field(ge=0, le=10, description="How often a failed attempt is repeated; exit codes 64 and 65 never are.")
    ] = 2
    active_deadline_seconds: Annotated[
        int,
        Field(
            ge=10,
            le=2_592_000,
            description=(
                "How long training may take at most: waiting for a node and the image counts, being suspended does not."
            ),
        ),
    ] = 3600
    gate: Annotated[Gate | None, Field(description="What the model must show; absent: it is registered ungated.")] = (
        None
    )
    suspend: Annotated[
        bool,
        Field(
            description=(
                "True lets nothing begin and takes the pods away from what runs, until it is false again. "
                "The only field that may be changed."
            )
        ),
    ] = False


class PinnedDataset(Part):
    """The data that the run is pinned to. Bounds are by event time; `until` is exclusive."""

    digest: Annotated[Digest, Field(description="The version.")]
    target: Annotated[str, Field(max_length=128, description="The column to predict.")]
    time: Annotated[str | None, Field(max_length=128, description="The column with the event time.")] = None
    train_from: Annotated[Time | None, Field(description="The first event time learnt from.")] = None
    train_until: Annotated[Time | None, Field(description="Rows learnt from are before this.")] = None
    test_from: Annotated[Time | None, Field(description="The first event time held out; absent: nothing is.")] = None
    test_until: Annotated[Time | None, Field(description="Rows held out are before this.")] = None


class MLflowRun(Part):
    """The run in MLflow that the script logs to. Perennial creates and ends it."""

    experiment_id: Annotated[str, Field(max_length=64, description="The experiment.")]
    run_id: Annotated[str, Field(max_length=64, description="The run.")]
    state: Annotated[str, Field(max_length=16, description="RUNNING, FINISHED or FAILED.")] = "RUNNING"


class JobState(Part):
    """A Job's end, latched: a Job that is recorded here never runs again."""

    name: Annotated[str, Field(max_length=63, description="The Job.")]
    finished_time: Annotated[Time | None, Field(description="When it ended.")] = None


class GateBaseline(Part):
    """The version that was champion when the comparison began."""

    version: Annotated[ModelVersionName, Field(description="The registered model's version.")]
    digest: Annotated[Digest | None, Field(description="The digest of its files, where one was recorded.")] = None


def _named(results: Any) -> Any:
    """Leave out what 0.2 recorded: its results have no name any more. The verdict stays."""
    named = [each for each in results if not isinstance(each, dict) or "name" in each]
    return named if isinstance(results, list) else results


class GateStatus(Part):
    """How the gate decided."""

    verdict: Annotated[Verdict | None, Field(description="The verdict over all metrics.")] = None
    baseline: Annotated[
        GateBaseline | None, Field(description="What was compared with; absent: there was no champion.")
    ] = None
    attempt: Annotated[
        int,
        Field(
            ge=1,
            description=(
                "The gate's number among those of the model on the same version of the Dataset: the greater, the "
                "more it must show."
            ),
        ),
    ] = 1
    results: Annotated[
        tuple[Finding, ...],
        Field(max_length=16, description="What was found of each metric, with its interval."),
        BeforeValidator(_named),
    ] = ()


class TrainedModel(Part):
    """What the script logged."""

    source: Annotated[str, Field(max_length=512, description="Where MLflow keeps it.")]
    digest: Annotated[Digest, Field(description="SHA-256 over the manifest of its files.")]
    logged_as: Annotated[str | None, Field(max_length=128, description="The name that it was logged by.")] = None
    logged: Annotated[
        int, Field(ge=1, description="How many models the script logged by that name; this is the last.")
    ] = 1


class Failure(Part):
    """Why the run failed."""

    class_: Annotated[
        FailureClass, Field(alias="class", description="Why the training run failed: by it you see who can mend it.")
    ]
    exit_code: Annotated[int | None, Field(description="The container's exit code.")] = None
    message: Annotated[str, Field(max_length=2048, description="What happened and what to do.")]


class TrainingRunStatus(Part):
    """What happened. `terminalState`, once set, is never changed."""

    observed_generation: Annotated[
        int, Field(ge=-1, description="The generation that the status describes; -1: nobody has looked at it yet.")
    ] = -1
    dataset: Annotated[PinnedDataset | None, Field(description="The data that the run is pinned to.")] = None
    mlflow: Annotated[MLflowRun | None, Field(description="The run in MLflow.")] = None
    training: Annotated[JobState | None, Field(description="The training Job.")] = None
    evaluation: Annotated[JobState | None, Field(description="The evaluation Job.")] = None
    model: Annotated[TrainedModel | None, Field(description="What the script logged.")] = None
    gate: Annotated[GateStatus | None, Field(description="How the gate decided.")] = None
    model_version: Annotated[
        ModelVersionName | None, Field(description="The registered model's version that the run became.")
    ] = None
    start_time: Annotated[Time | None, Field(description="When the data was pinned.")] = None
    suspended_time: Annotated[Time | None, Field(description="When the run was suspended; absent: it is not.")] = None
    active_seconds: Annotated[
        int,
        Field(ge=0, description="How much of activeDeadlineSeconds was used up when the training was suspended last."),
    ] = 0
    completion_time: Annotated[Time | None, Field(description="When the run ended.")] = None
    failure: Annotated[Failure | None, Field(description="Why it failed.")] = None
    terminal_state: Annotated[TerminalState | None, Field(description="How it ended, for good.")] = None
    conditions: Annotated[
        Conditions, Field(description="Succeeded, Running, Evaluated, Registered, Reconciling, Stalled.")
    ] = ()
