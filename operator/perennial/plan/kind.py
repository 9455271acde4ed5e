"""What a kind is: the one description that CRDs, rights, wiring, figures, plugin and tests read."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from dataclasses import field as given
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from pydantic import ValidationError

from perennial.manifests.manifest import Manifest
from perennial.manifests.resources import Resource
from perennial.plan.actions import Plan
from perennial.plan.observed import Cache
from perennial.plan.view import View
from perennial.terms import reasons
from perennial.terms.kube import Condition
from perennial.terms.names import GROUP, VERSION, KindName
from perennial.terms.part import Part
from perennial.terms.text import complaint, place

Seen = TypeVar("Seen")
"""What the kind's `observe` returns and its `plan` judges."""
Status = TypeVar("Status", bound=Part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Printed:
    """A column of `kubectl get`; `wide` ones show with `-o wide` alone."""

    name: str
    path: str
    type: str = "string"
    description: str
    wide: bool = False


def condition_path(type_: str, field: str = "status") -> str:
    """Return a column's path to a condition."""
    return f'.status.conditions[?(@.type=="{type_}")].{field}'


AGE = Printed(name="Age", path=".metadata.creationTimestamp", type="date", description="How long it exists.")

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
    columns: tuple[Printed, ...]
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
    renamed: Mapping[str, str] = given(default_factory=dict)
    """Of fields that the last release wrote in another way: path (`slos[]`) → the sentence that says what to write."""
    ended: Callable[[Manifest], bool] = lambda _: False
    """Whether nothing will ever be done with an object any more, so that it need not be read."""
    unreadable_summary: Literal["False", "Unknown"] = "False"
    """What sums up an object whose spec can't be followed. A run that has not ended has not failed, so nobody knows."""

    @property
    def name(self) -> str:
        """Return the name, as `kind:` has it."""
        return self.names.kind

    @property
    def resource(self) -> Resource:
        """Return where its objects are kept."""
        return Resource(GROUP, VERSION, self.names.plural, self.names.kind, owned=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """Why an object's spec can't be followed: a condition's reason, and which field must be changed into what."""

    reason: reasons.Reason
    message: str
    summary: tuple[str, str]
    """The type of the condition that sums the object up, and its status."""


def unreadable(kind: Kind[Any], manifest: Manifest) -> Unreadable | None:
    """Return why this release can't follow an object's spec; None: it can.

    The API server drops fields that its definition of the kind does not know, so what the last release wrote under
    another name is missing.
    """
    try:
        kind.spec.model_validate(manifest.get("spec", {}))
    except ValidationError as error:
        found = error.errors()
        # A list of which no element could be read is said to be too short, too.
        own = [each for each in found if not any(_within(other["loc"], each["loc"]) for other in found)]
        wrong = {re.sub(r"\[\d+\]", "[]", place(each["loc"])) for each in own}
        hints = dict.fromkeys(hint for path, hint in kind.renamed.items() if path in wrong)
        errors = [{**each, "loc": ("spec", *each["loc"])} for each in own[:3]]
        said = (f"{complaint(errors)}.", *hints, "Nothing is touched meanwhile.")
        return Unreadable(
            reason=reasons.SPEC_OUTDATED if hints else reasons.SPEC_INVALID,
            message=" ".join((*said, "See docs/upgrading.md.") if hints else said),
            summary=(kind.names.summary, kind.unreadable_summary),
        )
    return None


def _within(path: tuple[str | int, ...], other: tuple[str | int, ...]) -> bool:
    return len(path) > len(other) and path[: len(other)] == other


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


GATE_METRICS = (
    "Release 0.2 had a gate's metric in `name` and `threshold`: write, for example, "
    '`{name: missed, falseNegativeRate: {threshold: "0.5"}, maxRegression: "0.02"}`.'
)
"""What is said of a gate of the last release, wherever it stands."""
TOO_MANY_METRICS = "Release 0.2 took up to 16 metrics in a gate: keep those that decide, 10 at most."

CONDITIONS: Figure[Any] = Figure(
    name="perennial_condition",
    text="1 for the status and reason that a condition has: Ready, Succeeded, Stalled, SLOsMet.",
    labels=("kind", "type", "status", "reason"),
    read=_conditions,
)
"""The figure that all kinds have."""
