"""What a planner may see: the cache of watched objects and the facts that were fetched from outside the cluster."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from perennial.plan.actions import Call, Manifest

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact(Generic[T]):
    """An external fact. `value` is the last that was read (None: never), `error` why the latest read failed (None: it did not).

    An outage is thus a fact with an error: planners hold on it, they never fail on it.
    """

    value: T | None = None
    error: str | None = None


class Cache(Protocol):
    """The watched objects, as the API server last reported them. Reading is cheap and never blocks."""

    def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """Return the object, or None."""
        ...

    def list(self, kind: str, namespace: str) -> Sequence[Manifest]:
        """Return the namespace's objects of a kind, sorted by name."""
        ...

    def children(self, uid: str, kind: str) -> Sequence[Manifest]:
        """Return the objects of a kind whose controller owner has this uid, sorted by name."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CallResult:
    """What a call brought: its outcome as flat data (`{"runId": …}`), or the error that stopped it."""

    value: Mapping[str, str] | None = None
    error: str | None = None


class Results(Protocol):
    """Outcomes of calls in this process's life, by call (calls are hashable by content or compared by equality)."""

    def result(self, call: Call) -> CallResult | None:
        """Return the outcome of an equal call that was made before, or None."""
        ...
