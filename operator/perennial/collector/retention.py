"""How long predictions and cohorts are kept. Functions run on the database's thread.

A prediction is needed until its cohort has ended and the longest label delay has passed (with one period to spare).
Where there is no room for so many, the oldest go earlier, and their labels find nothing: that is told.
"""

import sqlite3
from json import dumps, loads

from perennial.collector.cohort_sums import read_rule
from perennial.collector.database import read_setting, write_setting

KEEP_COHORTS = 200
"""Sums of so many cohorts are kept for the detector's memory."""
KEEP_PREDICTIONS = 5_000_000
"""So many are kept where the volume's size is not known."""
MOST_PREDICTIONS = 20_000_000
"""More are not kept on however large a volume: counting them anew for another metric would take too long."""
KEEP_WAITING = 500_000
KEEP_REPORTER_SECONDS = 604_800.0
ROOM = 0.8
"""The share of the volume that the database may fill; the rest is for its journal."""
PRUNE_BATCH = 20_000
"""Rows deleted in one transaction: labels and predictions wait for it."""
_RETENTION = "retention"


def prune(connection: sqlite3.Connection, now: float, volume: int | None = None) -> int:
    """Delete what no verdict needs any more, a bounded number of rows; return how many.

    Args:
        connection: the database.
        now: seconds since the epoch.
        volume: bytes of the volume that the database is on; None: it is of no matter.
    """
    deleted, counting = 0, read_rule(connection)
    if counting is not None:
        ripe = float((now - counting.delay) // counting.seconds * counting.seconds - counting.seconds)
        deleted += _delete_oldest(connection, "prediction", "time", ripe)
        deleted += _delete_oldest(connection, "waiting", "received", ripe)
    surplus = _delete_surplus(connection, "prediction", "time", _room_for(connection, volume))
    needed = None if counting is None else counting.delay + counting.seconds
    _note_retention(connection, needed if surplus else None, surplus)
    deleted += surplus + _delete_surplus(connection, "waiting", "received", KEEP_WAITING)
    connection.execute("DELETE FROM reporter WHERE seen < ?", (now - KEEP_REPORTER_SECONDS,))
    oldest = connection.execute(
        "SELECT start FROM cohort ORDER BY start DESC LIMIT 1 OFFSET ?", (KEEP_COHORTS,)
    ).fetchone()
    if oldest is not None:
        deleted += connection.execute("DELETE FROM cohort WHERE start <= ?", oldest).rowcount
        deleted += connection.execute("DELETE FROM cohort_sum WHERE start <= ?", oldest).rowcount
    connection.execute("DELETE FROM reference WHERE version NOT IN (SELECT version FROM cohort)")
    return deleted


def read_retention(connection: sqlite3.Connection) -> int | None:
    """Return for how many seconds predictions are kept, if that is shorter than labels may take; else None."""
    found = loads(read_setting(connection, _RETENTION) or "null")
    return None if found is None else int(found)


def _note_retention(connection: sqlite3.Connection, needed: int | None, surplus: int) -> None:
    """Write down how long predictions stay. While nothing has to go early, what was noted stands until it is longer."""
    noted = read_retention(connection)
    if not surplus and noted is None:
        return
    oldest, newest = connection.execute("SELECT min(time), max(time) FROM prediction").fetchone()
    kept = 0 if oldest is None else int(newest - oldest)
    counting = read_rule(connection)
    needed = needed or (None if counting is None else counting.delay + counting.seconds)
    short = kept if needed is not None and kept < needed and (surplus or noted is not None) else None
    if short != noted:
        write_setting(connection, _RETENTION, dumps(short))


def _room_for(connection: sqlite3.Connection, volume: int | None) -> int:
    """Return how many predictions there is room for, by what one takes."""
    if volume is None:
        return KEEP_PREDICTIONS
    (rows,) = connection.execute("SELECT count(*) FROM prediction").fetchone()
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    used = (pages - free) * size
    return MOST_PREDICTIONS if not rows else min(MOST_PREDICTIONS, int(rows * ROOM * volume / used))


def _delete_oldest(connection: sqlite3.Connection, table: str, column: str, before: float) -> int:
    oldest = f"SELECT id FROM {table} WHERE {column} < ? ORDER BY {column} LIMIT {PRUNE_BATCH}"  # noqa: S608
    return connection.execute(f"DELETE FROM {table} WHERE id IN ({oldest})", (before,)).rowcount  # noqa: S608


def _delete_surplus(connection: sqlite3.Connection, table: str, column: str, keep: int) -> int:
    (rows,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608
    surplus = min(rows - keep, PRUNE_BATCH)
    if surplus <= 0:
        return 0
    oldest = f"SELECT id FROM {table} ORDER BY {column} LIMIT ?"  # noqa: S608
    return connection.execute(f"DELETE FROM {table} WHERE id IN ({oldest})", (surplus,)).rowcount  # noqa: S608
