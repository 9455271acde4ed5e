"""What a signal must say: which statistics it needs, and what they amount to.

A look at a source brings what it has counted since it began, per origin (a router). The collector keeps the last look;
what happened between the two is the difference.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from perennial.stats.sums import Sums
from perennial.terms.words import Slot

Key = tuple[str, Slot, str]
"""A signal, the slot it was counted for, and the group within it ("": all)."""
Counters = Mapping[Key, Sums]


class Kind(Enum):
    """How a signal's values go on from look to look.

    COUNT only grows while its origin lives: one whose `n` went down tells that the origin began anew, from 0. DERIVED
    grows too, but is reckoned from counters that are read one after another: what a look shows less than the one
    before, a later one shows. LEVEL is what there is at the time of the look, and may fall.
    """

    COUNT = "count"
    DERIVED = "derived"
    LEVEL = "level"


@dataclass(frozen=True, slots=True)
class Reading:
    """What one origin has counted since it began, `age` seconds ago."""

    age: float
    counters: Counters


class SignalSource(Protocol):
    """Somewhere to look for signals."""

    async def look(self) -> Mapping[str, Reading]:
        """Return what every origin that answered in time has counted since it began, by the origin's address."""


@dataclass(frozen=True, slots=True)
class Page:
    """A router's page of statistics: a slot's values by their name in Envoy, such as `upstream_rq_total`."""

    values: Mapping[tuple[Slot, str], int]

    def of(self, slot: Slot, name: str) -> int:
        """Return a value; what Envoy has never counted is 0."""
        return self.values.get((slot, name), 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Signals that come from the routers' statistics.

    Attributes:
        signals: what they are called, and how their values go on.
        statistics: the names, below `cluster.SLOT.`, of what they are read from.
        read: what a page amounts to for one slot: by signal and group.
    """

    signals: Mapping[str, Kind]
    statistics: tuple[str, ...]
    read: Callable[[Page, Slot], Mapping[tuple[str, str], Sums]]
