"""The tables of a canary: policy, ticks, the routers' counters and the brake. All runs on the database's thread."""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping
from json import dumps, loads
from time import time

import numpy as np

from perennial.api.messages.policy import Policy
from perennial.api.messages.state import Brake
from perennial.collector.counting import Baseline, Setting
from perennial.collector.database import read_setting, write_setting
from perennial.collector.signals import Key, Reading, known
from perennial.stats.dispersion import Dispersion
from perennial.stats.sums import Sums
from perennial.stats.ticks import Key as TickKey
from perennial.stats.ticks import Row, Tick, Ticks
from perennial.terms.words import Slot

KEEP_SECONDS = 86400.0
"""How long the ticks of an ended canary are kept."""
_POLICY, _BURSTS = "policy", "bursts"


def rows_of(counted: Mapping[Key, Row], candidate: Slot) -> Mapping[TickKey, Row]:
    """Return what was counted by what its slots are to the canary in slot `candidate`."""
    return {
        TickKey(signal, "candidate" if slot == candidate else "stable", group): row
        for (signal, slot, group), row in counted.items()
    }


def read_policy(connection: sqlite3.Connection) -> Policy | None:
    """Return the policy that was put last; None if there is none that this version understands.

    After an upgrade or a downgrade, the policy may ask for what is unknown here. Then the routers keep their weights
    until the operator has put one again; a brake is kept apart from it and stays.
    """
    text = read_setting(connection, _POLICY)
    try:
        return None if text is None else Policy.read(text)
    except ValueError:
        return None


def write_policy(connection: sqlite3.Connection, policy: Policy, baselines: Mapping[str, Baseline]) -> None:
    """Write the policy down, with the baselines that counting under it goes on from."""
    write_setting(connection, _POLICY, policy.model_dump_json())
    write_baselines(connection, baselines)


def read_bursts(connection: sqlite3.Connection) -> Dispersion:
    """Return what is known of how failures of the version that answers come in bursts."""
    text = read_setting(connection, _BURSTS)
    return Dispersion() if text is None else Dispersion.of(loads(text))


def write_bursts(connection: sqlite3.Connection, bursts: Dispersion) -> None:
    """Write it down."""
    write_setting(connection, _BURSTS, dumps(bursts.numbers()))


def read_baselines(connection: sqlite3.Connection) -> dict[str, Baseline]:
    """Return the routers' counters at the last tick, by address. Raises ValueError for a signal that is not known."""
    counters: dict[str, dict[Key, Sums]] = {}
    for address, signal, slot, group, n, total, squares in connection.execute("SELECT * FROM router_sum"):
        known(signal)
        counters.setdefault(address, {})[signal, slot, group] = Sums(n, total, squares)
    return {
        address: Baseline(Reading(age, counters.get(address, {})), Setting(step, weight))
        for address, age, step, weight in connection.execute("SELECT address, age, step, weight FROM router")
    }


def write_baselines(connection: sqlite3.Connection, baselines: Mapping[str, Baseline]) -> None:
    """Write the routers' counters down; addresses that are gone are forgotten."""
    connection.execute("DELETE FROM router")
    connection.execute("DELETE FROM router_sum")
    connection.executemany(
        "INSERT INTO router VALUES (?, ?, ?, ?)",
        [(address, each.reading.age, *each.setting) for address, each in sorted(baselines.items())],
    )
    connection.executemany(
        "INSERT INTO router_sum VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (address, *key, sums.n, sums.total, sums.squares)
            for address, each in sorted(baselines.items())
            for key, sums in each.reading.counters.items()
        ],
    )


def read_ticks(connection: sqlite3.Connection, series: str, after: float = 0.0) -> Ticks:
    """Return the ticks of a series that ended after a time, in order. Raises ValueError for an unknown signal."""
    which = (series, after)
    table = connection.execute(
        "SELECT id, time, step, ifnull(weight, -1) FROM tick WHERE canary = ? AND time > ? ORDER BY id", which
    )
    numbers, moments, steps, weights = np.array(table.fetchall(), float).reshape(-1, 4).T
    found: dict[TickKey, list[tuple[float, ...]]] = defaultdict(list)
    for signal, arm, group, *row in connection.execute(
        "SELECT s.signal, s.slot, s.grp, s.tick, s.n, s.total, s.squares FROM tick t JOIN tick_sum s ON s.tick = t.id "
        "WHERE t.canary = ? AND t.time > ?",
        which,
    ):
        found[TickKey(signal, arm, group)].append(tuple(row))
    rows = {key: np.full((len(numbers), 3), np.nan) for key in found}
    for key, listed in found.items():
        values = np.array(listed, float)
        rows[key][np.searchsorted(numbers, values[:, 0])] = values[:, 1:]
    return Ticks(moments, steps.astype(np.int64), weights.astype(np.int64), rows)


def write_ticks(
    connection: sqlite3.Connection,
    taken: Mapping[str, Iterable[Tick]],
    baselines: Mapping[str, Baseline],
    brake: Brake | None,
) -> None:
    """Write ticks down by series together with the counters they were counted up to, and the brake if it was pulled."""
    for series, tick in ((series, tick) for series, ticks in taken.items() for tick in ticks):
        number = connection.execute(
            "INSERT INTO tick (canary, time, step, weight) VALUES (?, ?, ?, ?)",
            (series, tick.time, tick.step, tick.weight),
        ).lastrowid
        connection.executemany(
            "INSERT INTO tick_sum VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(number, *key, *row) for key, row in tick.rows.items()],
        )
    write_baselines(connection, baselines)
    if brake is not None:
        connection.execute("INSERT OR IGNORE INTO brake VALUES (?, ?)", (brake.canary_id, brake.model_dump_json()))


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
