"""How much failures vary beyond chance, told from two halves that run the same."""

import json

import numpy as np
import pytest

from perennial.stats.dispersion import Dispersion


def known(chance: np.random.Generator, seconds: int, clump: int = 1, death: int = 0) -> Dispersion:
    """Return what is known after some seconds at 1 % errors, in clumps, or with a third of a half failing for 3 s."""
    found, dying = Dispersion(), [0, 0]
    for second in range(seconds):
        bad = chance.poisson(2.5 / clump, 2) * float(clump)
        for half in range(2):
            if death and chance.random() < 1 / death:
                dying[half] = 3
            bad[half] += 80 * (dying[half] > 0)
            dying[half] = max(dying[half] - 1, 0)
        found = found.after(float(second), ((250.0, bad[0]), (250.0, bad[1])))
    return found


def test_failures_by_chance_alone_are_not_over_dispersed() -> None:
    assert known(np.random.default_rng(1), 3600).phi < 1.6


@pytest.mark.parametrize("clump", [3, 6])
def test_clumps_are_found_by_their_size(clump: int) -> None:
    assert 0.8 * clump < known(np.random.default_rng(2), 3600, clump).phi < 1.8 * clump


def test_a_pod_that_dies_now_and_then_counts_over_as_long_as_it_is_dead() -> None:
    assert known(np.random.default_rng(3), 3600, death=300).phi > 15


def test_shocks_that_both_halves_share_do_not_count() -> None:
    found = Dispersion()
    for second in range(3600):
        bad = 100.0 if second % 60 < 5 else 2.0
        found = found.after(float(second), ((250.0, bad), (250.0, bad)))
    assert found.phi == 1


@pytest.mark.parametrize("halves", [((0.0, 0.0), (0.0, 0.0)), ((5.0, 0.0), (5.0, 0.0)), ((5.0, 5.0), (0.0, 0.0))])
def test_seconds_that_say_nothing_change_nothing(halves: tuple[tuple[float, float], tuple[float, float]]) -> None:
    found = Dispersion()
    for second in range(200):
        found = found.after(float(second), halves)
    assert found.numbers() == Dispersion().numbers()


def test_what_was_kept_goes_on_after_a_restart() -> None:
    found = known(np.random.default_rng(4), 1000, clump=4)
    again = Dispersion.of(json.loads(json.dumps(found.numbers())))
    assert again.phi == found.phi
    assert Dispersion.of([[7.0, 1.0, 1.0]]).phi == 1, "lengths that are used no more"


def test_what_was_long_ago_is_forgotten() -> None:
    second, weeks = 0.0, 3
    found = Dispersion.of([[64.0, 5.0 * 7 * 1350, 7 * 1350.0]])
    assert found.phi > 4.9
    for _ in range(weeks * 7 * 1350 + 20):
        second += 64.0
        found = found.after(second, ((250.0, 3.0), (250.0, 2.0)))
    assert found.phi < 1.8
    assert max(seconds * ended for seconds, _, ended in found.numbers()) <= 7 * 86_400
