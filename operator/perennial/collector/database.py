"""One SQLite database and the one thread that talks to it, so that the event loop never waits for a disk.

A disk takes milliseconds to make sure of something, however little it is. So what is asked for while it does so waits
together, and is made sure of together: then many small requests cost little more than one.
"""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from perennial.collector.migrations import migrate

P = ParamSpec("P")
T = TypeVar("T")

MOST_TOGETHER = 64
"""So many functions share a transaction at most: none waits long for the others."""


@dataclass(slots=True)
class _Asked:
    """A function that waits for its turn, and how it ended."""

    work: Callable[[sqlite3.Connection], Any]
    durably: bool
    done: Future[Any] = field(default_factory=Future)


class Database:
    """An open database. Functions run on its thread in the order they were asked for, each wholly or not at all."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="database")
        self._connection: sqlite3.Connection | None = None
        self._asked: deque[_Asked] = deque()

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
        """Run `function(connection, …)`; when this returns, what it did outlives a crash of this process."""
        return await self._transacted(lambda c: function(c, *args, **kwargs), durably=False)

    async def run_durably(
        self, function: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `function(connection, …)`; when this returns, what it did outlives a crash of the machine, too."""
        return await self._transacted(lambda c: function(c, *args, **kwargs), durably=True)

    async def _transacted(self, work: Callable[[sqlite3.Connection], T], *, durably: bool) -> T:
        asked = _Asked(work, durably)
        self._asked.append(asked)
        self._thread.submit(self._transact)
        # Shielded: who asked may be cancelled, what was begun is finished.
        result: T = await asyncio.shield(asyncio.wrap_future(asked.done))
        return result

    async def _on_thread(self, work: Callable[[], T]) -> T:
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

    def _transact(self) -> None:
        """Run what waits in one transaction. What an earlier turn has taken along needs none of its own."""
        together = [self._asked.popleft() for _ in range(min(len(self._asked), MOST_TOGETHER))]
        if not together:
            return
        try:
            results = self._committed(together)
        except BaseException as error:  # noqa: BLE001 - each of those who asked gets it
            results = [_Failed(error)] * len(together)
        for asked, result in zip(together, results, strict=True):
            if isinstance(result, _Failed):
                asked.done.set_exception(result.error)
            else:
                asked.done.set_result(result)

    def _committed(self, together: Sequence[_Asked]) -> list[Any]:
        """Run functions in one transaction and return their results; `_Failed` for one that failed alone."""
        if self._connection is None:
            raise RuntimeError("the database is not open")
        connection = self._connection
        durably = any(asked.durably for asked in together)
        connection.execute(f"PRAGMA synchronous = {'FULL' if durably else 'NORMAL'}")
        connection.execute("BEGIN IMMEDIATE")
        try:
            results = [_alone(connection, asked) for asked in together]
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return results


@dataclass(frozen=True, slots=True)
class _Failed:
    error: BaseException


def _alone(connection: sqlite3.Connection, asked: _Asked) -> Any:
    """Run a function within the transaction; what fails leaves nothing, and nothing of it to the others.

    Raises:
        Exception: it took the whole transaction with it, as a full disk does.
    """
    connection.execute("SAVEPOINT one")
    try:
        result = asked.work(connection)
    except BaseException as error:
        if not connection.in_transaction:
            raise
        connection.execute("ROLLBACK TO one")
        result = _Failed(error)
    connection.execute("RELEASE one")
    return result


def read_setting(connection: sqlite3.Connection, name: str) -> str | None:
    """Return a setting, or None."""
    row = connection.execute("SELECT value FROM setting WHERE name = ?", (name,)).fetchone()
    return None if row is None else str(row[0])


def write_setting(connection: sqlite3.Connection, name: str, value: str) -> None:
    """Set a setting."""
    connection.execute("INSERT OR REPLACE INTO setting VALUES (?, ?)", (name, value))
