"""What is known of each watch without asking: that it lives, and that it tells what it must.

Every watch is asked to end after less than a minute, and goes on from where it was. So each shows something in time: a
change, a bookmark, or the API server's orderly end; one that does not is dead, whatever its connection looks like. And
every write of ours comes back as a report, as does the change that made one fail; where none comes, that is a reason to
look. A cache that is fed by watches which pass both needs no lists to be believed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from perennial.manifests.resources import Resource
from perennial.runtime.clock import Clock
from perennial.runtime.resources import Key

WATCH_SECONDS: Final = 55
"""How long a watch lasts, at most. Bookmarks alone would not do: a kind that does not change has one only when etcd
reports progress, which by its default takes ten minutes."""
SILENT_SECONDS: Final = 72.0
"""After so long without a sign a watch is dead. kopf has begun a silent stream anew by then, after 70 s, in vain."""
_STAYS_DEAD_SECONDS: Final = 180.0
"""A watch that was begun anew would have shown something by now."""
_ECHO_SECONDS: Final = 15.0
"""How long the report of our own write may take; kopf needs some seconds when a thousand objects change at once."""


class Scope(NamedTuple):
    """What one watch is on: a kind, in one namespace or in all (None)."""

    resource: Resource
    namespace: str | None

    def __str__(self) -> str:
        return f"{self.resource.plural} in {self.namespace or 'all namespaces'}"


@dataclass(slots=True)
class _Signs:
    """When a watch showed what (by the clock's seconds)."""

    heard: float
    """Anything at all: a change, a bookmark, its orderly end."""
    reported: float
    """A change, which went all the way to the cache."""
    compared: float
    """It did not show it, a list did: the last time the cache was compared with one."""


class Watches:
    """All watches of one process. `heard` may be called from any thread."""

    def __init__(self, resources: Sequence[Resource], namespaces: Sequence[str], clock: Clock) -> None:
        self._clock = clock
        self._cluster_wide = not namespaces
        now = clock.monotonic()
        self._signs = {
            Scope(resource, namespace): _Signs(now, now, now)
            for resource in resources
            for namespace in (namespaces or (None,))
        }
        self._scopes = {(scope.resource.kind, scope.namespace): scope for scope in self._signs}
        self._unechoed: dict[Key, tuple[int, float]] = {}

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """Return what is watched, in the order in which it should be listed."""
        return tuple(self._signs)

    def heard(self, scope: Scope) -> None:
        """Take note that something came through a watch's connection."""
        self._signs[scope].heard = self._clock.monotonic()

    def reported(self, key: Key, version: int) -> None:
        """Take note that a watch reported an object, or its end, at a resourceVersion."""
        self._signs[self._scope(key)].reported = self._clock.monotonic()
        expected = self._unechoed.get(key)
        if expected is not None and version >= expected[0]:
            del self._unechoed[key]

    def wrote(self, key: Key, version: int) -> None:
        """Take note that we wrote an object: its watch has to report it at this resourceVersion or a later one."""
        self._unechoed[key] = (version, self._clock.monotonic())

    def missing(self, key: Key, version: int) -> None:
        """Take note that an object changed, at this resourceVersion or later: a write of ours met a conflict.

        Unlike `wrote` it does not begin the time anew, because the same write is tried again and again.
        """
        self._unechoed.setdefault(key, (version, self._clock.monotonic()))

    def compared(self, scope: Scope, asked: float) -> None:
        """Take note that the cache was compared with a list that was asked for then: nothing from before is missing."""
        self._signs[scope].compared = self._clock.monotonic()
        for key in [key for key, (_, since) in self._unechoed.items() if since <= asked and self._scope(key) == scope]:
            del self._unechoed[key]

    def last_report(self, scope: Scope) -> float:
        """Return when a watch last reported a change."""
        return self._signs[scope].reported

    def silent_seconds(self, scope: Scope) -> float:
        """Return for how long nothing was heard from a watch."""
        return self._clock.monotonic() - self._signs[scope].heard

    def longest_silence(self, resource: Resource) -> float:
        """Return for how long nothing was heard from the quietest watch of a kind."""
        return max(self.silent_seconds(scope) for scope in self._signs if scope.resource == resource)

    def silent(self) -> list[Scope]:
        """Return the watches that are dead and were not compared with a list since they are, or not for as long."""
        now = self._clock.monotonic()
        return [
            scope for scope, signs in self._signs.items() if now - max(signs.heard, signs.compared) > SILENT_SECONDS
        ]

    def unechoed(self) -> list[Scope]:
        """Return the watches that did not report in time what they must have seen."""
        now = self._clock.monotonic()
        late = {self._scope(key) for key, (_, since) in self._unechoed.items() if now - since > _ECHO_SECONDS}
        return [scope for scope in self._signs if scope in late]

    def answered(self, scope: Scope) -> bool:
        """Say whether a list worked while the watch was silent already: the API server is there, the watch is not."""
        signs = self._signs[scope]
        return signs.compared - signs.heard > SILENT_SECONDS

    def dead(self) -> Scope | None:
        """Return a watch that stays dead, though the API server answers."""
        return next(
            (
                scope
                for scope in self._signs
                if self.silent_seconds(scope) > _STAYS_DEAD_SECONDS and self.answered(scope)
            ),
            None,
        )

    def _scope(self, key: Key) -> Scope:
        return self._scopes[key.kind, None if self._cluster_wide else key.namespace]
