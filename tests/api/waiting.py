"""Waiting for a condition, with a limit; never for a time."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_EVERY = 0.05


def until(what: str, look: Callable[[], T | None], *, seconds: float = 90) -> T:
    """Return the first thing `look` returns that is something: not None, False, or empty."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() >= deadline:
            raise AssertionError(f"waited {seconds:g} s until {what}")
        time.sleep(_EVERY)


async def eventually(what: str, look: Callable[[], T | None], *, seconds: float = 90) -> T:
    """The same, while the event loop goes on."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() >= deadline:
            raise AssertionError(f"waited {seconds:g} s until {what}")
        await asyncio.sleep(_EVERY)
