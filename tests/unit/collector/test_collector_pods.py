"""The pods behind the routers."""

from hypothesis import given
from hypothesis import strategies as st

from perennial.collector.pods import Halves, Listed, Pod, members, parse_pods

TEXT = """\
a::observability_name::a
a::default_priority::max_connections::4096
a::10.0.0.1:8080::cx_active::17
a::10.0.0.1:8080::rq_error::18
a::10.0.0.1:8080::rq_success::32
a::10.0.0.1:8080::rq_total::53
a::10.0.0.1:8080::health_flags::healthy
a::10.0.0.2:8080::rq_error::0
a::10.0.0.2:8080::rq_success::4
a::10.0.0.2:8080::health_flags::healthy
b::10.0.0.3:8080::rq_error::0
b::10.0.0.3:8080::rq_success::0
b::10.0.0.3:8080::health_flags::/failed_active_hc
collector::10.0.0.9:9900::health_flags::healthy
"""


def test_each_pod_is_listed_with_what_it_has_answered() -> None:
    assert parse_pods(TEXT) == {
        ("a", "10.0.0.1"): Pod(50, 18, healthy=True),
        ("a", "10.0.0.2"): Pod(4, 0, healthy=True),
        ("b", "10.0.0.3"): Pod(0, 0, healthy=False),
    }


@given(st.text())
def test_whatever_is_no_list_of_pods_lists_none(text: str) -> None:
    assert parse_pods(text) == {}


def test_members_are_those_that_every_router_means() -> None:
    told = parse_pods(TEXT)
    assert members([told, told]) == {"a": ("10.0.0.1", "10.0.0.2"), "b": ()}
    assert members([told, {("a", "10.0.0.1"): Pod(healthy=True)}]) is None
    assert members([told, None]) is None
    assert members([]) is None


def pods(*counts: tuple[int, int], slot: str = "a") -> Listed:
    return {("a" if slot == "a" else "b", f"10.0.0.{i}"): Pod(*each) for i, each in enumerate(counts)}


def test_halves_are_what_the_pods_answered_since_the_last_look() -> None:
    halves = Halves()
    before = {"r": pods((10, 1), (20, 2), (30, 3)), "s": pods((0, 0), (0, 0), (0, 0))}
    assert halves.since(before, "a") is None
    now = {"r": pods((15, 1), (21, 3), (32, 3)), "s": pods((1, 0), (4, 4), (0, 0))}
    assert halves.since(now, "a") == ((5 + 2 + 1, 0), (1 + 4, 1 + 4))
    assert halves.since(now, "a") is None, "nothing was answered since"


def test_one_pod_has_no_halves() -> None:
    halves = Halves()
    halves.since({"r": pods((10, 1))}, "a")
    assert halves.since({"r": pods((90, 1))}, "a") is None


def test_pods_of_the_other_slot_are_none_of_the_halves() -> None:
    halves = Halves()
    halves.since({"r": pods((10, 1), (10, 1), slot="b")}, "a")
    assert halves.since({"r": pods((90, 1), (90, 1), slot="b")}, "a") is None


def test_what_is_not_known_from_before_is_left_out() -> None:
    halves = Halves()
    halves.since({"r": pods((10, 0), (10, 0)), "new": None, "anew": pods((500, 90), (10, 0))}, "a")
    now = {"r": pods((12, 0), (13, 1)), "new": pods((70, 7), (70, 7)), "anew": pods((3, 3), (14, 0))}
    assert halves.since(now, "a") == ((2, 0), (3 + 4, 1))
