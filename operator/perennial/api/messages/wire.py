"""What a message is: immutable, camelCase on the wire."""

from typing import Annotated, Self

from pydantic import ConfigDict, Field, ValidationError

from perennial.terms.part import Frozen
from perennial.terms.text import complaint

Permille = Annotated[int, Field(ge=0, le=1000)]
"""A router's weight: 1000 are all requests."""

Natural = Annotated[int, Field(ge=0)]
"""A count."""


class Wire(Frozen):
    """A message: immutable, camelCase on the wire.

    What a newer collector tells beyond this is passed over; what a newer operator asks beyond this is refused
    (`Asked`), because a wish must not be half fulfilled.
    """


class Asked(Wire):
    """A part of what the operator asks for: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")

    @classmethod
    def read(cls, text: str | bytes) -> Self:
        """Read a whole message of JSON; parts of the API in it, which pass over unknown fields elsewhere, refuse them.

        Raises:
            ValueError: the message asks for what this release does not know, or is not of the form agreed upon; it
                says which field, and what must hold.
        """
        try:
            return cls.model_validate_json(text, extra="forbid")
        except ValidationError as error:
            raise ValueError(complaint(error.errors(include_url=False))) from None

    def written(self) -> str:
        """Return the message as JSON, what is absent left out: `read` takes it back."""
        return self.model_dump_json(exclude_none=True)
