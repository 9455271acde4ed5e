"""What a message is: immutable, camelCase on the wire."""

from pydantic import BaseModel, ConfigDict

from perennial.terms.part import camel


class Wire(BaseModel):
    """A message: immutable, camelCase on the wire.

    What a newer collector tells beyond this is passed over; what a newer operator asks beyond this is refused
    (`Asked`), because a wish must not be half fulfilled.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        alias_generator=camel,
    )


class Asked(Wire):
    """A part of what the operator asks for: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")
