"""What a version's first complete cohorts showed, kept for as long as it has cohorts. On the database's thread."""

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime

from perennial.api.messages.policy import Policy
from perennial.collector.cohort_sums import key_of
from perennial.collector.cohorts import CohortRow
from perennial.collector.monitoring import agreed, matured_ends
from perennial.stats.outcomes import Reference

References = Mapping[tuple[str, str], Reference]
"""By version and the metric's key."""


def keep_references(
    connection: sqlite3.Connection, policy: Policy, rows: Sequence[CohortRow], now: datetime
) -> References:
    """Keep what became a reference since the last time; return all that are kept. One that is kept never changes."""
    known = _read(connection)
    if policy.monitoring is None:
        return known
    version, found = policy.arms[policy.stable].version, {}
    for slo in policy.slos:
        if slo.outcome is None:
            continue
        key = key_of(slo.outcome.metric())
        if (version, key) not in known:
            ends = [each for _, each in matured_ends(policy, slo.outcome, rows, now)]
            reference = slo.outcome.reference(ends, agreed(policy.monitoring))
            if reference is not None:
                found[version, key] = reference
    connection.executemany(
        "INSERT INTO reference VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        [(*of, each.cohorts, each.total, each.bad) for of, each in found.items()],
    )
    return {**known, **found}


def _read(connection: sqlite3.Connection) -> dict[tuple[str, str], Reference]:
    rows = connection.execute("SELECT version, metric, cohorts, total, bad FROM reference")
    return {(version, metric): Reference(*numbers) for version, metric, *numbers in rows}
