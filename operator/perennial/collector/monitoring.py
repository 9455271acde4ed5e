"""Whether the version that answers is still right: its cohorts as they are shown, and what is found of each promise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache

from perennial.api.messages.policy import Monitoring, Policy
from perennial.api.messages.state import Cohort, CohortOutcome, MonitorVerdict
from perennial.collector.cohort_sums import key_of
from perennial.collector.cohorts import CohortRow
from perennial.families.metrics import Ends
from perennial.families.slos import Outcome
from perennial.families.slos.outcome import Maturing, bounds
from perennial.stats.outcomes import Reference
from perennial.terms import reasons
from perennial.terms.finding import Finding
from perennial.terms.text import clip
from perennial.terms.words import Verdict

SHOWN_COHORTS = 21
"""The current cohort and the last twenty."""
MESSAGE = 512


@dataclass(frozen=True, slots=True)
class Monitored:
    """What is known of predictions: the cohorts that are kept, oldest first, and what versions' first ones showed.

    `references` is by version and the metric's key; `retention_seconds` how long predictions are kept, where that is
    shorter than labels may take.
    """

    cohorts: tuple[CohortRow, ...] = ()
    references: Mapping[tuple[str, str], Reference] = field(default_factory=dict)
    retention_seconds: int | None = None


def agreed(monitoring: Monitoring) -> Maturing:
    """Return what all outcomes of a policy have in common."""
    return Maturing(monitoring.min_coverage, monitoring.false_alarm)


def matured_ends(
    policy: Policy, outcome: Outcome, rows: Sequence[CohortRow], now: datetime
) -> list[tuple[CohortRow, Ends]]:
    """Return the stable version's cohorts that are mature for an outcome, oldest first."""
    version, key = policy.arms[policy.stable].version, key_of(outcome.metric())
    return [
        (row, row.ends[key])
        for row in rows
        if row.version == version and key in row.ends and _matured(policy.monitoring, row, row.ends[key], now)
    ]


def shown_cohorts(policy: Policy, rows: Sequence[CohortRow], now: datetime) -> tuple[Cohort, ...]:
    """Return the newest cohorts as the state has them."""
    if policy.monitoring is None:
        return ()
    starts = sorted({row.start for row in rows})[-SHOWN_COHORTS:]
    return tuple(_cohort(policy, policy.monitoring, row, now) for row in rows if row.start >= starts[0])


def verdicts(policy: Policy, known: Monitored, now: datetime) -> tuple[MonitorVerdict, ...]:
    """Judge each outcome SLO on the stable version's matured cohorts."""
    if policy.monitoring is None:
        return ()
    arm = policy.arms[policy.stable]
    found = []
    for slo in policy.slos:
        if slo.outcome is None:
            continue
        matured = matured_ends(policy, slo.outcome, known.cohorts, now)
        counted = [row for row, ends in matured if slo.outcome.may_count(ends)]
        found.append(
            MonitorVerdict(
                finding=_finding(
                    policy.monitoring,
                    slo.name,
                    outcome=slo.outcome,
                    version=arm.version,
                    matured=matured,
                    known=known,
                ),
                version=arm.version,
                model_version=arm.model_version,
                cohort=_time(counted[-1].start) if counted else None,
            )
        )
    return tuple(found)


def _finding(
    monitoring: Monitoring,
    name: str,
    *,
    outcome: Outcome,
    version: str,
    matured: Sequence[tuple[CohortRow, Ends]],
    known: Monitored,
) -> Finding:
    key = key_of(outcome.metric())
    reference = known.references.get((version, key))
    finding = _found(name, outcome, tuple(ends for _, ends in matured), agreed(monitoring), reference)
    corrected = sum(row.corrected for row, _ in matured)
    if corrected:
        first = tuple(row.first[key] for row, _ in matured)
        finding = _changed(finding, _found(name, outcome, first, agreed(monitoring), reference), corrected)
    return _short(finding, monitoring, known.retention_seconds)


@lru_cache(maxsize=64)
def _found(
    name: str, outcome: Outcome, cohorts: tuple[Ends, ...], agreement: Maturing, reference: Reference | None
) -> Finding:
    """Judge once while nothing changes: a state is made many times a second."""
    return outcome.finding(name, cohorts, agreement, reference)


def _changed(finding: Finding, before: Finding, corrected: int) -> Finding:
    """Say so if corrected labels of matured cohorts made the verdict another."""
    if finding.verdict is before.verdict:
        return finding
    said = f"; before {corrected:,} labels of matured cohorts were corrected, the verdict was {before.verdict}"
    message = clip(finding.message, MESSAGE - len(said)) + said
    return finding.but(reason=reasons.LABELS_CORRECTED, message=message)


def _short(finding: Finding, monitoring: Monitoring, kept: int | None) -> Finding:
    """Say so if labels are missing because there is no room for the predictions that they belong to."""
    if kept is None or finding.verdict is not Verdict.NO_DATA:
        return finding
    needed = monitoring.max_label_delay_seconds + monitoring.cohort_seconds
    said = f"; predictions are deleted after {kept:,} s for want of room, but labels may take {needed:,} s"
    message = clip(finding.message, MESSAGE - len(said)) + said
    return finding.but(reason=reasons.RETENTION_TOO_SHORT, message=message)


def _cohort(policy: Policy, monitoring: Monitoring, row: CohortRow, now: datetime) -> Cohort:
    wanted = [(slo.name, key_of(slo.outcome.metric())) for slo in policy.slos if slo.outcome is not None]
    outcomes = tuple(_outcome(name, monitoring, row, row.ends[key], now) for name, key in wanted if key in row.ends)
    return Cohort(
        start=_time(row.start),
        end=_time(row.start + monitoring.cohort_seconds),
        version=row.version,
        model_version=row.model_version,
        predictions=row.predictions,
        labelled=row.labelled,
        corrected=row.corrected,
        matured=bool(outcomes) and all(outcome.matured for outcome in outcomes),
        outcomes=outcomes,
    )


def _outcome(name: str, monitoring: Monitoring, row: CohortRow, ends: Ends, now: datetime) -> CohortOutcome:
    known, (low, high) = ends.known, bounds(ends)
    return CohortOutcome(
        slo=name,
        total=known.n,
        bad=known.total,
        missing=ends.missing,
        matured=_matured(monitoring, row, ends, now),
        value=known.mean if known.n else None,
        low=low,
        high=high,
    )


def _matured(monitoring: Monitoring | None, row: CohortRow, ends: Ends, now: datetime) -> bool:
    """Tell whether a cohort has ended and has labels enough for a metric, or none that could still be expected."""
    if monitoring is None:
        return False
    age = now.timestamp() - row.start - monitoring.cohort_seconds
    covered = row.labelled > 0 and ends.coverage >= monitoring.min_coverage
    return age >= 0 and (covered or age >= monitoring.max_label_delay_seconds)


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
