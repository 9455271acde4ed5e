"""The canary on trial: evidence of each promise, folded tick by tick, and the decision to brake."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self

from perennial.api.messages.policy import Canary, Policy, SloPolicy
from perennial.api.messages.state import Brake, SloVerdict
from perennial.stats.evidence import Evidence, Promise
from perennial.stats.evidence import Ticks as Answers
from perennial.stats.judge import judge_evidence
from perennial.stats.rates import Counts
from perennial.stats.ticks import ABANDONED, ANSWERED, ARMS, REQUESTS, Ticks
from perennial.terms.words import Role, Verdict


@dataclass(frozen=True, slots=True)
class Trial:
    """A canary with the evidence on its promises: a function of its ticks, kept to spare recomputing it each second."""

    canary: Canary
    slos: tuple[SloPolicy, ...]
    promises: tuple[Promise, ...]
    evidence: tuple[Evidence, ...]

    @classmethod
    def of(cls, policy: Policy, canary: Canary, ticks: Ticks) -> Self:
        """Begin, or begin again after a restart, from all ticks of the canary."""
        slos = tuple(slo for slo in policy.slos if slo.error_rate is not None)
        promises = tuple(Promise.of(slo.error_rate) for slo in slos if slo.error_rate is not None)
        return cls(canary, slos, promises, tuple(Evidence.none(promise) for promise in promises)).after(ticks)

    def after(self, ticks: Ticks) -> Self:
        """Return the trial with further ticks taken into account."""
        table = _answers(ticks)
        evidence = tuple(
            before.fold(promise, self.canary.step, table)
            for before, promise in zip(self.evidence, self.promises, strict=True)
        )
        return replace(self, evidence=evidence)

    def verdicts(self, now: datetime) -> tuple[SloVerdict, ...]:
        """Return the verdict on each error-rate SLO, in the policy's order."""
        critical = sum(slo.role is Role.CRITICAL for slo in self.slos)
        return tuple(
            judge_evidence(slo, self.canary, evidence, now, critical)
            for slo, evidence in zip(self.slos, self.evidence, strict=True)
        )

    def brake(self, now: datetime) -> Brake | None:
        """Return the brake if a Critical promise is shown to be broken."""
        for verdict in self.verdicts(now):
            if verdict.role is Role.CRITICAL and verdict.verdict is Verdict.FAIL:
                return Brake(canary_id=self.canary.id, time=now, verdict=verdict)
        return None


def _answers(ticks: Ticks) -> Answers:
    """Return what ended in each tick, and how much of it badly."""
    columns = (
        column
        for arm in ARMS
        for column in (ticks.n(ANSWERED, arm) + ticks.n(ABANDONED, arm), ticks.total(REQUESTS, arm))
    )
    return Answers(ticks.time, ticks.step, ticks.weight, Counts(*columns))
