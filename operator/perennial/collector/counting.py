"""From what the routers have counted since they began to what happened between two looks, and under which weight.

Each router has a baseline: its counters at the last look that reached it, with the canary's step and the weight that
every router had acknowledged then. What it counted since belongs to that step and weight if both still hold; else some
of it was answered under another one, or under nobody knows which, and it belongs to the step without a weight. So one
look brings as many portions as there are such differences: a router that a few looks did not reach, or that began anew
(it knows no weights at first), never mixes with the others.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import NamedTuple

from perennial.api.messages.wire import Permille
from perennial.collector.signals import Counters, Key, Kind, Reading, known
from perennial.stats.sums import Sums
from perennial.stats.ticks import Row
from perennial.terms.words import Slot

KEEP_BASELINES = 64
"""More addresses than these are mostly of routers that are long gone."""


class Setting(NamedTuple):
    """What is in force: the canary's step, and the candidate's weight that is verified (None: of neither)."""

    step: int | None = None
    weight: Permille | None = None


NOTHING = Setting()
NO_ROW = Row(0)


@dataclass(frozen=True, slots=True)
class Baseline:
    """A router at the last look that reached it, and what was in force then."""

    reading: Reading
    setting: Setting = NOTHING


@dataclass(frozen=True, slots=True)
class Counted:
    """What a look brought: what happened since the last one by what was in force, and where to count from next time."""

    portions: Mapping[Setting, Mapping[Key, Row]]
    baselines: Mapping[str, Baseline]
    changed: bool
    """Whether the baselines are worth writing down."""

    def sums(self) -> Mapping[Key, Row]:
        """Return what happened under whatever was in force."""
        found: dict[Key, Row] = {}
        for portion in self.portions.values():
            for key, row in portion.items():
                found[key] = _plus(found[key], row) if key in found and _adds(key) else row
        return found


@dataclass(slots=True)
class _Ledger:
    portions: dict[Setting, dict[Key, Row]] = field(default_factory=dict)

    def add(self, setting: Setting, delta: Mapping[Key, Row]) -> None:
        if any(any(row) for row in delta.values()):
            portion = self.portions.setdefault(setting, {})
            for key, row in delta.items():
                portion[key] = _plus(portion.get(key, NO_ROW), row)


def count(
    baselines: Mapping[str, Baseline],
    seen: Mapping[str, Reading],
    *,
    present: Collection[str],
    before: Setting,
    after: Setting,
    counting_for: float,
) -> Counted:
    """Turn counters into what happened since the last look.

    A router without a baseline counts from 0 if it began since counting did, `counting_for` seconds ago; else its past
    belongs to nobody, and it only gets a baseline.

    Args:
        baselines: the routers at the last looks that reached them, by address.
        seen: what this look brought.
        present: the addresses of all routers that there are, whether they answered or not.
        before: what was in force when the look was begun: the counters may be as old.
        after: what was in force when it was over: they may be as new.
        counting_for: seconds.
    """
    new = dict(baselines)
    if len(new) > KEEP_BASELINES:
        new = {address: baseline for address, baseline in new.items() if address in seen}
    ledger, changed = _Ledger(), False
    kept = before if before == after else Setting(before.step if before.step == after.step else None)
    for address, unreached in baselines.items():
        if address in new and address not in seen and unreached.setting not in {kept, Setting(unreached.setting.step)}:
            # What it will have counted by the time that it is reached wasn't all counted under that weight.
            new[address], changed = replace(unreached, setting=Setting(unreached.setting.step)), True
    for address, reading in sorted(seen.items()):
        old = baselines.get(address)
        if old is None:
            if reading.age < counting_for:
                ledger.add(Setting(after.step), _whole(reading.counters))
        elif _began_anew(old.reading, reading):
            ledger.add(Setting(old.setting.step), _whole(reading.counters))
        else:
            held = old.setting if old.setting == kept else Setting(old.setting.step)
            ledger.add(held, _since(old.reading.counters, reading.counters))
            reading = replace(reading, counters=_at_least(old.reading.counters, reading.counters))  # noqa: PLW2901
        if old is None or (old.setting, old.reading.counters) != (kept, reading.counters):
            new[address] = Baseline(reading, kept)
            changed = True
    levels = _levels([each for address, each in new.items() if address in present])
    portions = {setting: {**portion, **levels} for setting, portion in ledger.portions.items()}
    return Counted(portions, new, changed)


class Counting:
    """Where each router's counting goes on from, and what was counted since this process began.

    What could not be written down is counted again with the next look: `since` counts, `take` makes it the past.
    """

    def __init__(self, steady: Callable[[], float] = monotonic) -> None:
        self._steady = steady
        self._began = steady()
        self.baselines: Mapping[str, Baseline] = {}
        self.totals: Mapping[Key, Row] = {}

    def since(self, seen: Mapping[str, Reading], present: Collection[str], before: Setting, after: Setting) -> Counted:
        """Return what happened since the last look; the arguments are those of `count`."""
        counting_for = self._steady() - self._began
        return count(self.baselines, seen, present=present, before=before, after=after, counting_for=counting_for)

    def take(self, counted: Counted) -> None:
        """Take what was counted for past."""
        self.baselines = counted.baselines
        totals = dict(self.totals)
        for key, row in counted.sums().items():
            totals[key] = _plus(totals.get(key, NO_ROW), row) if _adds(key) else row
        self.totals = totals

    def total(self, signal: str, slot: Slot) -> Row:
        """Return what was counted of a signal since this process began."""
        return self.totals.get((signal, slot, ""), NO_ROW)

    def begin(self, step: int | None, reached: Collection[str]) -> None:
        """Begin a canary's counting: what the routers that a look has just reached count from now on is its own.

        What another router counts until it is reached belongs to nobody, since some of it is older.
        """
        self._began = self._steady()
        self.baselines = {
            address: replace(each, setting=Setting(step if address in reached else None))
            for address, each in self.baselines.items()
        }

    def forget_weights(self) -> None:
        """Take note that the weights were changed: what is counted until the next look belongs to none of them."""
        self.baselines = {
            address: replace(each, setting=Setting(each.setting.step)) for address, each in self.baselines.items()
        }


def _began_anew(before: Reading, now: Reading) -> bool:
    """Tell whether a counter went down.

    Age plays no part: Envoy reckons it by the wall clock, and one that is set would make a new beginning of nothing and
    count everything twice. What a life of fewer requests than the next one's first moments leaves uncounted is little,
    and never counted twice.
    """
    return any(
        now.counters.get(key, Sums()).n < sums.n for key, sums in before.counters.items() if known(key[0]) is Kind.COUNT
    )


def _whole(counters: Counters) -> dict[Key, Row]:
    return {key: Row(sums.n, sums.total, sums.squares) for key, sums in counters.items() if _adds(key)}


def _since(before: Counters, now: Counters) -> dict[Key, Row]:
    """Return the differences. A signal that was not counted before belongs to nobody so far."""
    signals, nothing = {signal for signal, *_ in before}, Sums()
    return {
        key: Row(
            max(sums.n - before.get(key, nothing).n, 0),
            max(sums.total - before.get(key, nothing).total, 0.0),
            max(sums.squares - before.get(key, nothing).squares, 0.0),
        )
        for key, sums in now.items()
        if _adds(key) and key[0] in signals
    }


def _at_least(before: Counters, now: Counters) -> Counters:
    """Return the counters with none below what was counted already: it would be counted twice."""
    return {key: _highest(before.get(key), sums) if _adds(key) else sums for key, sums in now.items()}


def _highest(before: Sums | None, now: Sums) -> Sums:
    if before is None:
        return now
    return Sums(max(before.n, now.n), max(before.total, now.total), max(before.squares, now.squares))


def _levels(baselines: Iterable[Baseline]) -> dict[Key, Row]:
    """Return what there is now, at all routers; one that did not answer has what it had."""
    found: dict[Key, Row] = {}
    for baseline in baselines:
        for key, sums in baseline.reading.counters.items():
            if not _adds(key):
                found[key] = _plus(found.get(key, NO_ROW), Row(sums.n, sums.total, sums.squares))
    return found


def _adds(key: Key) -> bool:
    return known(key[0]) is not Kind.LEVEL


def _plus(row: Row, other: Row) -> Row:
    return Row(row.n + other.n, row.total + other.total, row.squares + other.squares)
