"""The e-detector: seldom a false alarm, soon a true one."""

from math import log

import numpy as np
import pytest

from perennial.stats.monitor import CohortCount, detect


def cohorts(*pairs: tuple[int, int]) -> list[CohortCount]:
    return [CohortCount(total, bad) for total, bad in pairs]


def test_no_cohort_with_enough_samples_is_no_detection() -> None:
    assert detect([], 0.3, 100, 0.01) is None
    assert detect(cohorts((99, 99), (10, 10)), 0.3, 100, 0.01) is None


def test_small_cohorts_are_passed_over() -> None:
    found = detect(cohorts((500, 100), (50, 50)), 0.3, 100, 0.01)
    assert found is not None
    assert (found.latest, found.alarm) == (0, False)


def test_a_clear_breach_alarms_at_once() -> None:
    found = detect(cohorts((500, 100), (500, 260)), 0.3, 100, 0.01)
    assert found is not None
    assert found.alarm
    assert found.log_threshold == pytest.approx(log(100))


def test_small_breaches_add_up() -> None:
    one = detect(cohorts((300, 106)), 0.3, 100, 0.01)
    many = detect(cohorts(*[(300, 106)] * 8), 0.3, 100, 0.01)
    assert one is not None
    assert many is not None
    assert (one.alarm, many.alarm) == (False, True)


def test_good_years_do_not_hide_a_bad_week() -> None:
    bad = (500, 210)
    alone = detect(cohorts(bad), 0.3, 100, 0.01)
    after_years = detect(cohorts(*[(500, 50)] * 100, bad), 0.3, 100, 0.01)
    assert alone is not None
    assert after_years is not None
    assert after_years.log_e == pytest.approx(alone.log_e)


def test_a_model_that_recovers_is_called_healthy_again() -> None:
    found = detect(cohorts(*[(500, 400)] * 10, (500, 100)), 0.3, 100, 0.01)
    assert found is not None
    assert not found.alarm


def test_a_healthy_model_alarms_at_most_as_often_as_promised() -> None:
    """The detector is restarted after each alarm; its alarms come at most once in 100 cohorts."""
    chance = np.random.default_rng(21)
    alarms, length = 0, 20_000
    since: list[CohortCount] = []
    for bad in chance.binomial(300, 0.3, length):
        since.append(CohortCount(300, int(bad)))
        found = detect(since, 0.3, 100, 0.01)
        assert found is not None
        alarms += found.alarm
        if found.alarm or found.log_e <= 0:  # at 0 or below, the detector itself forgets what lies before
            since.clear()
    assert 0 < alarms <= 0.01 * length
