"""The circuit breaker, on a clock of its own."""

from perennial.facts.breaker import CircuitBreaker


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def make(clock: Clock) -> CircuitBreaker:
    return CircuitBreaker(threshold=3, first_seconds=2.0, longest_seconds=10.0, now=clock)


def test_stays_closed_below_the_threshold_and_after_a_success() -> None:
    breaker = make(Clock())
    for _ in range(5):
        breaker.failed()
        breaker.failed()
        assert breaker.blocked_seconds() == 0
        breaker.succeeded()


def test_opens_at_the_threshold_and_lets_one_caller_try_after_the_pause() -> None:
    clock = Clock()
    breaker = make(clock)
    for _ in range(3):
        breaker.failed()
    assert breaker.blocked_seconds() == 2.0
    clock.seconds += 2.0
    assert breaker.blocked_seconds() == 0, "the first caller may try"
    assert breaker.blocked_seconds() > 0, "the second waits for the outcome of that try"
    breaker.succeeded()
    assert breaker.blocked_seconds() == 0


def test_pauses_double_up_to_the_longest() -> None:
    clock = Clock()
    breaker = make(clock)
    pauses = []
    for _ in range(7):
        breaker.failed()
        pauses.append(breaker.blocked_seconds())
        clock.seconds += pauses[-1]
    assert pauses == [0, 0, 2.0, 4.0, 8.0, 10.0, 10.0]
