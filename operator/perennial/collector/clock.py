"""The time of ticks: it never goes back, whatever is done to the wall clock."""

from collections.abc import Callable
from time import monotonic, time


class Clock:
    """Seconds since the epoch as they were when it was made, going on by the monotonic clock.

    Evidence is folded in the order of time, and a step's pace and a route's timeout are differences of times: a clock
    that is set, by hand or by NTP, must change neither. A process that follows another one never begins before the last
    tick that was written (`not_before`).
    """

    def __init__(self, wall: Callable[[], float] = time, steady: Callable[[], float] = monotonic) -> None:
        self._wall, self._steady = wall, steady
        self._offset = wall() - steady()

    def not_before(self, moment: float) -> None:
        """Move on to a time, if it is later than now."""
        self._offset = max(self._offset, moment - self._steady())

    def now(self) -> float:
        """Return the time."""
        return self._steady() + self._offset
