"""ModelDeployment: serving, canary, monitoring, retraining. "Is it still right, and if not, what do we do?"."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from perennial.api.training_run import GateMetricName, TrainingRunSpec
from perennial.terms.forms import (
    Decimal,
    Digest,
    ModelName,
    ModelVersionName,
    NamespaceName,
    ObjectName,
    OpenShare,
    PartName,
    Quantity,
    Ratio,
    Share,
    Time,
)
from perennial.terms.kube import Conditions, EnvVars, Image, Resources, Words
from perennial.terms.part import Part, exactly_one_of, more_than_0, own_variables, rules
from perennial.terms.words import Role, Slot, Verdict


class FromRetraining(Part):
    """The version of the newest TrainingRun of this namespace that passed its gate."""


class Model(Part):
    """Which version of which registered model is wanted."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            exactly_one_of("version", "alias", "fromRetraining"),
            (
                "!has(self.alias) || !self.alias.lowerAscii().matches('^(latest|v[0-9]+)$')",
                "alias must not be latest or like v1: MLflow reserves these",
            ),
        )
    )

    name: Annotated[
        ModelName,
        Field(
            description="The model's name. MLflow has it as <namespace>.<name>, unless the operator is set otherwise."
        ),
    ]
    version: Annotated[ModelVersionName | None, Field(description="Exactly this version.")] = None
    alias: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=255,
            pattern=r"^[A-Za-z][-A-Za-z0-9_]*$",
            description="The version that this alias points at.",
        ),
    ] = None
    from_retraining: Annotated[
        FromRetraining | None,
        Field(description="The version of the newest TrainingRun of this namespace that passed its gate."),
    ] = None


class Warmup(Part):
    """Requests that a server answers to itself before it is ready."""

    requests: Annotated[int, Field(ge=0, le=10_000, description="How many.")] = 20


class Server(Part):
    """The pods that answer. A change here is a new version, which gets a canary."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            own_variables("MODEL_DIR", "MODEL_NAME", "MODEL_VERSION", "PORT"),
            (
                "has(self.image) || !has(self.command) || size(self.command) == 0",
                "command needs an image of your own: Perennial's server has its command",
            ),
        )
    )

    replicas: Annotated[int, Field(ge=1, le=1000, description="Pods for each version that is in use.")] = 1
    image: Annotated[
        Image | None,
        Field(
            description=(
                "Any image that answers the Open Inference Protocol or /invocations on $PORT from $MODEL_DIR; "
                "absent: Perennial's."
            )
        ),
    ] = None
    command: Annotated[Words, Field(description="The entry point; absent: the image's.")] = ()
    args: Annotated[Words, Field(description="Its arguments.")] = ()
    env: Annotated[EnvVars, Field(description="Environment variables beside those that Perennial sets.")] = ()
    resources: Annotated[Resources, Field(description="What each pod asks for and may use at most.")] = Resources()
    warmup: Annotated[Warmup, Field(description="Requests that a server answers to itself before it is ready.")] = (
        Warmup()
    )


class Step(Part):
    """One stage of a canary."""

    weight: Annotated[int, Field(ge=1, le=99, description="Per cent of the requests that the candidate gets.")]
    min_seconds: Annotated[int, Field(ge=0, le=2_592_000, description="How long the step lasts at least.")] = 0


class OnUndecided(StrEnum):
    """What becomes of a canary that has not decided within maxSeconds."""

    HOLD = "Hold"
    PROMOTE = "Promote"
    ROLLBACK = "Rollback"


class Risk(Part):
    """How often a canary may be wrong, over its whole life and however often it is looked at."""

    false_rollback: Annotated[
        OpenShare, Field(description="Probability of rolling back a candidate that is not worse.")
    ] = "0.05"
    false_promotion: Annotated[
        OpenShare, Field(description="Probability of promoting a candidate that breaks an SLO.")
    ] = "0.05"


class CanaryPlan(Part):
    """How a candidate is put on trial."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "self.steps.all(i, s, i == 0 || self.steps[i - 1].weight < s.weight)",
                "steps must have growing weights",
            ),
            (
                (
                    "!has(self.onUndecided) || self.onUndecided == 'Hold' || !has(self.maxSeconds) || "
                    "self.steps.map(s, has(s.minSeconds) ? s.minSeconds : 0).sum() < self.maxSeconds"
                ),
                "maxSeconds must be more than minSeconds of all steps together, unless onUndecided is Hold",
            ),
        )
    )

    steps: Annotated[
        tuple[Step, ...], Field(min_length=1, max_length=20, description="The stages, with growing weights.")
    ] = (
        Step(weight=10),
        Step(weight=50),
    )
    on_undecided: Annotated[
        OnUndecided, Field(description="What becomes of a canary that has not decided within maxSeconds.")
    ] = OnUndecided.HOLD
    max_seconds: Annotated[
        int, Field(ge=10, le=31_536_000, description="When onUndecided applies, from the canary's start.")
    ] = 86_400
    progress_deadline_seconds: Annotated[
        int,
        Field(
            ge=10, le=86_400, description="How long a candidate's pods may take to get ready before it is rolled back."
        ),
    ] = 600
    scale_down_delay_seconds: Annotated[
        int, Field(ge=0, le=86_400, description="How long the pods of the version that lost stay warm.")
    ] = 300
    risk: Annotated[Risk, Field(description="How often a canary may be wrong.")] = Risk()


class ErrorRateSLO(Part):
    """The share of requests that fail: 5xx, timeouts, lost connections."""

    model_config = ConfigDict(
        json_schema_extra=rules(("has(self.max) || has(self.maxRatio)", "errorRate needs max, maxRatio or both"))
    )

    max: Annotated[
        OpenShare | None, Field(description="A candidate passes when its rate is shown to be below this.")
    ] = None
    max_ratio: Annotated[
        Ratio | None,
        Field(
            description=(
                "A candidate fails when shown to be worse than stable; without max it passes when shown below "
                "this ratio."
            )
        ),
    ] = None


class OutcomeSLO(Part):
    """A rate of wrong predictions, once the labels are in; judged on matured cohorts of the stable version."""

    metric: Annotated[GateMetricName, Field(description="The rate.")]
    max: Annotated[OpenShare, Field(description="The greatest rate that is all right.")]
    threshold: Annotated[Decimal, Field(description="A score of at least this counts as a positive prediction.")] = (
        "0.5"
    )
    min_samples: Annotated[
        int, Field(ge=1, le=10**9, description="Cohorts with fewer labelled rows in the rate don't decide.")
    ] = 100


class SLO(Part):
    """One promise."""

    model_config = ConfigDict(json_schema_extra=rules(exactly_one_of("errorRate", "outcome")))

    name: Annotated[PartName, Field(description="What the SLO is called in status, events and triggers.")]
    error_rate: Annotated[
        ErrorRateSLO | None, Field(description="The share of requests that fail; judges canaries.")
    ] = None
    outcome: Annotated[
        OutcomeSLO | None, Field(description="A rate of wrong predictions; judges the stable version.")
    ] = None
    role: Annotated[Role, Field(description="Critical decides, Advisory is shown, DryRun is only tried out.")] = (
        Role.CRITICAL
    )


class Maturity(Part):
    """When a cohort's labels are in. Early labels are biased, so earlier cohorts never decide."""

    max_label_delay_seconds: Annotated[
        int,
        Field(ge=0, le=31_536_000, description="A cohort is mature this long after its end, whatever labels it has."),
    ] = 86_400
    min_coverage: Annotated[
        Share, Field(description="Or as soon after its end as this share of its predictions is labelled.")
    ] = "0.9"


class Monitoring(Part):
    """How predictions are grouped into cohorts, and when a cohort counts."""

    cohort_seconds: Annotated[int, Field(ge=1, le=31_536_000, description="The length of a cohort.")] = 86_400
    maturity: Annotated[Maturity, Field(description="When a cohort's labels are in.")] = Maturity()
    false_alarm: Annotated[
        OpenShare,
        Field(description="A model that keeps its promise alarms at most once in 1/falseAlarm cohorts on average."),
    ] = "0.01"


class Labeller(Part):
    """A service account."""

    model_config = ConfigDict(json_schema_extra={"x-kubernetes-map-type": "atomic"})

    namespace: Annotated[NamespaceName | None, Field(description="Its namespace; absent: the ModelDeployment's.")] = (
        None
    )
    service_account: Annotated[ObjectName, Field(description="Its name.")]


class Labels(Part):
    """Where labels may come from."""

    from_: Annotated[
        tuple[Labeller, ...],
        Field(
            min_length=1,
            max_length=32,
            description=(
                "The service accounts that labels are taken from, and no others. They prove themselves by a token with "
                "the audience perennial.dev/<namespace>/<name of the ModelDeployment>."
            ),
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ]


class Trigger(Part):
    """What starts a retraining."""

    slo: Annotated[PartName, Field(description="An outcome SLO that the stable version breaks on matured cohorts.")]


class Guardrails(Part):
    """What keeps retraining from running away. Only one runs at a time."""

    cooldown_seconds: Annotated[
        int, Field(ge=0, le=31_536_000, description="The least time from one retraining's start to the next.")
    ] = 21_600
    max_per_day: Annotated[int, Field(ge=1, le=1000, description="Retrainings started within any 24 hours.")] = 2


class Retraining(Part):
    """What is trained when the stable version is no longer right."""

    template: Annotated[TrainingRunSpec, Field(description="The TrainingRun to create.")]
    triggers: Annotated[
        tuple[Trigger, ...],
        Field(
            min_length=1,
            max_length=16,
            description="What starts it.",
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["slo"]},
        ),
    ]
    guardrails: Annotated[Guardrails, Field(description="What keeps it from running away.")] = Guardrails()


class ModelDeploymentSpec(Part):
    """What is served, what it promises, and what happens when the promise breaks."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "self.slos.exists(s, has(s.errorRate) && (!has(s.role) || s.role == 'Critical'))",
                "slos needs an errorRate of role Critical: nothing is promoted on no measurement",
            ),
            (
                (
                    "!has(self.retraining) || self.retraining.triggers.all(t, "
                    "self.slos.exists(s, s.name == t.slo && has(s.outcome)))"
                ),
                "each of retraining.triggers must name an outcome SLO of slos",
            ),
            (
                "!has(self.retraining) || has(self.model.fromRetraining)",
                "retraining needs model.fromRetraining: a pinned version would never take up what was retrained",
            ),
            (
                "!has(self.retraining) || self.retraining.template.model.name == self.model.name",
                "retraining.template.model.name must be model.name",
            ),
            (
                "self.model.name == oldSelf.model.name",
                "model.name is immutable: another model is another ModelDeployment",
            ),
            (more_than_0("storage"), "storage must be more than 0"),
            (
                (
                    "!has(self.storage) || !has(oldSelf.storage) || !isQuantity(string(self.storage)) || "
                    "quantity(string(self.storage)).compareTo(quantity(string(oldSelf.storage))) >= 0"
                ),
                "storage must not become less: a volume can only grow",
            ),
        )
    )

    model: Annotated[Model, Field(description="Which version of which registered model is wanted.")]
    server: Annotated[Server, Field(description="The pods that answer.")] = Server()
    canary: Annotated[CanaryPlan, Field(description="How a new version is put on trial.")] = CanaryPlan()
    slos: Annotated[
        tuple[SLO, ...],
        Field(
            min_length=1,
            max_length=16,
            description="What is promised.",
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ]
    monitoring: Annotated[Monitoring, Field(description="How the stable version's predictions are judged.")] = (
        Monitoring()
    )
    labels: Annotated[
        Labels | None,
        Field(description="Where labels may come from; absent: from every service account of this namespace."),
    ] = None
    storage: Annotated[Quantity, Field(description="The collector's volume: predictions, labels, evidence.")] = "1Gi"
    retraining: Annotated[
        Retraining | None, Field(description="What is trained when the stable version is no longer right.")
    ] = None
    suspend: Annotated[
        bool,
        Field(
            description=(
                "True starts no version, takes no step, promotes nothing and starts no retraining; "
                "what answers goes on answering, and the brake works."
            )
        ),
    ] = False


ServerTemplate = Annotated[
    dict[str, Any], Field(json_schema_extra={"type": "object", "x-kubernetes-preserve-unknown-fields": True})
]


class Deployed(Part):
    """A version that has a slot: the pair of a registered model's version and a server."""

    version: Annotated[str, Field(max_length=16, description="Hash of the model's version and the server's spec.")]
    model_version: Annotated[ModelVersionName, Field(description="The registered model's version.")]
    slot: Annotated[Slot, Field(description="The slot whose Deployment serves it.")]
    digest: Annotated[
        Digest | None, Field(description="The digest of the model's files; absent: none was recorded.")
    ] = None
    server: Annotated[
        ServerTemplate, Field(description="The server's spec, kept so that it can be restored as it was.")
    ]
    since: Annotated[Time | None, Field(description="When it became what it is.")] = None


class Stable(Deployed):
    """The version that answers."""

    ready_replicas: Annotated[int, Field(ge=0, description="Pods that are ready.")] = 0


class Previous(Deployed):
    """The version that answered before, or that was rolled back: kept warm for a while."""

    scale_down_time: Annotated[Time, Field(description="When its pods end.")]


class WeightStatus(Part):
    """The candidate's share, in per cent."""

    desired: Annotated[int, Field(ge=0, le=100, description="What the routers are told.")]
    verified: Annotated[
        int | None, Field(ge=0, le=100, description="What every router has confirmed; absent: not all have.")
    ] = None


class CanarySLO(Part):
    """An SLO's verdict on the candidate, with its evidence."""

    name: Annotated[str, Field(max_length=63, description="The SLO.")]
    verdict: Annotated[Verdict, Field(description="Pass, Fail, Undecided, NoData or Error.")]
    message: Annotated[str, Field(max_length=512, description="Why, and how much more is needed.")] = ""
    requests: Annotated[int, Field(ge=0, description="The candidate's requests so far.")] = 0
    bad: Annotated[int, Field(ge=0, description="Those that failed.")] = 0
    e_harm: Annotated[
        Decimal | None, Field(description="e-value against 'not worse'; 1/risk.falseRollback decides.")
    ] = None
    e_safe: Annotated[
        Decimal | None, Field(description="e-value against 'not good enough'; 1/risk.falsePromotion decides.")
    ] = None
    needed: Annotated[int | None, Field(ge=0, description="About how many more requests decide.")] = None
    eta_seconds: Annotated[int | None, Field(ge=0, description="About how long that takes.")] = None


class Canary(Deployed):
    """The version on trial. Steps count from 1; 0 means that its pods are getting ready."""

    id: Annotated[str, Field(max_length=63, description="Unique for ever: evidence and brake belong to it.")]
    step: Annotated[int, Field(ge=0, le=20, description="The step of canary.steps, from 1; 0: pods are getting ready.")]
    weight: Annotated[WeightStatus, Field(description="Its share of the requests.")]
    started_time: Annotated[Time, Field(description="When the canary began.")]
    step_started_time: Annotated[Time, Field(description="When the step began.")]
    slos: Annotated[tuple[CanarySLO, ...], Field(max_length=16, description="What the evidence says so far.")] = ()


class Decision(StrEnum):
    """How a canary ended."""

    PROMOTED = "Promoted"
    ROLLED_BACK = "RolledBack"
    SUPERSEDED = "Superseded"


class HistoryEntry(Part):
    """A canary that has ended."""

    id: Annotated[str, Field(max_length=63, description="The canary.")]
    version: Annotated[str, Field(max_length=16, description="The version that was on trial.")]
    model_version: Annotated[ModelVersionName, Field(description="Its registered model's version.")]
    decision: Annotated[Decision, Field(description="How it ended.")]
    reason: Annotated[str, Field(max_length=64, description="Why, in one word.")]
    message: Annotated[str, Field(max_length=1024, description="Why, with the evidence.")]
    time: Annotated[Time, Field(description="When it was decided.")]


class MonitoredSLO(Part):
    """An outcome SLO on the stable version's newest matured cohort."""

    name: Annotated[str, Field(max_length=63, description="The SLO.")]
    verdict: Annotated[Verdict, Field(description="Pass, Fail or NoData.")]
    message: Annotated[str, Field(max_length=512, description="Why.")] = ""
    model_version: Annotated[
        str | None, Field(max_length=20, description="The registered model's version that was judged.")
    ] = None
    value: Annotated[Decimal | None, Field(description="The rate in the cohort.")] = None
    low: Annotated[Decimal | None, Field(description="Lower end of its 95 % interval.")] = None
    high: Annotated[Decimal | None, Field(description="Upper end of it.")] = None
    cohort: Annotated[Time | None, Field(description="The cohort's beginning.")] = None


class RetrainingDecision(Part):
    """A trigger, and what was made of it."""

    time: Annotated[Time, Field(description="When.")]
    trigger: Annotated[str, Field(max_length=128, description="What asked for a retraining.")]
    decision: Annotated[str, Field(max_length=32, description="Started, Refused, Passed or Rejected.")]
    reason: Annotated[str, Field(max_length=64, description="Why, in one word.")]
    message: Annotated[str, Field(max_length=1024, description="Why, with the evidence.")]
    run: Annotated[str | None, Field(max_length=63, description="The TrainingRun.")] = None


class RetrainingStatus(Part):
    """What has been retrained and why."""

    current_run: Annotated[str | None, Field(max_length=63, description="The TrainingRun that is running.")] = None
    started: Annotated[int, Field(ge=0, description="How many were started so far.")] = 0
    last_started_time: Annotated[Time | None, Field(description="When the last one was started.")] = None
    started_times: Annotated[
        tuple[Time, ...], Field(max_length=1000, description="Starts within the last 24 hours.")
    ] = ()
    next_eligible_time: Annotated[Time | None, Field(description="Before this, the cooldown refuses another.")] = None
    decisions: Annotated[
        tuple[RetrainingDecision, ...], Field(max_length=10, description="The last ten, newest first.")
    ] = ()


class ModelDeploymentStatus(Part):
    """What answers, what is on trial, and whether the promises are kept."""

    observed_generation: Annotated[
        int, Field(ge=-1, description="The generation that the status describes; -1: nobody has looked at it yet.")
    ] = -1
    stable: Annotated[Stable | None, Field(description="The version that answers.")] = None
    canary: Annotated[Canary | None, Field(description="The version on trial.")] = None
    previous: Annotated[Previous | None, Field(description="The version that lost, kept warm for a while.")] = None
    rejected: Annotated[
        tuple[Annotated[str, Field(max_length=16)], ...],
        Field(max_length=10, description="Versions that were rolled back: they get no second canary."),
    ] = ()
    canaries: Annotated[int, Field(ge=0, description="Canaries begun so far.")] = 0
    champion: Annotated[
        ModelVersionName | None, Field(description="The version that MLflow's alias `champion` was pointed at last.")
    ] = None
    slos: Annotated[
        tuple[MonitoredSLO, ...], Field(max_length=16, description="Whether the stable version is still right.")
    ] = ()
    retraining: Annotated[RetrainingStatus | None, Field(description="What has been retrained and why.")] = None
    history: Annotated[
        tuple[HistoryEntry, ...], Field(max_length=10, description="The last ten canaries, newest first.")
    ] = ()
    conditions: Annotated[
        Conditions, Field(description="Ready, Available, Progressing, SLOsMet, Reconciling, Stalled.")
    ] = ()
