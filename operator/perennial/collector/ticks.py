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
_REQUESTS = "requests"


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
        write_baselines(connection, baselines)


def read_baselines(connection: sqlite3.Connection) -> dict[str, Snapshot]:
    """Return the routers' counters at the last tick, by address."""
    counted: dict[tuple[str, str], Requests] = {}
    for address, slot, total, bad in connection.execute(
        "SELECT address, slot, n, total FROM router_sum WHERE signal = ?", (_REQUESTS,)
    ):
        counted[address, slot] = Requests(total, int(bad))
    return {
        address: Snapshot(age, counted[address, "a"], counted[address, "b"])
        for address, age in connection.execute("SELECT address, age FROM router")
    }


def write_baselines(connection: sqlite3.Connection, baselines: Mapping[str, Snapshot]) -> None:
    """Write the routers' counters down; addresses that are gone are forgotten."""
    connection.execute("DELETE FROM router")
    connection.execute("DELETE FROM router_sum")
    connection.executemany(
        "INSERT INTO router VALUES (?, ?, NULL, NULL)", [(a, s.uptime) for a, s in sorted(baselines.items())]
    )
    connection.executemany(
        "INSERT INTO router_sum VALUES (?, ?, ?, '', ?, ?, ?)",
        [
            (address, _REQUESTS, slot, requests.total, requests.bad, requests.bad)
            for address, snapshot in sorted(baselines.items())
            for slot, requests in (("a", snapshot.a), ("b", snapshot.b))
        ],
    )


def read_ticks(connection: sqlite3.Connection, canary: str) -> Ticks:
    """Return all ticks of a canary, in order."""
    rows = connection.execute(
        "SELECT t.time, t.step, t.weight, c.n, c.total, s.n, s.total FROM tick t "
        "JOIN tick_sum c ON c.tick = t.id AND c.signal = ? AND c.slot = 'candidate' "
        "JOIN tick_sum s ON s.tick = t.id AND s.signal = ? AND s.slot = 'stable' "
        "WHERE t.canary = ? ORDER BY t.id",
        (_REQUESTS, _REQUESTS, canary),
    )
    return Ticks.of(Tick(*row) for row in rows)


def write_tick(
    connection: sqlite3.Connection,
    canary: str,
    tick: Tick,
    baselines: Mapping[str, Snapshot],
    brake: Brake | None,
) -> None:
    """Write a tick down together with the counters it was counted up to, and the brake if it was pulled on it."""
    number = connection.execute(
        "INSERT INTO tick (canary, time, step, weight) VALUES (?, ?, ?, ?)", (canary, tick.time, tick.step, tick.weight)
    ).lastrowid
    connection.executemany(
        "INSERT INTO tick_sum VALUES (?, ?, ?, '', ?, ?, ?)",
        [
            (number, _REQUESTS, "candidate", tick.candidate_total, tick.candidate_bad, tick.candidate_bad),
            (number, _REQUESTS, "stable", tick.stable_total, tick.stable_bad, tick.stable_bad),
        ],
    )
    write_baselines(connection, baselines)
    if brake is not None:
        connection.execute("INSERT OR IGNORE INTO brake VALUES (?, ?)", (canary, brake.model_dump_json()))


def read_brake(connection: sqlite3.Connection, canary: str) -> Brake | None:
    """Return the brake of a canary, or None if it was never pulled."""
    row = connection.execute("SELECT value FROM brake WHERE canary = ?", (canary,)).fetchone()
    return None if row is None else Brake.model_validate_json(row[0])


def prune_ticks(connection: sqlite3.Connection, current: str | None) -> int:
    """Delete old ticks of canaries that have ended; return how many."""
    ended = "FROM tick WHERE canary IS NOT ? AND time < ?"
    which = (current, time() - KEEP_SECONDS)
    connection.execute(f"DELETE FROM tick_sum WHERE tick IN (SELECT id {ended})", which)  # noqa: S608
    return connection.execute(f"DELETE {ended}", which).rowcount
