"""Counters become what happened under a step and a weight: across restarts, lost looks, changes of weight."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.collector.counting import Baseline, Counted, Counting, Setting, count
from perennial.collector.signals import Key, Reading
from perennial.stats.sums import Sums
from perennial.stats.ticks import ABANDONED, ANSWERED, REQUESTS, UNFINISHED, Row

FIRST, SECOND = Setting(1, 200), Setting(2, 500)
UNKNOWN = Setting(1, None)


def reading(age: float = 500.0, a: tuple[int, int] = (0, 0), b: tuple[int, int] = (0, 0), running: int = 0) -> Reading:
    """Return counters of (requests, bad ones) for each slot; `running` of slot b's."""
    return Reading(
        age,
        {
            (REQUESTS, "a", ""): Sums.count(*a),
            (REQUESTS, "b", ""): Sums.count(*b),
            (UNFINISHED, "b", ""): Sums(running),
        },
    )


def at(setting: Setting, a: tuple[int, int] = (0, 0), b: tuple[int, int] = (0, 0)) -> Baseline:
    return Baseline(reading(a=a, b=b), setting)


def look(
    baselines: Mapping[str, Baseline],
    seen: Mapping[str, Reading],
    before: Setting = FIRST,
    after: Setting | None = None,
    counting_for: float = 100.0,
) -> Counted:
    present = {*baselines, *seen}
    now = before if after is None else after
    return count(baselines, seen, present=present, before=before, after=now, counting_for=counting_for)


def requests(counted: Counted, slot: str = "a") -> dict[Setting, tuple[float, float]]:
    """Return (requests, bad ones) of a slot under each setting."""
    key: Key = (REQUESTS, "a" if slot == "a" else "b", "")
    return {setting: (rows[key].n, rows[key].total) for setting, rows in counted.portions.items()}


def test_a_difference_is_counted_under_what_was_in_force_all_the_while() -> None:
    counted = look({"r": at(FIRST, a=(100, 3))}, {"r": reading(a=(110, 4), b=(5, 5))})
    assert requests(counted) == {FIRST: (10, 1)}
    assert requests(counted, "b") == {FIRST: (5, 5)}
    assert counted.changed


def test_nothing_new_is_nothing_to_write_down() -> None:
    counted = look({"r": at(FIRST, a=(100, 3))}, {"r": reading(a=(100, 3))})
    assert (dict(counted.portions), counted.changed) == ({}, False)


@pytest.mark.parametrize("after", [(4, 1), (99, 1), (0, 0)])
def test_a_router_that_began_anew_counts_from_0_and_under_no_weight(after: tuple[int, int]) -> None:
    """Until the collector has answered it, a router gives everything to what was stable when it was configured."""
    counted = look({"r": at(FIRST, a=(100, 3))}, {"r": reading(1.0, a=after)})
    assert requests(counted) == ({UNKNOWN: after} if any(after) else {})
    assert counted.baselines["r"].reading.counters[REQUESTS, "a", ""] == Sums.count(*after)


def test_a_clock_that_is_set_is_no_new_beginning() -> None:
    assert requests(look({"r": at(FIRST, a=(100, 3))}, {"r": reading(12.0, a=(105, 3))})) == {FIRST: (5, 0)}


def test_a_router_that_a_look_did_not_reach_is_counted_by_a_later_one() -> None:
    first = look({"r": at(FIRST, a=(100, 3))}, {})
    assert (dict(first.portions), first.changed) == ({}, False)
    assert requests(look(first.baselines, {"r": reading(a=(130, 3))})) == {FIRST: (30, 0)}


def test_what_was_counted_across_a_step_belongs_to_no_weight() -> None:
    """The looks between were lost: 7,487 stable requests of weight 200 beside those of weight 500."""
    counted = look({"r": at(FIRST)}, {"r": reading(a=(7487, 390), b=(3513, 319))}, before=SECOND)
    assert requests(counted, "b") == {UNKNOWN: (3513, 319)}
    settled = look(counted.baselines, {"r": reading(a=(7987, 440), b=(4013, 369))}, before=SECOND)
    assert requests(settled, "b") == {SECOND: (500, 50)}


def test_a_weight_that_was_in_doubt_while_a_router_was_not_reached_is_not_that_of_all_the_while() -> None:
    doubt = look({"r": at(FIRST, b=(10, 0))}, {}, before=UNKNOWN)
    assert doubt.changed
    counted = look(doubt.baselines, {"r": reading(b=(15, 1))})
    assert requests(counted, "b") == {UNKNOWN: (5, 1)}


def test_routers_that_were_reached_at_different_times_are_told_apart() -> None:
    baselines = {"lost": at(FIRST, b=(10, 0)), "seen": at(SECOND, b=(10, 0))}
    counted = look(baselines, {"lost": reading(b=(500, 9)), "seen": reading(b=(30, 1))}, before=SECOND)
    assert requests(counted, "b") == {UNKNOWN: (490, 9), SECOND: (20, 1)}


@pytest.mark.parametrize(
    ("before", "after", "now", "kept"),
    [
        pytest.param(Setting(1, None), Setting(1, 200), UNKNOWN, UNKNOWN, id="acknowledged during the look"),
        pytest.param(FIRST, Setting(1, None), UNKNOWN, UNKNOWN, id="no longer acknowledged"),
        pytest.param(FIRST, FIRST, FIRST, FIRST, id="all the while"),
        pytest.param(Setting(1, 0), Setting(1, 0), UNKNOWN, Setting(1, 0), id="another weight"),
    ],
)
def test_a_weight_counts_from_a_look_that_it_outlasted(
    before: Setting, after: Setting, now: Setting, kept: Setting
) -> None:
    counted = look({"r": at(FIRST)}, {"r": reading(a=(10, 0))}, before, after)
    assert set(counted.portions) == {now}
    assert counted.baselines["r"].setting == kept


def test_the_past_of_an_unknown_router_belongs_to_nobody() -> None:
    counted = look({}, {"r": reading(500.0, a=(9000, 8000))})
    assert dict(counted.portions) == {}
    assert counted.baselines["r"].reading.counters[REQUESTS, "a", ""] == Sums.count(9000, 8000)


def test_a_router_that_began_since_counting_did_is_counted_whole() -> None:
    assert requests(look({}, {"r": reading(2.0, a=(20, 2))}, counting_for=3.0)) == {UNKNOWN: (20, 2)}


def test_old_addresses_are_forgotten_when_there_are_many() -> None:
    many = {f"10.0.0.{i}": at(FIRST, a=(1, 0)) for i in range(100)}
    counted = look(many, {"10.0.0.1": reading(a=(2, 0))})
    assert set(counted.baselines) == {"10.0.0.1"}
    assert requests(counted) == {FIRST: (1, 0)}


def test_a_level_is_what_there_is_now_at_all_routers_that_are() -> None:
    baselines = {"late": Baseline(reading(running=4), FIRST), "gone": Baseline(reading(running=9), FIRST)}
    seen = {"r": reading(1.0, b=(5, 0), running=2)}
    counted = count(baselines, seen, present={"late", "r"}, before=FIRST, after=FIRST, counting_for=9.0)
    assert counted.portions[UNKNOWN][UNFINISHED, "b", ""] == Row(6)


def test_what_a_look_shows_less_of_than_the_one_before_is_shown_by_a_later_one() -> None:
    def left(n: int) -> Reading:
        return Reading(9.0, {(ANSWERED, "b", ""): Sums(5 + n), (ABANDONED, "b", ""): Sums(n)})

    baselines: Mapping[str, Baseline] = {"r": Baseline(left(0), FIRST)}
    found = []
    for n in (3, 2, 2, 5):
        counted = look(baselines, {"r": Reading(9.0, {(ABANDONED, "b", ""): Sums(n)})})
        baselines = counted.baselines
        found.append(sum(rows[ABANDONED, "b", ""].n for rows in counted.portions.values()))
    assert found == [3, 0, 0, 2]


def test_a_signal_that_an_earlier_program_did_not_count_begins_with_the_first_look() -> None:
    baselines = {"r": Baseline(Reading(9.0, {(REQUESTS, "a", ""): Sums(10)}), FIRST)}
    counted = look(baselines, {"r": Reading(9.0, {(REQUESTS, "a", ""): Sums(12), (ANSWERED, "a", ""): Sums(10)})})
    assert dict(counted.portions[FIRST]) == {(REQUESTS, "a", ""): Row(2)}
    later = {"r": Reading(9.0, {(REQUESTS, "a", ""): Sums(13), (ANSWERED, "a", ""): Sums(12)})}
    assert look(counted.baselines, later).portions[FIRST][ANSWERED, "a", ""] == Row(2)


class Watch:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_what_could_not_be_written_down_is_counted_again() -> None:
    counting = Counting()
    counting.baselines = {"r": at(FIRST, a=(100, 0))}
    for n in (110, 115):
        lost = counting.since({"r": reading(a=(n, 0))}, {"r"}, FIRST, FIRST)
    counting.take(lost)
    assert (requests(lost), counting.total(REQUESTS, "a").n) == ({FIRST: (15, 0)}, 15)
    counting.take(counting.since({"r": reading(a=(120, 1))}, {"r"}, FIRST, FIRST))
    assert counting.total(REQUESTS, "a") == Row(20, 1, 1)


def test_a_canary_counts_from_its_beginning_and_a_router_that_was_not_reached_then_from_when_it_is() -> None:
    watch = Watch()
    counting = Counting(watch)
    counting.baselines = {"reached": at(FIRST, b=(10, 0)), "lost": at(FIRST, b=(10, 0))}
    watch.now += 60.0
    counting.begin(1, {"reached"})
    watch.now += 5.0
    seen = {
        "reached": reading(b=(12, 0)),
        "lost": reading(b=(70, 50)),
        "old": reading(6.0),
        "new": reading(4.0, b=(1, 1)),
    }
    counted = counting.since(seen, seen, FIRST, FIRST)
    assert requests(counted, "b") == {UNKNOWN: (3, 1), Setting(): (60, 50)}


def test_weights_that_were_changed_and_changed_back_are_not_those_of_all_the_while() -> None:
    counting = Counting()
    counting.baselines = {"r": at(FIRST)}
    counting.forget_weights()
    assert requests(counting.since({"r": reading(a=(5, 0))}, {"r"}, FIRST, FIRST)) == {UNKNOWN: (5, 0)}


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 5), st.booleans(), st.booleans()), max_size=30))
def test_no_request_is_counted_twice_whatever_restarts_and_is_not_reached(
    steps: list[tuple[int, int, bool, bool]],
) -> None:
    baselines: Mapping[str, Baseline] = {"r": at(FIRST)}
    total, bad = 0, 0
    served, lost = (0, 0), False
    found = (0.0, 0.0)
    for good, wrong, restart, reached in steps:
        if restart:
            # What a life has counted since the last look goes with it, and one that is outdone hides that it was.
            lost = lost or total > 0
            total, bad = 0, 0
        total, bad = total + good + wrong, bad + wrong
        served = (served[0] + good + wrong, served[1] + wrong)
        if reached:
            counted = look(baselines, {"r": reading(a=(total, bad))})
            baselines = counted.baselines
            found = tuple(map(sum, zip(found, *requests(counted).values(), strict=True)))  # type: ignore[assignment]
    assert found[0] <= served[0]
    assert found[1] <= served[1]
    final = look(baselines, {"r": reading(a=(total, bad))})
    found = tuple(map(sum, zip(found, *requests(final).values(), strict=True)))  # type: ignore[assignment]
    assert lost or found == served
