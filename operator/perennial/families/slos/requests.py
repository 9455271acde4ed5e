"""The share of requests that fail."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field

from perennial.families.slos.base import Judged, Objective
from perennial.terms.forms import OpenShare, Ratio
from perennial.terms.part import rules


class Requests(Objective):
    """The share of requests that fail: 5xx, timeouts, lost connections."""

    model_config = ConfigDict(
        json_schema_extra=rules(("has(self.max) || has(self.maxRatio)", "requests needs max, maxRatio or both"))
    )
    judges: ClassVar[frozenset[Judged]] = frozenset({"trial", "stable"})
    example: ClassVar[Mapping[str, Any]] = {"max": "0.01", "maxRatio": "1.25"}

    max: Annotated[
        OpenShare | None, Field(description="A candidate passes when its rate is shown to be below this.")
    ] = None
    max_ratio: Annotated[
        Ratio | None,
        Field(
            description=(
                "A candidate fails when shown to be worse than stable; without max it passes when shown below "
                "this ratio."
            )
        ),
    ] = None
