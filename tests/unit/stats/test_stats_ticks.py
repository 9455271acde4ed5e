"""The table of ticks in its long form."""

import numpy as np
import pytest

from perennial.stats.ticks import NOTHING, REJECTED, REQUESTS, SIGNALS, UNFINISHED, Key, Row, Tick, Ticks

REQUESTED = Key(REQUESTS, "candidate")


def tick(second: float, **rows: tuple[float, float]) -> Tick:
    """Return a tick with rows of the candidate, by the last word of their signals."""
    named = {signal.rpartition("/")[2]: signal for signal in SIGNALS}
    return Tick(second, 0, 100, {Key(named[name], "candidate"): Row.of(*row) for name, row in rows.items()})


def test_columns_have_one_value_a_tick_and_tell_what_was_not_measured() -> None:
    ticks = Ticks.of([tick(1, requests=(5, 1)), tick(2, requests=(7, 0), unfinished=(3, 0))])
    assert len(ticks) == 2
    assert ticks.n(REQUESTS, "candidate").tolist() == [5, 7]
    assert ticks.total(REQUESTS, "candidate").tolist() == [1, 0]
    assert ticks.n(UNFINISHED, "candidate").tolist() == [0, 3]
    measured = ticks.measured(UNFINISHED, "candidate")
    assert measured is not None
    assert np.isnan(measured[0]).all()
    assert ticks.measured(REJECTED, "candidate") is None
    assert ticks.n(REJECTED, "stable").tolist() == [0, 0]


def test_a_tick_tells_a_row_that_is_missing_from_one_of_nothing() -> None:
    seen = tick(1, requests=(0, 3))
    assert seen.row(REQUESTS, "candidate") == Row(0, 3, 3), "what was started before may fail in a tick without starts"
    assert seen.row(REQUESTS, "stable") is NOTHING


def test_an_unverified_weight_is_minus_1_and_no_ticks_make_empty_columns() -> None:
    assert Ticks.of([Tick(1, 0, None, {}), Tick(2, 0, 0, {})]).weight.tolist() == [-1, 0]
    assert len(Ticks.of([])) == 0
    assert Ticks.of([]).n(REQUESTS, "stable").shape == (0,)


def test_a_part_of_the_ticks_has_all_columns() -> None:
    part = Ticks.of([tick(second, requests=(second, 0)) for second in range(5)]).between(1, 3)
    assert part.time.tolist() == [1, 2]
    assert part.n(REQUESTS, "candidate").tolist() == [1, 2]
    assert part.weight.shape == part.step.shape == (2,)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ({Key("latency", "candidate"): Row(1)}, "signal 'latency' is not known to this release"),
        ({Key(REQUESTS, "shadow"): Row(1)}, "arm 'shadow' of requests must be one of candidate, stable"),  # type: ignore[arg-type]
        ({REQUESTED: Row(float("nan"))}, "requests of candidate must be finite numbers"),
    ],
)
def test_what_is_not_known_is_refused(rows: dict[Key, Row], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Tick(1, 0, None, rows)


def test_columns_of_an_unknown_signal_are_refused() -> None:
    with pytest.raises(ValueError, match="signal 'latency'"):
        Ticks(np.zeros(1), np.zeros(1, np.int64), np.zeros(1, np.int64), {Key("latency", "stable"): np.zeros((1, 3))})


@pytest.mark.parametrize("signal", SIGNALS)
def test_every_signal_says_what_it_counts(signal: str) -> None:
    assert SIGNALS[signal].startswith("n: ")
