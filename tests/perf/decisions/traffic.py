"""Simulated traffic: many canaries at once, requests with a beginning, a duration and an end.

Counts of one kind of request that begin in a tick are spread over the ticks in which they end, each independently: the
same as drawing every request by itself. The rows are made as the collector makes them: requests by their beginning, bad
ones where they end, a level of what is running. All arrays have the shape (canaries, ticks).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perennial.stats.ticks import ABANDONED, ANSWERED, ARMS, REJECTED, REQUESTS, UNFINISHED, Arm, Key, Ticks

Array = NDArray[np.float64]
Chance = np.random.Generator
NOW = 1_800_000_000.0


@dataclass(frozen=True)
class Kind:
    """A share of an arm's requests: how they end, and with which probability after 0, 1, 2, … ticks."""

    rate: Array | float
    ends: str
    """good, bad, rejected or abandoned."""
    after: Sequence[float] = (1.0,)


@dataclass(frozen=True)
class Counted:
    """What an arm's routers count."""

    started: Array
    bad: Array
    rejected: Array
    answered: Array
    abandoned: Array


def arm(chance: Chance, started: Array, *kinds: Kind) -> Counted:
    """Return an arm's counts; what no kind takes is answered well at once."""
    size, ticks = started.shape
    ended = {name: np.zeros((size, ticks)) for name in ("good", "bad", "rejected", "abandoned")}
    left, share = started.astype(np.int64), np.zeros(started.shape)
    for kind in kinds:
        part = np.clip(np.broadcast_to(kind.rate, started.shape) / np.maximum(1 - share, 1e-12), 0, 1)
        drawn = chance.binomial(left, part)
        left, share = left - drawn, share + kind.rate
        gone, rest = 0.0, drawn
        for lag, probability in enumerate(kind.after):
            last = lag == len(kind.after) - 1
            now = rest if last else chance.binomial(rest, min(probability / max(1 - gone, 1e-12), 1.0))
            rest, gone = rest - now, gone + probability
            if lag < ticks:
                ended[kind.ends][:, lag:] += now[:, : ticks - lag]
    ended["good"] += left
    answered = ended["good"] + ended["bad"] + ended["rejected"]
    return Counted(started.astype(float), ended["bad"], ended["rejected"], answered, ended["abandoned"])


def table(
    candidate: Counted, stable: Counted, weight: Array | int, step: Array | int = 1, seconds: float = 1.0
) -> Ticks:
    """Return the ticks of both arms; a weight of -1 was not verified."""
    size, ticks = candidate.started.shape
    rows: dict[Key, Array] = {}
    for name, counted in zip(ARMS, (candidate, stable), strict=True):
        rows |= _rows(name, counted)
    return Ticks(
        NOW + seconds * np.arange(1, ticks + 1),
        np.broadcast_to(np.asarray(step, np.int64), (size, ticks)),
        np.broadcast_to(np.asarray(weight, np.int64), (size, ticks)),
        rows,
    )


def _rows(name: Arm, counted: Counted) -> Mapping[Key, Array]:
    bad = counted.bad + counted.abandoned
    columns = {
        REQUESTS: (counted.started, bad),
        REJECTED: (counted.started, counted.rejected),
        ANSWERED: (counted.answered, 0 * bad),
        ABANDONED: (counted.abandoned, 0 * bad),
        UNFINISHED: (np.cumsum(counted.started - counted.answered - counted.abandoned, axis=1), 0 * bad),
    }
    at_once = bool((columns[UNFINISHED][0] == 0).all())
    return {
        Key(signal, name): np.stack([n, total, total], axis=-1)
        for signal, (n, total) in columns.items()
        if not (at_once and signal in {ANSWERED, ABANDONED, UNFINISHED})
    }


def arrivals(chance: Chance, size: int, traffic: Array, share: Array | float) -> tuple[Array, Array]:
    """Return both arms' requests: Poisson traffic, one mean a tick, and the candidate's share of it."""
    total = chance.poisson(np.broadcast_to(traffic, (size, traffic.shape[-1])))
    mine = chance.binomial(total, share)
    return mine.astype(float), (total - mine).astype(float)
