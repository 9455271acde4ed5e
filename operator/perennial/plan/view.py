"""The one window through which a kind's `observe` looks at the world."""

from dataclasses import dataclass

from perennial.plan.observed import Cache, Facts, PlanSettings, Results


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What may be seen while one object is reconciled; looking is cheap and never blocks."""

    cache: Cache
    """The watched objects."""
    results: Results
    """What this object's calls brought."""
    facts: Facts
    """The world outside the cluster's API."""
    settings: PlanSettings
