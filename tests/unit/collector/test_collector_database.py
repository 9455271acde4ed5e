"""The database: transactions, and files of another version."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from perennial.collector.database import Database, read_setting, write_setting
from perennial.collector.migrations import SCHEMA_VERSION


async def test_what_is_written_is_there_after_opening_again(tmp_path: Path) -> None:
    for expected in (None, "1"):
        database = Database(tmp_path / "c.sqlite")
        await database.open()
        assert await database.run(read_setting, "x") == expected
        await database.run_durably(write_setting, "x", "1")
        await database.close()


async def test_a_transaction_that_fails_changes_nothing(tmp_path: Path) -> None:
    database = Database(tmp_path / "c.sqlite")
    await database.open()

    def fail(connection: sqlite3.Connection) -> None:
        write_setting(connection, "x", "1")
        raise KeyError("half-way")

    with pytest.raises(KeyError, match="half-way"):
        await database.run(fail)
    assert await database.run(read_setting, "x") is None
    await database.close()


async def test_what_was_begun_is_finished_when_the_caller_leaves(tmp_path: Path) -> None:
    database = Database(tmp_path / "c.sqlite")
    await database.open()
    loop = asyncio.get_running_loop()
    begun, go_on = asyncio.Event(), asyncio.Event()

    def slow(connection: sqlite3.Connection) -> None:
        write_setting(connection, "x", "1")
        loop.call_soon_threadsafe(begun.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()

    task = asyncio.create_task(database.run(slow))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    assert await database.run(read_setting, "x") == "1"
    await database.close()


async def test_a_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "c.sqlite"
    connection = sqlite3.connect(file)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    database = Database(file)
    with pytest.raises(ValueError, match="this collector reads up to"):
        await database.open()
    await database.close()
