"""What the collector found, as status shows it."""

from math import isfinite

from perennial.api.messages.state import MonitorVerdict, SloVerdict
from perennial.terms.finding import Evidence, Finding
from perennial.terms.text import clip, decimal

MESSAGE = 512
"""How long a finding's message may be."""


def on_trial(verdict: SloVerdict) -> Finding:
    """Return what was found of an SLO on a candidate."""
    candidate, stable = verdict.candidate, verdict.stable
    return Finding(
        name=verdict.slo,
        verdict=verdict.verdict,
        reason=verdict.reason,
        message=clip(verdict.message, MESSAGE),
        value=_rate(candidate.bad, candidate.total),
        low=_number(verdict.low),
        high=_number(verdict.high),
        baseline=_rate(stable.bad, stable.total),
        samples=candidate.total,
        needed=verdict.needed,
        eta_seconds=int(verdict.eta_seconds) if verdict.eta_seconds is not None else None,
        evidence=Evidence(
            harm=_number(verdict.log_e_harm),
            harm_threshold=decimal(verdict.log_threshold_harm),
            safe=_number(verdict.log_e_safe),
            safe_threshold=decimal(verdict.log_threshold_safe),
        ),
    )


def on_stable(verdict: SloVerdict) -> Finding:
    """Return what was found of an SLO on the requests of the version that answers."""
    return on_trial(verdict).but(baseline=None)


def on_cohorts(verdict: MonitorVerdict) -> Finding:
    """Return what was found of an SLO on the matured cohorts of the version that answers."""
    about = f" (model version {verdict.model_version}"
    about += f", cohort of {verdict.cohort:%Y-%m-%d %H:%M} UTC)" if verdict.cohort else ")"
    return verdict.finding.but(message=f"{clip(verdict.finding.message, MESSAGE - len(about))}{about}")


def _rate(bad: int, total: int) -> str | None:
    return decimal(bad / total) if total else None


def _number(value: float | None) -> str | None:
    return decimal(value) if value is not None and isfinite(value) else None
