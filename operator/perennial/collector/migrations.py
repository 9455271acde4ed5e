"""The collector's tables, as the numbered steps that make them out of an empty file or out of an older one.

Step n leads from version n - 1 to version n, in one transaction together with the version's number: a crash between two
steps leaves a file of the version in between, and opening it again goes on from there. A step that was ever released is
never changed; what a release needs differently is one more step, at the end.
"""

import sqlite3

_FIRST = """
CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

-- The counters of each router when its last tick was taken: a restart goes on from here.
CREATE TABLE router (
    address TEXT PRIMARY KEY, uptime INTEGER NOT NULL, a_total INTEGER NOT NULL, a_bad INTEGER NOT NULL,
    b_total INTEGER NOT NULL, b_bad INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE tick (
    id INTEGER PRIMARY KEY, canary TEXT NOT NULL, time REAL NOT NULL, step INTEGER NOT NULL, weight INTEGER,
    candidate_total INTEGER NOT NULL, candidate_bad INTEGER NOT NULL,
    stable_total INTEGER NOT NULL, stable_bad INTEGER NOT NULL
);
CREATE INDEX tick_of_canary ON tick (canary, id);

CREATE TABLE brake (canary TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE prediction (
    id TEXT PRIMARY KEY, time REAL NOT NULL, version TEXT NOT NULL, model_version TEXT NOT NULL, score REAL NOT NULL,
    label REAL
) WITHOUT ROWID;
CREATE INDEX prediction_by_time ON prediction (time);

-- Labels that came before their prediction.
CREATE TABLE waiting (id TEXT PRIMARY KEY, label REAL NOT NULL, received REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX waiting_by_time ON waiting (received);

CREATE TABLE cohort (
    start INTEGER NOT NULL, version TEXT NOT NULL, model_version TEXT NOT NULL,
    predictions INTEGER NOT NULL, labelled INTEGER NOT NULL, PRIMARY KEY (start, version)
) WITHOUT ROWID;
CREATE TABLE outcome (
    start INTEGER NOT NULL, version TEXT NOT NULL, metric TEXT NOT NULL, threshold REAL NOT NULL,
    total INTEGER NOT NULL, bad INTEGER NOT NULL, PRIMARY KEY (start, version, metric, threshold)
) WITHOUT ROWID;
"""

_LONG_TICKS = """
-- Ticks in long form: any number of signals, each a sum for a slot ("candidate" or "stable") and a group.
CREATE TABLE tick_sum (
    tick INTEGER NOT NULL, signal TEXT NOT NULL, slot TEXT NOT NULL, grp TEXT NOT NULL,
    n INTEGER NOT NULL, total REAL NOT NULL, squares REAL NOT NULL, PRIMARY KEY (tick, signal, slot, grp)
) WITHOUT ROWID;

-- Until here, answers were counted, and those with 5xx as bad; what else was to be counted nobody knows.
INSERT INTO tick_sum SELECT id, 'requests', 'candidate', '', candidate_total, candidate_bad, candidate_bad FROM tick;
INSERT INTO tick_sum SELECT id, 'requests', 'stable', '', stable_total, stable_bad, stable_bad FROM tick;
INSERT INTO tick_sum SELECT id, 'requests/answered', 'candidate', '', candidate_total, 0, 0 FROM tick;
INSERT INTO tick_sum SELECT id, 'requests/answered', 'stable', '', stable_total, 0, 0 FROM tick;
ALTER TABLE tick DROP COLUMN candidate_total;
ALTER TABLE tick DROP COLUMN candidate_bad;
ALTER TABLE tick DROP COLUMN stable_total;
ALTER TABLE tick DROP COLUMN stable_bad;

-- The counters of each router at its last look, with the step and the verified weight since then. What was counted up
-- to an upgrade isn't taken over: the routers are new ones then, too.
DROP TABLE router;
CREATE TABLE router (
    address TEXT PRIMARY KEY, age REAL NOT NULL, step INTEGER, weight INTEGER
) WITHOUT ROWID;
CREATE TABLE router_sum (
    address TEXT NOT NULL, signal TEXT NOT NULL, slot TEXT NOT NULL, grp TEXT NOT NULL,
    n INTEGER NOT NULL, total REAL NOT NULL, squares REAL NOT NULL, PRIMARY KEY (address, signal, slot, grp)
) WITHOUT ROWID;
"""

_COHORTS = """
-- What a corrected label was at first.
ALTER TABLE prediction ADD COLUMN was REAL;

-- Sums of losses for each metric and stratum of scores, so that what missing labels may be is known; `first_…`: by the
-- labels as they first were. Until here strata were not told apart: -1 is "any".
CREATE TABLE cohort_sum (
    start INTEGER NOT NULL, version TEXT NOT NULL, metric TEXT NOT NULL, stratum INTEGER NOT NULL,
    predictions INTEGER NOT NULL, labelled INTEGER NOT NULL,
    n INTEGER NOT NULL, total REAL NOT NULL, squares REAL NOT NULL,
    first_n INTEGER NOT NULL, first_total REAL NOT NULL, first_squares REAL NOT NULL,
    PRIMARY KEY (start, version, metric, stratum)
) WITHOUT ROWID;
INSERT INTO cohort_sum SELECT start, version, metric || '{"threshold": ' || threshold || '}', -1,
    predictions, labelled, total, bad, bad, total, bad, bad FROM outcome JOIN cohort USING (start, version);
DROP TABLE outcome;
ALTER TABLE cohort ADD COLUMN corrected INTEGER NOT NULL DEFAULT 0;

-- What a version's first complete cohorts showed: later ones are compared with it.
CREATE TABLE reference (
    version TEXT NOT NULL, metric TEXT NOT NULL, cohorts INTEGER NOT NULL, total REAL NOT NULL, bad REAL NOT NULL,
    PRIMARY KEY (version, metric)
) WITHOUT ROWID;

-- Who reports predictions, and how many it could not report.
CREATE TABLE reporter (id TEXT PRIMARY KEY, dropped INTEGER NOT NULL, seen REAL NOT NULL) WITHOUT ROWID;

INSERT INTO setting SELECT 'counting', json_object(
    'seconds', json_extract(value, '$.seconds'), 'delay', json_extract(value, '$.delay'), 'metrics', (
        SELECT json_group_array(json_object(
            json_extract(each.value, '$[0]'),
            json_object('threshold', CAST(json_extract(each.value, '$[1]') AS TEXT))
        )) FROM json_each(setting.value, '$.metrics') AS each
    )
) FROM setting WHERE name = 'plan' AND value != 'null';
DELETE FROM setting WHERE name = 'plan';
UPDATE setting
    SET value = json_remove(json_set(value, '$.unmatched', json_extract(value, '$.strangers')), '$.strangers')
    WHERE name = 'tally';
"""

STEPS: tuple[str, ...] = (
    _FIRST,
    _LONG_TICKS,
    _COHORTS,
)
"""The SQL of each step, in order. One more version of the database is one more line here."""

SCHEMA_VERSION = len(STEPS)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a database to the newest version. The connection must be in autocommit mode.

    Raises:
        ValueError: a newer version of Perennial wrote it.
        sqlite3.Error: a step failed; the database is then of the version before it, whole.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        raise ValueError(f"the database has schema version {version}; this collector reads up to {SCHEMA_VERSION}")
    for number, step in enumerate(STEPS[version:], start=version + 1):
        try:
            connection.executescript(f"BEGIN IMMEDIATE; {step} PRAGMA user_version = {number}; COMMIT;")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
