"""Waiting for a condition, with a limit."""

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - the condition is the code under test's, it has no event
            await asyncio.sleep(0.01)
