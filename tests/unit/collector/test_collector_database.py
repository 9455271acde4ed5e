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


async def held(database: Database) -> tuple[asyncio.Task[None], asyncio.Event]:
    """Keep the database's thread busy until the event is set."""
    loop, begun, go_on = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

    def slow(_: sqlite3.Connection) -> None:
        loop.call_soon_threadsafe(begun.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()

    task = asyncio.create_task(database.run(slow))
    await begun.wait()
    return task, go_on


async def test_what_waits_for_the_disk_is_written_together(tmp_path: Path) -> None:
    database = Database(tmp_path / "c.sqlite")
    await database.open()
    said: list[str] = []
    await database.run(lambda connection: connection.set_trace_callback(said.append))
    task, go_on = await held(database)
    writes = [asyncio.create_task(database.run_durably(write_setting, f"x{i}", str(i))) for i in range(10)]
    writes += [asyncio.create_task(database.run(write_setting, "y", "1"))]
    await asyncio.sleep(0)
    said.clear()
    go_on.set()
    await asyncio.gather(task, *writes)
    assert [each for each in said if each == "COMMIT" or "synchronous" in each] == [
        "COMMIT",
        "PRAGMA synchronous = FULL",
        "COMMIT",
    ]
    assert [await database.run(read_setting, f"x{i}") for i in range(10)] == [str(i) for i in range(10)]
    await database.close()


async def test_of_what_is_written_together_one_may_fail_alone(tmp_path: Path) -> None:
    database = Database(tmp_path / "c.sqlite")
    await database.open()

    def fail(connection: sqlite3.Connection) -> None:
        write_setting(connection, "y", "1")
        raise KeyError("half-way")

    task, go_on = await held(database)
    asked = [
        asyncio.create_task(each)
        for each in (database.run(write_setting, "x", "1"), database.run(fail), database.run(write_setting, "z", "3"))
    ]
    await asyncio.sleep(0)
    go_on.set()
    first, second, third = await asyncio.gather(*asked, return_exceptions=True)
    await task
    assert (first, third) == (None, None)
    assert isinstance(second, KeyError)
    assert [await database.run(read_setting, name) for name in "xyz"] == ["1", None, "3"]
    await database.close()


async def test_what_was_not_made_sure_of_is_nobodys(tmp_path: Path) -> None:
    """A deferred constraint is broken by one of them, and found at the COMMIT of all."""
    database = Database(tmp_path / "c.sqlite")
    await database.open()

    def prepare(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE parent (id INTEGER PRIMARY KEY)")
        connection.execute("CREATE TABLE child (id INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED)")

    await database.run(prepare)
    await database._on_thread(lambda: database._connection and database._connection.execute("PRAGMA foreign_keys = ON"))
    task, go_on = await held(database)
    orphan = database.run(lambda connection: connection.execute("INSERT INTO child VALUES (1)").rowcount)
    asked = [asyncio.create_task(each) for each in (database.run(write_setting, "x", "1"), orphan)]
    await asyncio.sleep(0)
    go_on.set()
    ended = await asyncio.gather(*asked, return_exceptions=True)
    await task
    assert [type(each) for each in ended] == [sqlite3.IntegrityError] * 2
    assert await database.run(read_setting, "x") is None
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
