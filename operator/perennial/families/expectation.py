"""What an expectation is: what it is asked of, which figures of the data it needs, and how it judges them.

Measuring is apart from judging: a worker measures files, piece by piece, for the figures that the expectations need,
and each judges the sum of the pieces. So all expectations together cost one reading of the data.
"""

import operator
import re
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import reduce
from typing import Any, ClassVar

from perennial.terms.part import Member
from perennial.terms.reasons import Reason
from perennial.terms.words import ColumnType, Verdict

ALL_TYPES = frozenset(ColumnType)
NUMBERS = frozenset({ColumnType.INTEGER, ColumnType.FLOAT})
UNTYPED = "null"
"""What Arrow calls the type of a column that a file has no value of: any type will do."""


class Severity(StrEnum):
    """Whether a failed expectation blocks the version (Error) or is only reported (Warn)."""

    ERROR = "Error"
    WARN = "Warn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate:
    """A figure of a column that merges: that of two pieces together is `merge` of theirs.

    `kernel` names the function of pyarrow.compute that makes it of a column's values, with its `options`
    (https://arrow.apache.org/docs/python/api/compute.html#aggregations); a list of values is a figure, too. NaN comes
    as a missing value, a moment as nanoseconds since 1970. None is the figure of nothing.
    """

    kernel: str
    merge: Callable[[Any, Any], Any]
    options: tuple[tuple[str, str], ...] = ()
    counts: bool = False
    """Whether it is a number of rows, and not made of their values."""

    def merged(self, figures: Iterable[Any]) -> Any:
        """Return the figure of all pieces; None if none of them has one."""
        known = [figure for figure in figures if figure is not None]
        return reduce(self.merge, known) if known else None


MISSING = Aggregate(kernel="count", options=(("mode", "only_null"),), counts=True, merge=operator.add)
LEAST = Aggregate(kernel="min", merge=min)
GREATEST = Aggregate(kernel="max", merge=max)


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnFacts:
    """A column of a file: its type (None: none of ours), what Arrow calls that, and the figures that were measured."""

    stored: str
    type: ColumnType | None
    figures: Mapping[Aggregate, Any] = field(default_factory=dict)

    def fits(self, types: frozenset[ColumnType]) -> bool:
        """Whether the column is of one of some types, or has no value at all."""
        return self.type in types or self.stored == UNTYPED


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """A file: its path, its rows, and those of its columns that were asked for and are there once."""

    path: str
    rows: int
    columns: Mapping[str, ColumnFacts] = field(default_factory=dict)
    repeated: tuple[str, ...] = ()
    """Names that several columns have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What an expectation judges: rows and, if it is asked of a column, the figures that it needs of that."""

    rows: int
    column: str = ""
    figures: Mapping[Aggregate, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, files: Iterable[FileFacts], column: str, needs: Iterable[Aggregate]) -> "Content":
        """Return what some files have together; each must have the column, if one is named."""
        known = tuple(files)
        pieces = [file.columns[column].figures for file in known] if column else []
        figures = {each: each.merged(piece.get(each) for piece in pieces) for each in needs}
        return cls(rows=sum(file.rows for file in known), column=column, figures=figures)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """Whether an expectation holds, in a sentence, and what was measured (None: it has no decimal)."""

    verdict: Verdict
    message: str
    value: str | None = None


class Expect(Member):
    """A kind of expectation: its settings are what users write, its docstring is what they read of it."""

    types: ClassVar[frozenset[ColumnType]]
    """The types of column that it can be asked of; empty: it is asked of a version as a whole, and of no column."""
    needs: ClassVar[frozenset[Aggregate]]
    """The figures of the column that it judges by."""
    reason: ClassVar[Reason]
    """Why the data is not fit where it does not hold."""
    example: ClassVar[Mapping[str, Any]]
    """Settings as somebody may write them."""

    @abstractmethod
    def judge(self, content: Content) -> Judgement:
        """Judge what all files have together."""
        raise NotImplementedError


def verdict(*, holds: bool) -> Verdict:
    """Return Pass or Fail."""
    return Verdict.PASS if holds else Verdict.FAIL


def as_decimal(value: float | str) -> str | None:
    """Return a number as the API's decimals are; None for one that they have no room for."""
    text = f"{float(value):.9f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
    return text if re.fullmatch(r"-?[0-9]{1,12}(\.[0-9]{1,9})?", text) else None


def between(low: object, high: object) -> str:
    """Return the words for an interval one end of which may be open (None)."""
    if low is None:
        return f"at most {high}"
    return f"at least {low}" if high is None else f"between {low} and {high}"
