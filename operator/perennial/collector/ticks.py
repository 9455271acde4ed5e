"""The tables of a canary: policy, ticks, the routers' counters and the brake. All runs on the database's thread."""

import sqlite3
from collections.abc import Mapping
from time import time

from pydantic import ValidationError

from perennial.api.messages.policy import Policy
from perennial.api.messages.state import Brake
from perennial.collector.database import read_setting, write_setting
from perennial.collector.router_stats import Requests, Snapshot
from perennial.stats.evidence import Tick, Ticks

KEEP_SECONDS = 86400.0
"""How long the ticks of an ended canary are kept."""
_POLICY = "policy"


def read_policy(connection: sqlite3.Connection) -> Policy | None:
    """Return the policy that was put last; None if there is none that this version understands.

    After a downgrade, the policy may ask for what is unknown here. Then the routers keep their weights until the
    operator has put one again; a brake is kept apart from it and stays.
    """
    text = read_setting(connection, _POLICY)
    try:
        return None if text is None else Policy.model_validate_json(text)
    except ValidationError:
        return None


def write_policy(connection: sqlite3.Connection, policy: Policy, baselines: Mapping[str, Snapshot] | None) -> None:
    """Write the policy down; with `baselines`, a new canary's counting starts from them."""
    write_setting(connection, _POLICY, policy.model_dump_json())
    if baselines is not None:
        connection.execute("DELETE FROM router")
        write_baselines(connection, baselines)


def read_baselines(connection: sqlite3.Connection) -> dict[str, Snapshot]:
    """Return the routers' counters at the last tick, by address."""
    rows = connection.execute("SELECT address, uptime, a_total, a_bad, b_total, b_bad FROM router")
    return {row[0]: Snapshot(row[1], Requests(row[2], row[3]), Requests(row[4], row[5])) for row in rows}


def write_baselines(connection: sqlite3.Connection, baselines: Mapping[str, Snapshot]) -> None:
    """Write the routers' counters down; addresses that are gone are forgotten."""
    known = {row[0] for row in connection.execute("SELECT address FROM router")}
    connection.executemany("DELETE FROM router WHERE address = ?", [(a,) for a in known - set(baselines)])
    connection.executemany(
        "INSERT OR REPLACE INTO router VALUES (?, ?, ?, ?, ?, ?)",
        [(a, s.uptime, s.a.total, s.a.bad, s.b.total, s.b.bad) for a, s in sorted(baselines.items())],
    )


def read_ticks(connection: sqlite3.Connection, canary: str) -> Ticks:
    """Return all ticks of a canary, in order."""
    columns = ", ".join(Tick._fields)
    rows = connection.execute(f"SELECT {columns} FROM tick WHERE canary = ? ORDER BY id", (canary,))  # noqa: S608
    return Ticks.of(Tick(*row) for row in rows)


def write_tick(
    connection: sqlite3.Connection,
    canary: str,
    tick: Tick,
    baselines: Mapping[str, Snapshot],
    brake: Brake | None,
) -> None:
    """Write a tick down together with the counters it was counted up to, and the brake if it was pulled on it."""
    columns, marks = ", ".join(Tick._fields), ", ".join("?" * len(Tick._fields))
    connection.execute(f"INSERT INTO tick (canary, {columns}) VALUES (?, {marks})", (canary, *tick))  # noqa: S608
    write_baselines(connection, baselines)
    if brake is not None:
        connection.execute("INSERT OR IGNORE INTO brake VALUES (?, ?)", (canary, brake.model_dump_json()))


def read_brake(connection: sqlite3.Connection, canary: str) -> Brake | None:
    """Return the brake of a canary, or None if it was never pulled."""
    row = connection.execute("SELECT value FROM brake WHERE canary = ?", (canary,)).fetchone()
    return None if row is None else Brake.model_validate_json(row[0])


def prune_ticks(connection: sqlite3.Connection, current: str | None) -> int:
    """Delete old ticks of canaries that have ended; return how many."""
    ended = "DELETE FROM tick WHERE canary IS NOT ? AND time < ?"
    return connection.execute(ended, (current, time() - KEEP_SECONDS)).rowcount
