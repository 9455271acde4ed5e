"""What the operator is told: the state, and a revision that changes when something in it matters."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from json import dumps
from time import monotonic
from typing import Any

import numpy as np

from perennial.api.messages.policy import Policy, SloPolicy
from perennial.api.messages.state import Brake, Cohort, CohortOutcome, MonitorVerdict, SloVerdict, State, Weights
from perennial.collector.cohorts import CohortRow, Metric, Tally
from perennial.stats.detect import Cohorts, day_variance, detect
from perennial.stats.paired import proportion_interval
from perennial.terms.words import Slot, Verdict

PROGRESS_SECONDS = 5.0
"""Numbers that change with each request make a new revision only so often."""
SHOWN_COHORTS = 21
"""The current cohort and the last twenty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """All that a state is made of."""

    policy: Policy | None
    weights: Weights
    members: dict[Slot, tuple[str, ...]] | None
    brake: Brake | None
    verdicts: tuple[SloVerdict, ...]
    cohorts: tuple[CohortRow, ...]
    tally: Tally


def build_state(known: Known, now: datetime) -> State:
    """Return the state with an empty revision (see `revision`)."""
    policy = known.policy
    cohorts: tuple[Cohort, ...] = ()
    monitoring: tuple[MonitorVerdict, ...] = ()
    if policy is not None and policy.monitoring is not None:
        outcomes = [slo for slo in policy.slos if slo.outcome is not None]
        starts = sorted({row.start for row in known.cohorts})[-SHOWN_COHORTS:]
        shown = [row for row in known.cohorts if starts and row.start >= starts[0]]
        cohorts = tuple(_cohort(policy, row, outcomes, now) for row in shown)
        monitoring = tuple(_monitor(policy, slo, known.cohorts, now) for slo in outcomes)
    return State(
        revision="",
        policy_revision=None if policy is None else policy.revision,
        time=now,
        weights=known.weights,
        members=known.members,
        brake=known.brake,
        verdicts=known.verdicts,
        cohorts=cohorts,
        monitoring=monitoring,
        predictions=known.tally.predictions,
        labels=known.tally.labels(),
    )


def matter(state: State) -> Any:
    """Return what the operator must hear of at once, as JSON data."""
    return [
        state.policy_revision,
        state.weights.model_dump(mode="json"),
        state.members,
        None if state.brake is None else state.brake.canary_id,
        [(v.slo, v.verdict, v.reason) for v in state.verdicts],
        [(c.start.timestamp(), c.version, c.matured) for c in state.cohorts],
        [(m.slo, m.verdict, m.version, m.cohort.timestamp() if m.cohort else None) for m in state.monitoring],
    ]


def progress(state: State) -> Any:
    """Return what is nice to know now and then: it changes with each request, prediction and label."""
    return [
        [(v.candidate.total, v.candidate.bad, v.stable.total, v.stable.bad) for v in state.verdicts],
        [(c.predictions, c.labelled) for c in state.cohorts],
        state.predictions,
        state.labels.model_dump(),
    ]


def revision(what: Any) -> str:
    """Return a short hash of JSON data."""
    return hashlib.sha256(dumps(what, sort_keys=True).encode()).hexdigest()[:16]


class Revisions:
    """Gives states their revisions. What changes with each request makes a new one only so often."""

    def __init__(self, steady: Callable[[], float] = monotonic) -> None:
        self._steady = steady
        self._shown: Any = None
        self._shown_at = 0.0

    def revised(self, state: State) -> State:
        """Return a state with its revision."""
        if self._shown is None or self._steady() - self._shown_at >= PROGRESS_SECONDS:
            self._shown, self._shown_at = progress(state), self._steady()
        return state.model_copy(update={"revision": revision([matter(state), self._shown])})


def _cohort(policy: Policy, row: CohortRow, slos: Sequence[SloPolicy], now: datetime) -> Cohort:
    seconds = 0 if policy.monitoring is None else policy.monitoring.cohort_seconds
    return Cohort(
        start=_time(row.start),
        end=_time(row.start + seconds),
        version=row.version,
        model_version=row.model_version,
        predictions=row.predictions,
        labelled=row.labelled,
        matured=_matured(policy, row, now),
        outcomes=tuple(_outcome(slo, row) for slo in slos),
    )


def _matured(policy: Policy, row: CohortRow, now: datetime) -> bool:
    """Tell whether a cohort has ended and has labels enough, or none that could still be expected."""
    if policy.monitoring is None:
        return False
    age = now.timestamp() - row.start - policy.monitoring.cohort_seconds
    covered = row.labelled >= policy.monitoring.min_coverage * row.predictions
    return age >= 0 and (covered or age >= policy.monitoring.max_label_delay_seconds)


def _counts(slo: SloPolicy, row: CohortRow) -> tuple[int, int]:
    """Return how many of a cohort's labelled predictions the metric is over, and how many of them are bad."""
    if slo.outcome is None:
        raise ValueError(f"SLO {slo.name} is not about an outcome")
    return row.outcomes.get(Metric(slo.outcome.metric, slo.outcome.threshold), (0, 0))


def _outcome(slo: SloPolicy, row: CohortRow) -> CohortOutcome:
    total, bad = _counts(slo, row)
    if total == 0:
        return CohortOutcome(slo=slo.name, total=0, bad=0)
    rate = proportion_interval(total, bad)
    return CohortOutcome(slo=slo.name, total=total, bad=bad, value=rate.estimate, low=rate.low, high=rate.high)


def _monitor(policy: Policy, slo: SloPolicy, rows: Sequence[CohortRow], now: datetime) -> MonitorVerdict:
    """Judge an outcome on the stable version's matured cohorts."""
    if slo.outcome is None or policy.monitoring is None:
        raise ValueError(f"SLO {slo.name} is not about an outcome that is monitored")
    arm = policy.arms[policy.stable]
    matured = [
        row
        for row in rows
        if row.version == arm.version and _matured(policy, row, now) and _counts(slo, row)[0] >= slo.outcome.min_samples
    ]
    if not matured:
        message = f"no matured cohort of this version has {slo.outcome.min_samples:,} samples yet"
        return MonitorVerdict(
            slo=slo.name,
            verdict=Verdict.NO_DATA,
            message=message,
            version=arm.version,
            model_version=arm.model_version,
        )
    total, bad = np.array([_counts(slo, row) for row in matured], float).T
    cohorts = Cohorts.complete(total[None], bad[None])
    found = detect(cohorts, slo.outcome.max, day_variance(cohorts), policy.monitoring.false_alarm)
    row = matured[-1]
    outcome = _outcome(slo, row)
    value, limit = outcome.value or 0.0, slo.outcome.max
    seen = f"{100 * value:.3g} % of {outcome.total:,} samples, the limit is {100 * limit:.3g} %"
    if found.alarm[0, -1]:
        verdict, message = Verdict.FAIL, f"{seen}: shown to be broken"
    elif value <= limit:
        verdict, message = Verdict.PASS, f"{seen}: kept"
    else:
        verdict, message = Verdict.UNDECIDED, f"{seen}: above it, but that may be chance; the next cohorts will tell"
    return MonitorVerdict(
        slo=slo.name,
        verdict=verdict,
        message=message,
        version=row.version,
        model_version=row.model_version,
        value=outcome.value,
        low=outcome.low,
        high=outcome.high,
        cohort=_time(row.start),
        log_e=float(found.log_e[0, -1]),
    )


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
