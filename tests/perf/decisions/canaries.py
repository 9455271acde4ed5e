"""Rows about canaries whose requests end as they begin: mistakes, pace, late failures, incidents, refusals, bursts."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from perennial.stats.dispersion import Dispersion
from perennial.stats.evidence import Evidence, Setting
from tests.perf.decisions.case import median, share
from tests.perf.decisions.deciding import (
    ALPHA,
    FORMS,
    LIMIT,
    NEVER,
    RATIO,
    all_forms,
    decided,
    looked,
    pieces,
    promised,
    shown_at_last,
)
from tests.perf.decisions.others import Others
from tests.perf.decisions.traffic import Array, Chance, Counted, Kind, arm, arrivals, table

Row = dict[str, Any]


def ramp(ticks: int) -> Array:
    """Return weights of 10, 25 and 50 %, a third of the ticks each."""
    return np.repeat([0.10, 0.25, 0.50], ticks // 3)


def steps(ticks: int) -> Array:
    """Return the number of the step that goes with `ramp`."""
    return np.repeat([1, 2, 3], ticks // 3)


def day(mean: float, ticks: int) -> Array:
    """Return traffic that swings between a fifth and nine fifths of its mean."""
    return mean * (1 + 0.8 * np.sin(np.linspace(0, 4 * np.pi, ticks)))


def shocks(ticks: int) -> Array:
    """Return factors on the error rate of both arms: now and then everything fails five times as often."""
    factors = np.ones(ticks)
    for begin in range(7, ticks, 23):
        factors[begin : begin + 4] = 5
    return factors


PROFILES = {
    "steady": np.full(60, 300.0),
    "a trickle": np.full(360, 12.0),
    "day and night": day(150, 180),
    "a rush": np.full(60, 2000.0),
}


def healthy(chance: Chance, trials: int) -> Iterator[Row]:
    """2 % errors on both arms, 10 % in shocks; looked at to the end, however safe they are. The limit is 5 %."""
    for name, traffic in PROFILES.items():
        ticks = len(traffic)
        hits, others = dict.fromkeys(FORMS, 0), Others()
        for size in pieces(trials):
            mine, theirs = arrivals(chance, size, traffic, ramp(ticks))
            bad = Kind(0.02 * shocks(ticks), "bad")
            made = table(
                arm(chance, mine, bad), arm(chance, theirs, bad), (1000 * ramp(ticks)).astype(int), steps(ticks), 60
            )
            others.look_at(made, LIMIT)
            for form, found in all_forms(made).items():
                hits[form] += int(found.rolled_back.sum())
        for form, count in hits.items():
            yield share(
                "healthy, rolled back", f"{name}, {form}", ALPHA, "max", count, trials, others.rolled_back(trials)
            )


def margin(chance: Chance, trials: int) -> Iterator[Row]:
    """Exactly at the tolerated ratio: 4 % on stable, 5 % on the candidate, a limit that it keeps by far."""
    for weight in (0.1, 0.5):
        hits, others = dict.fromkeys(FORMS, 0), Others()
        for size in pieces(trials):
            mine, theirs = arrivals(chance, size, np.full(60, 1000.0), weight)
            made = table(
                arm(chance, mine, Kind(0.04 * RATIO, "bad")), arm(chance, theirs, Kind(0.04, "bad")),
                int(1000 * weight), seconds=60,
            )  # fmt: skip
            others.look_at(made, 0.2)
            for form, found in all_forms(made, limit=0.2).items():
                hits[form] += int(found.promoted.sum())
        for form in ("maxRatio", "max and maxRatio"):
            yield share(
                "at the margin, promoted",
                f"weight {weight:g}, {form}",
                ALPHA,
                "max",
                hits[form],
                trials,
                others.promoted(trials),
            )


def pace(chance: Chance, trials: int) -> Iterator[Row]:
    """1000 requests a minute, looked at every 10 seconds, 5 % errors, a tolerated ratio of 1.25."""
    promise = promised(limit=None)
    for ratio, weight, within in ((1.0, 0.25, None), (1.5, 0.1, 10_000), (2.0, 0.1, 4_000)):
        passed, failed, seen, others = 0, 0, [], Others()
        for size in pieces(trials):
            mine, theirs = arrivals(chance, size, np.full(360, 1000 / 6), weight)
            made = table(
                arm(chance, mine, Kind(0.05 * ratio, "bad")), arm(chance, theirs, Kind(0.05, "bad")),
                int(1000 * weight), seconds=10,
            )  # fmt: skip
            others.look_at(made, LIMIT)
            found = decided(promise, looked(promise, made))
            passed, failed = passed + int(found.promoted.sum()), failed + int(found.rolled_back.sum())
            total = np.cumsum(mine + theirs, axis=1)
            at = np.minimum(found.failed, 359).astype(int)
            requests = np.take_along_axis(total, at[:, None], axis=1)[:, 0]
            seen.extend(np.where(found.rolled_back, requests, np.inf))
        name = f"r = {ratio:g}, weight {weight:g}"
        if within is None:
            beside = others.promoted(trials)
            yield share("healthy, promoted within 60 minutes", name, 0.95, "min", passed, trials, beside)
            continue
        beside = others.rolled_back(trials)
        yield share("worse, rolled back within 60 minutes", name, 0.99, "min", failed, trials, beside)
        yield median("worse, requests of both arms until rolled back", name, within, "max", seen, "requests")


GOOD = (0, 3600, 86_400)
"""Ticks that a canary has been good before it fails."""


def late(chance: Chance, trials: int) -> Iterator[Row]:
    """Good for a while at 1000 requests a second and 1 % errors, then bad."""
    hits: dict[tuple[int, float, int, str], int] = {}
    for size in pieces(trials):
        for good, begun in _after_good(chance, size):
            for rate, within in ((0.3, 5), (1.0, 2)):
                mine, theirs = arrivals(chance, size, np.full(within, 1000.0), 0.1)
                made = table(arm(chance, mine, Kind(rate, "bad")), arm(chance, theirs, Kind(0.01, "bad")), 100)
                look = looked(promised(), made, before=begun)
                for form, promise in FORMS.items():
                    key = good, rate, within, form
                    hits[key] = hits.get(key, 0) + int((decided(promise, look).failed < NEVER).sum())
    for (good, rate, within, form), count in hits.items():
        name = f"after {good / 3600:g} h good, {rate:.0%} bad, {form}"
        yield share(f"late failure, braked within {within} ticks", name, 0.95, "min", count, trials)


def _after_good(chance: Chance, size: int) -> Iterator[tuple[int, Evidence]]:
    """Yield the evidence after each number of good seconds, of the same canaries; made and folded in pieces."""
    promise, bad = promised(), Kind(0.01, "bad")
    found, begin = Evidence.none(promise, Setting(), (size,)), 0
    for end in GOOD:
        while begin < end:
            length = min(1800, end - begin)
            mine, theirs = arrivals(chance, size, np.full(length, 1000.0), 0.1)
            found = found.fold(promise, table(arm(chance, mine, bad), arm(chance, theirs, bad), 100))
            begin += length
        yield end, found


def boundary(chance: Chance, trials: int) -> Iterator[Row]:
    """A day of seconds exactly at what may not be blamed: as bad as stable, and both at the limit."""
    promise = promised()
    peaks = {form: np.zeros(trials, bool) for form in FORMS}
    begin = 0
    for size in pieces(trials, 500):
        found = Evidence.none(promise, Setting(), (size,))
        for _ in range(0, 86_400, 1800):
            mine, theirs = arrivals(chance, size, np.full(1800, 40.0), 0.25)
            bad = Kind(0.05, "bad")
            found = found.fold(promise, table(arm(chance, mine, bad), arm(chance, theirs, bad), 250))
        for form, each in FORMS.items():
            peaks[form][begin : begin + size] = shown_at_last(each, found.look)
        begin += size
    for form, failed in peaks.items():
        yield share("at the boundary for 86,400 looks, rolled back", form, ALPHA, "max", int(failed.sum()), trials)


def refused(chance: Chance, trials: int) -> Iterator[Row]:
    """Stable answers 1 % of the requests with 4xx, one of twenty requests is the candidate's.

    Eight times as many canaries as elsewhere: that a power is 99 % or more can't be seen on a thousand unless it is
    almost 1.
    """
    promise, weight, many = promised(), 0.05, 8 * trials
    for rate, within in ((1.0, 100), (0.1, 300), (0.02, 5000)):
        hits, others = 0, Others()
        each = max(within // 200, 5)
        for size in pieces(many):
            mine = np.full((size, within // each), float(each))
            theirs = np.full(mine.shape, round((1 - weight) / weight * each), float)
            made = table(
                arm(chance, mine, Kind(rate, "rejected")), arm(chance, theirs, Kind(0.01, "rejected")),
                int(1000 * weight),
            )  # fmt: skip
            others.look_at(made, LIMIT)
            hits += int(decided(promise, looked(promise, made)).rolled_back.sum())
        name = f"{rate:.0%}, weight {weight:g}, within {within:,} candidate requests"
        beside = others.rolled_back(many)
        yield share("4xx of the candidate over stable's 1 %, braked", name, 0.99, "min", hits, many, beside)


def incident(chance: Chance, trials: int) -> Iterator[Row]:
    """Both arms fail alike for half a minute, from any second on."""
    for factor in (2, 5, 20):
        for weight in (0.1, 0.5, 0.9):
            hits, others = dict.fromkeys(FORMS, 0), Others()
            for size in pieces(trials):
                begin = chance.integers(0, 90, (size, 1))
                second = np.arange(120)
                base = np.where((second >= begin) & (second < begin + 30), min(0.02 * factor, 0.9), 0.02)
                mine, theirs = arrivals(chance, size, np.full(120, 500.0), weight)
                bad = Kind(base, "bad")
                made = table(arm(chance, mine, bad), arm(chance, theirs, bad), int(1000 * weight))
                others.look_at(made, LIMIT)
                for form, found in all_forms(made).items():
                    hits[form] += int(found.rolled_back.sum())
            for form, count in hits.items():
                name = f"x{factor}, weight {weight:g}, {form}"
                yield share(
                    "shared incident, rolled back", name, ALPHA, "max", count, trials, others.rolled_back(trials)
                )


def _bursts(chance: Chance, size: tuple[int, int], mean: Array, fano: float) -> Array:
    """Return counts with the mean and the Fano factor (variance / mean): clumps of failures, as pods make them."""
    if fano <= 1:
        return chance.poisson(mean, size).astype(float)
    # A Poisson number of clumps with a geometric size g has variance / mean = E g² / E g = 2 / p - 1.
    p = 2 / (fano + 1)
    clumps = chance.poisson(np.broadcast_to(mean * p, size))
    return clumps + np.where(clumps > 0, chance.negative_binomial(np.maximum(clumps, 1), p), 0)


def _dead(chance: Chance, size: tuple[int, int], started: Array, pods: int, every: float) -> Array:
    """Return failures of arms one of whose pods is dead for three seconds, on average `every` seconds for each arm."""
    begins = chance.random(size) < 1 / every
    dead = begins.copy()
    for lag in (1, 2):
        dead[:, lag:] |= begins[:, :-lag]
    return np.where(dead, chance.binomial(started.astype(int), 1 / pods), 0).astype(float)


def dispersed(chance: Chance, trials: int) -> Iterator[Row]:
    """Failures in bursts on both arms alike, known beforehand from two halves of stable over an hour."""
    everyday = shocks(300)
    ways: dict[str, Callable[[tuple[int, int], Array], Array]] = {
        f"Fano {fano}": (lambda size, n, f=fano: _bursts(chance, size, 0.02 * n * everyday[: size[1]], f))  # type: ignore[misc]
        for fano in (1.0, 2.4, 3.8, 6.6, 10.0)
    }
    ways["one of 4 pods dead for 3 s every 2 minutes"] = lambda size, n: (
        chance.binomial(n.astype(int), 0.01) + _dead(chance, size, n, 4, 120.0)
    )
    for name, failing in ways.items():
        hits, others = dict.fromkeys(FORMS, 0), Others()
        for size in pieces(trials):
            phi = _known(chance, failing)
            mine, theirs = arrivals(chance, size, np.full(300, 500.0), 0.2)
            made = table(_failed(mine, failing(mine.shape, mine)), _failed(theirs, failing(theirs.shape, theirs)), 200)
            others.look_at(made, LIMIT)
            look = looked(promised(), made, Setting(phi=phi))
            for form, promise in FORMS.items():
                hits[form] += int(decided(promise, look).rolled_back.sum())
        for form, count in hits.items():
            variant, beside = f"{name}, {form}", others.rolled_back(trials)
            yield share("bursts on both arms alike, rolled back", variant, ALPHA, "max", count, trials, beside)


def _failed(started: Array, bad: Array) -> Counted:
    bad = np.minimum(bad, started)
    return Counted(started, bad, 0 * bad, started, 0 * bad)


def _known(chance: Chance, failing: Callable[[tuple[int, int], Array], Array]) -> float:
    """Return what an hour of stable's own two halves says of its bursts."""
    known, time = Dispersion(), 0.0
    for _ in range(12):
        halves = [chance.poisson(250.0, (1, 300)).astype(float) for _ in range(2)]
        bad = [np.minimum(failing(each.shape, each), each) for each in halves]
        for k in range(300):
            time += 1.0
            known = known.after(time, ((halves[0][0, k], bad[0][0, k]), (halves[1][0, k], bad[1][0, k])))
    return known.phi


SECTIONS = (healthy, margin, pace, late, boundary, refused, incident, dispersed)
