"""The share of requests that fail."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import ConfigDict, Field, model_validator

from perennial.families.objective import Counted, Judged
from perennial.stats.evidence import Promise
from perennial.stats.judge import Judgement
from perennial.stats.ticks import REJECTED, REQUESTS
from perennial.terms import reasons
from perennial.terms.forms import OpenShare, Ratio
from perennial.terms.part import rules
from perennial.terms.reasons import Reason
from perennial.terms.text import percent


class Requests(Counted):
    """The share of requests that fail: 5xx, timeouts, lost connections, answers that clients gave up waiting for.

    With `max` a candidate passes when its rate is shown to be below it, with `maxRatio` when that is shown of its ratio
    to stable's; with both, when both are: where hardly anything fails, no ratio can be shown, so state `max` alone. It
    fails when shown to be worse than stable (with `maxRatio`), or above `max` and worse than stable (with `max`). A
    candidate that answers more requests with 4xx than stable fails, too.
    """

    model_config = ConfigDict(
        json_schema_extra=rules(("has(self.max) || has(self.maxRatio)", "requests needs max, maxRatio or both"))
    )
    judges: ClassVar[frozenset[Judged]] = frozenset({"trial", "stable"})
    example: ClassVar[Mapping[str, Any]] = {"max": "0.01"}

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

    @model_validator(mode="after")
    def _limits_are_numbers(self) -> Self:
        """Refuse what is no limit as a number of double precision."""
        if self.max is None and self.max_ratio is None:
            raise ValueError("requests needs max, maxRatio or both")
        if self.max is not None and not float(self.max) < 1:
            raise ValueError("max must be below 1 also as a number of double precision")
        return self

    def promise(self) -> Promise:
        """Return what is counted, and which tests harm and safety are."""
        return Promise(
            signal=REQUESTS,
            limit=None if self.max is None else float(self.max),
            ratio=None if self.max_ratio is None else float(self.max_ratio),
            beside=(REJECTED,),
        )

    def tell(self, found: Judgement) -> str:
        """Return what was found of it on a canary, as a sentence for people.

        Raises:
            KeyError: it was found for a reason that a promise about requests has no words for.
        """
        failed = f"{_share(found.candidate)} of the candidate failed"
        beside = f"{failed}, of stable {_share(found.stable)}"
        limit = percent(float(self.max or 0))
        limits = [] if self.max is None else [f"less than {limit}"]
        limits += [] if self.max_ratio is None else [f"less than {float(self.max_ratio):g} times stable's rate"]
        told: dict[str, str] = {
            reasons.NO_REQUESTS: "no request has reached the candidate yet",
            reasons.NO_REQUESTS_IN_STEP: "no request has reached the candidate in this step yet",
            reasons.ALL_FAILED: f"{failed}: all that it has answered",
            reasons.WORSE_THAN_STABLE: f"{beside}: shown to be worse than stable",
            reasons.REQUESTS_LIMIT_EXCEEDED: f"{beside}: shown to be more than {limit}",
            reasons.MORE_REJECTED: _rejected(found),
            reasons.SAMPLE_RATIO_MISMATCH: (
                f"the candidate got {percent(found.step_candidate / max(found.step_total, 1))} of the requests in this "
                "step, which its weight does not explain; check the routing before trusting a comparison"
            ),
            reasons.SHOWN_SAFE: f"{beside}: shown to be {' and '.join(limits)} in this step",
            reasons.SHARED_INCIDENT: f"{beside}: more than {limit}, but not shown to be worse than stable",
            reasons.OVER_DISPERSED: f"{beside}; failures come in bursts, so that this does not decide yet",
            reasons.MORE_REQUESTS_NEEDED: self._undecided(failed, found),
        }
        return told[found.reason]

    def tell_watched(self, reason: Reason, total: int, bad: int) -> str:
        """Return what was found of it on the version that answers, by itself, as a sentence for people.

        Raises:
            KeyError: it was found for a reason that a promise about requests has no words for.
        """
        limit, failed = percent(float(self.max or 0)), f"{_share((total, bad))} of the version that answers failed"
        told: dict[str, str] = {
            reasons.NO_REQUESTS: "no request has reached the version that answers since it is watched",
            reasons.NOT_LIMITED: "without max there is nothing that could be judged without a version beside",
            reasons.REQUESTS_LIMIT_EXCEEDED: f"{failed} since it is watched: shown to be more than {limit} by now",
            reasons.REQUESTS_LIMIT_KEPT: f"{failed} since it is watched, not shown to be more than {limit}",
        }
        return told[reason]

    def _undecided(self, failed: str, found: Judgement) -> str:
        if self.max_ratio is not None and found.candidate[1] == found.stable[1] == 0:
            return (
                f"{failed}, and nothing of stable: maxRatio can't be shown before something fails, max alone could be"
            )
        if found.needed is None:
            return f"{failed}, too close to the limit to say how many more are needed"
        more = f"{failed}; about {_rounded(found.needed):,} more requests are needed"
        return more if found.eta_seconds is None else f"{more}, ≈ {_duration(found.eta_seconds)}"


def _rejected(found: Judgement) -> str:
    mine, theirs = (
        _share((total, rejected))
        for (total, _), rejected in zip((found.candidate, found.stable), found.rejected, strict=True)
    )
    return f"the candidate answered {mine} with 4xx, stable {theirs}: shown to be more"


def _share(counts: tuple[int, int]) -> str:
    total, bad = counts
    return f"{percent(bad / total if total else 0)} ({bad:,} of {total:,} requests)"


def _rounded(number: int) -> int:
    """Return a count with two significant digits: it is an estimate."""
    return round(number, min(2 - len(str(number)), 0))


def _duration(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 1):.0f} s"
