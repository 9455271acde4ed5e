"""How often the monitor of labelled predictions errs, and how soon it sees: days that differ, labels that are missing.

A day has a difficulty of its own, normal in log odds, that goes on half into the next; weekends are harder. The
collector's own code judges: `perennial.stats.outcomes`, with the ends that the metric gives. Arrays of cohorts have the
shape (deployments, cohorts).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.families.metrics.false_negative_rate import FalseNegativeRate
from perennial.stats.outcomes import Judged, Labelled, Rules, Standing, judge, samples_needed
from tests.perf.decisions.case import median, never, share

FloatArray = NDArray[np.float64]

FALSE_ALARM = 0.01
DAYS = 365
HOURS = 8760
QUARTER = 4
"""Hourly cohorts are tried for a quarter of a year each, and in a quarter of the trials."""
MOST_CELLS = 2_000_000
"""Cohorts that are judged side by side: memory."""


def cases(seed: int, trials: int) -> Iterator[Mapping[str, Any]]:
    """Yield one row of the table of error rates after another, from one seed; rows of one case side by side."""
    chance = np.random.default_rng([seed, 18])
    sections = (_healthy, _increased, _risen, _selective, _needed)
    rows = [row for section in sections for row in section(chance, trials)]
    order = list(dict.fromkeys(row["case"] for row in rows))
    yield from sorted(rows, key=lambda row: order.index(row["case"]))


@dataclass(frozen=True, slots=True)
class Cohorts:
    """How cohorts come: their size, how much days differ (`sd`, `correlation`), and `week`, the rms of its pattern."""

    size: int
    sd: float
    correlation: float
    week: float = 0.0
    hourly: bool = False

    def rates(self, chance: np.random.Generator, mean: FloatArray) -> FloatArray:
        """Draw each cohort's rate around its mean, shape (trials, cohorts)."""
        noise = chance.normal(size=mean.shape)
        for t in range(1, mean.shape[1]):
            noise[:, t] = self.correlation * noise[:, t - 1] + np.sqrt(1 - self.correlation**2) * noise[:, t]
        long = 24 if self.hourly else 1
        begin = chance.integers(0, 7 * long, (mean.shape[0], 1))
        weekend = (np.arange(mean.shape[1]) + begin) % (7 * long) >= 5 * long
        swing = np.where(weekend, self.week * np.sqrt(5 / 2), -self.week * np.sqrt(2 / 5))
        rates = 1 / (1 + np.exp(-(np.log(mean) - np.log1p(-mean) + self.sd * noise + swing)))
        # What is promised is the mean of the rates, not of their log odds.
        return np.minimum(rates * (mean.mean() / rates.mean()), 1)

    def cohorts(self, chance: np.random.Generator, mean: FloatArray) -> Labelled:
        """Draw cohorts that are wholly labelled."""
        bad = chance.binomial(self.size, self.rates(chance, mean)).astype(float)
        counts = np.full(mean.shape, float(self.size)), bad
        return Labelled(known=counts, least=counts, most=counts, missing=np.zeros(mean.shape))


def promised(limit: float | None, increase: float | None = None) -> Rules:
    """Return what a ModelDeployment promises by default, under a limit, or an increase since a version's beginning."""
    return Rules(limit=limit, increase=increase, min_samples=100, min_coverage=0.9, false_alarm=FALSE_ALARM)


HEALTHY: tuple[tuple[float, float, Cohorts], ...] = (
    (0.3, 0.9, Cohorts(2000, 0.2, 0.5)),
    *((0.3, 0.95, Cohorts(size, 0.3, 0.5, 0.2)) for size in (100, 1000, 100_000)),
    *((limit, 0.95, Cohorts(1000, 0.3, 0.5, 0.2)) for limit in (0.05, 0.1, 0.5)),
    (0.3, 0.95, Cohorts(1000, 0.0, 0.0)),
    (0.3, 0.95, Cohorts(1000, 0.3, 0.0, 0.2)),
    (0.3, 0.95, Cohorts(1000, 0.3, 0.5, 0.1, hourly=True)),
    (0.1, 0.95, Cohorts(1000, 0.3, 0.5, 0.1, hourly=True)),
    (0.3, 0.95, Cohorts(100, 0.3, 0.5, 0.2, hourly=True)),
)


def _healthy(chance: np.random.Generator, trials: int) -> Iterator[Mapping[str, Any]]:
    for limit, part, world in HEALTHY:
        length = HOURS // QUARTER if world.hourly else DAYS
        most = max(MOST_CELLS // (length * 12), 1)
        left = max(trials // 4, 50) if world.hourly else trials
        alarms: list[FloatArray] = []
        while left > 0:
            now = min(left, most)
            cohorts = world.cohorts(chance, np.full((now, length), part * limit))
            alarms.append(onsets(judge(cohorts, promised(limit))) * (QUARTER if world.hourly else 1))
            left -= now
        yield _a_year(f"{part:g} of {limit:g}", world, np.concatenate(alarms))


INCREASE, WAITED = 0.03, 40


def _increased(chance: np.random.Generator, trials: int) -> Iterator[Mapping[str, Any]]:
    """Against a version's own first cohorts: as good as ever, then half as bad again within a limit that it keeps."""
    for rate, world in ((0.2, Cohorts(1000, 0.3, 0.5, 0.2)), (0.05, Cohorts(1000, 0.3, 0.5, 0.2))):
        most = max(MOST_CELLS // (DAYS * 12), 1)
        found = [
            onsets(judge(world.cohorts(chance, np.full((now, DAYS), rate)), promised(None, INCREASE)))
            for now in [min(most, trials - begun) for begun in range(0, trials, most)]
        ]
        yield _a_year(f"as {rate:g} since the beginning, maxIncrease {INCREASE:g}", world, np.concatenate(found))
    world = Cohorts(300, 0.2, 0.0)
    mean = np.where(np.arange(2 * WAITED) < WAITED, 0.2, 0.3)
    judged = judge(world.cohorts(chance, np.tile(mean, (trials, 1))), promised(0.3, INCREASE))
    happened = int(judged.alarm[:, WAITED:].any(axis=1).sum())
    case = f".20 becomes .30, max 0.3, maxIncrease {INCREASE:g}: alarm within {WAITED} cohorts"
    yield share(case, "n 300, sd 0.2", 0.5, "min", happened, trials)


def onsets(judged: Judged) -> FloatArray:
    """Return how often an alarm began, shape (trials,)."""
    alarm = judged.alarm
    begun = alarm & ~np.concatenate([np.zeros_like(alarm[:, :1]), alarm[:, :-1]], axis=1)
    return np.asarray(begun.sum(axis=1), float)


def _a_year(what: str, world: Cohorts, alarms: FloatArray) -> dict[str, Any]:
    rate, error = float(alarms.mean()), float(alarms.std(ddof=1) / np.sqrt(len(alarms)))
    low, high = max(rate - 2.576 * error, 0.0), rate + 2.576 * error
    cohorts = HOURS if world.hourly else DAYS
    variant = (
        f"{'hourly' if world.hourly else 'daily'}, {what}, n {world.size}, sd {world.sd:g}, "
        f"AR {world.correlation:g}, week {world.week:g}"
    )
    bar = cohorts * FALSE_ALARM
    return {
        "case": "healthy model: alarms a year",
        "variant": variant,
        "bar": bar,
        "kind": "max",
        "rate": rate,
        "low": low,
        "high": high,
        "trials": len(alarms),
        "passed": high <= bar,
        "unit": "alarms",
    }


RISEN: tuple[tuple[float, Cohorts, int], ...] = (
    *((limit, Cohorts(300, 0.2, 0.0), 30) for limit in (0.1, 0.3, 0.5)),
    (0.3, Cohorts(300, 0.2, 0.5), 30),
    (0.5, Cohorts(300, 0.2, 0.5), 30),
)
LOOKED = 15
SOON, LATE = 4, 10


def _risen(chance: np.random.Generator, trials: int) -> Iterator[Mapping[str, Any]]:
    for limit, world, before in RISEN:
        delay = _delays(chance, limit, world, before, trials)
        variant = f"limit {limit:g}, sd {world.sd:g}, AR {world.correlation:g}, {before} cohorts before"
        for bar, within in ((0.5, SOON), (0.9, LATE)):
            happened = int((delay <= within).sum())
            case = f"half as much again: alarm within {within} cohorts"
            yield share(case, variant, bar, "min", happened, trials)
    delay = _delays(chance, 0.3, Cohorts(300, 0.2, 0.5), 0, trials)
    happened = int((delay <= LATE).sum())
    variant = "limit 0.3, sd 0.2, AR 0.5, from the first cohort on"
    yield share(f"half as much again: alarm within {LATE} cohorts", variant, 0.9, "min", happened, trials)


def _delays(chance: np.random.Generator, limit: float, world: Cohorts, before: int, trials: int) -> FloatArray:
    mean = np.concatenate([np.full((trials, before), 0.9 * limit), np.full((trials, LOOKED), 1.5 * limit)], axis=1)
    alarm = judge(world.cohorts(chance, mean), promised(limit)).alarm[:, before:]
    return np.where(alarm.any(axis=1), alarm.argmax(axis=1) + 1, np.inf)


METRIC = FalseNegativeRate()
PREDICTIONS, PREVALENCE, FALSE_POSITIVES = 2000, 0.1, 0.1
MOST_DELAY, LIMIT = 7, 0.3
LATE_DAYS, NOW, NEVER = 6, 0, 10**6
CELLS = ("found", "missed", "cleared", "blamed")
"""What a prediction is, with its truth: a true positive, a false negative, a true negative, a false positive."""
STRATA = {"found": 1, "missed": 0, "cleared": 0, "blamed": 1}
LABELS: Mapping[str, Mapping[str, float]] = {
    "A: all promptly": dict.fromkeys(CELLS, NOW),
    "B: positives late": {"found": LATE_DAYS, "missed": LATE_DAYS, "cleared": NOW, "blamed": NOW},
    "C: negatives alone": {"found": NEVER, "missed": NEVER, "cleared": NOW, "blamed": NOW},
    "D: missing at random": dict.fromkeys(CELLS, NOW),
    "E: misses late": {"found": NOW, "missed": LATE_DAYS, "cleared": NOW, "blamed": NOW},
    "E: finds late": {"found": LATE_DAYS, "missed": NOW, "cleared": NOW, "blamed": NOW},
}
"""When each gets its label, in days after the cohort's end at the latest."""
KEPT_AT_RANDOM = 0.7
GOOD_DAYS = 40


def _selective(chance: np.random.Generator, trials: int) -> Iterator[Mapping[str, Any]]:
    for case, delays in LABELS.items():
        number = GOOD_DAYS + MOST_DELAY + 2
        drawn = _drawn(chance, np.full((trials, number), 0.1), case, Cohorts(PREDICTIONS, 0.2, 0.5))
        alarms = np.zeros(trials, bool)
        for day in (GOOD_DAYS // 2, GOOD_DAYS, number - 1):
            alarms |= _judged(drawn, delays, day).alarm.any(axis=1)
        yield never("labels come selectively, true rate 0.10: alarms", case, int(alarms.sum()), trials)
        yield _half_missed(chance, trials, case, 0, Cohorts(PREDICTIONS, 0.0, 0.0))
        # Three times as many, because chance has a share in whether two cohorts are enough.
        yield _half_missed(chance, 3 * trials, case, GOOD_DAYS, Cohorts(PREDICTIONS, 0.2, 0.0))


def _half_missed(chance: np.random.Generator, trials: int, case: str, before: int, world: Cohorts) -> dict[str, Any]:
    """From a day on, every second positive is missed: that is said, or that nobody knows."""
    last = before + MOST_DELAY + 2
    rates = np.where(np.arange(last + 1) < before, 0.1, 0.5)
    judged = _judged(_drawn(chance, np.tile(rates, (trials, 1)), case, world), LABELS[case], last)
    said = np.isin(judged.standing[:, -1], (Standing.BROKEN, Standing.INCOMPLETE, Standing.NO_SAMPLES))
    variant = f"{case}, after {before} good days, sd {world.sd:g}"
    name = f"labels come selectively, true rate 0.50: neither Fail nor NoData {MOST_DELAY} days and 2 cohorts later"
    return share(name, variant, 0.05, "max", int((~said).sum()), trials)


def _drawn(
    chance: np.random.Generator, missed: FloatArray, case: str, world: Cohorts
) -> dict[str, tuple[FloatArray, FloatArray]]:
    """Draw each day's predictions by what they are, and how many of them ever get a label."""
    rates = world.rates(chance, missed)
    positives = chance.binomial(PREDICTIONS, PREVALENCE, missed.shape)
    misses = chance.binomial(positives, rates)
    blamed = chance.binomial(PREDICTIONS - positives, FALSE_POSITIVES)
    counts = dict(zip(CELLS, (positives - misses, misses, PREDICTIONS - positives - blamed, blamed), strict=True))
    kept = KEPT_AT_RANDOM if case.startswith("D") else 1.0
    return {
        cell: (number.astype(float), chance.binomial(number, kept).astype(float)) for cell, number in counts.items()
    }


def _judged(drawn: Mapping[str, tuple[FloatArray, FloatArray]], delays: Mapping[str, float], day: int) -> Judged:
    """Judge what is mature at the end of a day, with the labels that are there by then."""
    age = day - np.arange(day + 1)
    labelled = {cell: np.where(age >= delays[cell], ever[:, : day + 1], 0) for cell, (_, ever) in drawn.items()}
    missing: dict[int, FloatArray] = {}
    for cell, (number, _) in drawn.items():
        left = number[:, : day + 1] - labelled[cell]
        missing[STRATA[cell]] = missing.get(STRATA[cell], np.zeros_like(left)) + left
    total, bad = labelled["found"] + labelled["missed"], labelled["missed"]
    # The ends are linear in what is missing, so one unlabelled prediction tells what many of its kind do.
    one = {stratum: METRIC.ends({}, {stratum: 1}) for stratum in missing}
    series = Labelled(
        known=(total, bad),
        least=_end(total, bad, missing, {stratum: (ends.least.n, ends.least.total) for stratum, ends in one.items()}),
        most=_end(total, bad, missing, {stratum: (ends.most.n, ends.most.total) for stratum, ends in one.items()}),
        missing=sum((ends.missing * missing[stratum] for stratum, ends in one.items()), np.zeros_like(total)),
    )
    rules = promised(LIMIT)
    mature = ((series.coverage >= rules.min_coverage) | (age >= MOST_DELAY)).all(axis=0)
    return judge(_only(series, mature), rules)


def _end(
    total: FloatArray, bad: FloatArray, missing: Mapping[int, FloatArray], each: Mapping[int, tuple[int, float]]
) -> tuple[FloatArray, FloatArray]:
    for stratum, (counted, lost) in each.items():
        total, bad = total + counted * missing[stratum], bad + lost * missing[stratum]
    return total, bad


def _only(series: Labelled, which: NDArray[np.bool_]) -> Labelled:
    """Return the cohorts that are mature in every trial: they ripen by the same rule, on the same day."""

    def chosen(pair: tuple[FloatArray, FloatArray]) -> tuple[FloatArray, FloatArray]:
        return pair[0][:, which], pair[1][:, which]

    return Labelled(chosen(series.known), chosen(series.least), chosen(series.most), series.missing[:, which])


NEEDED: tuple[tuple[float, Cohorts], ...] = (
    (0.05, Cohorts(300, 0.2, 0.0)),
    (0.1, Cohorts(100, 0.2, 0.0)),
)
BROKEN, LONG = 1.6, 80


def _needed(chance: np.random.Generator, trials: int) -> Iterator[Mapping[str, Any]]:
    """What is said half way to an alarm to be needed, and what really was: in the median of deployments."""
    for limit, world in NEEDED:
        cohorts = world.cohorts(chance, np.full((trials, LONG), BROKEN * limit))
        alarm = judge(cohorts, promised(limit)).alarm
        told = [
            (half * world.size + more) / (end * world.size)
            for trial in np.flatnonzero(alarm.any(axis=1))
            if (end := int(alarm[trial].argmax()) + 1) > 1
            for half in [end // 2]
            if (more := _more(cohorts, int(trial), half, promised(limit))) is not None
        ]
        name, variant = "outcomes: needed, told half way over the truth", f"{BROKEN:g} x {limit:g}, n {world.size}"
        yield median(name, variant, 1.3, "max", told, "times")
        yield median(name, variant, 0.7, "min", told, "times")


def _more(cohorts: Labelled, trial: int, number: int, rules: Rules) -> float | None:
    """Return what one deployment is told to need after some cohorts, infinity if never; None where it isn't asked."""
    rows = np.arange(LONG) < number
    one = _only(_of(cohorts, trial), rows)
    if judge(one, rules).standing[0, -1] != Standing.UNDECIDED:
        return None
    found = samples_needed(one, rules)
    return np.inf if found is None else float(found)


def _of(cohorts: Labelled, trial: int) -> Labelled:
    def chosen(pair: tuple[FloatArray, FloatArray]) -> tuple[FloatArray, FloatArray]:
        return pair[0][trial, None], pair[1][trial, None]

    return Labelled(chosen(cohorts.known), chosen(cohorts.least), chosen(cohorts.most), cohorts.missing[trial, None])
