"""Whether surveyed files are what a Dataset's schema and expectations say. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from perennial.api.dataset import Column, ColumnType, Expectation, Range, Schema, Severity
from perennial.worker.survey import ColumnFacts, FileFacts


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that the schema forbids, in the first file that has it."""

    file: str
    column: str
    message: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an expectation did: what was seen, and what must hold."""

    name: str
    severity: Severity
    passed: bool
    observed: str
    message: str


def columns_needed(schema: Schema, expectations: Iterable[Expectation]) -> tuple[str, ...]:
    """Return the names of the columns that `violations` and `outcomes` look at."""
    names = [column.name for column in schema.columns]
    names += [expectation.column for expectation in expectations if expectation.column]
    return tuple(dict.fromkeys(names))


def violations(files: Sequence[FileFacts], schema: Schema) -> tuple[Violation, ...]:
    """Return what the schema forbids: a missing or repeated column, a wrong type, a missing value.

    The same fault in many files is one violation.
    """
    faults: defaultdict[tuple[str, str], list[FileFacts]] = defaultdict(list)
    for column in schema.columns:
        for file in files:
            fault = _fault(file, column)
            if fault:
                faults[column.name, fault].append(file)
    return tuple(
        Violation(found[0].path, column, fault if len(found) == 1 else f"{fault} (and in {len(found) - 1} more files)")
        for (column, fault), found in faults.items()
    )


def _fault(file: FileFacts, column: Column) -> str | None:
    if column.name in file.repeated:
        return "must be there once, but is there several times"
    facts = file.columns.get(column.name)
    if facts is None:
        return f"must be there, of type {column.type.value}"
    untyped = facts.stored == "null" and column.nullable
    if facts.type is not column.type and not untyped:
        return f"must be of type {column.type.value}, but holds {facts.stored}"
    if facts.missing and not column.nullable:
        return "must not have missing values"
    return None


def outcomes(files: Sequence[FileFacts], expectations: Iterable[Expectation]) -> tuple[Outcome, ...]:
    """Judge every expectation, in the order of the spec."""
    return tuple(_outcome(files, expectation) for expectation in expectations)


def _outcome(files: Sequence[FileFacts], expectation: Expectation) -> Outcome:
    def outcome(*, passed: bool, observed: str, message: str) -> Outcome:
        return Outcome(expectation.name, expectation.severity, passed, observed, message)

    if expectation.row_count is not None:
        rows, wanted = sum(file.rows for file in files), expectation.row_count
        inside = (wanted.min is None or rows >= wanted.min) and (wanted.max is None or rows <= wanted.max)
        return outcome(
            passed=inside, observed=f"{rows} rows", message=f"rows must number {_between(wanted.min, wanted.max)}"
        )
    name = expectation.column or ""
    absent = [file.path for file in files if name not in file.columns]
    if absent:
        return outcome(
            passed=False, observed=f"no column {name} in {absent[0]}", message=f"column {name} must be there once"
        )
    columns = [file.columns[name] for file in files]
    if expectation.range is not None:
        passed, observed = _in_range(columns, expectation.range)
        limits = _between(expectation.range.min, expectation.range.max)
        return outcome(passed=passed, observed=observed, message=f"values of {name} must be {limits}")
    missing = sum(column.missing for column in columns)
    return outcome(
        passed=not missing, observed=_plural(missing, "null"), message=f"{name} must not have missing values"
    )


def _in_range(columns: Sequence[ColumnFacts], wanted: Range) -> tuple[bool, str]:
    """Compare the bounds of a column's values with those that are wanted; missing values are notNull's affair."""
    other = [column.stored for column in columns if column.type not in (ColumnType.INTEGER, ColumnType.FLOAT)]
    other = [stored for stored in other if stored != "null"]
    if other:
        return False, f"{other[0]}, no numbers"
    lows = [column.low for column in columns if column.low is not None]
    highs = [column.high for column in columns if column.high is not None]
    if not lows:
        return True, "no values"
    low, high = min(lows), max(highs)
    inside = (wanted.min is None or low >= Decimal(wanted.min)) and (wanted.max is None or high <= Decimal(wanted.max))
    return inside, f"{_number(low)} to {_number(high)}"


def _between(low: Any, high: Any) -> str:
    if low is None:
        return f"at most {high}"
    return f"at least {low}" if high is None else f"between {low} and {high}"


def _number(value: Decimal) -> str:
    return str(value) if value == value.to_integral_value() else f"{float(value):.6g}"


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
