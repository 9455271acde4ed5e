"""What became of the calls to the world outside the cluster, kept until a plan has recorded it."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Final

from pydantic import BaseModel

from perennial.plan.actions import Call
from perennial.plan.observed import CallResult
from perennial.runtime.clock import Clock
from perennial.runtime.resources import Key

ERROR_SECONDS: Final = 10.0
"""How long a planner sees that a call failed; then it has no result, so the call is made again."""

REFUSED_SECONDS: Final = 60.0
"""The same for a call that was understood and refused: asking again soon is no use."""

_LIMIT: Final = 20_000
"""Keys whose results are kept. One that is lost costs a repeated call, which is idempotent."""


@dataclass(frozen=True, slots=True)
class _Kept:
    result: CallResult
    until: float


class CallResults:
    """Outcomes by key and by the call's content.

    An error is kept for its time, a success until a plan that does not repeat the call has been carried out (`settle`).
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: dict[Key, dict[str, _Kept]] = {}

    def of(self, key: Key) -> "KeyResults":
        """Return the results of one key's calls, as its planner sees them."""
        return KeyResults(self, key)

    def succeeded(self, key: Key, call: Call, value: Mapping[str, str]) -> None:
        """Keep what a call brought."""
        self._keep(key, call, _Kept(CallResult(value=value), math.inf))

    def failed(self, key: Key, call: Call, error: str, *, seconds: float) -> None:
        """Keep for some seconds why a call failed."""
        self._keep(key, call, _Kept(CallResult(error=error), self._clock.monotonic() + seconds))

    def look_up(self, key: Key, call: Call) -> CallResult | None:
        """Return the outcome of an equal call of this key, or None."""
        kept = self._kept.get(key, {}).get(content(call))
        return kept.result if kept is not None and self._clock.monotonic() < kept.until else None

    def settle(self, key: Key, calls: Iterable[Call]) -> None:
        """Take note that a plan with these calls was carried out: it recorded all other calls that succeeded."""
        made = {content(call) for call in calls}
        now = self._clock.monotonic()
        kept = self._kept.get(key, {})
        left = {what: each for what, each in kept.items() if what in made or now < each.until < math.inf}
        if left:
            self._kept[key] = left
        else:
            self._kept.pop(key, None)

    def until_next_call(self, key: Key) -> float | None:
        """Return the seconds until the first error of this key has gone, so that its call is made again; or None."""
        ends = [each.until for each in self._kept.get(key, {}).values() if each.until < math.inf]
        return max(0.0, min(ends) - self._clock.monotonic()) if ends else None

    def forget(self, key: Key) -> None:
        """Drop what is kept of an object that is gone."""
        self._kept.pop(key, None)

    def _keep(self, key: Key, call: Call, kept: _Kept) -> None:
        self._kept.setdefault(key, {})[content(call)] = kept
        if len(self._kept) > _LIMIT:
            del self._kept[next(iter(self._kept))]


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
