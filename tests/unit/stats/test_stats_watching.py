"""The version that answers, watched by itself."""

import numpy as np
import pytest

from perennial.stats.ticks import REQUESTS, UNFINISHED, Key, Row, Tick, Ticks
from perennial.stats.watching import Detector
from perennial.terms.words import Verdict


def ticks(chance: np.random.Generator, seconds: int, rate: float, each: int = 100) -> Ticks:
    bad = chance.binomial(each, rate, seconds)
    return Ticks.of(Tick(k, 0, None, {Key(REQUESTS, "stable"): Row.of(each, float(bad[k]))}) for k in range(seconds))


def test_nothing_answered_is_no_data() -> None:
    assert Detector.none(0.05, 0.05).after(Ticks.of([]), REQUESTS).verdict is Verdict.NO_DATA


@pytest.mark.parametrize(("rate", "within"), [(0.3, 2), (1.0, 1)])
def test_trouble_is_found_at_once_after_a_good_hour(rate: float, within: int) -> None:
    chance = np.random.default_rng(1)
    found = Detector.none(0.05, 0.05).after(ticks(chance, 3600, 0.01), REQUESTS)
    assert found.verdict is Verdict.PASS
    assert found.after(ticks(chance, within, rate), REQUESTS).verdict is Verdict.FAIL


def test_it_is_called_healthy_again_soon_after_it_has_recovered() -> None:
    chance = np.random.default_rng(2)
    found = Detector.none(0.05, 0.05).after(ticks(chance, 600, 0.9), REQUESTS)
    assert found.verdict is Verdict.FAIL
    assert found.after(ticks(chance, 30, 0.01), REQUESTS).verdict is Verdict.PASS


def test_a_version_at_its_limit_is_seldom_blamed_within_hours() -> None:
    blamed = 0
    for seed in range(20):
        chance = np.random.default_rng(seed)
        found = Detector.none(0.05, 0.05)
        for _ in range(72):
            found = found.after(ticks(chance, 50, 0.05), REQUESTS)
            if found.verdict is Verdict.FAIL:
                blamed += 1
                break
    assert blamed <= 1


def test_folding_in_pieces_is_folding_at_once() -> None:
    table = ticks(np.random.default_rng(3), 200, 0.06)
    whole = Detector.none(0.05, 0.05).after(table, REQUESTS)
    pieces = Detector.none(0.05, 0.05).after(table.between(0, 77), REQUESTS).after(table.between(77, 200), REQUESTS)
    assert pieces.log_e == pytest.approx(whole.log_e, rel=1e-9)
    assert (pieces.total, pieces.bad) == (whole.total, whole.bad)


def test_what_was_running_before_and_fails_when_traffic_has_stopped_is_no_trouble() -> None:
    steady = [
        Tick(k, 0, None, {Key(REQUESTS, "stable"): Row.of(1000, 0), Key(UNFINISHED, "stable"): Row(50)})
        for k in range(60)
    ]
    over = [
        Tick(60 + k, 0, None, {Key(REQUESTS, "stable"): Row.of(0, 10), Key(UNFINISHED, "stable"): Row(40 - 10 * k)})
        for k in range(5)
    ]
    assert Detector.none(0.05, 0.05).after(Ticks.of([*steady, *over]), REQUESTS).verdict is Verdict.PASS
