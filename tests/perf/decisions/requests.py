"""Rows about requests that take a while: hanging, given up, slow; about routing; about whole lineages and estimates."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from perennial.stats.evidence import Evidence, Promise, Setting
from perennial.stats.judge import Levels, decide, judge
from perennial.stats.ticks import Ticks
from tests.perf.decisions.case import median, never, share
from tests.perf.decisions.deciding import (
    ALPHA,
    BETA,
    FORMS,
    LIMIT,
    NEVER,
    RATIO,
    all_forms,
    decided,
    looked,
    pieces,
    promised,
)
from tests.perf.decisions.others import Others
from tests.perf.decisions.traffic import NOW, Chance, Counted, Kind, arm, arrivals, table

Row = dict[str, Any]
TIMEOUT = 10
SETTING = Setting(timeout=TIMEOUT)


def hanging(chance: Chance, trials: int) -> Iterator[Row]:
    """Some of the candidate's requests hang until they time out, or their clients leave after 1 to 9 seconds."""
    at_timeout = (0.0,) * TIMEOUT + (1.0,)
    leaving = (0.0, *([1 / 9] * 9))
    for how, kind in (("hang to 504", ("bad", at_timeout)), ("clients leave", ("abandoned", leaving))):
        for rate in (0.06, 0.3):
            for traffic in (50.0, 5000.0):
                hits, others = dict.fromkeys(FORMS, 0), Others()
                for size in pieces(trials):
                    mine, theirs = arrivals(chance, size, np.full(90, traffic), 0.1)
                    made = table(arm(chance, mine, Kind(rate, *kind)), arm(chance, theirs, Kind(0.002, "bad")), 100)
                    others.look_at(made, LIMIT)
                    for form, found in all_forms(made, setting=SETTING).items():
                        hits[form] += int(found.promoted.sum())
                for form, count in hits.items():
                    name, beside = f"{rate:.0%} {how}, {traffic:g}/s, {form}", others.promoted(trials)
                    yield share("requests that never end well, promoted", name, BETA, "max", count, trials, beside)


def slow(chance: Chance, trials: int) -> Iterator[Row]:
    """As good as stable, but failures come at once and successes after 0.1 to 10 seconds, on one arm or on both."""
    lags = (0.1, *([0.9 / 9] * 9))
    for which in ("candidate", "both", "stable"):
        for traffic in (100.0, 5000.0):
            hits, others = dict.fromkeys(FORMS, 0), Others()
            for size in pieces(trials):
                arms = []
                for name, started in zip(
                    ("candidate", "stable"), arrivals(chance, size, np.full(120, traffic), 0.1), strict=True
                ):
                    kinds = [Kind(0.02, "bad")]
                    if which in {name, "both"}:
                        kinds.append(Kind(0.98, "good", lags))
                    arms.append(arm(chance, started, *kinds))
                made = table(*arms, 100)
                others.look_at(made, LIMIT)
                for form, found in all_forms(made, setting=SETTING).items():
                    hits[form] += int(found.rolled_back.sum())
            for form, count in hits.items():
                name, beside = f"slow: {which}, {traffic:g}/s, {form}", others.rolled_back(trials)
                yield share("successes come late, rolled back", name, ALPHA, "max", count, trials, beside)


def several(chance: Chance, trials: int) -> Iterator[Row]:
    """Far below max, but at the tolerated ratio or beyond."""
    promise = promised()
    for ratio in (RATIO, 2.0, 9.0):
        hits, others = 0, Others()
        for size in pieces(trials):
            mine, theirs = arrivals(chance, size, np.full(300, 500.0), 0.1)
            made = table(arm(chance, mine, Kind(0.004 * ratio, "bad")), arm(chance, theirs, Kind(0.004, "bad")), 100)
            others.look_at(made, LIMIT)
            hits += int(decided(promise, looked(promise, made)).promoted.sum())
        beside = others.promoted(trials)
        yield share("max and maxRatio, beyond the ratio, promoted", f"r = {ratio:g}", BETA, "max", hits, trials, beside)


def lost(chance: Chance, trials: int) -> Iterator[Row]:
    """Looks at some of 1 to 3 routers are lost around a change of weight and of both arms' error rate."""
    for ratio, what in ((1.0, "rolled back"), (RATIO, "promoted")):
        for factor in (0.2, 5.0):
            for routers in (1, 2, 3):
                hits, others = dict.fromkeys(FORMS, 0), Others()
                for size in pieces(trials, 125):
                    made = _around_a_step(chance, size, routers, factor, ratio)
                    others.look_at(made, 0.3)
                    for form, found in all_forms(made, limit=0.3).items():
                        hits[form] += int((found.rolled_back if ratio == 1 else found.promoted).sum())
                beside = others.rolled_back(trials) if ratio == 1 else others.promoted(trials)
                for form, count in hits.items():
                    if ratio > 1 and form == "max":
                        continue
                    name = f"r = {ratio:g}, errors x{factor:g}, {routers} routers, {form}"
                    yield share(f"looks lost around a step, {what}", name, ALPHA, "max", count, trials, beside)


def _around_a_step(chance: Chance, size: int, routers: int, factor: float, ratio: float) -> Ticks:
    """Return ticks as the collector makes them: what a router counted across a step is of no weight.

    Each tick is two rows of the same time: what belongs to the weight in force, and what belongs to none.
    """
    ticks, step = 120, 60
    weight = np.where(np.arange(ticks) < step, 0.1, 0.5)
    base = np.where(np.arange(ticks) < step, 0.04, 0.04 * factor)
    columns = np.zeros((2, 4, size, ticks))
    for _ in range(routers):
        mine, theirs = arrivals(chance, size, np.full(ticks, 600.0 / routers), weight)
        counts = [
            mine,
            chance.binomial(mine.astype(int), base * ratio),
            theirs,
            chance.binomial(theirs.astype(int), base),
        ]
        begin = chance.integers(step - 60, step, (size, 1))
        end = begin + chance.integers(1, 61, (size, 1))
        second = np.arange(ticks)
        missed = (second >= begin) & (second < end)
        across = (begin < step) & (end >= step)
        for i, column in enumerate(counts):
            shown = np.where(missed, 0, column)
            columns[0, i] += shown
            late = np.where(missed, column, 0).sum(axis=1)
            at = np.minimum(end[:, 0], ticks - 1)
            np.add.at(columns[1, i], (np.arange(size), at), np.where(across[:, 0], late, 0))
            np.add.at(columns[0, i], (np.arange(size), at), np.where(across[:, 0], 0, late))
    both = np.stack([columns[1], columns[0]], axis=-1).reshape(4, size, 2 * ticks)
    told = np.repeat(np.where(np.arange(ticks) < step, 100, 500), 2)
    told[::2] = -1
    arms = [Counted(both[i], both[i + 1], 0 * both[i], both[i], 0 * both[i]) for i in (0, 2)]
    made = table(*arms, told, np.repeat(np.where(np.arange(ticks) < step, 1, 2), 2))
    return replace(made, time=np.repeat(NOW + 1.0 + np.arange(ticks), 2))


def misrouted(chance: Chance, trials: int) -> Iterator[Row]:
    """A share of the requests that is not the weight: 30 % bad, and as good as stable."""
    for share_, weight in ((0.1, 500), (0.5, 100), (0.9, 500), (0.02, 100)):
        failed, passed = dict.fromkeys(FORMS, 0), 0
        for size in pieces(trials):
            mine, theirs = arrivals(chance, size, np.full(3, 1000.0), share_)
            bad = table(arm(chance, mine, Kind(0.3, "bad")), arm(chance, theirs, Kind(0.01, "bad")), weight)
            for form, found in all_forms(bad).items():
                failed[form] += int((found.failed < NEVER).sum())
            mine, theirs = arrivals(chance, size, np.full(120, 1000.0), share_)
            fine = table(arm(chance, mine, Kind(0.01, "bad")), arm(chance, theirs, Kind(0.01, "bad")), weight)
            passed += int(sum(found.promoted for found in all_forms(fine).values()).astype(bool).sum())
        name = f"share {share_:g}, weight {weight / 1000:g}"
        for form, count in failed.items():
            yield share(
                "routing is off, 30 % bad, braked within 3 ticks", f"{name}, {form}", 0.95, "min", count, trials
            )
        yield never("routing is off, promoted", name, passed, trials)


def lineage(chance: Chance, trials: int) -> Iterator[Row]:
    """One bad model tried 20 times, at the tolerated ratio: promoted at any of them, each with a trial of one step."""
    promise = promised(limit=None)
    hits = np.zeros(trials, bool)
    begin = 0
    for size in pieces(trials):
        for attempt in range(1, 21):
            mine, theirs = arrivals(chance, size, np.full(60, 1000.0), 0.25)
            made = table(
                arm(chance, mine, Kind(0.04 * RATIO, "bad")), arm(chance, theirs, Kind(0.04, "bad")), 250, seconds=60
            )
            hits[begin : begin + size] |= decided(promise, looked(promise, made), attempt).promoted
        begin += size
    yield share("a bad lineage tried 20 times, promoted", "r = maxRatio", BETA, "max", int(hits.sum()), trials)


KILLS = 100


def restarts(chance: Chance, trials: int) -> Iterator[Row]:
    """A collector that is killed at a random second and folds its ticks anew says the same."""
    del trials
    promise, differ = promised(), 0
    levels = Levels.of(ALPHA, BETA)
    mine, theirs = arrivals(chance, 10, np.full(300, 100.0), 0.2)
    candidate = arm(chance, mine, Kind(0.06, "bad"), Kind(0.5, "good", (0.3, 0.4, 0.3)))
    made = table(candidate, arm(chance, theirs, Kind(0.05, "bad")), 200)
    none = Evidence.none(promise, SETTING, (10,))
    whole = none.fold(promise, made)
    for _ in range(KILLS):
        cut = int(chance.integers(1, 300))
        again = none.fold(promise, made.between(0, cut)).fold(promise, made.between(cut, 300))
        same = decide(promise, whole.look, levels) == decide(promise, again.look, levels)
        for name in ("worse", "limit", "alone", "safe_limit", "safe_ratio", "share"):
            same &= np.isclose(getattr(whole.look, name), getattr(again.look, name), rtol=1e-9, atol=1e-9)
        differ += int((~same).sum())
    yield never(
        "killed at a random second, another verdict or log E", f"{KILLS} times, 10 canaries", differ, 10 * KILLS
    )


PACES = {
    ("max", 0.2): 3, ("max", 0.6): 20, ("max", 1.6): 10,
    ("maxRatio", 0.2): 5, ("maxRatio", 0.6): 50, ("maxRatio", 1.6): 20,
    ("max and maxRatio", 0.2): 5, ("max and maxRatio", 0.6): 50, ("max and maxRatio", 1.6): 20,
}  # fmt: skip
"""Candidate requests a tick, by form and by rate as a part of what is tested: a decision takes some dozens of ticks."""


def needed(chance: Chance, trials: int) -> Iterator[Row]:
    """What is said half way to be needed, and what really was: in the median of canaries, for each form of SLO.

    Stable's rate is such that the limit and the tolerated ratio are the same rate of the candidate's.
    """
    for (form, factor), pace in PACES.items():
        told: list[float] = []
        for size in pieces(trials):
            told.extend(_told(chance, FORMS[form], LIMIT * factor, float(pace), size))
        name = f"{form}, p = {factor:g} x limit"
        yield median("requests needed, told half way over the truth", f"{name}, at most", 1.3, "max", told, "times")
        yield median("requests needed, told half way over the truth", f"{name}, at least", 0.7, "min", told, "times")


def _told(chance: Chance, promise: Promise, rate: float, pace: float, size: int) -> Iterator[float]:
    """Yield (seen + needed) / all of each canary half way to its verdict; "never" is infinity."""
    ticks = 600
    mine, theirs = (chance.poisson(mean, (size, ticks)).astype(float) for mean in (pace, 3 * pace))
    stable = arm(chance, theirs, Kind(LIMIT / RATIO, "bad"))
    made = table(arm(chance, mine, Kind(rate, "bad")), stable, 250)
    found = decided(promise, looked(promise, made))
    for i, end in enumerate(np.minimum(found.failed, found.passed)):
        if end >= ticks:
            raise ValueError(f"a canary of {promise} at {rate} wasn't decided within {ticks} ticks")
        half = int(end) // 2 + 1
        one = Ticks(made.time, made.step[i], made.weight[i], {key: rows[i] for key, rows in made.rows.items()})
        evidence = Evidence.none(promise, Setting()).fold(promise, one.between(0, half))
        said = judge(promise, evidence, Levels.of(ALPHA, BETA), 1, NOW + half)
        total = float(mine[i, : int(end) + 1].sum())
        yield np.inf if said.needed is None else (said.candidate[0] + said.needed) / total


SECTIONS = (hanging, slow, several, lost, misrouted, lineage, restarts, needed)
