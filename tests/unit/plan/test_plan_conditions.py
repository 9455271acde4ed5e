"""How marks become conditions."""

from given import NOW, later

from perennial.plan.conditions import condition, mark, progress, repeat, settle
from perennial.terms.kube import Condition


def settled(
    before: tuple[Condition, ...], status: bool, message: str = "", seconds: float = 0
) -> tuple[Condition, ...]:
    return settle(before, [mark("Ready", status, "Said", message)], now=later(seconds), generation=2)


def test_a_condition_remembers_since_when_its_status_is_what_it_is() -> None:
    first = settled((), status=True)
    again = settled(first, status=True, message="Still.", seconds=60)
    other = settled(again, status=False, seconds=120)
    assert [item[0].last_transition_time for item in (first, again, other)] == [NOW, NOW, later(120)]
    assert (again[0].message, again[0].observed_generation) == ("Still.", 2)


def test_saying_the_same_again_changes_nothing() -> None:
    first = settled((), status=True)
    assert settled(first, status=True, seconds=3600) == first


def test_conditions_are_sorted_and_those_that_are_not_marked_vanish() -> None:
    before = settled((), status=True)
    marks = [mark("B", "Unknown", "Said", ""), mark("A", False, "Said", "")]
    after = settle(before, marks, now=NOW, generation=1)
    assert [(item.type, item.status) for item in after] == [("A", "False"), ("B", "Unknown")]
    assert condition(after, "Ready") is None
    assert condition(after, "A") == after[0]


def test_what_is_repeated_is_the_same() -> None:
    (known,) = settled((), status=True, message="So it is.")
    assert settle((known,), [repeat(known)], now=later(60), generation=2) == (known,)


def test_kstatus() -> None:
    assert [(item.type, item.status, item.reason) for item in progress()] == [
        ("Reconciling", "False", "Settled"),
        ("Stalled", "False", "Free"),
    ]
    assert [item.status for item in progress(reconciling=("Training", "It runs."))] == ["True", "False"]
    assert [item.status for item in progress(stalled=("Suspended", "It is."))] == ["False", "True"]
