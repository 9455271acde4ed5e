"""Time as an argument, so that a test can own it."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Two clocks: one for people and for what is stored, one for durations."""

    def now(self) -> datetime:
        """Return the wall-clock time, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds since some moment; never goes back."""
        ...


class SystemClock:
    """The machine's clocks.

    The monotonic one is CLOCK_BOOTTIME: it goes on while the machine is suspended, so a leader that slept through its
    lease knows it when it wakes up (CLOCK_MONOTONIC would stand still and let it write).
    """

    def now(self) -> datetime:
        """Return the wall-clock time, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds since boot, time asleep included."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)
