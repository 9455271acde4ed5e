"""What Kubernetes has and our API has alike: conditions, environment variables, images, resources."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from perennial.terms.forms import Quantity, Time
from perennial.terms.part import Part, rules


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
    ] = {}  # noqa: RUF012 - pydantic copies defaults
    limits: Annotated[
        dict[str, Quantity], Field(max_length=16, description="What it may use at most, by resource.")
    ] = {}  # noqa: RUF012 - pydantic copies defaults
