"""What a table of ticks says about one promise on a canary: sums that can be folded tick by tick.

Harm is tested on all ticks of the canary after its warm-up, safety and the sample ratio on those of its current step
with a verified weight. Folding a table in pieces gives the same sums as folding it at once (to rounding), also after a
restart. All functions take any number of canaries at once, on axes before the ticks'.
"""

from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

import numpy as np

from perennial.stats.arms import WHOLE, Arms
from perennial.stats.comparison import Ago, Compared, Comparison, added, compare
from perennial.stats.late import Late, log_e
from perennial.stats.rates import GRID_POINTS, FloatArray, LimitTest, RatioTest, ShareTest, log_mean_exp
from perennial.stats.running import BoolArray, held
from perennial.stats.ticks import Ticks

BESIDE = 0.4
"""The part of alpha for signals that must not be commoner than on stable."""
ALONE = 0.1
"""The part for a limit that is broken with nothing beside to compare with."""
HARD_STOP = 5
"""A candidate that fails so many requests of as many is stopped in its warm-up, too."""
SUSPECTED = 0.2
"""From this log E on, stable may be breaking the limit as well."""
CELLS = 4_000_000
"""Numbers in a temporary array: longer tables are folded in pieces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What is counted, and what must hold of it. With neither limit nor ratio there is nothing to show safe.

    Harm is shown by the candidate being worse than stable (`ratio` given), by the limit being broken where stable is
    not as bad, and by a signal of `beside` that is commoner than on stable. Safety needs every stated condition.
    """

    signal: str
    limit: float | None = None
    ratio: float | None = None
    beside: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.limit is None and self.ratio is None:
            raise ValueError("a promise needs a limit, a ratio or both")
        if self.limit is not None and not 0 < self.limit < 1:
            raise ValueError(f"a limit must be above 0 and below 1, not {self.limit}")
        if self.ratio is not None and not self.ratio > 1:
            raise ValueError(f"a ratio must be above 1, not {self.ratio}")

    @property
    def split(self) -> "Split":
        """How alpha is split over the tests of harm."""
        beside = BESIDE / len(self.beside) if self.beside else 0.0
        alone = ALONE if self.limit is not None else 0.0
        return Split(worse=1 - alone - beside * len(self.beside), alone=alone, beside=beside)


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """The parts of alpha that tests of harm may spend; together they are 1.

    That the limit is broken may be said at the part of `worse`, because both must be shown together: a version that
    keeps the limit is blamed by the one, one that is no worse than stable by the other, never by both.
    """

    worse: float
    alone: float
    beside: float
    """Of each signal beside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How a trial is measured: seconds a request may run, seconds of warm-up, over-dispersion (1: none)."""

    timeout: float = 10.0
    warmup: float = 0.0
    phi: float = 1.0


@dataclass(frozen=True, slots=True)
class Look:
    """What stands at a look, each of shape (…): logarithms of e-values, -inf where a promise has no such test.

    Harm stands at the largest that each test ever had, because an e-process may be stopped there.
    """

    worse: FloatArray
    limit: FloatArray
    """The limit is broken, whatever stable does."""
    alone: FloatArray
    """The limit is broken while nothing was beside it to compare with, and stable was not bad then."""
    beside: tuple[FloatArray, ...]
    hard_stop: BoolArray
    share: FloatArray
    safe_limit: FloatArray
    safe_ratio: FloatArray
    total: Arms
    step: Arms

    def at(self, tick: int) -> Self:
        """Return one of many looks, the last axis of which is time."""
        changes = {f.name: getattr(self, f.name)[..., tick] for f in fields(self) if f.name not in _NESTED}
        return replace(
            self,
            **changes,
            beside=tuple(each[..., tick] for each in self.beside),
            total=_at(self.total, tick),
            step=_at(self.step, tick),
        )

    @classmethod
    def joined(cls, looks: list[Self]) -> Self:
        """Return the looks of pieces as those of the whole, the last axis is time."""

        def join(arrays: list[FloatArray]) -> FloatArray:
            return np.concatenate(arrays, axis=-1)

        def arms(name: str) -> Arms:
            return Arms(*(join([getattr(getattr(look, name), f.name) for look in looks]) for f in fields(Arms)))

        plain: dict[str, Any] = {
            f.name: join([getattr(look, f.name) for look in looks]) for f in fields(cls) if f.name not in _NESTED
        }
        beside = tuple(join(list(each)) for each in zip(*(look.beside for look in looks), strict=True))
        return cls(**plain, beside=beside, total=arms("total"), step=arms("step"))


_NESTED = frozenset({"beside", "total", "step"})


@dataclass(frozen=True, slots=True)
class Evidence:
    """Sums over ticks, and the look at the last one. Shapes (…), with the grid points of a test behind."""

    setting: Setting
    main: Comparison
    beside: tuple[Comparison, ...]
    limit: Late
    alone: Late
    stable_alone: Late
    aside: Arms
    """Requests while nothing could be compared; stable is taken for sound there only if it kept the limit, too."""
    began: FloatArray
    """When the candidate got its first request; NaN before."""
    hard_stop: BoolArray
    look: Look
    since: FloatArray
    """When the first tick of the current step began; NaN before."""
    step: FloatArray
    plain: "Evidence | None" = field(default=None)
    """The same as if nothing was over-dispersed, where something is."""

    @classmethod
    def none(cls, promise: Promise, setting: Setting, shape: tuple[int, ...] = ()) -> Self:
        """Return the evidence of no ticks at all."""
        zero, least = np.zeros(shape), np.full(shape, -np.inf)
        no = np.zeros(shape, np.bool_)
        late = Late.none(shape, GRID_POINTS)
        look = Look(
            worse=zero,
            limit=least if promise.limit is None else zero,
            alone=least if promise.limit is None else zero,
            beside=tuple(zero for _ in promise.beside),
            hard_stop=no,
            share=zero,
            safe_limit=least if promise.limit is None else zero,
            safe_ratio=least if promise.ratio is None else zero,
            total=Arms.none(shape),
            step=Arms.none(shape),
        )
        return cls(
            setting=setting,
            main=Comparison.none(shape),
            beside=tuple(Comparison.none(shape) for _ in promise.beside),
            limit=late,
            alone=late,
            stable_alone=late,
            aside=Arms.none(shape),
            began=np.full(shape, np.nan),
            hard_stop=no,
            look=look,
            since=np.full(shape, np.nan),
            step=np.full(shape, -1.0),
            plain=cls.none(promise, replace(setting, phi=1.0), shape) if setting.phi > 1 else None,
        )

    def fold(self, promise: Promise, ticks: Ticks) -> "Evidence":
        """Return the evidence with further ticks of the same canary, in order of time."""
        return self._over(promise, ticks, every=False)[0]

    def path(self, promise: Promise, ticks: Ticks) -> "tuple[Evidence, Look]":
        """Return the evidence with further ticks, and the look at each of them, shape (…, ticks)."""
        return self._over(promise, ticks, every=True)

    def _over(self, promise: Promise, ticks: Ticks, *, every: bool) -> "tuple[Evidence, Look]":
        width = max(int(CELLS / (GRID_POINTS * max(self.began.size, 1))), 1)
        evidence, looks = self, []
        for begin in range(0, len(ticks), width):
            evidence, look = _piece(evidence, promise, ticks.between(begin, begin + width), every=every)
            looks.append(look)
        if self.plain is not None:
            evidence = replace(evidence, plain=self.plain.fold(promise, ticks))
        return evidence, Look.joined(looks) if looks else _empty(self.look)


def _piece(before: Evidence, promise: Promise, ticks: Ticks, *, every: bool) -> tuple[Evidence, Look]:
    """Fold further ticks; the look is that at each of them, or at the last one alone."""
    setting = before.setting
    counts = ticks.n(promise.signal, "candidate"), ticks.total(promise.signal, "candidate")
    seen = (counts[0] > 0) | (counts[1] > 0)
    begun = np.concatenate([np.full(1, np.nan), ticks.time[:-1]])
    begun = np.where(np.isnan(begun), _begin_of_first(before, ticks), begun)
    first = seen & np.isnan(before.began)[..., None] & (np.cumsum(seen, axis=-1) == 1)
    began = held(before.began, np.broadcast_to(begun, seen.shape), first)
    warm = ~(begun >= began + setting.warmup) if setting.warmup > 0 else np.zeros(seen.shape, np.bool_)
    fold = {"timeout": setting.timeout, "counted": ~warm, "phi": setting.phi}
    main = compare(before.main, ticks, promise.signal, **fold)  # type: ignore[arg-type]
    beside = tuple(
        compare(state, ticks, signal, **fold)  # type: ignore[arg-type]
        for state, signal in zip(before.beside, promise.beside, strict=True)
    )
    total = main.total
    ended_well = total.candidate_total - total.candidate_bad - main.part.candidate_unfinished > 0
    whole = (total.candidate_bad >= HARD_STOP) & ~ended_well & (total.candidate_bad * 2 >= total.candidate_total)
    stop = np.logical_or.accumulate(warm & whole, axis=-1) | before.hard_stop[..., None]
    limit, alone, stable_alone, aside = before.limit, before.alone, before.stable_alone, before.aside
    no_test = np.full(seen.shape, -np.inf)
    limit_path = alone_path = no_test
    if promise.limit is not None:
        test = LimitTest.above(promise.limit)
        limit, limit_path = _limit(limit, test, main, "candidate", counted=~warm, phi=setting.phi)
        compared = main.part.verified & (main.spell.sums.stable_total > 0)
        apart = ~warm & ~compared
        if apart.any():
            stable_alone, stable_path = _limit(stable_alone, test, main, "stable", counted=apart, phi=1.0, peak=False)
            aside = added(aside, Arms(*(np.where(apart, getattr(main.part.raw, f.name), 0.0) for f in fields(Arms))))
            innocent = apart & (stable_path < SUSPECTED) & (aside.stable_bad <= promise.limit * aside.stable_total)
            aside = aside.last()
            alone, alone_path = _limit(alone, test, main, "candidate", counted=apart, phi=setting.phi, only=innocent)
        else:
            alone_path = np.broadcast_to(alone.peak[..., None], seen.shape)
    new_step = main.part.verified & (main.part.step != _before(before.step, main.part.step))
    shown = slice(None) if every else slice(-1, None)
    seen_there = Step.of(main, shown)
    none = np.full(seen_there.unfinished.shape, -np.inf)
    look = Look(
        worse=main.log_e[..., shown],
        limit=limit_path[..., shown],
        alone=alone_path[..., shown],
        beside=tuple(each.log_e[..., shown] for each in beside),
        hard_stop=stop[..., shown],
        share=_share(seen_there),
        safe_limit=none if promise.limit is None else _safe_limit(promise.limit, seen_there, setting.phi),
        safe_ratio=none if promise.ratio is None else _safe_ratio(promise.ratio, seen_there, setting.phi),
        total=_at(total, shown),
        step=seen_there.sums,
    )
    return (
        replace(
            before,
            main=main.after,
            beside=tuple(each.after for each in beside),
            limit=limit,
            alone=alone,
            stable_alone=stable_alone,
            aside=aside,
            began=began[..., -1],
            hard_stop=stop[..., -1],
            look=look.at(-1),
            since=held(before.since, np.broadcast_to(begun, seen.shape), new_step)[..., -1],
            step=main.part.step[..., -1],
        ),
        look,
    )


def _limit(
    state: Late,
    test: LimitTest,
    main: Compared,
    arm: str,
    *,
    counted: BoolArray,
    phi: float,
    only: BoolArray | None = None,
    peak: bool = True,
) -> tuple[Late, FloatArray]:
    """Fold a limit test of one arm; `only`: where its evidence may be taken for shown. Without `peak`: as it stands."""
    raw = main.part.raw
    total, bad = getattr(raw, f"{arm}_total"), getattr(raw, f"{arm}_bad")
    running = main.part.candidate_before if arm == "candidate" else np.zeros(bad.shape)
    log_s, number = state.after(test.of_requests(total, bad) / phi, running[..., None] * test.odds() / phi, counted)
    found = log_e(log_s, number)
    shown = found if only is None else np.where(only, found, -np.inf)
    peaks = np.maximum.accumulate(np.concatenate([state.peak[..., None], shown], axis=-1), axis=-1)[..., 1:]
    return Late(log_s[..., -1, :], number[..., -1], peaks[..., -1]), peaks if peak else found


@dataclass(frozen=True, slots=True)
class Step:
    """What tests of safety and of the share go by, at some of the ticks, shape (…, ticks)."""

    sums: Arms
    stable_kept: FloatArray
    unfinished: FloatArray
    """The candidate's."""
    weight: FloatArray
    ago: Ago | None

    @classmethod
    def of(cls, main: Compared, shown: slice) -> Self:
        """Take it from what was compared."""
        ago = main.ago
        if ago is not None:
            ago = Ago(*(getattr(ago, f.name)[..., shown] for f in fields(Ago)))
        return cls(
            sums=_at(main.spell.sums, shown),
            stable_kept=main.spell.stable_kept[..., shown],
            unfinished=main.part.candidate_unfinished[..., shown],
            weight=main.part.weight[..., shown],
            ago=ago,
        )


def _safe_limit(limit: float, step: Step, phi: float) -> FloatArray:
    """Return log E of "the rate is at least the limit" on the spell: unfinished as bad, or those of T ago."""
    test, sums = LimitTest.below(limit), step.sums
    worst = sums.candidate_bad + step.unfinished
    found = log_mean_exp(test.of_requests(np.maximum(sums.candidate_total, worst), worst) / phi)
    if step.ago is None:
        return found
    total = np.maximum(step.ago.candidate_total, sums.candidate_bad)
    return np.maximum(found, log_mean_exp(test.of_requests(total, sums.candidate_bad) / phi))


def _safe_ratio(ratio: float, step: Step, phi: float) -> FloatArray:
    """Return log E of "the rate is at least `ratio` times stable's" on the spell, by the same two readings."""
    test, sums = RatioTest.better(ratio), step.sums
    worst = sums.candidate_bad + step.unfinished
    found = log_mean_exp(test.of_events(worst, step.stable_kept, sums.share) / phi)
    if step.ago is None:
        return found
    ago = step.ago
    share = ago.candidate_total / np.maximum(ago.candidate_total + ago.stable_total, 1e-300)
    return np.maximum(found, log_mean_exp(test.of_events(sums.candidate_bad, ago.stable_kept, share) / phi))


def _share(step: Step) -> FloatArray:
    """Return log E of the share test; only weights that split the traffic can be tested."""
    split = (step.weight > 0) & (step.weight < WHOLE)
    fraction = np.where(split, step.weight / WHOLE, 0.5)
    total = step.sums.candidate_total + step.sums.stable_total
    found = log_mean_exp(ShareTest().increments(step.sums.candidate_total, total, fraction))
    return np.where(split, found, 0.0)


def _begin_of_first(before: Evidence, ticks: Ticks) -> FloatArray:
    last = before.main.stretch.last
    return np.where(np.isnan(last), ticks.time[0] - 1.0, last)[..., None]


def _before(first: FloatArray, values: FloatArray) -> FloatArray:
    return np.concatenate([first[..., None], values[..., :-1]], axis=-1)


def _at(arms: Arms, tick: int | slice) -> Arms:
    return Arms(*(getattr(arms, f.name)[..., tick] for f in fields(Arms)))


def _empty(look: Look) -> Look:
    """Return the looks at no ticks."""

    def none(array: FloatArray) -> FloatArray:
        return np.zeros((*np.shape(array), 0), np.asarray(array).dtype)

    arms = Arms(*(none(getattr(look.total, f.name)) for f in fields(Arms)))
    plain: dict[str, Any] = {f.name: none(getattr(look, f.name)) for f in fields(look) if f.name not in _NESTED}
    return replace(look, **plain, beside=tuple(none(each) for each in look.beside), total=arms, step=arms)
