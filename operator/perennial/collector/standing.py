"""The version that answers, by itself: ticks of about a second, trial or not, for as long as they are kept."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from perennial.api.messages.policy import Policy
from perennial.collector.counting import Counted
from perennial.collector.signals import Kind, known
from perennial.stats.ticks import Key, Row, Tick
from perennial.terms.words import Slot

SECONDS = 1.0
"""How long a tick is: a promise that is watched for days needs no quarters of a second."""


def series_of(policy: Policy) -> str | None:
    """Return the name that the ticks of the version that answers are kept under; None if it isn't watched."""
    return None if policy.watch is None else f"stable/{policy.arms[policy.stable].version}"


@dataclass(frozen=True, slots=True)
class Standing:
    """What looks have counted of the version that answers since its last tick, which was full at `since`."""

    rows: Mapping[Key, Row] = field(default_factory=dict)
    since: float | None = None

    def after(self, counted: Counted, slot: Slot, moment: float) -> "tuple[Standing, Tick | None]":
        """Take a look into account; the tick is None until one is full. One in which nothing happened is none."""
        since = moment if self.since is None else self.since
        found = {Key(signal, "stable", group): row for (signal, of, group), row in counted.sums().items() if of == slot}
        rows = {key: _together(key, self.rows.get(key), row) for key, row in found.items()} or self.rows
        if rows and moment - since >= SECONDS:
            return Standing(since=moment), Tick(moment, 0, None, rows)
        return Standing(rows, since), None


def _together(key: Key, before: Row | None, now: Row) -> Row:
    if before is None or known(key.signal) is Kind.LEVEL:
        return now
    return Row(before.n + now.n, before.total + now.total, before.squares + now.squares)
