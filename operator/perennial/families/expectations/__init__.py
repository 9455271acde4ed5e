"""What may be expected of data. `Expectation` is the list: one more kind is one more file and one more line here."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Self

from pydantic import Field, model_validator

from perennial.families.expectation import (
    ALL_TYPES,
    GREATEST,
    LEAST,
    MISSING,
    Aggregate,
    ColumnFacts,
    Content,
    Expect,
    FileFacts,
    Severity,
)
from perennial.families.expectations.not_null import NotNull
from perennial.families.expectations.range import Range
from perennial.families.expectations.row_count import RowCount
from perennial.terms import text
from perennial.terms.finding import Finding
from perennial.terms.forms import PartName
from perennial.terms.part import OneOf, camel
from perennial.terms.words import ColumnType, Verdict

__all__ = [
    "ALL_TYPES",
    "GREATEST",
    "LEAST",
    "MISSING",
    "Aggregate",
    "ColumnFacts",
    "Expect",
    "Expectation",
    "FileFacts",
    "Severity",
    "kinds",
    "type_rules",
]


def _column_rule(name: str, kind: type[Expect]) -> tuple[str, str]:
    """Return the rule that an expectation has a column, or has none."""
    if kind.types:
        return f"!has(self.{name}) || has(self.column)", f"{name} needs a column"
    return f"!has(self.{name}) || !has(self.column)", f"{name} must not have a column: it is of all rows"


class Expectation(OneOf):
    """Something the data must fulfil."""

    name: Annotated[PartName, Field(description="What the expectation is called in status and messages.")]
    column: Annotated[str | None, Field(min_length=1, max_length=128, description="The column that is looked at.")] = (
        None
    )
    severity: Annotated[Severity, Field(description="Error blocks the version, Warn is reported.")] = Severity.ERROR

    not_null: NotNull | None = None
    range: Range | None = None
    row_count: RowCount | None = None

    @classmethod
    def member_rules(cls) -> tuple[tuple[str, str], ...]:
        """Return the rules that a column is named where one is looked at, and only there: one for each member."""
        return tuple(_column_rule(camel(name), kind) for name, kind in cls.types.items())

    @model_validator(mode="after")
    def _column_where_one_is_looked_at(self) -> Self:
        expected = self.expectation()
        if bool(expected.types) != (self.column is not None):
            raise ValueError(_column_rule(self.chosen(), type(expected))[1])
        return self

    def expectation(self) -> Expect:
        """Return what is expected."""
        found = self.member()
        assert isinstance(found, Expect)
        return found

    def judge(self, files: Sequence[FileFacts]) -> Finding:
        """Judge what the files have together; where a single file is at fault, it is named."""
        expectation, column = self.expectation(), self.column or ""
        reason = expectation.reason
        if column:
            unfit = next((file for file in files if not _has(file, column, expectation.types)), None)
            if unfit is not None:
                message = f"{_typed(column, expectation.types)}, but {_what(unfit, column)}"
                return Finding(name=self.name, verdict=Verdict.FAIL, reason=reason, message=text.clip(message, 512))
        content = Content.of(files, column, expectation.needs)
        judged = expectation.judge(content)
        message = judged.message
        if column and judged.verdict is Verdict.FAIL and len(files) > 1:
            alone = (file for file in files if _fails(expectation, file, column))
            culprit = next(alone, None)
            message += f" ({culprit.path})" if culprit is not None else ""
        return Finding(
            name=self.name,
            verdict=judged.verdict,
            reason="" if judged.verdict is Verdict.PASS else reason,
            message=text.clip(message, 512),
            value=judged.value,
            samples=content.rows,
        )


def kinds() -> Mapping[str, type[Expect]]:
    """Return every kind of expectation by the name that users write."""
    return {camel(name): kind for name, kind in Expectation.types.items()}


def type_rules(expectations: str, columns: str) -> tuple[tuple[str, str], ...]:
    """Return the rules that a column that is looked at has a fitting type: of a list of expectations, one of columns.

    A column that the schema does not name may have any; the check sees.
    """
    return tuple(
        (
            (
                f"!has(self.{expectations}) || self.{expectations}.all(e, !has(e.{name}) || !has(e.column) || "
                f"self.{columns}.all(c, c.name != e.column || c.type in {_names(kind.types)}))"
            ),
            f"{name} needs a column of type {_either(kind.types)}",
        )
        for name, kind in kinds().items()
        if kind.types and kind.types != ALL_TYPES
    )


def _has(file: FileFacts, column: str, types: frozenset[ColumnType]) -> bool:
    return column in file.columns and file.columns[column].fits(types)


def _fails(expectation: Expect, file: FileFacts, column: str) -> bool:
    return expectation.judge(Content.of([file], column, expectation.needs)).verdict is Verdict.FAIL


def _typed(column: str, types: frozenset[ColumnType]) -> str:
    return f"column {column} must be there once" + ("" if types == ALL_TYPES else f", of type {_either(types)}")


def _what(file: FileFacts, column: str) -> str:
    if column in file.repeated:
        return f"{file.path} has it several times"
    return f"{file.path} holds {file.columns[column].stored}" if column in file.columns else f"{file.path} has none"


def _either(types: frozenset[ColumnType]) -> str:
    return " or ".join(_names(types))


def _names(types: frozenset[ColumnType]) -> list[str]:
    return [kind.value for kind in ColumnType if kind in types]
