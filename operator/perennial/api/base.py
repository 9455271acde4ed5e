"""The shape all parts of the API share: immutable, camelCase, with bounds that end up in the CRD."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

GROUP = "perennial.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"


def camel(name: str) -> str:
    """Return the JSON name of a Python field: `step_started_time` → `stepStartedTime`."""
    first, *rest = name.rstrip("_").split("_")
    return first + "".join(word.title() for word in rest)


class Part(BaseModel):
    """A part of a custom resource.

    Fields that a newer CRD may have added are ignored on reading: the API server has judged them, and strict clients
    refuse what the CRD does not know.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        alias_generator=camel,
    )

    def json_data(self) -> dict[str, Any]:
        """Return plain JSON data with absent optionals left out, as it is written to the API server."""
        return self.model_dump(mode="json", exclude_none=True)


def rules(*pairs: tuple[str, str], **more: Any) -> dict[str, Any]:
    """Return the schema extra that makes the API server hold each (CEL rule, sentence that says what must hold)."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in pairs], **more}


def exactly_one_of(*names: str) -> tuple[str, str]:
    """Return the rule that exactly one of some optional members is set."""
    count = " + ".join(f"(has(self.{name}) ? 1 : 0)" for name in names)
    return f"{count} == 1", f"exactly one of {', '.join(names)} must be set"


def more_than_0(name: str) -> str:
    """Return the rule that an optional quantity is more than 0; its form is the pattern's affair."""
    amount = f"string(self.{name})"
    return f"!has(self.{name}) || !isQuantity({amount}) || quantity({amount}).compareTo(quantity('0')) > 0"


def own_variables(*names: str) -> tuple[str, str]:
    """Return the rule that `env` sets none of the variables that Perennial sets itself: they would be dropped."""
    listed = ", ".join(f"'{name}'" for name in names)
    return (
        f"!has(self.env) || self.env.all(e, !(e.name in [{listed}]) && !e.name.startsWith('PERENNIAL_'))",
        f"env must not set {', '.join(names)} or what begins with PERENNIAL_: Perennial sets them",
    )


def _utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("a moment must have a time zone, such as Z")
    return value.astimezone(UTC).replace(microsecond=0)


Time = Annotated[
    datetime,
    AfterValidator(_utc),
    PlainSerializer(lambda value: value.strftime("%Y-%m-%dT%H:%M:%SZ"), return_type=str),
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


class Condition(Part):
    """One observation of an object's state, as Kubernetes' API conventions have it."""

    type: Annotated[str, Field(max_length=316, description="What is observed.")]
    status: Annotated[Literal["True", "False", "Unknown"], Field(description="Whether it is so.")]
    reason: Annotated[
        str,
        Field(
            min_length=1,
            max_length=1024,
            pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
            description="Why, in one CamelCase word.",
        ),
    ]
    message: Annotated[str, Field(max_length=32768, description="Why, for people, and what to do about it.")]
    last_transition_time: Annotated[Time, Field(description="When its status changed last.")]
    observed_generation: Annotated[int, Field(ge=0, description="The generation of the spec that it speaks of.")]


Conditions = Annotated[
    tuple[Condition, ...],
    Field(max_length=16, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}),
]


class EnvVar(Part):
    """An environment variable with a literal value."""

    name: Annotated[
        str,
        Field(
            min_length=1, max_length=253, pattern=r"^[-._a-zA-Z][-._a-zA-Z0-9]*$", description="The variable's name."
        ),
    ]
    value: Annotated[str, Field(max_length=4096, description="Its value; may refer to Perennial's as $(NAME).")] = ""


EnvVars = Annotated[
    tuple[EnvVar, ...],
    Field(max_length=64, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}),
]

Words = Annotated[tuple[Annotated[str, Field(max_length=4096)], ...], Field(max_length=64)]
"""A command or its arguments."""

Image = Annotated[
    str,
    Field(
        max_length=512,
        json_schema_extra=rules(
            (
                (
                    "self.matches('^([a-zA-Z0-9]([-a-zA-Z0-9.]*[a-zA-Z0-9])?(:[0-9]+)?/)?"
                    "[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*"
                    "(:[A-Za-z0-9_][-A-Za-z0-9_.]{0,127})?(@sha256:[0-9a-f]{64})?$')"
                ),
                "must be an image's reference, such as registry.example/team/trainer:1.2",
            )
        ),
    ),
]
"""A container image's reference."""


_RESOURCE = "k in ['cpu', 'memory', 'ephemeral-storage'] || k.startsWith('hugepages-') || k.contains('/')"


class Resources(Part):
    """What a container asks for and may use at most, as in a Pod."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                (
                    "!has(self.requests) || !has(self.limits) || self.requests.all(k, !(k in self.limits) || "
                    "quantity(string(self.requests[k])).compareTo(quantity(string(self.limits[k]))) <= 0)"
                ),
                "requests must not exceed limits",
            ),
            (
                (
                    "(!has(self.requests) || self.requests.all(k, !string(self.requests[k]).startsWith('-'))) && "
                    "(!has(self.limits) || self.limits.all(k, !string(self.limits[k]).startsWith('-')))"
                ),
                "requests and limits must not be negative",
            ),
            (
                (
                    f"(!has(self.requests) || self.requests.all(k, {_RESOURCE})) && "
                    f"(!has(self.limits) || self.limits.all(k, {_RESOURCE}))"
                ),
                "requests and limits are of cpu, memory, ephemeral-storage or hugepages-…, or have a domain's prefix",
            ),
            (
                (
                    "!has(self.requests) || self.requests.all(k, !k.contains('/') || "
                    "(has(self.limits) && k in self.limits && "
                    "quantity(string(self.requests[k])).compareTo(quantity(string(self.limits[k]))) == 0))"
                ),
                "requests of resources with a domain's prefix, such as nvidia.com/gpu, must be given as equal limits",
            ),
        )
    )

    requests: Annotated[
        dict[str, Quantity], Field(max_length=16, description="What it asks for, by resource (cpu, memory, …).")
    ] = {}
    limits: Annotated[
        dict[str, Quantity], Field(max_length=16, description="What it may use at most, by resource.")
    ] = {}
