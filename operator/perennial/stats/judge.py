"""The verdict on a promise about a canary, from its evidence. Numbers and reasons; sentences are the family's.

Decisions in order: no measurement is NoData; shown harm is Fail; traffic that is not split as it was told to be is
Undecided (it holds a promotion, and never a brake: the comparison goes by the shares that were seen); every stated
condition shown safe on the current step is Pass; all else is Undecided, with about how many more requests are needed.
"""

from dataclasses import dataclass
from math import log, pi

import numpy as np
from numpy.typing import NDArray

from perennial.stats.evidence import Evidence, Look, Promise
from perennial.stats.needed import requests_needed
from perennial.stats.rates import FloatArray, rate_interval
from perennial.terms import reasons
from perennial.terms.reasons import Reason
from perennial.terms.words import Verdict

SHARE_ALPHA = 0.001
"""Probability of calling sound routing a sample-ratio mismatch, over a whole step."""

REASONS: tuple[tuple[Reason, Verdict], ...] = (
    (reasons.MORE_REQUESTS_NEEDED, Verdict.UNDECIDED),
    (reasons.SHARED_INCIDENT, Verdict.UNDECIDED),
    (reasons.SHOWN_SAFE, Verdict.PASS),
    (reasons.NO_REQUESTS_IN_STEP, Verdict.NO_DATA),
    (reasons.SAMPLE_RATIO_MISMATCH, Verdict.UNDECIDED),
    (reasons.MORE_REJECTED, Verdict.FAIL),
    (reasons.REQUESTS_LIMIT_EXCEEDED, Verdict.FAIL),
    (reasons.WORSE_THAN_STABLE, Verdict.FAIL),
    (reasons.ALL_FAILED, Verdict.FAIL),
    (reasons.NO_REQUESTS, Verdict.NO_DATA),
)
"""What `decide` may say, in ascending order of precedence."""
FAILS = np.array([verdict is Verdict.FAIL for _, verdict in REASONS])
PASSES = np.array([verdict is Verdict.PASS for _, verdict in REASONS])


@dataclass(frozen=True, slots=True)
class Levels:
    """What log E must reach. `harm` is that of a test that may spend all of one promise's risk; see `Split`."""

    harm: float
    safe: float

    @classmethod
    def of(cls, alpha: float, beta: float, promises: int = 1, attempt: int = 1) -> "Levels":
        """Return the levels of each of some critical promises, in a lineage's trial number `attempt`, from 1."""
        return cls(log(max(promises, 1) / spent(alpha, attempt)), -log(spent(beta, attempt)))


def spent(level: float, attempt: int) -> float:
    """Return the part of a level for the attempt with this number, from 1: the parts of all of them add up to it."""
    if attempt < 1:
        raise ValueError(f"attempts count from 1, not {attempt}")
    return level * 6 / (pi * attempt) ** 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A promise judged on a canary. Counts are of the whole canary, those of the `step` of its current one.

    `log_e_harm` is that of the test that found harm, or of the one that is nearest to it. `needed` is about how many
    more candidate requests a decision needs, `eta_seconds` how long that takes at the present pace.
    """

    verdict: Verdict
    reason: Reason
    candidate: tuple[int, int]
    stable: tuple[int, int]
    rejected: tuple[int, int]
    """Requests that the candidate answered 4xx, and stable."""
    step_candidate: int
    step_total: int
    log_e_harm: float
    log_e_safe: float
    threshold_harm: float
    threshold_safe: float
    low: float | None
    high: float | None
    needed: int | None
    eta_seconds: float | None


def decide(
    promise: Promise, look: Look, levels: Levels, *, current: NDArray[np.bool_] | bool = True
) -> NDArray[np.int64]:
    """Return the index into `REASONS` of what is decided at each look, of the looks' shape.

    `current`: whether the look's step is the canary's, for a step that has had no tick yet is judged on nothing.
    """
    split = promise.split
    worse = look.worse >= levels.harm - log(split.worse)
    broken = look.limit >= levels.harm - log(split.worse)
    alone = np.zeros(np.shape(look.worse), np.bool_)
    mismatch = look.share >= -log(SHARE_ALPHA)
    safe = np.ones(np.shape(look.worse), np.bool_)
    if promise.limit is not None:
        safe &= look.safe_limit >= levels.safe
        alone = look.alone >= levels.harm - log(split.alone)
    if promise.ratio is not None:
        safe &= look.safe_ratio >= levels.safe
    more_rejected = np.zeros(safe.shape, np.bool_)
    for each in look.beside:
        more_rejected |= each >= levels.harm - log(split.beside)
    ways: tuple[tuple[Reason, NDArray[np.bool_]], ...] = (
        (reasons.SHARED_INCIDENT, broken),
        (reasons.SHOWN_SAFE, safe),
        (reasons.NO_REQUESTS_IN_STEP, (look.step.candidate_total == 0) | ~np.asarray(current)),
        (reasons.SAMPLE_RATIO_MISMATCH, mismatch & np.asarray(current)),
        (reasons.MORE_REJECTED, more_rejected),
        (reasons.REQUESTS_LIMIT_EXCEEDED, (broken & worse) | alone),
        (reasons.WORSE_THAN_STABLE, worse & ~broken & (promise.ratio is not None)),
        (reasons.ALL_FAILED, look.hard_stop),
        (reasons.NO_REQUESTS, (look.total.candidate_total == 0) & (look.total.candidate_bad == 0)),
    )
    names = [reason for reason, _ in REASONS]
    result = np.zeros(safe.shape, np.int64)
    for reason, where in ways:
        result = np.where(where, names.index(reason), result)
    return result


def judge(promise: Promise, evidence: Evidence, levels: Levels, step: int, now: float) -> Judgement:
    """Judge a canary on all that is known of it.

    Args:
        promise: what must hold.
        evidence: of all ticks of this canary (and of no other), of one canary alone.
        levels: what must be reached.
        step: the canary's current step.
        now: the time of judging, seconds since the epoch; only the estimate of the time still needed depends on it.
    """
    look = evidence.look
    current = int(evidence.step) == step
    reason, verdict = REASONS[int(decide(promise, look, levels, current=current))]
    undecided = reason in {reasons.MORE_REQUESTS_NEEDED, reasons.SHARED_INCIDENT}
    if undecided and evidence.plain is not None:
        plainly = REASONS[int(decide(promise, evidence.plain.look, levels, current=current))]
        if plainly[1] in {Verdict.FAIL, Verdict.PASS}:
            reason = reasons.OVER_DISPERSED
    needed = requests_needed(promise, evidence, levels.harm, levels.safe) if undecided else None
    total, bad = int(look.total.candidate_total), int(look.total.candidate_bad)
    low, high = rate_interval(max(total, bad), bad)
    log_e_harm, threshold_harm = _harm(promise, look, levels.harm)
    safe = [float(look.safe_limit)] * (promise.limit is not None) + [float(look.safe_ratio)] * (
        promise.ratio is not None
    )
    rejected = evidence.beside[0].total if evidence.beside else None
    return Judgement(
        verdict=verdict,
        reason=reason,
        candidate=(total, bad),
        stable=(int(look.total.stable_total), int(look.total.stable_bad)),
        rejected=(0, 0) if rejected is None else (int(rejected.candidate_bad), int(rejected.stable_bad)),
        step_candidate=int(look.step.candidate_total) if current else 0,
        step_total=int(look.step.candidate_total + look.step.stable_total) if current else 0,
        log_e_harm=log_e_harm,
        log_e_safe=min(safe) if current else 0.0,
        threshold_harm=threshold_harm,
        threshold_safe=levels.safe,
        low=low if total else None,
        high=high if total else None,
        needed=needed,
        eta_seconds=_seconds_for(needed, evidence, current, now),
    )


def _harm(promise: Promise, look: Look, level: float) -> tuple[float, float]:
    """Return log E of the test of harm that decided, or of the nearest one, and what it must reach."""
    split = promise.split
    ways: list[tuple[FloatArray, float]] = [(each, split.beside) for each in look.beside]
    if promise.ratio is not None:
        ways.append((look.worse, split.worse))
    if promise.limit is not None:
        ways += [(np.minimum(look.limit, look.worse), split.worse), (look.alone, split.alone)]
    log_e, part = max(ways, key=lambda way: float(way[0]) + log(way[1]))
    return float(log_e), level - log(part)


def _seconds_for(needed: int | None, evidence: Evidence, current: bool, now: float) -> float | None:
    """Return how long the needed requests take at the pace of this step."""
    seen = float(evidence.look.step.candidate_total)
    if needed is None or not current or seen == 0 or np.isnan(evidence.since):
        return None
    return needed * max(now - float(evidence.since), 1.0) / seen
