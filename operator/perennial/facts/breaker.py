"""A circuit breaker: a service that is down is not asked again by everybody, all the time."""

from collections.abc import Callable
from time import monotonic


class CircuitBreaker:
    """Closed while the service answers; open for a while after `threshold` failures in a row; then one caller may try.

    The pause starts at `first_seconds` and doubles up to `longest_seconds` while the tries fail.
    """

    def __init__(
        self,
        *,
        threshold: int = 3,
        first_seconds: float = 2.0,
        longest_seconds: float = 30.0,
        now: Callable[[], float] = monotonic,
    ) -> None:
        self._threshold = threshold
        self._first = first_seconds
        self._longest = longest_seconds
        self._now = now
        self._failures = 0
        self._open_until = 0.0

    def blocked_seconds(self) -> float:
        """Return for how long nobody should ask (0: now is fine, and this caller is the one who tries)."""
        if self._failures < self._threshold:
            return 0.0
        left = self._open_until - self._now()
        if left > 0:
            return left
        self._open_until = self._now() + self._pause()  # the others wait for the outcome of this try
        return 0.0

    def succeeded(self) -> None:
        """Take note of an answer, whatever it said."""
        self._failures = 0

    def failed(self) -> None:
        """Take note that there was no answer."""
        self._failures += 1
        if self._failures >= self._threshold:
            self._open_until = self._now() + self._pause()

    def _pause(self) -> float:
        doublings = min(max(self._failures - self._threshold, 0), 16)
        return min(self._first * 2.0**doublings, self._longest)
