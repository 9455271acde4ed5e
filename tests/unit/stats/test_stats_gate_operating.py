"""How often a gate by days errs, by simulation. `SEED=…` in the environment draws other gates than usual."""

import os

import numpy as np
import pytest

from perennial.stats.days import Days
from perennial.stats.gate import Held, spent, verdict_of
from perennial.stats.sums import Sums
from perennial.terms.words import Verdict

SEED = int(os.environ.get("SEED", "1"))
GATES, ROWS = 600, 1000
BAR = 0.035


def same_model_twice(days: int, sd: float) -> list[Held]:
    """Return gates of two equally good models on days of a difficulty of their own, each model with its own way."""
    chance = np.random.default_rng([SEED, days, int(100 * sd)])
    difficulty = chance.normal(0, 0.3, (GATES, days))
    first, second = (1 / (1 + np.exp(0.85 - difficulty - chance.normal(0, sd, (GATES, days)))) for _ in range(2))
    both = 0.5 * np.minimum(first, second) + 0.5 * first * second
    cells = chance.multinomial(ROWS, np.stack([first - both, second - both, 1 - first - second + both], axis=-1))
    return [
        Held(Days.of(Sums(ROWS, float(a - b), float(a + b)) for a, b, _ in gate), rate=True, paired=True)
        for gate in cells
    ]


@pytest.mark.parametrize("days", [7, 14, 30])
def test_the_same_model_twice_is_seldom_called_another(days: int) -> None:
    """Rows counted as independent call it so in two of five gates over seven days."""
    verdicts = [verdict_of(held.interval(spent(1)), 0.0) for held in same_model_twice(days, 0.1)]
    assert verdicts.count(Verdict.FAIL) <= BAR * GATES
    assert verdicts.count(Verdict.PASS) <= BAR * GATES


def test_rows_alone_would_call_it_so() -> None:
    """What the days are there for."""
    gates = same_model_twice(7, 0.1)
    alone = [Held(Days(held.days.sums, 1), rate=True, paired=True) for held in gates]
    verdicts = [verdict_of(held.interval(0.025), 0.0) for held in alone]
    assert verdicts.count(Verdict.UNDECIDED) < 0.75 * GATES
