"""Ticks: what was measured between two looks at the traffic, in the long form: one row for each signal and arm.

A signal is one thing that is counted. What a later release counts is one more line of `SIGNALS` and one more kind of
SLO that asks for it; evidence, storage and the wire stay as they are. A tick whose signal is missing did not measure
it, which is not the same as 0.

A row is the *difference* of three cumulative sums (`stats.sums.Sums`): n values, their total and the total of their
squares. A difference need not be the sums of anything: requests that were started before the tick may fail within it,
so total may be above n. Over all ticks it never is.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

Arm = Literal["candidate", "stable"]
"""What a slot was when the tick was taken: the version on trial, or the one that it is compared with."""
ARMS: Final[tuple[Arm, ...]] = ("candidate", "stable")

REQUESTS: Final = "requests"
REJECTED: Final = "requests/rejected"
ANSWERED: Final = "requests/answered"
UNFINISHED: Final = "requests/unfinished"
ABANDONED: Final = "requests/abandoned"

SIGNALS: Final[Mapping[str, str]] = {
    REQUESTS: "n: requests that were started; total: requests that ended badly (5xx, or given up by their client)",
    ABANDONED: "n: requests that their client gave up before an answer; they are among the bad ones of `requests`",
    ANSWERED: "n: requests that were answered with any final status",
    REJECTED: "n: requests that were started; total: requests that were answered with 4xx",
    UNFINISHED: "n: requests that are running at the tick's end: a level, not a difference",
}
"""All that is counted, with what a row's n and total mean."""


class Key(NamedTuple):
    """Whose row it is."""

    signal: str
    arm: Arm
    group: str = ""


class Row(NamedTuple):
    """What a signal counted in a tick: plain differences, for a tick has no sums of its own."""

    n: float
    total: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, n: float, bad: float = 0.0) -> Self:
        """Return the row of n things of which `bad` were bad."""
        return cls(n, bad, bad)


NOTHING: Final = Row(float("nan"), float("nan"), float("nan"))
"""A signal that a tick did not measure."""


@dataclass(frozen=True, slots=True)
class Tick:
    """What was measured from one look to the next.

    `time` is its end (seconds since the epoch); `weight` the candidate's weight in thousandths that was verified to be
    live from its beginning to its end, or None; `step` the canary's step at its beginning.

    Raises:
        ValueError: a signal or an arm is not known to this release, or a value is no finite number.
    """

    time: float
    step: int
    weight: int | None
    rows: Mapping[Key, Row]

    def __post_init__(self) -> None:
        for key, row in self.rows.items():
            check_key(key)
            if not all(np.isfinite(value) for value in row):
                raise ValueError(f"{key.signal} of {key.arm} must be finite numbers, not {tuple(row)}")

    def row(self, signal: str, arm: Arm, group: str = "") -> Row:
        """Return a row, of NaN where the tick did not measure it."""
        return self.rows.get(Key(signal, arm, group), NOTHING)


def check_key(key: Key) -> None:
    """Refuse what this release does not know: passed over, it would be judged as if it had not happened.

    Raises:
        ValueError: it names the signal or the arm.
    """
    if key.signal not in SIGNALS:
        raise ValueError(f"signal {key.signal!r} is not known to this release ({', '.join(SIGNALS)})")
    if key.arm not in ARMS:
        raise ValueError(f"arm {key.arm!r} of {key.signal} must be one of {', '.join(ARMS)}")


@dataclass(frozen=True, slots=True)
class Ticks:
    """Ticks as columns, oldest first. Axes before the last one are independent canaries that were looked at together.

    `time` has shape (ticks,), `step` and `weight` (…, ticks), each signal's rows (…, ticks, 3): n, total, squares. A
    weight of -1 was not verified. Rows that were not measured are NaN.
    """

    time: FloatArray
    step: NDArray[np.int64]
    weight: NDArray[np.int64]
    rows: Mapping[Key, FloatArray]

    def __post_init__(self) -> None:
        for key in self.rows:
            check_key(key)

    @classmethod
    def of(cls, ticks: Iterable[Tick]) -> Self:
        """Build the columns from ticks of one canary."""
        listed = list(ticks)
        keys = sorted({key for tick in listed for key in tick.rows})
        return cls(
            np.array([tick.time for tick in listed], float),
            np.array([tick.step for tick in listed], np.int64),
            np.array([-1 if tick.weight is None else tick.weight for tick in listed], np.int64),
            {key: np.array([tick.rows.get(key, NOTHING) for tick in listed], float).reshape(-1, 3) for key in keys},
        )

    def __len__(self) -> int:
        """Return the number of ticks."""
        return len(self.time)

    def between(self, begin: int, end: int) -> Self:
        """Return the ticks [begin, end)."""
        return replace(
            self,
            time=self.time[begin:end],
            step=self.step[..., begin:end],
            weight=self.weight[..., begin:end],
            rows={key: rows[..., begin:end, :] for key, rows in self.rows.items()},
        )

    def measured(self, signal: str, arm: Arm, group: str = "") -> FloatArray | None:
        """Return a signal's rows, shape (…, ticks, 3), or None if no tick measured it."""
        return self.rows.get(Key(signal, arm, group))

    def n(self, signal: str, arm: Arm, group: str = "") -> FloatArray:
        """Return how many were counted in each tick, shape (…, ticks); 0 where it was not measured."""
        return self._column(0, signal, arm, group)

    def total(self, signal: str, arm: Arm, group: str = "") -> FloatArray:
        """Return their totals (of a count: how many were bad), shape (…, ticks); 0 where it was not measured."""
        return self._column(1, signal, arm, group)

    def _column(self, index: int, signal: str, arm: Arm, group: str) -> FloatArray:
        found = self.measured(signal, arm, group)
        if found is None:
            return np.zeros(self.weight.shape)
        return np.nan_to_num(found[..., index])
