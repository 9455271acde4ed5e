"""The verdict on a canary's promise about errors, from the table of its ticks.

Decisions in order: no measurement is NoData; shown harm is Fail; traffic that is not split as it was told to be is
Undecided (a comparison under broken routing means nothing, only the candidate's own limit still counts); shown safety
on the current step is Pass; all else is Undecided, with about how many more requests are needed.
"""

from datetime import datetime
from math import ceil, log

from perennial.api.messages.policy import Canary, ErrorRate, SloPolicy
from perennial.api.messages.state import Count, SloVerdict
from perennial.stats.evidence import Evidence, Promise, Ticks, Totals
from perennial.stats.rates import Counts, LimitTest, log_mean_exp, rate_interval, requests_until
from perennial.terms.words import Verdict

SHARE_ALPHA = 0.001
"""Probability of calling sound routing a sample-ratio mismatch, over a whole step."""


def judge_error_rate(slo: SloPolicy, canary: Canary, ticks: Ticks, now: datetime, critical: int = 1) -> SloVerdict:
    """Judge an error-rate SLO on all that is known of a canary.

    Args:
        slo: the promise; `error_rate` must be set.
        canary: the trial; its alpha is split over the critical SLOs and over an SLO's two tests of harm.
        ticks: all ticks of this canary (and of no other), in order of time.
        now: the time of judging; only the estimate of the time still needed depends on it.
        critical: the number of Critical error-rate SLOs of the same policy.
    """
    rate = _rate_of(slo)
    promise = Promise.of(rate)
    return judge_evidence(slo, canary, Evidence.none(promise).fold(promise, canary.step, ticks), now, critical)


def judge_evidence(slo: SloPolicy, canary: Canary, evidence: Evidence, now: datetime, critical: int = 1) -> SloVerdict:
    """Judge like `judge_error_rate`, from evidence that was folded tick by tick."""
    rate = _rate_of(slo)
    promise = Promise.of(rate)
    harm_threshold = log(max(critical, 1) * len(promise.harm) / canary.alpha)
    safe_threshold = -log(canary.beta)
    mismatch = bool(float(log_mean_exp(evidence.share)) >= -log(SHARE_ALPHA))
    # The tests that still mean something: a comparison does not when the routing is broken.
    sound = [i for i, test in enumerate(promise.harm) if isinstance(test, LimitTest) or not mismatch]
    log_e_harm = max((evidence.harm_peak[i] for i in sound), default=None)
    log_e_safe = float(log_mean_exp(evidence.safe))
    needed = _needed(promise, evidence, harm_threshold, safe_threshold)
    eta = _seconds_for(needed, evidence, now)

    if evidence.canary.candidate_total == 0:
        outcome = Verdict.NO_DATA, "NoRequests", "no request has reached the candidate yet"
    elif log_e_harm is not None and log_e_harm >= harm_threshold:
        index = max(sound, key=lambda i: evidence.harm_peak[i])
        outcome = Verdict.FAIL, *_harm_found(rate, promise, index, evidence.canary)
    elif mismatch:
        outcome = Verdict.UNDECIDED, "SampleRatioMismatch", _mismatch(evidence.step)
    elif evidence.step.candidate_total == 0:
        outcome = Verdict.NO_DATA, "NoRequestsInStep", "no request has reached the candidate in this step yet"
    elif log_e_safe >= safe_threshold:
        outcome = Verdict.PASS, "ShownSafe", _safety_found(rate, evidence.step)
    else:
        outcome = Verdict.UNDECIDED, "MoreRequestsNeeded", _undecided(evidence.canary, needed, eta)
    verdict, reason, message = outcome
    undecided = verdict is Verdict.UNDECIDED and not mismatch
    low, high = rate_interval(evidence.canary.candidate_total, evidence.canary.candidate_bad)
    return SloVerdict(
        slo=slo.name,
        role=slo.role,
        verdict=verdict,
        reason=reason,
        message=message,
        candidate=Count(total=evidence.canary.candidate_total, bad=evidence.canary.candidate_bad),
        stable=Count(total=evidence.canary.stable_total, bad=evidence.canary.stable_bad),
        log_e_harm=max(evidence.harm_peak) if log_e_harm is None else log_e_harm,
        log_e_safe=log_e_safe,
        log_threshold_harm=harm_threshold,
        log_threshold_safe=safe_threshold,
        low=low if evidence.canary.candidate_total else None,
        high=high if evidence.canary.candidate_total else None,
        needed=needed if undecided else None,
        eta_seconds=eta if undecided else None,
    )


def _rate_of(slo: SloPolicy) -> ErrorRate:
    if slo.error_rate is None:
        raise ValueError(f"SLO {slo.name} is not about an error rate")
    return slo.error_rate


def _needed(promise: Promise, evidence: Evidence, harm_threshold: float, safe_threshold: float) -> int | None:
    """Return about how many more candidate requests decide, either way; None where no number of them would."""
    expected = _expected_counts(promise, evidence.canary)
    ways = [
        requests_until(sums, test.increments(expected), threshold)
        for sums, test, threshold in (
            *((sums, test, harm_threshold) for sums, test in zip(evidence.harm, promise.harm, strict=True)),
            (evidence.safe, promise.safe, safe_threshold),
        )
    ]
    found = [requests for requests in ways if requests is not None]
    return max(1, ceil(min(found))) if found else None


def _expected_counts(promise: Promise, totals: Totals) -> Counts:
    """Return what one more candidate request brings: itself, the stable requests beside it, and the bad among them.

    Each arm's rate is shrunk by one bad request towards what is plausible before any was seen, so that the first
    hundred requests do not promise a certain end.
    """
    limit = promise.safe.limit if isinstance(promise.safe, LimitTest) else 0.01
    plausible = (totals.stable_bad + 1) / (totals.stable_total + 2 / limit)
    candidate = (totals.candidate_bad + 1) / (totals.candidate_total + 1 / plausible)
    stable_requests = totals.stable_total / max(totals.candidate_total, 1) if totals.stable_total else 0.0
    return Counts(1.0, candidate, stable_requests, plausible * stable_requests)


def _seconds_for(needed: int | None, evidence: Evidence, now: datetime) -> float | None:
    """Return how long the needed requests take at the pace of this step."""
    if needed is None or evidence.step_since is None or evidence.step.candidate_total == 0:
        return None
    elapsed = max(now.timestamp() - evidence.step_since, 1.0)
    return needed * elapsed / evidence.step.candidate_total


def _harm_found(rate: ErrorRate, promise: Promise, index: int, totals: Totals) -> tuple[str, str]:
    found = f"{_failed(totals.candidate_bad, totals.candidate_total)} of the candidate"
    if isinstance(promise.harm[index], LimitTest):
        return "LimitExceeded", f"{found} failed: shown to be more than {_percent(rate.max or 0)}"
    beside = _failed(totals.stable_bad, totals.stable_total)
    return "WorseThanStable", f"{found} failed, of stable {beside}: shown to be worse than stable"


def _safety_found(rate: ErrorRate, totals: Totals) -> str:
    found = f"{_failed(totals.candidate_bad, totals.candidate_total)} of the candidate in this step failed"
    if rate.max is not None:
        return f"{found}: shown to be less than {_percent(rate.max)}"
    beside = _failed(totals.stable_bad, totals.stable_total)
    return f"{found}, of stable {beside}: shown to be less than {rate.max_ratio:g} times stable's rate"


def _mismatch(totals: Totals) -> str:
    share = totals.candidate_total / max(totals.candidate_total + totals.stable_total, 1)
    return (
        f"the candidate got {_percent(share)} of the requests in this step, which its weight does not explain; "
        "check the routing before trusting a comparison"
    )


def _undecided(totals: Totals, needed: int | None, eta: float | None) -> str:
    found = f"{_failed(totals.candidate_bad, totals.candidate_total)} of the candidate failed"
    if needed is None:
        return f"{found}, too close to the limit to say how many more are needed"
    more = f"{found}; about {_rounded(needed):,} more requests are needed"
    return more if eta is None else f"{more}, ≈ {_duration(eta)}"


def _failed(bad: int, total: int) -> str:
    return f"{_percent(bad / total if total else 0)} ({bad:,} of {total:,} requests)"


def _percent(rate: float) -> str:
    return f"{100 * rate:.3g} %"


def _rounded(number: int) -> int:
    """Return a count with two significant digits: it is an estimate."""
    return round(number, min(2 - len(str(number)), 0))


def _duration(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 1):.0f} s"
