"""What a check says: the agreement with the worker, held where the operator reads it."""

from typing import Annotated

from pydantic import Field

from perennial.api.dataset import Severity
from perennial.terms.forms import Digest, Time
from perennial.terms.part import Part

Count = Annotated[int, Field(ge=0)]


class Violation(Part):
    """Where the schema is violated."""

    file: str = ""
    column: str = ""
    message: str


class Outcome(Part):
    """How one expectation did."""

    name: str
    severity: Severity
    passed: bool
    observed: str = ""
    message: str = ""


class Check(Part):
    """A source's content, and what was found wrong with it."""

    digest: Digest
    rows: Count
    bytes: Count
    files: Count
    from_: Annotated[Time | None, Field(alias="from")] = None
    to: Time | None = None
    violations: tuple[Violation, ...] = ()
    expectations: tuple[Outcome, ...] = ()
