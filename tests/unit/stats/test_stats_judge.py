"""Verdicts from tables of ticks."""

from collections.abc import Sequence
from datetime import UTC, datetime
from math import log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perennial.api.messages.policy import Canary, ErrorRate, SloPolicy
from perennial.api.messages.state import SloVerdict
from perennial.stats.evidence import Evidence, Promise, Tick, Ticks
from perennial.stats.judge import judge_error_rate, judge_evidence
from perennial.terms.words import Verdict

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def canary(step: int = 0) -> Canary:
    return Canary(id="c", slot="b", step=step, weight=100, started_time=BEGAN, step_started_time=BEGAN)


def slo(maximum: float | None = 0.05, ratio: float | None = None) -> SloPolicy:
    return SloPolicy(name="errors", error_rate=ErrorRate(max=maximum, max_ratio=ratio))


def tick(
    second: int, candidate: tuple[int, int], stable: tuple[int, int], step: int = 0, weight: int | None = 100
) -> Tick:
    return Tick(BEGAN.timestamp() + second, step, weight, *candidate, *stable)


def judge(promise: SloPolicy, rows: Sequence[Tick], step: int = 0, critical: int = 1) -> SloVerdict:
    now = datetime.fromtimestamp(rows[-1].time if rows else BEGAN.timestamp(), UTC)
    return judge_error_rate(promise, canary(step), Ticks.of(rows), now, critical)


def steady(
    ticks: int, candidate: tuple[int, int], stable: tuple[int, int] = (90, 0), weight: int | None = 100
) -> list[Tick]:
    return [tick(k, candidate, stable, weight=weight) for k in range(ticks)]


def test_nothing_measured_is_no_data() -> None:
    verdict = judge(slo(), [])
    assert (verdict.verdict, verdict.reason) == (Verdict.NO_DATA, "NoRequests")
    assert (verdict.low, verdict.high, verdict.needed) == (None, None, None)


def test_requests_of_stable_alone_are_no_data() -> None:
    assert judge(slo(), steady(600, (0, 0), (100, 0))).verdict is Verdict.NO_DATA


def test_a_step_without_requests_does_not_pass_on_the_last_ones() -> None:
    rows = steady(100, (10, 0))
    assert judge(slo(), rows).verdict is Verdict.PASS
    verdict = judge(slo(), rows, step=1)
    assert (verdict.verdict, verdict.reason) == (Verdict.NO_DATA, "NoRequestsInStep")


def test_unverified_ticks_never_count_for_safety() -> None:
    verdict = judge(slo(), steady(200, (10, 0), weight=None))
    assert verdict.verdict is Verdict.NO_DATA
    assert verdict.log_e_safe == 0


def test_unverified_ticks_count_for_harm() -> None:
    assert judge(slo(), steady(20, (10, 4), weight=None)).verdict is Verdict.FAIL


def test_a_rate_far_below_the_limit_passes() -> None:
    verdict = judge(slo(), steady(20, (10, 0)))
    assert (verdict.verdict, verdict.reason) == (Verdict.PASS, "ShownSafe")
    assert verdict.log_e_safe is not None
    assert verdict.log_e_safe >= verdict.log_threshold_safe == pytest.approx(log(20))


def test_a_rate_above_the_limit_fails() -> None:
    verdict = judge(slo(), steady(20, (10, 2)))
    assert (verdict.verdict, verdict.reason) == (Verdict.FAIL, "LimitExceeded")
    assert verdict.message == "20 % (40 of 200 requests) of the candidate failed: shown to be more than 5 %"


def test_a_candidate_below_the_limit_but_worse_than_stable_fails() -> None:
    rows = steady(300, (50, 1), (450, 1))
    verdict = judge(slo(0.05, 1.5), rows)
    assert (verdict.verdict, verdict.reason) == (Verdict.FAIL, "WorseThanStable")
    assert judge(slo(0.05), rows).verdict is Verdict.PASS, "without the ratio nothing is promised about it"


def test_a_ratio_alone_passes_below_it() -> None:
    rows = steady(200, (500, 25), (500, 25), weight=500)
    assert judge(slo(None, 1.25), rows).verdict is Verdict.PASS
    worse = steady(200, (500, 31), (500, 25), weight=500)
    assert judge(slo(None, 1.25), worse).verdict is Verdict.FAIL


def test_harm_is_latched_at_its_peak() -> None:
    harmful, then_fine = steady(20, (10, 2)), [tick(20 + k, (10, 0), (90, 0)) for k in range(500)]
    after = judge(slo(), harmful + then_fine)
    assert after.verdict is Verdict.FAIL
    assert after.log_e_harm == judge(slo(), harmful).log_e_harm


def test_harm_in_an_earlier_step_still_counts() -> None:
    rows = [*steady(20, (10, 2)), *(tick(20 + k, (10, 0), (90, 0), step=1) for k in range(200))]
    assert judge(slo(), rows, step=1).verdict is Verdict.FAIL


def test_alpha_is_split_over_critical_slos_and_both_tests_of_harm() -> None:
    rows = steady(3, (10, 1))
    assert judge(slo(), rows).log_threshold_harm == pytest.approx(log(1 / 0.05))
    assert judge(slo(0.05, 2.0), rows).log_threshold_harm == pytest.approx(log(2 / 0.05))
    assert judge(slo(0.05, 2.0), rows, critical=3).log_threshold_harm == pytest.approx(log(6 / 0.05))


@pytest.mark.parametrize("candidate", [(300, 0), (30, 0)])
def test_a_share_that_the_weight_does_not_explain_holds(candidate: tuple[int, int]) -> None:
    verdict = judge(slo(0.05, 1.5), steady(200, candidate, (900, 0)))
    assert (verdict.verdict, verdict.reason) == (Verdict.UNDECIDED, "SampleRatioMismatch")
    assert verdict.needed is None


def test_broken_routing_does_not_hide_that_the_limit_is_broken() -> None:
    verdict = judge(slo(0.05, 1.5), steady(200, (30, 10), (900, 0)))
    assert (verdict.verdict, verdict.reason) == (Verdict.FAIL, "LimitExceeded")


def test_broken_routing_voids_a_comparison() -> None:
    verdict = judge(slo(None, 1.5), steady(200, (30, 10), (900, 0)))
    assert (verdict.verdict, verdict.reason) == (Verdict.UNDECIDED, "SampleRatioMismatch")


def test_an_early_verdict_says_how_much_more_is_needed() -> None:
    verdict = judge(slo(), steady(4, (10, 0)))
    assert verdict.verdict is Verdict.UNDECIDED
    assert verdict.needed is not None
    assert verdict.eta_seconds == pytest.approx(verdict.needed / 40 * 3)
    assert "more requests are needed, ≈ " in verdict.message


def test_a_promise_of_nothing_cannot_be_judged() -> None:
    with pytest.raises(ValueError, match="needs max or maxRatio"):
        judge(SloPolicy(name="errors", error_rate=ErrorRate()), [])


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 39), max_size=4, unique=True))
def test_folding_in_pieces_is_folding_at_once(seed: int, cuts: list[int]) -> None:
    """A restart at any ticks gives the same evidence and the same verdict."""
    chance = np.random.default_rng(seed)
    rows = []
    for k in range(40):
        candidate, stable = int(chance.integers(0, 30)), int(chance.integers(0, 90))
        weight = None if chance.random() < 0.2 else 250
        bad = int(chance.binomial(candidate, 0.1)), int(chance.binomial(stable, 0.05))
        rows.append(tick(k, (candidate, bad[0]), (stable, bad[1]), step=k // 20, weight=weight))
    promised = slo(0.08, 1.3)
    assert promised.error_rate is not None
    promise = Promise.of(promised.error_rate)
    pieces = Evidence.none(promise)
    for begin, end in zip([0, *sorted(cuts)], [*sorted(cuts), 40], strict=True):
        pieces = pieces.fold(promise, 1, Ticks.of(rows[begin:end]))
    now = datetime.fromtimestamp(rows[-1].time, UTC)
    whole = judge_error_rate(promised, canary(1), Ticks.of(rows), now)
    folded = judge_evidence(promised, canary(1), pieces, now)
    assert folded.log_e_harm == pytest.approx(whole.log_e_harm, abs=1e-9)
    assert folded.log_e_safe == pytest.approx(whole.log_e_safe, abs=1e-9)
    assert (folded.verdict, folded.reason, folded.candidate, folded.stable) == (
        whole.verdict,
        whole.reason,
        whole.candidate,
        whole.stable,
    )
