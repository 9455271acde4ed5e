"""What a kind is: the one description that CRDs, rights, wiring, figures, plugin and tests read."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from perennial.manifests.manifest import Manifest
from perennial.manifests.resources import Resource
from perennial.plan.actions import Plan
from perennial.plan.observed import Cache
from perennial.plan.view import View
from perennial.terms.kube import Condition
from perennial.terms.names import GROUP, VERSION, KindName
from perennial.terms.part import Part

Seen = TypeVar("Seen")
"""What the kind's `observe` returns and its `plan` judges."""
Status = TypeVar("Status", bound=Part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of `kubectl get`; `wide` ones show with `-o wide` alone."""

    name: str
    path: str
    type: str = "string"
    description: str
    wide: bool = False


def condition_path(type_: str, field: str = "status") -> str:
    """Return a column's path to a condition."""
    return f'.status.conditions[?(@.type=="{type_}")].{field}'


AGE = Column(name="Age", path=".metadata.creationTimestamp", type="date", description="How long it exists.")

Sample = tuple[tuple[str, ...], float]
"""The values of a figure's labels, and its value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure(Generic[Status]):
    """A gauge about an object: what it tells, its labels after namespace and name, and how it is read.

    `read` gets the object as it is stored and its status.
    """

    name: str
    text: str
    labels: tuple[str, ...] = ()
    read: Callable[[Manifest, Status], Iterable[Sample]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Kind(Generic[Seen]):
    """Everything about a kind that more than its planner must know."""

    names: KindName
    description: str
    spec: type[Part]
    status: type[Part]
    columns: tuple[Column, ...]
    observe: Callable[[View, str, str], Seen | None]
    """Looks at the object of a namespace and name; None where there is none (any more)."""
    plan: Callable[[Seen, datetime], Plan]
    looks_at: Mapping[str, Callable[[Cache, Manifest], Iterable[str]]]
    """By another kind: from a changed object of it to the names of those of this kind that look at it.

    They are of the same namespace. An object of any release may come, so a field that is missing is no error.
    """
    registered_model: Callable[[Manifest], str | None] = lambda _: None
    """The name (in its namespace) of the registered model that an object looks at; None: it looks at none."""
    figures: tuple[Figure[Any], ...] = ()
    immutable_spec: str | None = None
    """The sentence that refuses any change of spec but to `suspend`; None: spec may change."""
    rules: tuple[tuple[str, str], ...] = ()
    """What must hold of name and spec together, in CEL, with the sentence that says so."""
    services: bool = False
    """Whether Services are named after it, whose names begin with a letter (RFC 1035)."""

    @property
    def name(self) -> str:
        """Return the name, as `kind:` has it."""
        return self.names.kind

    @property
    def resource(self) -> Resource:
        """Return where its objects are kept."""
        return Resource(GROUP, VERSION, self.names.plural, self.names.kind, owned=False)


def field(manifest: Manifest, *path: str) -> Any:
    """Return a field of an object that any release may have written; None where it is missing."""
    found: Any = manifest
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def number(value: float | datetime | None) -> Iterator[Sample]:
    """Yield a number, or a time as seconds since 1970, if it is there."""
    if value is not None:
        yield (), value.timestamp() if isinstance(value, datetime) else float(value)


_TELLING = frozenset({"Ready", "Succeeded", "Stalled", "SLOsMet"})
"""The conditions that say how an object is; the others say how it got there."""


def _conditions(manifest: Manifest, status: Any) -> Iterator[Sample]:
    conditions: tuple[Condition, ...] = status.conditions
    for each in conditions:
        if each.type in _TELLING:
            yield (manifest["kind"], each.type, each.status, each.reason), 1


CONDITIONS: Figure[Any] = Figure(
    name="perennial_condition",
    text="1 for the status and reason that a condition has: Ready, Succeeded, Stalled, SLOsMet.",
    labels=("kind", "type", "status", "reason"),
    read=_conditions,
)
"""The figure that all kinds have."""
