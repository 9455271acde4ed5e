"""How often the training gate errs: the same model twice, a bad lineage tried again and again, days that differ.

Held-out rows come in days. A day has a difficulty of its own, and each model its own way with a day; all are normal in
log odds. The operator's own code judges: `perennial.stats.gate`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from perennial.stats.days import Days
from perennial.stats.gate import Held, judge, spent, verdict_of
from perennial.stats.paired import proportion_interval
from perennial.stats.sums import Sums
from perennial.terms.words import Verdict
from tests.perf.decisions.case import median

FloatArray = NDArray[np.float64]

ROWS = 1000
"""Held out a day."""
ATTEMPTS = 20


def cases(seed: int, trials: int) -> Iterator[Mapping[str, Any]]:
    """Yield one row of the table of error rates after another, from one seed.

    `trials` gates each, and two to six times as many where the bar is so near that it needs them.
    """
    chance = np.random.default_rng([seed, 7])
    for days in (7, 14, 30):
        for sd in (0.1, 0.3):
            yield from _same_model(chance, 4 * trials, days, sd)
    yield from _same_mean(chance, 4 * trials)
    for days in (7, 30):
        yield from _at_the_limit(chance, 4 * trials, days)
        yield from _again_and_again(chance, 4 * trials, days)
    for form in FORMS:
        yield from _needed(chance, 6 * trials, form)


def row(case: str, variant: str, bar: float, kind: Literal["max", "min"], happened: int, trials: int) -> dict[str, Any]:
    """Return how often something happened, with a 99 % interval, and whether that is within the bar."""
    interval = proportion_interval(trials, happened, 0.99)
    return {
        "case": case,
        "variant": variant,
        "bar": bar,
        "kind": kind,
        "hits": happened,
        "rate": interval.estimate,
        "low": interval.low,
        "high": interval.high,
        "trials": trials,
        "passed": interval.high <= bar if kind == "max" else interval.low >= bar,
    }


def _expit(logits: FloatArray) -> FloatArray:
    return np.asarray(1 / (1 + np.exp(-logits)))


def _ways(chance: np.random.Generator, difficulty: FloatArray, rates: tuple[float, ...], sd: float) -> list[FloatArray]:
    """Return the share of rows that each of several models of these rates gets wrong, a day: each has its own way."""
    return [
        _expit(np.log(rate) - np.log1p(-rate) + difficulty + chance.normal(0, sd, difficulty.shape)) for rate in rates
    ]


def _pairs(chance: np.random.Generator, candidate: FloatArray, baseline: FloatArray, rows: int = ROWS) -> list[Held]:
    """Return the differences of two models' losses, each trial's: shares of wrong rows have the shape (trials, days).

    Models stumble over the same rows: half of the rows have one luck for both, the others one for each.
    """
    both = 0.5 * np.minimum(candidate, baseline) + 0.5 * candidate * baseline
    cells = np.stack([candidate - both, baseline - both, 1 - candidate - baseline + both], axis=-1)
    drawn = chance.multinomial(rows, cells)
    return _held(rows, drawn[..., 0] - drawn[..., 1], drawn[..., 0] + drawn[..., 1], rate=True, paired=True)


def _held(n: int, totals: FloatArray, squares: FloatArray, *, rate: bool, paired: bool) -> list[Held]:
    """Return each trial's statistic, of sums a day with the shape (trials, days)."""
    return [
        Held(Days.of(Sums(n, float(d), float(q)) for d, q in zip(*each, strict=True)), rate=rate, paired=paired)
        for each in zip(totals, squares, strict=True)
    ]


def _same_model(chance: np.random.Generator, trials: int, days: int, sd: float) -> Iterator[Mapping[str, Any]]:
    """Two models that are equally good in the long run, of which neither may be called better."""
    candidate, baseline = _ways(chance, chance.normal(0, 0.3, (trials, days)), (0.3, 0.3), sd)
    yield from _both_sides("gate A/A", f"{days} days, sd {sd:g}", _pairs(chance, candidate, baseline), 0.0)


def _same_mean(chance: np.random.Generator, trials: int) -> Iterator[Mapping[str, Any]]:
    """The same of absolute errors, whose tails are long."""
    day = chance.normal(0, 1, (trials, 1, 14, 1)) + chance.normal(0, 0.3, (trials, 2, 14, 1))
    errors = chance.gamma(1.0, np.exp(0.3 * day), (trials, 2, 14, 50))
    apart = errors[:, 0] - errors[:, 1]
    held = _held(50, apart.sum(axis=-1), np.square(apart).sum(axis=-1), rate=False, paired=True)
    yield from _both_sides("gate A/A", "14 days, absolute errors", held, 0.0)


def _both_sides(
    case: str, variant: str, held: Sequence[Held], limit: float, bar: float = 0.035
) -> Iterator[Mapping[str, Any]]:
    verdicts = [verdict_of(each.interval(spent(1)), limit) for each in held]
    for word, verdict in (("failed", Verdict.FAIL), ("passed", Verdict.PASS)):
        yield row(case, f"{variant}: {word}", bar, "max", sum(each is verdict for each in verdicts), len(held))


def _mean_rate(rate: float, sd: float) -> float:
    """Return the mean over days of a rate whose log odds vary by sd from day to day."""
    points, weights = np.polynomial.hermite_e.hermegauss(40)
    odds = np.log(rate) - np.log1p(-rate) + sd * points
    return float((weights * _expit(odds)).sum() / weights.sum())


def _at_the_limit(chance: np.random.Generator, trials: int, days: int) -> Iterator[Mapping[str, Any]]:
    """A model whose rate is its limit in the long run, on days that differ, may neither pass nor fail for it.

    The rates of days are skewed, and few days don't show it, so the bar is that of other decisions here.
    """
    (shares,) = _ways(chance, chance.normal(0, 0.3, (trials, days)), (0.2,), 0.1)
    wrong = chance.binomial(ROWS, shares)
    limit = _mean_rate(0.2, (0.3**2 + 0.1**2) ** 0.5)
    yield from _both_sides(
        "gate at the limit", f"{days} days", _held(ROWS, wrong, wrong, rate=True, paired=False), limit, 0.05
    )


def _again_and_again(chance: np.random.Generator, trials: int, days: int) -> Iterator[Mapping[str, Any]]:
    """A lineage that is worse than allowed, tried again and again on the same held-out rows against one champion."""
    difficulty = chance.normal(0, 0.3, (trials, days))
    *candidates, baseline = _ways(chance, difficulty, (0.3,) * ATTEMPTS + (0.27,), 0.1)
    allowed = _mean_rate(0.3, 0.1**0.5) - _mean_rate(0.27, 0.1**0.5)
    attempts = [_pairs(chance, candidate, baseline) for candidate in candidates]
    passed = sum(
        any(verdict_of(each[trial].interval(spent(j)), allowed) is Verdict.PASS for j, each in enumerate(attempts, 1))
        for trial in range(trials)
    )
    yield row("gate 20 times on one digest", f"{days} days: passed once", 0.05, "max", passed, trials)


def _trials(chance: np.random.Generator, form: str, trials: int, days: int) -> list[Held]:
    """Return trials of one form."""
    difficulty = chance.normal(0, 0.3, (trials, days))
    if form == "regression":
        return _pairs(chance, *_ways(chance, difficulty, (0.2, 0.2), 0.1))
    if form == "limit":
        wrong = chance.binomial(ROWS, _ways(chance, difficulty, (0.2,), 0.1)[0])
        return _held(ROWS, wrong, wrong, rate=True, paired=False)
    errors = chance.gamma(1.0, np.exp(0.3 * difficulty)[..., None], (trials, days, 50))
    return _held(50, errors.sum(axis=-1), np.square(errors).sum(axis=-1), rate=False, paired=False)


FORMS: Mapping[str, float] = {"limit": 0.225, "regression": 0.008, "mean": 1.05}
"""What each form is judged by."""


def _needed(chance: np.random.Generator, trials: int, form: str) -> Iterator[Mapping[str, Any]]:
    """Half of the days that decide are held out: how many more rows are needed, as the gate says, over what it takes.

    One that says "never" says more than any number, one that is decided says that none are needed.
    """
    limit, alpha, many = FORMS[form], spent(1), 100_000
    (known,) = _trials(chance, form, 1, many)
    enough = next(days for days in range(4, many) if known.interval(alpha, days / many).high <= limit)
    days = enough // 2
    truth = (enough - days) / days  # as a share of the rows that are held out
    told = []
    for held in _trials(chance, form, trials, days):
        judged = judge(held, limit, alpha)
        never = np.inf if judged.verdict is Verdict.UNDECIDED else 0.0
        told.append((never if judged.needed is None else judged.needed / judged.rows) / truth)
    variant = f"{form}, {days} of {enough} days"
    yield median("gate: rows needed, told half way over the truth", f"{variant}, at most", 1.3, "max", told, "times")
    yield median("gate: rows needed, told half way over the truth", f"{variant}, at least", 0.7, "min", told, "times")
