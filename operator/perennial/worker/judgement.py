"""Whether surveyed files are what a Dataset's schema says. Pure. Expectations judge themselves."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from perennial.api.dataset import Column, Schema
from perennial.families.expectations import ALL_TYPES, GREATEST, LEAST, MISSING, Aggregate, Expectation, FileFacts
from perennial.terms import reasons
from perennial.terms.finding import Finding
from perennial.terms.reasons import Reason
from perennial.terms.text import clip
from perennial.terms.words import ColumnType, Verdict
from perennial.worker import moments
from perennial.worker.measure import Needs

_HALF = "halffloat"


def needs(schema: Schema, expectations: Iterable[Expectation]) -> Mapping[str, Needs]:
    """Return what must be known of each column: how many values it lacks, and what expectations ask."""
    wanted: dict[str, dict[Aggregate, frozenset[ColumnType]]] = {
        each.name: {MISSING: ALL_TYPES} for each in schema.columns
    }
    if schema.time is not None:
        wanted[schema.time] |= dict.fromkeys((LEAST, GREATEST), frozenset({ColumnType.TIMESTAMP}))
    for each in expectations:
        if each.column is not None:
            figures, expected = wanted.setdefault(each.column, {}), each.expectation()
            for figure in expected.needs:
                figures[figure] = figures.get(figure, frozenset()) | expected.types
    return wanted


def violations(files: Sequence[FileFacts], schema: Schema) -> tuple[Finding, ...]:
    """Return what the schema forbids, and what makes a version useless: each fault once, in the first file that has it.

    A column that is missing, repeated or of another type; a value that is missing; an event time that can't be one. No
    rows at all, or no event time at all where the schema names their column: no run could use such a version.
    """
    found = [*_faults(files, schema)]
    if not sum(file.rows for file in files):
        found.insert(
            0, _finding("*", reasons.NO_ROWS, f"the data must have rows, but there is none in {_places(files)}")
        )
    elif schema.time is not None and not found and event_times(files, schema.time) is None:
        message = f"column {schema.time} must have event times, but there is none in {_places(files)}"
        found.append(_finding(schema.time, reasons.EVENT_TIMES_MISSING, message))
    return tuple(found)


def event_times(files: Iterable[FileFacts], column: str) -> tuple[int, int] | None:
    """Return the earliest and the latest event time, in nanoseconds since 1970; None: there is none."""
    figures = [file.columns[column].figures for file in files if column in file.columns]
    earliest = LEAST.merged(each.get(LEAST) for each in figures)
    latest = GREATEST.merged(each.get(GREATEST) for each in figures)
    return None if earliest is None or latest is None else (earliest, latest)


def _faults(files: Sequence[FileFacts], schema: Schema) -> Iterable[Finding]:
    found: defaultdict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for column in schema.columns:
        for file in files:
            fault = _fault(file, column, is_time=column.name == schema.time)
            if fault is not None:
                found[column.name, fault[0]].append((file.path, fault[1]))
    for (column_name, must), places in found.items():
        path, seen = places[0]
        more = f", and {len(places) - 1} more files alike" if len(places) > 1 else ""
        message = f"column {column_name} {must}, but {path} {seen}{more}"
        yield _finding(column_name, reasons.SCHEMA_VIOLATED, message)


def _fault(file: FileFacts, column: Column, *, is_time: bool) -> tuple[str, str] | None:
    """Return what must hold of a column, and what is so instead; None: nothing is wrong with it in this file."""
    facts = file.columns.get(column.name)
    if column.name in file.repeated:
        return "must be there once", "has it several times"
    if facts is None:
        return f"must be there, of type {column.type.value}", "has none"
    if not facts.fits(frozenset({column.type})) or (facts.type is not column.type and not column.nullable):
        hint = ": write it as float or double" if facts.stored == _HALF else ""
        return f"must be of type {column.type.value}", f"holds {facts.stored}{hint}"
    missing = facts.figures[MISSING] or 0
    if missing and not column.nullable:
        return "must not have missing values", f"has {missing:,} in {file.rows:,} rows"
    odd = next((each for each in _bounds(facts.figures) if not moments.sensible(each)), None) if is_time else None
    if odd is not None:
        return (
            "must have event times of the years 1678 to 2261, and none where it is not known",
            f"has {moments.as_text(odd)}",
        )
    return None


def _bounds(figures: Mapping[Aggregate, int | None]) -> Iterable[int]:
    return (each for each in (figures.get(LEAST), figures.get(GREATEST)) if each is not None)


def _finding(column: str, reason: Reason, message: str) -> Finding:
    return Finding(name=clip(f"schema/{column}", 256), verdict=Verdict.FAIL, reason=reason, message=clip(message, 512))


def _places(files: Sequence[FileFacts]) -> str:
    return files[0].path + (f" and {len(files) - 1} more files" if len(files) > 1 else "")
