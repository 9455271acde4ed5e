"""Is something commoner on the candidate than on stable? The harm test of a ratio, for requests counted by start.

A bad request counts where it ends, the requests where they start, so the share that a tick's bad requests are judged by
is that of the spell, drawn towards the tick's own where many were started in it. Two readings bound the process in the
order of starts from below, whatever is still running, and the larger one counts: all of stable's unfinished requests
are bad; or, with T the time a request may run, the candidate's bad requests of T ago beside all of stable's until now.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from perennial.stats.arms import Arms, Spell, Split, Stretch, Tail, split
from perennial.stats.late import Late, log_e
from perennial.stats.rates import GRID_POINTS, FloatArray, RatioTest
from perennial.stats.running import BoolArray
from perennial.stats.ticks import UNFINISHED, Ticks

WORSE = RatioTest.worse()
PRIOR_REQUESTS = 50.0
"""So many requests the spell's share weighs beside a tick's own: what few requests show is chance, what many show is a
routing that has changed."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One signal on both arms, folded."""

    stretch: Stretch
    spell: Spell
    total: Arms
    worse: Late
    tail: Tail

    @classmethod
    def none(cls, shape: tuple[int, ...]) -> Self:
        """Return the state before any tick."""
        return cls(
            Stretch.none(shape),
            Spell.none(shape),
            Arms.none(shape),
            Late.none(shape, GRID_POINTS),
            Tail.none(shape, (GRID_POINTS, None, None, None, None, None)),
        )


@dataclass(frozen=True, slots=True)
class Compared:
    """A piece of the table, with what stands at the end of each tick; shapes (…, ticks)."""

    part: Split
    spell: Spell
    total: Arms
    log_e: FloatArray
    ago: "Ago | None"
    after: Comparison


@dataclass(frozen=True, slots=True)
class Ago:
    """The spell's sums as long ago as a request may run, of shape (…, ticks); 0 before the spell."""

    candidate_total: FloatArray
    stable_total: FloatArray
    stable_kept: FloatArray


def compare(
    state: Comparison, ticks: Ticks, signal: str, *, timeout: float, counted: BoolArray | None, phi: float
) -> Compared:
    """Fold further ticks of one signal; `counted`: which of them belong to a test of harm, all by default."""
    part = split(state.stretch, ticks, signal, timeout)
    spell = state.spell.over(part)
    total = added(state.total, part.raw)
    tested = part.verified if counted is None else part.verified & counted
    raw, pooled = part.raw, spell.sums.share
    started = raw.candidate_total + raw.stable_total
    share = (raw.candidate_total + PRIOR_REQUESTS * pooled) / (started + PRIOR_REQUESTS)
    event = WORSE.any_event(share)
    steps = part.candidate_bad[..., None] * WORSE.candidate_event()
    steps += (part.candidate_bad + raw.stable_bad)[..., None] * event
    owed = part.candidate_before[..., None] * (WORSE.candidate_event() + event)
    log_s, number = state.worse.after(steps / phi, owed / phi, tested)
    found = log_e(log_s + part.stable_unfinished[..., None] * event / phi, number)
    ago, tail = None, state.tail
    if ticks.measured(UNFINISHED, "candidate") is not None or len(tail.time):
        sums = spell.sums
        columns = (log_s, number, sums.stable_bad, sums.candidate_total, sums.stable_total, spell.stable_kept)
        tail, (log_s_ago, number_ago, bad_ago, candidate, stable, kept), inside = tail.ago(
            timeout, ticks.time, part.spell, columns
        )
        since = (sums.stable_bad - bad_ago)[..., None] * event / phi
        found = np.where(inside, np.maximum(found, log_e(log_s_ago + since, number_ago)), found)
        ago = Ago(*(np.where(inside, column, 0.0) for column in (candidate, stable, kept)))
    peaks = np.maximum.accumulate(np.concatenate([state.worse.peak[..., None], found], axis=-1), axis=-1)[..., 1:]
    late = Late(log_s[..., -1, :], number[..., -1], peaks[..., -1])
    return Compared(part, spell, total, peaks, ago, Comparison(part.after, spell.last(), total.last(), late, tail))


def added(before: Arms, raw: Arms) -> Arms:
    """Return the sums after each tick, shape (…, ticks)."""
    return Arms(
        before.candidate_total[..., None] + np.cumsum(raw.candidate_total, axis=-1),
        before.candidate_bad[..., None] + np.cumsum(raw.candidate_bad, axis=-1),
        before.stable_total[..., None] + np.cumsum(raw.stable_total, axis=-1),
        before.stable_bad[..., None] + np.cumsum(raw.stable_bad, axis=-1),
    )
