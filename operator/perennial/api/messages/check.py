"""What a check is asked for, and what it reports: written by one side, read by the other, declared here alone."""

from typing import Annotated

from pydantic import Field

from perennial.api.dataset import Format, Schema
from perennial.api.messages.wire import Asked, Natural
from perennial.families.expectations import Expectation
from perennial.terms.finding import Finding
from perennial.terms.forms import Digest, Time
from perennial.terms.part import Part


class CheckRequest(Asked):
    """What the data of a Dataset must be. A worker that does not know a part of it does nothing of it."""

    dataset: str
    format: Format
    schema_: Annotated[Schema, Field(alias="schema")]
    expectations: tuple[Expectation, ...] = ()


class CheckReport(Part):
    """A source's content, and what is wrong with it.

    The counts are whole; of the findings there are as many as fit into a termination message, what blocks the version
    first.
    """

    digest: Digest
    rows: Natural
    bytes: Natural
    files: Natural
    from_: Annotated[Time | None, Field(alias="from")] = None
    to: Time | None = None
    violated: Natural = 0
    """Violations of the schema."""
    passed: Natural = 0
    """Expectations that hold."""
    warned: Natural = 0
    """Expectations of severity Warn that do not hold."""
    failed: Natural = 0
    """Expectations of severity Error that do not hold."""
    violations: tuple[Finding, ...] = ()
    unmet: tuple[Finding, ...] = ()
    """Expectations that do not hold."""

    @property
    def fit(self) -> bool:
        """Whether the content may be a version."""
        return self.violated == self.failed == 0
