"""Forms of values: strings, numbers and moments with the bounds that the CRD has."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer

from perennial.terms.text import rfc3339


def _utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("a moment must have a time zone, such as Z")
    try:
        return value.astimezone(UTC).replace(microsecond=0)
    except OverflowError:
        raise ValueError("a moment must lie in the years 1 to 9999, in UTC") from None


Time = Annotated[
    datetime,
    AfterValidator(_utc),
    PlainSerializer(rfc3339, return_type=str),
    Field(json_schema_extra={"format": "date-time"}),
]
"""A moment, RFC 3339 in UTC, whole seconds."""


Name = Annotated[str, Field(min_length=1, max_length=46, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
"""The name of an object of Perennial's in the same namespace: 46 characters leave room for its children's names."""


ObjectName = Annotated[
    str,
    Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"),
]
"""The name of any other object in the same namespace."""


NamespaceName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
"""The name of a namespace. Only who is let in is ever named with one: references stay in their own."""


PartName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
"""The name of an item in a list of a spec: an SLO, an expectation."""


ModelName = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_. ]*[A-Za-z0-9])?$")]
"""A registered model's name in MLflow."""


ModelVersionName = Annotated[str, Field(min_length=1, max_length=20, pattern=r"^[1-9][0-9]*$")]
"""A registered model's version in MLflow: a whole number, as a string."""


Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$", max_length=71)]
"""`sha256:` and 64 hexadecimal digits."""


Decimal = Annotated[str, Field(pattern=r"^-?[0-9]{1,12}(\.[0-9]{1,9})?$", max_length=24)]
"""A decimal number as a string: floats do not survive every JSON tool."""


Share = Annotated[str, Field(pattern=r"^(0\.[0-9]{1,9}|1(\.0{1,9})?|0)$", max_length=11)]
"""A share between "0" and "1", as a decimal string."""


OpenShare = Annotated[str, Field(pattern=r"^0\.[0-9]{0,8}[1-9][0-9]{0,8}$", max_length=19)]
"""A share above "0" and below "1", as a decimal string."""


Ratio = Annotated[
    str,
    Field(pattern=r"^(1\.[0-9]{0,8}[1-9][0-9]{0,8}|[2-9](\.[0-9]{1,9})?|[1-9][0-9](\.[0-9]{1,9})?)$", max_length=19),
]
"""A ratio above "1" and below "100", as a decimal string."""


def _text(value: object) -> object:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Quantity = Annotated[
    str,
    BeforeValidator(_text),
    Field(
        max_length=32,
        json_schema_extra={
            "x-kubernetes-int-or-string": True,
            "pattern": (
                r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))"
                r"(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$"
            ),
        },
    ),
]
"""A Kubernetes quantity: "500m", "2Gi", 1."""
