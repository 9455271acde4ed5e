"""Verdicts from tables of ticks: the smallest inputs of each kind, and what is right for them."""

from math import log, pi

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stats_table import BEGAN, hanging, judged, looks, promised, tick

from perennial.stats.evidence import Evidence, Promise, Setting
from perennial.stats.judge import FAILS, PASSES, REASONS, Levels, decide, judge, spent
from perennial.stats.ticks import Tick, Ticks
from perennial.terms import reasons
from perennial.terms.words import Verdict

FORMS = [{"limit": 0.05}, {"ratio": 1.25}, {"limit": 0.05, "ratio": 1.25}]
each_form = pytest.mark.parametrize("form", FORMS, ids=["max", "maxRatio", "both"])
Form = dict[str, float]


def steady(ticks: int, candidate: tuple[int, int], stable: tuple[int, int] = (90, 0), weight: int | None = 100) -> list:
    return [tick(k, candidate, stable, weight=weight) for k in range(ticks)]


def test_nothing_measured_is_no_data() -> None:
    verdict = judged([], limit=0.05)
    assert (verdict.verdict, verdict.reason) == (Verdict.NO_DATA, reasons.NO_REQUESTS)
    assert (verdict.low, verdict.high, verdict.needed) == (None, None, None)


def test_requests_of_stable_alone_are_no_data() -> None:
    assert judged(steady(600, (0, 0), (100, 0)), limit=0.05).reason == reasons.NO_REQUESTS


def test_a_step_without_requests_does_not_pass_on_the_last_ones() -> None:
    rows = steady(100, (10, 0))
    assert judged(rows, limit=0.05).verdict is Verdict.PASS
    verdict = judged(rows, limit=0.05, step=2)
    assert (verdict.verdict, verdict.reason) == (Verdict.NO_DATA, reasons.NO_REQUESTS_IN_STEP)


@each_form
def test_unverified_ticks_never_count_for_safety(form: Form) -> None:
    verdict = judged(steady(200, (10, 0), weight=None), **form)
    assert (verdict.verdict, verdict.reason) == (Verdict.NO_DATA, reasons.NO_REQUESTS_IN_STEP)
    assert verdict.log_e_safe == 0


def test_unverified_ticks_count_for_the_limit() -> None:
    assert judged(steady(20, (10, 4), weight=None), limit=0.05).reason == reasons.REQUESTS_LIMIT_EXCEEDED


def test_unverified_ticks_do_not_blame_the_candidate_for_what_stable_does_too() -> None:
    assert judged(steady(20, (10, 4), (90, 36), weight=None), limit=0.05).verdict is not Verdict.FAIL


@each_form
def test_far_below_what_is_promised_passes(form: Form) -> None:
    rows = steady(400, (100, 1), (900, 27))
    verdict = judged(rows, **form)
    assert (verdict.verdict, verdict.reason) == (Verdict.PASS, reasons.SHOWN_SAFE)
    assert verdict.log_e_safe >= verdict.threshold_safe == pytest.approx(log(20 * pi**2 / 6))


def test_a_rate_above_the_limit_fails() -> None:
    verdict = judged(steady(20, (10, 2)), limit=0.05)
    assert (verdict.verdict, verdict.reason) == (Verdict.FAIL, reasons.REQUESTS_LIMIT_EXCEEDED)
    assert (verdict.candidate, verdict.stable) == ((200, 40), (1800, 0))


def test_a_candidate_below_the_limit_but_worse_than_stable_fails_if_that_is_promised() -> None:
    rows = steady(300, (50, 1), (450, 1))
    assert judged(rows, limit=0.05, ratio=1.5).reason == reasons.WORSE_THAN_STABLE
    assert judged(rows, limit=0.05).verdict is Verdict.PASS, "without the ratio nothing is promised about it"


def test_harm_is_latched_at_its_peak() -> None:
    harmful, then_fine = steady(20, (10, 2)), [tick(20 + k, (10, 0)) for k in range(500)]
    after = judged(harmful + then_fine, limit=0.05)
    assert after.verdict is Verdict.FAIL
    assert after.log_e_harm == pytest.approx(judged(harmful, limit=0.05).log_e_harm)


def test_harm_in_an_earlier_step_still_counts() -> None:
    rows = [*steady(20, (10, 2)), *(tick(20 + k, (10, 0), step=2) for k in range(200))]
    assert judged(rows, limit=0.05, step=2).verdict is Verdict.FAIL


# What statistics.md calls the smallest wrong inputs, each with the right answer.


@each_form
def test_a_candidate_that_hangs_is_not_safe_and_fails_after_the_timeout(form: Form) -> None:
    rows = hanging(30, started=(100, 900), bad=(0, 0), hang=(30, 0), timeout=10)
    found = [each.verdict for each in looks(rows, **form)]
    assert Verdict.PASS not in found
    assert 10 <= found.index(Verdict.FAIL) <= 15


@each_form
def test_failures_that_come_before_successes_are_no_verdict_yet(form: Form) -> None:
    rows = [tick(k, (100, 3), (900, 9), unfinished=(97 * (k + 1), 0)) for k in range(2)]
    assert judged(rows, **form).verdict is Verdict.UNDECIDED


@each_form
@pytest.mark.parametrize("stable", [(900, 0), (900, 9)])
def test_what_fails_after_ten_good_minutes_is_found_within_2_ticks(form: Form, stable: tuple[int, int]) -> None:
    good = [tick(k, (100, 0), stable) for k in range(600)]
    assert judged(good, **form).verdict is not Verdict.FAIL
    assert judged([*good, *(tick(600 + k, (100, 100), stable) for k in range(2))], **form).verdict is Verdict.FAIL


def test_what_fails_late_is_found_with_no_stable_version_beside_it() -> None:
    good = [tick(k, (100, 0), None, weight=1000) for k in range(600)]
    rows = [*good, *(tick(600 + k, (100, 100), None, weight=1000) for k in range(2))]
    assert judged(rows, limit=0.05).reason == reasons.REQUESTS_LIMIT_EXCEEDED


@each_form
def test_a_candidate_that_answers_400_to_everyone_fails(form: Form) -> None:
    verdict = judged([tick(k, (125, 0), (1125, 0), rejected=(125, 0)) for k in range(8)], **form)
    assert (verdict.verdict, verdict.reason) == (Verdict.FAIL, reasons.MORE_REJECTED)
    assert verdict.rejected == (1000, 0)


@each_form
def test_clients_mistakes_hit_both_arms_alike(form: Form) -> None:
    rows = [tick(k, (125, 1), (1125, 18), rejected=(50, 450)) for k in range(300)]
    assert judged(rows, **form).verdict is Verdict.PASS


def test_every_stated_condition_is_needed_for_safety() -> None:
    row = [tick(0, (400, 4), (3600, 4))]
    assert judged(row, limit=0.05).verdict is Verdict.PASS
    assert judged(row, limit=0.05, ratio=1.25).verdict is Verdict.UNDECIDED


@each_form
def test_a_delta_across_a_change_of_weight_compares_nothing(form: Form) -> None:
    across = tick(0, (3513, 319), (7487, 390), weight=None, step=2)
    rows = [across, *(tick(1 + k, (500, 50), (500, 50), weight=500, step=2) for k in range(49))]
    assert judged(rows, step=2, **form).verdict is not Verdict.FAIL


@pytest.mark.parametrize("form", FORMS[1:], ids=["maxRatio", "both"])
def test_a_mismatch_does_not_keep_the_brake_from_working(form: Form) -> None:
    assert judged([tick(0, (100, 60), (900, 0), weight=500)], **form).verdict is Verdict.FAIL


@each_form
@pytest.mark.parametrize("candidate", [(300, 0), (30, 0)])
def test_a_share_that_the_weight_does_not_explain_holds(form: Form, candidate: tuple[int, int]) -> None:
    verdict = judged(steady(200, candidate, (900, 9)), **form)
    assert (verdict.verdict, verdict.reason) == (Verdict.UNDECIDED, reasons.SAMPLE_RATIO_MISMATCH)
    assert verdict.needed is None


@each_form
def test_a_limit_that_stable_breaks_too_is_no_reason_to_brake(form: Form) -> None:
    shared = judged([tick(k, (100, 20), (900, 180)) for k in range(20)], **form)
    assert shared.reason == (reasons.SHARED_INCIDENT if "limit" in form else reasons.SHOWN_SAFE)
    assert judged([tick(k, (100, 60), (900, 90)) for k in range(2)], **form).verdict is Verdict.FAIL


@each_form
def test_thirty_percent_beside_a_stable_version_that_is_a_little_above_the_limit_too_is_braked(form: Form) -> None:
    assert judged([tick(k, (100, 30), (900, 54)) for k in range(5)], **form).verdict is Verdict.FAIL


def test_a_limit_next_to_1_is_judged_right() -> None:
    limit = float("0.9999999999999999")
    assert judged([tick(k, (100, 60), (900, 90)) for k in range(2)], limit=limit).verdict is Verdict.PASS
    assert judged([tick(k, (100, 100), (900, 90)) for k in range(20)], limit=limit).verdict is Verdict.UNDECIDED


def test_bursts_that_stable_has_too_do_not_decide_and_that_is_said() -> None:
    rows = [tick(k, (100, 1), (900, 9)) for k in range(60)] + [tick(60 + k, (100, 25), (900, 9)) for k in range(2)]
    assert judged(rows, ratio=1.25).verdict is Verdict.FAIL
    dispersed = judged(rows, ratio=1.25, setting=Setting(phi=20))
    assert (dispersed.verdict, dispersed.reason) == (Verdict.UNDECIDED, reasons.OVER_DISPERSED)


@each_form
def test_warming_up_belongs_to_no_test_of_harm(form: Form) -> None:
    rows = [tick(k, (100, 3 if k < 10 else 1), (900, 9)) for k in range(40)]
    cold = [tick(k, (100, 20 if k < 10 else 1), (900, 9)) for k in range(40)]
    assert judged(cold, **form).verdict is Verdict.FAIL
    assert judged(cold, setting=Setting(warmup=10), **form).verdict is not Verdict.FAIL
    assert judged(rows, setting=Setting(warmup=10), **form).verdict is not Verdict.FAIL


@pytest.mark.parametrize(
    ("rows", "stops"),
    [
        ([tick(0, (5, 5))], True),
        ([tick(0, (4, 4))], False),
        ([tick(0, (6, 5))], False),
        ([tick(0, (6, 5), unfinished=(1, 0))], True),
        ([tick(0, (100, 5), unfinished=(95, 0))], False),
    ],
)
def test_a_candidate_that_fails_wholly_is_stopped_while_it_warms_up(rows: list[Tick], stops: bool) -> None:
    verdict = judged(rows, limit=0.05, setting=Setting(warmup=60))
    assert (verdict.reason == reasons.ALL_FAILED) is stops


def test_the_trials_of_a_lineage_share_its_risk() -> None:
    assert sum(spent(0.05, attempt) for attempt in range(1, 100_000)) == pytest.approx(0.05, rel=1e-4)
    first, second = Levels.of(0.05, 0.05, 3), Levels.of(0.05, 0.05, 3, attempt=2)
    assert first.harm == pytest.approx(log(3 / (0.05 * 6 / pi**2)))
    assert (second.harm - first.harm, second.safe - first.safe) == pytest.approx((log(4), log(4)))
    with pytest.raises(ValueError, match="attempts count from 1"):
        spent(0.05, 0)


@each_form
def test_alpha_is_split_over_all_tests_of_harm(form: Form) -> None:
    split = promised(**form).split
    assert split.worse + split.alone + split.beside == pytest.approx(1)
    assert (split.alone > 0) is ("limit" in form)


def test_the_threshold_is_that_of_the_test_that_decided() -> None:
    levels = Levels.of(0.05, 0.05)
    worse = judged([tick(0, (100, 60), (900, 0))], ratio=1.25)
    assert worse.threshold_harm == pytest.approx(levels.harm - log(0.6))
    rejected = judged([tick(0, (100, 0), (900, 0), rejected=(100, 0))], ratio=1.25)
    assert rejected.threshold_harm == pytest.approx(levels.harm - log(0.4))


def test_an_early_verdict_says_how_much_more_is_needed() -> None:
    verdict = judged(steady(4, (10, 0)), limit=0.05)
    assert verdict.verdict is Verdict.UNDECIDED
    assert verdict.needed is not None
    assert verdict.eta_seconds == pytest.approx(verdict.needed / 40 * 4)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({}, "a limit, a ratio or both"),
        ({"limit": 1.0}, "above 0 and below 1"),
        ({"limit": 0.0}, "above 0 and below 1"),
        ({"ratio": 1.0}, "must be above 1"),
    ],
)
def test_a_promise_of_nothing_cannot_be_judged(wrong: Form, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Promise(signal="requests", **wrong)  # type: ignore[arg-type]


def random_rows(seed: int) -> list[Tick]:
    """Return ticks with all signals, gaps, two steps and requests that run for some ticks."""
    chance = np.random.default_rng(seed)
    rows, running = [], np.zeros(2)
    for k in range(40):
        started = chance.integers(0, (30, 90))
        ended = chance.binomial((running + started).astype(int), 0.7)
        running = running + started - ended
        bad = chance.binomial(ended, (0.1, 0.05))
        rows.append(
            tick(
                k, (int(started[0]), int(bad[0])), (int(started[1]), int(bad[1])), step=1 + k // 20,
                weight=None if chance.random() < 0.2 else 250, rejected=(int(bad[0]), int(bad[1])),
                unfinished=(float(running[0]), float(running[1])),
            )
        )  # fmt: skip
    return rows


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.integers(1, 39), max_size=4, unique=True),
    st.sampled_from(FORMS),
    st.sampled_from([Setting(timeout=3), Setting(timeout=3, warmup=5, phi=1.7)]),
)
def test_folding_in_pieces_is_folding_at_once(seed: int, cuts: list[int], form: Form, setting: Setting) -> None:
    """A restart at any ticks gives the same evidence and the same verdict."""
    rows, promise = random_rows(seed), promised(**form)
    pieces = Evidence.none(promise, setting)
    for begin, end in zip([0, *sorted(cuts)], [*sorted(cuts), 40], strict=True):
        pieces = pieces.fold(promise, Ticks.of(rows[begin:end]))
    whole = Evidence.none(promise, setting).fold(promise, Ticks.of(rows))
    levels = Levels.of(0.05, 0.05)
    found, again = (judge(promise, each, levels, 2, BEGAN + 40) for each in (whole, pieces))
    assert again.log_e_harm == pytest.approx(found.log_e_harm, rel=1e-9, abs=1e-9)
    assert again.log_e_safe == pytest.approx(found.log_e_safe, rel=1e-9, abs=1e-9)
    assert (again.verdict, again.reason, again.candidate, again.step_total, again.needed) == (
        found.verdict,
        found.reason,
        found.candidate,
        found.step_total,
        found.needed,
    )
    for mine, theirs in zip(pieces.beside, whole.beside, strict=True):
        assert mine.worse.peak == pytest.approx(theirs.worse.peak, rel=1e-9, abs=1e-9)


@each_form
def test_many_canaries_at_once_are_judged_like_each_by_itself(form: Form) -> None:
    promise, setting = promised(**form), Setting(timeout=3, phi=1.2)
    tables = [Ticks.of(random_rows(seed)) for seed in range(5)]
    together = Ticks(
        tables[0].time,
        np.stack([each.step for each in tables]),
        np.stack([each.weight for each in tables]),
        {key: np.stack([each.rows[key] for each in tables]) for key in tables[0].rows},
    )
    _, path = Evidence.none(promise, setting, (5,)).path(promise, together)
    for i, table in enumerate(tables):
        _, alone = Evidence.none(promise, setting).path(promise, table)
        assert path.worse[i] == pytest.approx(alone.worse, abs=1e-9)
        assert path.safe_ratio[i] == pytest.approx(alone.safe_ratio, abs=1e-9)
        assert path.safe_limit[i] == pytest.approx(alone.safe_limit, abs=1e-9)
        assert path.alone[i] == pytest.approx(alone.alone, abs=1e-9)
        levels = Levels.of(0.05, 0.05)
        assert (decide(promise, path, levels)[i] == decide(promise, alone, levels)).all()


def test_of_what_is_decided_only_some_fails_and_one_passes() -> None:
    assert len(REASONS) == len(FAILS) == len(PASSES)
    assert [reason for (reason, _), passes in zip(REASONS, PASSES, strict=True) if passes] == [reasons.SHOWN_SAFE]
