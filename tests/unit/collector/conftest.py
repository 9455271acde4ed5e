"""A collector, open, and its clock."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from collector_room import Room, Steady

from perennial.collector.clock import Clock


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    room = Room(tmp_path / "c.sqlite")
    await room.open()
    yield room
    await room.database.close()


@pytest.fixture
def steady(room: Room) -> Steady:
    steady = Steady()
    room.collector._clock = Clock(lambda: 5000.0, steady)
    return steady
