"""What the operator and a ModelDeployment's collector say to each other, as JSON over HTTP.

The operator PUTs a `Policy` (who is stable, who is the candidate, which weight is wanted, what is promised) to
`/v1/policy`, and follows `GET /v1/state?after=REVISION&wait=SECONDS` (a long-poll), which answers a `State`.
Whom a collector believes is in a `Trust`, a file that the operator writes.
Weights are thousandths of the requests. Times are RFC 3339 in UTC, evidence is a natural logarithm of an e-value.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Slot = Literal["a", "b"]
Permille = Annotated[int, Field(ge=0, le=1000)]
Natural = Annotated[int, Field(ge=0)]


class Wire(BaseModel):
    """A message: immutable, camelCase on the wire.

    What a newer collector tells beyond this is passed over; what a newer operator asks beyond this is refused
    (`Asked`), because a wish must not be half fulfilled.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        alias_generator=lambda name: name.split("_")[0] + "".join(part.title() for part in name.split("_")[1:]),
    )


class Asked(Wire):
    """A part of what the operator asks for: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class Verdict(StrEnum):
    """What the evidence says. Only Pass passes and only Fail fails; the other three hold."""

    PASS = "Pass"  # noqa: S105 - a verdict, no secret
    FAIL = "Fail"
    UNDECIDED = "Undecided"
    NO_DATA = "NoData"
    ERROR = "Error"


class Role(StrEnum):
    """Whether an SLO decides (Critical), is shown (Advisory), or is only tried out (DryRun)."""

    CRITICAL = "Critical"
    ADVISORY = "Advisory"
    DRY_RUN = "DryRun"


class Trust(Wire):
    """Whom a collector believes, and whom it lets do what: `trust.json` in its ConfigMap.

    Everyone proves itself by a service-account token of the cluster, made for `audience` alone.
    """

    issuer: str
    keys: tuple[dict[str, str], ...]
    """The cluster's public keys, as its JWKS has them (RFC 7517)."""
    audience: str
    """The one audience that a token must be for: this collector's."""
    operator: str
    """The user name of the operator: it alone tells the policy."""
    namespace: str
    """The ModelDeployment's namespace, whose service accounts report predictions and read the state."""
    labellers: tuple[str, ...] | None = None
    """The user names that labels are taken from; None: those of all service accounts of the namespace."""
    unproven_predictions: bool = False
    """Whether predictions are also taken from pods without a token, because an earlier release made them."""


class ErrorRate(Asked):
    """The share of requests that a server fails (5xx, timeouts, lost connections).

    With `max`, Pass means: shown to be below it; Fail: shown to be above it. `max_ratio` compares with the stable
    version under the same traffic: Fail means shown to be worse than stable; alone (no `max`), Pass means shown to be
    below `max_ratio` times stable's rate.
    """

    max: Annotated[float, Field(gt=0, lt=1)] | None = None
    max_ratio: Annotated[float, Field(gt=1)] | None = None


class Outcome(Asked):
    """A rate over labelled predictions: `falseNegativeRate` is misses / true positives, and so on.

    `threshold` turns a score into a class: score >= threshold is positive.
    """

    metric: Literal["falseNegativeRate", "falsePositiveRate", "errorRate"]
    max: Annotated[float, Field(gt=0, lt=1)]
    threshold: float = 0.5
    min_samples: Annotated[int, Field(ge=1)] = 100


class SloPolicy(Asked):
    """One promise. Exactly one of `error_rate` (judged on canaries) and `outcome` (judged on matured cohorts)."""

    name: str
    role: Role = Role.CRITICAL
    error_rate: ErrorRate | None = None
    outcome: Outcome | None = None


class Arm(Asked):
    """What a slot runs: the ModelDeployment's version (a hash) and the registered model's version."""

    version: str
    model_version: str


class Canary(Asked):
    """A candidate on trial. `id` is unique for ever: evidence and the brake belong to it.

    Harm is judged on all ticks of the canary, safety on the ticks since `step_started_time` alone.
    `alpha` bounds the probability of a false rollback, `beta` that of a false promotion, over the whole canary.
    """

    id: str
    slot: Slot
    step: Annotated[int, Field(ge=0)]
    weight: Permille
    started_time: datetime
    step_started_time: datetime
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05
    beta: Annotated[float, Field(gt=0, lt=1)] = 0.05


class Monitoring(Asked):
    """How cohorts of predictions ripen, and how often a healthy model may raise an alarm (per cohort)."""

    cohort_seconds: Annotated[int, Field(ge=1)]
    max_label_delay_seconds: Annotated[int, Field(ge=0)]
    min_coverage: Annotated[float, Field(ge=0, le=1)] = 0.9
    false_alarm: Annotated[float, Field(gt=0, lt=1)] = 0.01


class Policy(Asked):
    """The operator's whole will for one ModelDeployment. `revision` is its content hash and is echoed in the state."""

    revision: str
    stable: Slot
    arms: dict[Slot, Arm]
    canary: Canary | None = None
    slos: tuple[SloPolicy, ...] = ()
    monitoring: Monitoring | None = None


class Count(Wire):
    """Requests (or labelled predictions) of one arm, and how many of them were bad."""

    total: Natural
    bad: Natural


class SloVerdict(Wire):
    """An SLO's verdict on the canary, with all that is needed to explain it.

    `log_e_harm` and `log_e_safe` are compared with `log_threshold_harm` = -ln(alpha) and `log_threshold_safe` =
    -ln(beta). `needed` is about how many more candidate requests (not events) a decision needs; `eta_seconds` how long
    that takes at the present pace. `low` and `high` bound the candidate's rate.
    """

    slo: str
    role: Role
    verdict: Verdict
    reason: str
    message: str
    candidate: Count
    stable: Count
    log_e_harm: float | None = None
    log_e_safe: float | None = None
    log_threshold_harm: float
    log_threshold_safe: float
    low: float | None = None
    high: float | None = None
    needed: Natural | None = None
    eta_seconds: Annotated[float, Field(ge=0)] | None = None


class Brake(Wire):
    """The collector set the candidate's weight to 0 on its own. It stays so for this canary id, whatever is PUT."""

    canary_id: str
    time: datetime
    verdict: SloVerdict


class Weights(Wire):
    """Thousandths per slot: what the routers are told, and what every live router has acknowledged (None: not all)."""

    desired: dict[Slot, Permille]
    verified: dict[Slot, Permille] | None = None
    routers: int = 0


class CohortOutcome(Wire):
    """An outcome SLO on one cohort. `value` = bad / total, with a 95 % interval."""

    slo: str
    total: Natural
    bad: Natural
    value: float | None = None
    low: float | None = None
    high: float | None = None


class Cohort(Wire):
    """Predictions that one version made in one period [start, end). Only `matured` cohorts decide."""

    start: datetime
    end: datetime
    version: str
    model_version: str
    predictions: Natural
    labelled: Natural
    matured: bool
    outcomes: tuple[CohortOutcome, ...] = ()


class MonitorVerdict(Wire):
    """An outcome SLO on the stable version's matured cohorts.

    Pass: at or below the limit as far as one can see; Fail: the e-detector crossed 1/false_alarm; NoData: no matured
    cohort with enough samples. `value`, `low`, `high` belong to the cohort that starts at `cohort`.
    """

    slo: str
    verdict: Verdict
    message: str
    version: str | None = None
    model_version: str | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    cohort: datetime | None = None
    log_e: float | None = None


class Labels(Wire):
    """What became of the labels that were posted."""

    joined: int = 0
    duplicates: int = 0
    strangers: int = 0


class State(Wire):
    """All the operator needs to know. `revision` changes when something in it matters (not with each request).

    `cohorts`: the current one and the last 20 that have predictions, oldest first. `members`: the pods' addresses that
    every router would send each slot's requests to; None while the routers disagree, or one has not been asked.
    """

    revision: str
    policy_revision: str | None
    time: datetime
    weights: Weights
    members: dict[Slot, tuple[str, ...]] | None = None
    brake: Brake | None = None
    verdicts: tuple[SloVerdict, ...] = ()
    cohorts: tuple[Cohort, ...] = ()
    monitoring: tuple[MonitorVerdict, ...] = ()
    predictions: int = 0
    labels: Labels = Labels()
