"""Moments as nanoseconds since 1970: whole numbers of any size, because files hold more than `datetime` can.

An "infinity" of a database is the year 294247 in a file, and "no date" is often the year 1.
"""

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND = 10**9
_CYCLE = 146_097 * 86_400
"""Seconds in 400 years, after which the Gregorian calendar repeats itself."""

EARLIEST, LATEST = (int((datetime(year, 1, 1, tzinfo=UTC) - EPOCH).total_seconds()) * SECOND for year in (1678, 2262))
"""Event times lie from the first to before the second: nanoseconds in 64 bits, which readers use, say no more."""


def sensible(moment: int) -> bool:
    """Whether a moment can be an event time."""
    return EARLIEST <= moment < LATEST


def as_datetime(moment: int) -> datetime:
    """Return a moment that is an event time, cut to whole seconds."""
    return EPOCH + timedelta(seconds=moment // SECOND)


def as_text(moment: int) -> str:
    """Return any moment as ISO 8601 writes it, years beyond four digits with their sign."""
    cycles, rest = divmod(moment // SECOND, _CYCLE)
    within = EPOCH + timedelta(seconds=rest)
    year = within.year + 400 * cycles
    written = f"{year:04}" if 0 <= year <= 9999 else f"{year:+05}"  # noqa: PLR2004 - four digits
    return f"{written}{within:-%m-%dT%H:%M:%SZ}"
