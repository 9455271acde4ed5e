"""What a collector tells: `GET /v1/state?after=REVISION&wait=SECONDS`, a long-poll, answers a `State`.

Weights are thousandths of the requests. Times are RFC 3339 in UTC, evidence is a natural logarithm of an e-value.
"""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from perennial.api.messages.wire import Natural, Permille, Wire
from perennial.terms.finding import Finding
from perennial.terms.words import Role, Slot, Verdict


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
    """An outcome SLO on one cohort. `value` = bad / total of the labelled predictions that the metric is over.

    `missing` more may be among them once they have labels. `low` and `high` bound the value, chance (95 %) and missing
    labels both taken for the worst.
    """

    slo: str
    total: Natural
    bad: Annotated[float, Field(ge=0)]
    missing: Natural = 0
    matured: bool = False
    value: float | None = None
    low: float | None = None
    high: float | None = None


class Cohort(Wire):
    """Predictions that one version made in one period [start, end). Only `matured` outcomes decide.

    `corrected`: so many labels took another label's place; `matured`: every outcome is.
    """

    start: datetime
    end: datetime
    version: str
    model_version: str
    predictions: Natural
    labelled: Natural
    corrected: Natural = 0
    matured: bool
    outcomes: tuple[CohortOutcome, ...] = ()


class MonitorVerdict(Wire):
    """An outcome SLO on the stable version's matured cohorts; the finding is about the one that starts at `cohort`."""

    finding: Finding
    version: str
    model_version: str
    cohort: datetime | None = None


class LabelTally(Wire):
    """What became of the labels that were posted: each is in one of these.

    `corrected` took another label's place; `unmatched` are of ids that no prediction has had yet.
    """

    joined: Natural = 0
    duplicates: Natural = 0
    corrected: Natural = 0
    unmatched: Natural = 0
    refused: Natural = 0


class RefusedLabel(Wire):
    """A label that is none for what is predicted, and why."""

    id: str
    reason: str


class TakenLabels(LabelTally):
    """The answer to labels that were posted: what became of these, and why some were refused (the first hundred)."""

    refusals: tuple[RefusedLabel, ...] = ()


class State(Wire):
    """All the operator needs to know. `revision` changes when something in it matters (not with each request).

    `cohorts`: the current one and the last 20 that have predictions, oldest first. `members`: the pods' addresses that
    every router would send each slot's requests to; None while the routers disagree, or one has not been asked.
    `repeated`: predictions whose id was taken by another content, which stays; `dropped`: those that servers could not
    report; `retention_seconds`: how long predictions are kept, where that is shorter than labels may take.
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
    predictions: Natural = 0
    repeated: Natural = 0
    dropped: Natural = 0
    labels: LabelTally = LabelTally()
    retention_seconds: Natural | None = None
