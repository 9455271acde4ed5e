"""The time of ticks."""

from perennial.collector.clock import Clock


class Time:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def test_a_wall_clock_that_is_set_moves_no_tick() -> None:
    wall, steady = Time(1_000_000.0), Time(50.0)
    clock = Clock(wall, steady)
    assert clock.now() == 1_000_000.0
    wall.now, steady.now = 3.0, 52.5
    assert clock.now() == 1_000_002.5
    wall.now = 9e9
    assert clock.now() == 1_000_002.5


def test_no_tick_is_before_one_that_was_written_by_an_earlier_life() -> None:
    steady = Time(0.0)
    clock = Clock(Time(1000.0), steady)
    clock.not_before(1500.0)
    assert clock.now() == 1500.0
    clock.not_before(900.0)
    steady.now += 1.0
    assert clock.now() == 1501.0
