"""When the operator hears of a new state: at once of what matters, now and then of what was only counted."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from perennial.api.messages.state import State, Weights
from perennial.collector.state import PROGRESS_SECONDS, Revisions


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


Says = Callable[..., str]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def says(clock: Clock) -> Says:
    revisions = Revisions(clock)

    def revision(*, after: float, weight: int = 100, predictions: int = 0) -> str:
        """Return a state's revision some seconds after the last one."""
        clock.now += after
        weights = Weights(desired={"a": 1000 - weight, "b": weight})
        time = datetime.fromtimestamp(clock.now, UTC)
        state = State(revision="", policy_revision="p", time=time, weights=weights, predictions=predictions)
        return revisions.revised(state).revision

    return revision


def test_what_is_only_counted_is_shown_now_and_then(says: Says) -> None:
    first = says(after=0, predictions=1)
    assert says(after=PROGRESS_SECONDS - 1, predictions=2) == first
    assert says(after=1, predictions=3) != first


def test_what_matters_is_shown_at_once(says: Says) -> None:
    assert says(after=0, weight=100) != says(after=0, weight=0)


def test_what_was_counted_is_shown_with_what_matters_and_not_again_right_after_it(says: Says) -> None:
    says(after=0, predictions=1)
    changed = says(after=PROGRESS_SECONDS - 1, weight=0, predictions=2)
    assert says(after=PROGRESS_SECONDS - 1, weight=0, predictions=3) == changed
    assert says(after=1, weight=0, predictions=4) != changed


def test_a_state_that_stays_keeps_its_revision(says: Says) -> None:
    first = says(after=0, predictions=1)
    assert says(after=10 * PROGRESS_SECONDS, predictions=1) == first
