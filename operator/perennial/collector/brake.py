"""The canary on trial: evidence of each promise, folded tick by tick, and the decision to brake."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self

from perennial.api.messages.policy import Canary, Policy, SloPolicy
from perennial.api.messages.state import Brake, Count, SloVerdict
from perennial.families.objective import Counted
from perennial.stats.evidence import Evidence, Promise, Setting
from perennial.stats.judge import Levels, judge
from perennial.stats.ticks import Ticks
from perennial.terms.words import Role, Verdict


@dataclass(frozen=True, slots=True)
class Promised:
    """An SLO that is judged on trials, the promise that it makes, and what is known of it."""

    slo: SloPolicy
    kind: Counted
    promise: Promise
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Trial:
    """A canary with the evidence on its promises: a function of its ticks, kept to spare recomputing it each second."""

    canary: Canary
    promised: tuple[Promised, ...]

    @classmethod
    def of(cls, policy: Policy, canary: Canary, ticks: Ticks, phi: float = 1.0) -> Self:
        """Begin, or begin again after a restart, from all ticks of the canary.

        `phi` is how over-dispersed failures are known to be, from before the canary: see `stats.dispersion`.
        """
        setting = Setting(timeout=canary.timeout_seconds, warmup=canary.warmup_seconds, phi=max(phi, 1.0))
        promised = []
        for slo in policy.slos:
            kind = slo.counted()
            if kind is not None:
                promise = kind.promise()
                promised.append(Promised(slo, kind, promise, Evidence.none(promise, setting)))
        return cls(canary, tuple(promised)).after(ticks)

    def after(self, ticks: Ticks) -> Self:
        """Return the trial with further ticks taken into account."""
        found = (replace(each, evidence=each.evidence.fold(each.promise, ticks)) for each in self.promised)
        return replace(self, promised=tuple(found))

    def verdicts(self, now: datetime) -> tuple[SloVerdict, ...]:
        """Return the verdict on each promise, in the policy's order."""
        critical = sum(each.slo.role is Role.CRITICAL for each in self.promised)
        return tuple(self._verdict(each, critical, now) for each in self.promised)

    def brake(self, now: datetime) -> Brake | None:
        """Return the brake if a Critical promise is shown to be broken."""
        for verdict in self.verdicts(now):
            if verdict.role is Role.CRITICAL and verdict.verdict is Verdict.FAIL:
                return Brake(canary_id=self.canary.id, time=now, verdict=verdict)
        return None

    def _verdict(self, each: Promised, critical: int, now: datetime) -> SloVerdict:
        promises = critical if each.slo.role is Role.CRITICAL else 1
        levels = Levels.of(self.canary.alpha, self.canary.beta, promises, self.canary.attempt)
        found = judge(each.promise, each.evidence, levels, self.canary.step, now.timestamp())
        return SloVerdict(
            slo=each.slo.name,
            role=each.slo.role,
            verdict=found.verdict,
            reason=found.reason,
            message=each.kind.tell(found),
            candidate=Count(total=found.candidate[0], bad=found.candidate[1]),
            stable=Count(total=found.stable[0], bad=found.stable[1]),
            log_e_harm=found.log_e_harm,
            log_e_safe=found.log_e_safe,
            log_threshold_harm=found.threshold_harm,
            log_threshold_safe=found.threshold_safe,
            low=found.low,
            high=found.high,
            needed=found.needed,
            eta_seconds=found.eta_seconds,
        )
