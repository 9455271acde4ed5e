"""What a collector tells: `GET /v1/state?after=REVISION&wait=SECONDS`, a long-poll, answers a `State`.

Weights are thousandths of the requests. Times are RFC 3339 in UTC, evidence is a natural logarithm of an e-value.
"""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from perennial.api.messages.wire import Wire
from perennial.terms.words import Natural, Permille, Role, Slot, Verdict


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
    `watch`: what is found of the version that answers, by itself (`candidate` is that version there).
    """

    revision: str
    policy_revision: str | None
    time: datetime
    weights: Weights
    members: dict[Slot, tuple[str, ...]] | None = None
    brake: Brake | None = None
    verdicts: tuple[SloVerdict, ...] = ()
    watch: tuple[SloVerdict, ...] = ()
    cohorts: tuple[Cohort, ...] = ()
    monitoring: tuple[MonitorVerdict, ...] = ()
    predictions: int = 0
    labels: Labels = Labels()
