"""The version that answers, watched: its promises about requests that have a limit, judged on its own ticks alone."""

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Self

from perennial.api.messages.policy import Policy, SloPolicy
from perennial.api.messages.state import Count, SloVerdict
from perennial.families.objective import Counted
from perennial.stats.rates import rate_interval
from perennial.stats.ticks import Ticks
from perennial.stats.watching import Detector
from perennial.terms import reasons
from perennial.terms.words import Verdict


@dataclass(frozen=True, slots=True)
class Kept:
    """A promise, and the detector of its limit; None where it has no limit."""

    slo: SloPolicy
    kind: Counted
    detector: Detector | None


@dataclass(frozen=True, slots=True)
class Watched:
    """The version that answers, with the evidence on its promises: a function of its ticks.

    `terms` is what that evidence is about: under a policy of other terms it begins again.
    """

    terms: Hashable
    kept: tuple[Kept, ...]

    @staticmethod
    def terms_of(policy: Policy) -> Hashable:
        """Return what the evidence is about: which version, since when, and what is promised of it."""
        return policy.arms[policy.stable].version, policy.watch, policy.slos

    @classmethod
    def of(cls, policy: Policy, ticks: Ticks) -> Self:
        """Begin, or begin again after a restart, from the ticks that are kept; without `policy.watch` with nothing."""
        kept = []
        for slo in policy.slos if policy.watch is not None else ():
            kind = slo.counted()
            if kind is not None and policy.watch is not None:
                limit = kind.promise().limit
                kept.append(Kept(slo, kind, None if limit is None else Detector.none(limit, policy.watch.alpha)))
        return cls(cls.terms_of(policy), tuple(kept)).after(ticks)

    def after(self, ticks: Ticks) -> Self:
        """Return it with further ticks taken into account."""
        found = (
            each
            if each.detector is None
            else replace(each, detector=each.detector.after(ticks, each.kind.promise().signal))
            for each in self.kept
        )
        return replace(self, kept=tuple(found))

    def verdicts(self) -> tuple[SloVerdict, ...]:
        """Return the verdict on each promise about requests, in the policy's order; `candidate` is the version."""
        return tuple(_verdict(each) for each in self.kept)


def _verdict(each: Kept) -> SloVerdict:
    detector = each.detector
    total, bad = (0, 0) if detector is None else (detector.total, detector.bad)
    verdict = Verdict.NO_DATA if detector is None else detector.verdict
    if detector is None:
        reason = reasons.NOT_LIMITED
    elif verdict is Verdict.NO_DATA:
        reason = reasons.NO_REQUESTS
    else:
        reason = reasons.REQUESTS_LIMIT_EXCEEDED if verdict is Verdict.FAIL else reasons.REQUESTS_LIMIT_KEPT
    low, high = rate_interval(max(total, bad), bad) if total else (None, None)
    return SloVerdict(
        slo=each.slo.name,
        role=each.slo.role,
        verdict=verdict,
        reason=reason,
        message=each.kind.tell_watched(reason, total, bad),
        candidate=Count(total=total, bad=bad),
        stable=Count(total=0, bad=0),
        log_e_harm=None if detector is None or total == 0 else detector.log_e,
        log_threshold_harm=0.0 if detector is None else detector.threshold,
        log_threshold_safe=0.0,
        low=low,
        high=high,
    )
