"""Keys of objects, and where the kinds that the operator reads or writes are kept."""

from typing import Final, NamedTuple

from perennial.manifests.resources import EVENT, LEASE, Resource
from perennial.plan.rights import WATCHED
from perennial.runtime.errors import Terminal
from perennial.terms import reasons


class Key(NamedTuple):
    """What is reconciled: one object of one kind, by name. It says nothing about what happened to it."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


_BY_KIND: Final = {(each.api_version, each.kind): each for each in (*WATCHED, LEASE, EVENT)}


def resource_of(api_version: str, kind: str) -> Resource:
    """Return where objects of this kind are kept.

    Raises:
        Terminal: the operator does not handle this kind.
    """
    found = _BY_KIND.get((api_version, kind))
    if found is None:
        raise Terminal(reasons.INVALID_OBJECT, f"the operator does not handle {api_version} {kind}")
    return found
