"""What both arms did, prepared for the tests: requests counted by start, and by stretches of one verified weight.

A *stretch* is a run of ticks in which one weight was verified without a gap; stretches of the same step and weight,
with no other between, make a *spell*. Comparisons of the arms count within a spell alone: there, every request had the
same chance to be the candidate's, whenever it ended. What was running when a stretch began was sent under another
weight; so many of the bad requests that end in its first `timeout` seconds may be those. They are taken off where they
would help the verdict: the candidate's for harm, stable's for safety.
"""

from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np

from perennial.stats.rates import FloatArray
from perennial.stats.running import BoolArray, held, previous, running
from perennial.stats.ticks import ABANDONED, ANSWERED, UNFINISHED, Arm, Ticks

WHOLE = 1000
"""All requests, in thousandths."""


@dataclass(frozen=True, slots=True)
class Arms:
    """A signal's counts of one or two arms; numbers or arrays of one shape."""

    candidate_total: FloatArray
    candidate_bad: FloatArray
    stable_total: FloatArray
    stable_bad: FloatArray

    @classmethod
    def none(cls, shape: tuple[int, ...]) -> Self:
        """Return zeros."""
        return cls(*(np.zeros(shape) for _ in range(4)))

    def last(self) -> Self:
        """Return what stands at the last tick."""
        return type(self)(*(getattr(self, field.name)[..., -1] for field in fields(self)))

    @property
    def share(self) -> FloatArray:
        """The candidate's share of the requests; 0 where there are none."""
        return self.candidate_total / np.maximum(self.candidate_total + self.stable_total, 1e-300)


@dataclass(frozen=True, slots=True)
class Stretch:
    """What is carried from tick to tick; each of shape (…). Times are seconds since the epoch."""

    verified: FloatArray
    """1 if the last tick's weight was verified."""
    step: FloatArray
    weight: FloatArray
    """Step and weight of the spell; -1 before the first one."""
    began: FloatArray
    """When the stretch began."""
    candidate_owed: FloatArray
    stable_owed: FloatArray
    """Requests that were running when it began."""
    candidate_early: FloatArray
    stable_early: FloatArray
    """Bad requests that ended in its first seconds."""
    last: FloatArray
    """The end of the last tick; NaN before the first."""
    candidate_unfinished: FloatArray
    stable_unfinished: FloatArray
    spells: FloatArray
    """How many spells there have been."""

    @classmethod
    def none(cls, shape: tuple[int, ...]) -> Self:
        """Return the state before any tick."""
        zero, unknown = np.zeros(shape), np.full(shape, np.nan)
        return cls(zero, zero - 1, zero - 1, zero, zero, zero, zero, zero, unknown, zero, zero, zero)


@dataclass(frozen=True, slots=True)
class Split:
    """A piece of the table for one signal, prepared; all of shape (…, ticks)."""

    raw: Arms
    """As counted."""
    verified: BoolArray
    """A weight that splits the traffic or gives all of it to the candidate was verified over the whole tick."""
    anew: BoolArray
    """A spell begins."""
    spell: FloatArray
    """The number of the spell, from 1."""
    step: FloatArray
    weight: FloatArray
    """Of the spell; -1 before the first."""
    begun: FloatArray
    """When the tick began."""
    candidate_bad: FloatArray
    """The candidate's bad requests that certainly belong to the stretch."""
    stable_bad: FloatArray
    """The same of stable's."""
    candidate_before: FloatArray
    """The candidate's requests that were running when the tick began."""
    candidate_unfinished: FloatArray
    stable_unfinished: FloatArray
    """Running when it ended."""
    after: Stretch


def split(before: Stretch, ticks: Ticks, signal: str, timeout: float) -> Split:
    """Prepare a signal's counts of further ticks; `timeout` is how long a request may run, in seconds."""
    raw = Arms(*(column(signal, arm) for arm in ("candidate", "stable") for column in (ticks.n, ticks.total)))
    shape = raw.candidate_total.shape
    step, weight = np.broadcast_to(ticks.step, shape), np.broadcast_to(ticks.weight, shape)
    verified = weight > 0
    begun = previous(before.last, np.broadcast_to(ticks.time, shape))
    begun = np.where(np.isnan(begun), ticks.time - 1.0, begun)
    spell_step = held(before.step, step.astype(float), verified)
    spell_weight = held(before.weight, weight.astype(float), verified)
    anew = verified & (
        (spell_step != previous(before.step, spell_step)) | (spell_weight != previous(before.weight, spell_weight))
    )
    spells = before.spells[..., None] + np.cumsum(anew, axis=-1)
    stretch = anew | (verified & (previous(before.verified, verified.astype(float)) == 0))
    running_before, running_after = {}, {}
    for arm, carried in (("candidate", before.candidate_unfinished), ("stable", before.stable_unfinished)):
        after = np.broadcast_to(ticks.n(UNFINISHED, _arm(arm)), shape)
        running_after[arm] = after
        running_before[arm] = previous(_at_first(before, ticks, _arm(arm), carried, after), after)
    began = held(before.began, begun, stretch)
    early = begun - began < timeout
    kept, owed, ended = {}, {}, {}
    for arm, bad, owed_before, early_before in (
        ("candidate", raw.candidate_bad, before.candidate_owed, before.candidate_early),
        ("stable", raw.stable_bad, before.stable_owed, before.stable_early),
    ):
        owed[arm] = held(owed_before, running_before[arm], stretch)
        ended[arm] = running(early_before, np.where(early, bad, 0.0), stretch)
        dropped = np.minimum(owed[arm], ended[arm])
        dropped_before = np.where(stretch, 0.0, previous(np.minimum(owed_before, early_before), dropped))
        kept[arm] = np.where(verified, bad - (dropped - dropped_before), 0.0)
    last = Stretch(
        verified=verified.astype(float)[..., -1],
        step=spell_step[..., -1],
        weight=spell_weight[..., -1],
        began=began[..., -1],
        candidate_owed=owed["candidate"][..., -1],
        stable_owed=owed["stable"][..., -1],
        candidate_early=ended["candidate"][..., -1],
        stable_early=ended["stable"][..., -1],
        last=np.broadcast_to(ticks.time, shape)[..., -1].astype(float),
        candidate_unfinished=running_after["candidate"][..., -1],
        stable_unfinished=running_after["stable"][..., -1],
        spells=spells[..., -1],
    )
    return Split(
        raw=raw,
        verified=verified,
        anew=anew,
        spell=spells,
        step=spell_step,
        weight=spell_weight,
        begun=begun,
        candidate_bad=kept["candidate"],
        stable_bad=kept["stable"],
        candidate_before=running_before["candidate"],
        candidate_unfinished=running_after["candidate"],
        stable_unfinished=running_after["stable"],
        after=last,
    )


def _arm(name: str) -> Arm:
    return "candidate" if name == "candidate" else "stable"


def _at_first(before: Stretch, ticks: Ticks, arm: Arm, carried: FloatArray, after: FloatArray) -> FloatArray:
    """Return what was running before the first of the ticks: at a trial's first one, what ended and is left tells."""
    if ticks.measured(UNFINISHED, arm) is None or ticks.measured(ANSWERED, arm) is None:
        return carried
    left = after[..., 0] - ticks.n("requests", arm)[..., 0] + ticks.n(ANSWERED, arm)[..., 0]
    left = np.maximum(left + ticks.n(ABANDONED, arm)[..., 0], 0.0)
    return np.where(np.isnan(before.last), left, carried)


@dataclass(frozen=True, slots=True)
class Spell:
    """Sums of the spell so far. `stable_bad` and `candidate_bad` as `Split` has them; `shown_bad` as it was counted."""

    sums: Arms
    candidate_kept: FloatArray
    stable_kept: FloatArray

    @classmethod
    def none(cls, shape: tuple[int, ...]) -> Self:
        """Return the sums before any tick."""
        return cls(Arms.none(shape), np.zeros(shape), np.zeros(shape))

    def over(self, part: Split) -> Self:
        """Return the sums at the end of each tick, shape (…, ticks); ticks without a verified weight add nothing."""
        counted = part.verified
        sums = [
            running(getattr(self.sums, field.name), np.where(counted, getattr(part.raw, field.name), 0.0), part.anew)
            for field in fields(Arms)
        ]
        return type(self)(
            Arms(*sums),
            running(self.candidate_kept, part.candidate_bad, part.anew),
            running(self.stable_kept, part.stable_bad, part.anew),
        )

    def last(self) -> Self:
        """Return what stands at the last tick."""
        return replace(
            self,
            sums=self.sums.last(),
            candidate_kept=self.candidate_kept[..., -1],
            stable_kept=self.stable_kept[..., -1],
        )


@dataclass(frozen=True, slots=True)
class Tail:
    """Columns of the last seconds, oldest first.

    `time` has shape (ticks,), each column (…, ticks) or, with one number a grid point, (…, ticks, grid points). `spell`
    numbers the spells, so that a tick of another one is told from this one's.
    """

    time: FloatArray
    spell: FloatArray
    columns: tuple[FloatArray, ...]

    @classmethod
    def none(cls, shape: tuple[int, ...], points: tuple[int | None, ...]) -> Self:
        """Return an empty tail for as many columns as `points` has members: the grid points of each, or None."""
        columns = (np.zeros((*shape, 0, *(() if each is None else (each,)))) for each in points)
        return cls(np.zeros(0), np.zeros((*shape, 0)), tuple(columns))

    def ago(
        self, seconds: float, time: FloatArray, spell: FloatArray, columns: tuple[FloatArray, ...]
    ) -> tuple["Tail", tuple[FloatArray, ...], BoolArray]:
        """Return the new tail, each column as it stood `seconds` before each tick, and whether that is in the spell.

        Args:
            seconds: how long ago.
            time: of the further ticks, shape (ticks,).
            spell: the number of each tick's spell, shape (…, ticks).
            columns: what is known of them, as in `columns`.
        """
        times = np.concatenate([self.time, time])
        spells = np.concatenate([self.spell, spell], axis=-1)
        axes = [spells.ndim - column.ndim - 1 for column in columns]
        whole = tuple(np.concatenate(pair, axis=axis) for *pair, axis in zip(self.columns, columns, axes, strict=True))
        index = np.searchsorted(times, time - seconds + 1e-9, side="right") - 1
        known = np.maximum(index, 0)
        found = tuple(np.take(column, known, axis=axis) for column, axis in zip(whole, axes, strict=True))
        inside = (index >= 0) & (np.take(spells, known, axis=-1) == spell)
        first = max(int(np.searchsorted(times, times[-1] - seconds + 1e-9, side="right")) - 1, 0)
        rest = np.arange(first, len(times))
        kept = tuple(np.take(column, rest, axis=axis) for column, axis in zip(whole, axes, strict=True))
        return Tail(times[rest], np.take(spells, rest, axis=-1), kept), found, inside
