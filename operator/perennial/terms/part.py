"""The shape all parts of the API and all messages share: immutable, camelCase, with bounds that end up in the CRD."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Generic, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, RootModel, model_validator

Value = TypeVar("Value")


def camel(name: str) -> str:
    """Return the JSON name of a Python field: `step_started_time` → `stepStartedTime`."""
    first, *rest = name.rstrip("_").split("_")
    return first + "".join(word.title() for word in rest)


class Frozen(BaseModel):
    """What all of them share."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        alias_generator=camel,
    )

    def but(self, **changes: Any) -> Self:
        """Return a copy with some fields changed, by their Python names, validated as if it had been read.

        Raises:
            TypeError: there is no such field.
            ValueError: the field does not take the value.
        """
        unknown = changes.keys() - type(self).model_fields.keys()
        if unknown:
            raise TypeError(f"{type(self).__name__} has no {', '.join(sorted(unknown))}")
        kept = {name: getattr(self, name) for name in type(self).model_fields if name not in changes}
        return type(self).model_validate(kept | changes)


class Part(Frozen):
    """A part of a custom resource.

    Fields that a newer CRD may have added are ignored on reading: the API server has judged them, and strict clients
    refuse what the CRD does not know.
    """

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


class Member(Part):
    """One of a family's members: what a user writes, and what it means. It is the type of a field of a `OneOf`."""


class Scalar(RootModel[Value], Generic[Value]):
    """A member whose settings are one value: `slo: misses` instead of `slo: {name: misses}`."""

    model_config = ConfigDict(frozen=True)


class OneOf(Part):
    """A part of which exactly one of the fields that hold a `Member` (or `Scalar`) is set: the field is its name.

    The list of those fields is the family's list: from it come the rule that the API server holds, and the refusal of
    an object none of whose members this release knows. Fields of other types may stand beside them.
    """

    members: ClassVar[tuple[str, ...]] = ()
    """The members' names in Python, in the order of the fields."""

    types: ClassVar[Mapping[str, type[Any]]] = MappingProxyType({})
    """The members' classes by those names."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        cls.types = MappingProxyType(dict(_members_of(cls)))
        cls.members = tuple(cls.types)
        extra = cls.model_config.get("json_schema_extra")
        given: dict[str, Any] = dict(extra) if isinstance(extra, dict) else {}
        known = given.get("x-kubernetes-validations", [])
        derived = (exactly_one_of(*map(camel, cls.members)), *cls.member_rules()) if cls.members else ()
        own = [{"rule": rule, "message": message} for rule, message in derived]
        new = [each for each in own if each not in known]
        if new:
            cls.model_config["json_schema_extra"] = given | {"x-kubernetes-validations": [*new, *known]}

    @classmethod
    def member_rules(cls) -> tuple[tuple[str, str], ...]:
        """Return what else the API server holds, derived from the members: (CEL rule, sentence) pairs."""
        return ()

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        chosen = [name for name in self.members if getattr(self, name) is not None]
        if len(chosen) != 1:
            names = ", ".join(camel(name) for name in self.members)
            found = " and ".join(camel(name) for name in chosen) or "none that this release knows"
            raise ValueError(f"exactly one of {names} must be set, but {found} is")
        return self

    def chosen(self) -> str:
        """Return the name of the member that is set, as users write it."""
        return camel(next(name for name in self.members if getattr(self, name) is not None))

    def member(self) -> Member | Scalar[Any]:
        """Return the member that is set."""
        found = next(getattr(self, name) for name in self.members if getattr(self, name) is not None)
        assert isinstance(found, Member | Scalar)
        return found


def _members_of(model: type[BaseModel]) -> Iterator[tuple[str, type[Any]]]:
    for name, field in model.model_fields.items():
        types = [each for each in (field.annotation, *get_args(field.annotation)) if isinstance(each, type)]
        yield from ((name, each) for each in types if issubclass(each, Member | Scalar))
