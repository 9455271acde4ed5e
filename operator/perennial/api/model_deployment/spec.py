"""What users write: which version is served, what it promises, and what happens when a promise breaks."""

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from perennial.api.training_run import TrainingRunSpec
from perennial.families.guardrails import Guardrails
from perennial.families.slos import SLO, critical_on_trial, judging
from perennial.families.triggers import RetrainingTrigger
from perennial.terms.forms import (
    ModelName,
    ModelVersionName,
    NamespaceName,
    ObjectName,
    OpenShare,
    Quantity,
    Share,
)
from perennial.terms.kube import EnvVars, Image, Resources, Words
from perennial.terms.names import GROUP
from perennial.terms.part import Member, OneOf, Part, exactly_one_of, more_than_0, own_variables, rules


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


class CanaryOnUndecided(StrEnum):
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
        CanaryOnUndecided, Field(description="What becomes of a canary that has not decided within maxSeconds.")
    ] = CanaryOnUndecided.HOLD
    max_seconds: Annotated[
        int, Field(ge=10, le=31_536_000, description="When onUndecided applies, from the canary's start.")
    ] = 86_400
    progress_deadline_seconds: Annotated[
        int,
        Field(
            ge=10,
            le=86_400,
            description=(
                "How long a candidate's pods may take to get ready before it is rolled back. While they may not be "
                "created, have no node, or MLflow is away, nothing counts."
            ),
        ),
    ] = 600
    scale_down_delay_seconds: Annotated[
        int, Field(ge=0, le=86_400, description="How long the pods of the version that lost stay warm.")
    ] = 300
    risk: Annotated[Risk, Field(description="How often a canary may be wrong.")] = Risk()
    warmup_seconds: Annotated[
        int,
        Field(
            ge=0,
            le=3600,
            description=(
                "How long after its first requests a candidate is not blamed for errors: caches fill, code is "
                "compiled. One that fails every request is rolled back even then."
            ),
        ),
    ] = 0
    rollback_window_seconds: Annotated[
        int,
        Field(
            ge=0,
            le=2_592_000,
            description=(
                "How long after a promotion the version before can be gone back to: by itself when a Critical "
                "requests SLO is shown to break, or on request."
            ),
        ),
    ] = 86_400


class Maturity(Part):
    """When a cohort's labels are in. Early labels are biased, so earlier cohorts never decide."""

    max_label_delay_seconds: Annotated[
        int,
        Field(ge=0, le=31_536_000, description="A cohort is mature this long after its end, whatever labels it has."),
    ] = 86_400
    min_coverage: Annotated[
        Share, Field(description="Or as soon after its end as this share of its predictions is labelled.")
    ] = "0.9"


class MonitoringPlan(Part):
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


class LabelSources(Part):
    """Where labels may come from."""

    from_: Annotated[
        tuple[Labeller, ...],
        Field(
            min_length=1,
            max_length=32,
            description=(
                "The service accounts that labels are taken from, and no others. They prove themselves by a token with "
                f"the audience {GROUP}/<namespace>/<name of the ModelDeployment>."
            ),
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ]


class Retraining(Part):
    """What is trained when the stable version is no longer right."""

    template: Annotated[TrainingRunSpec, Field(description="The TrainingRun to create.")]
    triggers: Annotated[
        tuple[RetrainingTrigger, ...],
        Field(
            min_length=1,
            max_length=16,
            description="What starts it.",
            # Not keyed by `name`: release 0.2 keyed them by `slo`, and where an element of a stored object lacks its
            # key, the API server takes neither a status nor a server-side apply.
            json_schema_extra={
                "x-kubernetes-list-type": "atomic",
                **rules(
                    (
                        "self.all(a, !has(a.name) || self.exists_one(b, has(b.name) && b.name == a.name))",
                        "triggers must have names of their own",
                    )
                ),
            },
        ),
    ]
    guardrails: Annotated[Guardrails, Field(description="What keeps it from running away.")] = Guardrails()


class Envoy(Member):
    """Two Envoys, which Perennial runs."""


class Traffic(OneOf):
    """How requests reach the versions."""

    envoy: Annotated[Envoy | None, Field(description="By two Envoys, which Perennial runs.")] = None


_BY_COHORTS = " || ".join(f"has(s.{kind})" for kind in judging("cohorts"))
_BY_COHORTS_WORDS = ", ".join(judging("cohorts"))


class ModelDeploymentSpec(Part):
    """What is served, what it promises, and what happens when the promise breaks."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            critical_on_trial("slos"),
            (
                (
                    "!has(self.retraining) || self.retraining.triggers.all(t, !has(t.slo) || "
                    f"self.slos.exists(s, s.name == t.slo && ({_BY_COHORTS})))"
                ),
                f"retraining.triggers[].slo must name one of slos that is judged by cohorts: {_BY_COHORTS_WORDS}",
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
    traffic: Annotated[Traffic, Field(description="How requests reach the versions.")] = Traffic(envoy=Envoy())
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
    monitoring: Annotated[MonitoringPlan, Field(description="How the stable version's predictions are judged.")] = (
        MonitoringPlan()
    )
    labels: Annotated[
        LabelSources | None,
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
