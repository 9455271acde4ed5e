"""What to do about a reason: one sentence each, for those that need a person."""

from collections.abc import Mapping
from typing import Final

from perennial.terms import reasons

ADVICE: Final[Mapping[str, str]] = {name: each.remedy for name, each in reasons.ALL.items() if each.remedy is not None}
"""By reason. A reason that is missing here waits for nobody."""
