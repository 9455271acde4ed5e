"""What became of the calls to the world outside the cluster, kept until a plan has recorded it."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Final

from pydantic import BaseModel

from perennial.plan.actions import Call
from perennial.plan.observed import CallResult
from perennial.runtime.clock import Clock
from perennial.runtime.resources import Key

ERROR_SECONDS: Final = 10.0
"""How long a planner sees that a call failed. After that it has no result, so a planner that held on it calls again."""

_LIMIT: Final = 20_000
"""Results kept, over all keys. A forgotten result costs one repeated call, which is idempotent."""


class CallResults:
    """Outcomes by key and by the call's content.

    A success is kept until a plan that does not repeat the call has been carried out (that plan has recorded it: a later
    equal call is a new one), an error for `ERROR_SECONDS`.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: OrderedDict[tuple[Key, str], tuple[CallResult, float]] = OrderedDict()

    def of(self, key: Key) -> "KeyResults":
        """Return the results of one key's calls, as its planner sees them."""
        return KeyResults(self, key)

    def record(self, key: Key, call: Call, result: CallResult) -> None:
        """Keep the latest outcome of a call."""
        where = (key, content(call))
        self._kept[where] = (result, self._clock.monotonic())
        self._kept.move_to_end(where)
        if len(self._kept) > _LIMIT:
            self._kept.popitem(last=False)

    def look_up(self, key: Key, call: Call) -> CallResult | None:
        """Return the outcome of an equal call of this key, or None."""
        found = self._kept.get((key, content(call)))
        if found is None:
            return None
        result, recorded = found
        stale = result.error is not None and self._clock.monotonic() - recorded >= ERROR_SECONDS
        return None if stale else result

    def recorded(self, key: Key, repeated: Iterable[Call]) -> None:
        """Drop the successes of a key whose plan has been carried out, but for the calls which that plan made."""
        kept = {(key, content(call)) for call in repeated}
        for where in [where for where in self._kept if where[0] == key and where not in kept]:
            if self._kept[where][0].error is None:
                del self._kept[where]

    def forget(self, key: Key) -> None:
        """Drop what is kept of an object that is gone."""
        for where in [where for where in self._kept if where[0] == key]:
            del self._kept[where]


@dataclass(frozen=True, slots=True)
class KeyResults:
    """The results of one key's calls. Implements `perennial.plan.observed.Results`."""

    results: CallResults
    key: Key

    def result(self, call: Call) -> CallResult | None:
        """Return the outcome of an equal call that was made before, or None."""
        return self.results.look_up(self.key, call)


def content(call: Call) -> str:
    """Return a text that is equal for equal calls: its type and its fields."""
    return f"{type(call).__name__} {_plain(call)!r}"


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump_json()
    if isinstance(value, Mapping):
        return sorted((str(key), _plain(inner)) for key, inner in value.items())
    if is_dataclass(value) and not isinstance(value, type):
        return _plain({field.name: getattr(value, field.name) for field in fields(value)})
    return value
