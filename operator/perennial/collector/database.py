"""One SQLite database and the one thread that talks to it, so that the event loop never waits for a disk."""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from perennial.collector.migrations import migrate

P = ParamSpec("P")
T = TypeVar("T")


class Database:
    """An open database. Functions run on its thread, each in one transaction, in the order they were asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="database")
        self._connection: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Open the file, make it, or bring it to this version. Raises ValueError if a newer Perennial wrote it."""
        await self._on_thread(self._open)

    async def close(self) -> None:
        """Finish what was asked for and close the file."""
        await self._on_thread(self._close)
        self._thread.shutdown()

    async def run(
        self, function: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `function(connection, …)` in a transaction that outlives a crash of this process."""
        return await self._on_thread(lambda: self._transact("NORMAL", lambda c: function(c, *args, **kwargs)))

    async def run_durably(
        self, function: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `function(connection, …)` in a transaction that outlives a crash of the machine, too."""
        return await self._on_thread(lambda: self._transact("FULL", lambda c: function(c, *args, **kwargs)))

    async def _on_thread(self, work: Callable[[], T]) -> T:
        # Shielded: who asked may be cancelled, what was begun is finished.
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, work))

    def _open(self) -> None:
        connection = sqlite3.connect(self._path, isolation_level=None, timeout=10)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA journal_size_limit = 67108864")
        connection.execute("PRAGMA cache_size = -32768")
        connection.execute("PRAGMA temp_store = MEMORY")
        try:
            migrate(connection)
        except ValueError as error:
            connection.close()
            raise ValueError(f"{self._path}: {error}") from error
        except sqlite3.Error:
            connection.close()
            raise
        self._connection = connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.execute("PRAGMA optimize")
            self._connection.close()
            self._connection = None

    def _transact(self, synchronous: str, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._connection is None:
            raise RuntimeError("the database is not open")
        connection = self._connection
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute("BEGIN IMMEDIATE")
        try:
            result = work(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return result


def read_setting(connection: sqlite3.Connection, name: str) -> str | None:
    """Return a setting, or None."""
    row = connection.execute("SELECT value FROM setting WHERE name = ?", (name,)).fetchone()
    return None if row is None else str(row[0])


def write_setting(connection: sqlite3.Connection, name: str, value: str) -> None:
    """Set a setting."""
    connection.execute("INSERT OR REPLACE INTO setting VALUES (?, ?)", (name, value))
