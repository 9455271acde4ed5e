"""Counters of routers become requests: across restarts, new routers, and routers that do not answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.collector.router_stats import Requests, Snapshot, count, parse

PAGE = """\
# TYPE envoy_cluster_upstream_rq_xx counter
envoy_cluster_upstream_rq_xx{envoy_response_code_class="2",envoy_cluster_name="a"} 90
envoy_cluster_upstream_rq_xx{envoy_response_code_class="4",envoy_cluster_name="a"} 7
envoy_cluster_upstream_rq_xx{envoy_response_code_class="5",envoy_cluster_name="a"} 3
envoy_cluster_upstream_rq_xx{envoy_cluster_name="b",envoy_response_code_class="5"} 2
envoy_cluster_upstream_rq_xx{envoy_response_code_class="1",envoy_cluster_name="b"} 50
envoy_cluster_upstream_rq_xx{envoy_response_code_class="5",envoy_cluster_name="collector"} 44
# TYPE envoy_server_uptime gauge
envoy_server_uptime{} 17
"""


def snapshot(uptime: int, a: tuple[int, int] = (0, 0), b: tuple[int, int] = (0, 0)) -> Snapshot:
    return Snapshot(uptime, Requests(*a), Requests(*b))


def test_classes_of_final_responses_are_counted() -> None:
    assert parse(PAGE) == snapshot(17, (100, 3), (2, 2))


@pytest.mark.parametrize("text", ["", "no healthy upstream", PAGE.replace("envoy_server_uptime", "x")])
def test_a_page_without_uptime_is_no_page_of_a_router(text: str) -> None:
    with pytest.raises(ValueError, match="uptime"):
        parse(text)


def test_a_difference_is_counted() -> None:
    counted = count({"r": snapshot(10, (100, 3))}, {"r": snapshot(11, (110, 4), (5, 5))}, 1.0)
    assert (counted.a, counted.b, counted.changed) == (Requests(10, 1), Requests(5, 5), True)


def test_nothing_new_is_nothing_to_write_down() -> None:
    counted = count({"r": snapshot(10, (100, 3))}, {"r": snapshot(11, (100, 3))}, 1.0)
    assert (counted.a, counted.b, counted.changed) == (Requests(), Requests(), False)


@pytest.mark.parametrize("after", [snapshot(0, (4, 1)), snapshot(2, (500, 1)), snapshot(300, (4, 1))])
def test_a_restarted_router_counts_from_zero(after: Snapshot) -> None:
    counted = count({"r": snapshot(200, (100, 3))}, {"r": after}, 1.0)
    assert counted.a == after.a


def test_a_clock_that_is_set_is_no_restart() -> None:
    assert count({"r": snapshot(9000, (100, 3))}, {"r": snapshot(12, (105, 3))}, 1.0).a == Requests(5, 0)


def test_a_router_that_did_not_answer_is_counted_later() -> None:
    first = count({"r": snapshot(10, (100, 3))}, {}, 1.0)
    assert (first.a, first.baselines) == (Requests(), {"r": snapshot(10, (100, 3))})
    assert count(first.baselines, {"r": snapshot(13, (130, 3))}, 1.0).a == Requests(30, 0)


def test_the_past_of_an_unknown_router_belongs_to_nobody() -> None:
    counted = count({}, {"r": snapshot(500, (9000, 8000))}, 0.0)
    assert (counted.a, counted.baselines) == (Requests(), {"r": snapshot(500, (9000, 8000))})


def test_a_router_that_has_just_started_is_counted_whole() -> None:
    assert count({}, {"r": snapshot(0, (20, 2))}, 1.0).a == Requests(20, 2)


def test_old_addresses_are_forgotten_when_there_are_many() -> None:
    many = {f"10.0.0.{i}": snapshot(10, (1, 0)) for i in range(100)}
    counted = count(many, {"10.0.0.1": snapshot(11, (2, 0))}, 1.0)
    assert set(counted.baselines) == {"10.0.0.1"}
    assert counted.a == Requests(1, 0)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 5), st.booleans()), max_size=30))
def test_no_request_is_counted_twice_whatever_restarts(steps: list[tuple[int, int, bool]]) -> None:
    baselines = {"r": snapshot(1000)}
    total, bad = 0, 0
    served, seen, hidden = Requests(), Requests(), False
    for good, wrong, restart in steps:
        if restart:
            # A life that is outdone by the next one's first tick hides that there were two.
            hidden = hidden or ((total, bad) != (0, 0) and good + wrong >= total and wrong >= bad)
            total, bad = 0, 0
        total, bad = total + good + wrong, bad + wrong
        served += Requests(good + wrong, wrong)
        counted = count(baselines, {"r": snapshot(1000, (total, bad))}, 1.0)
        seen, baselines = seen + counted.a, {**baselines, "r": snapshot(1000, (total, bad))}
    assert seen.total <= served.total
    assert seen.bad <= served.bad
    assert hidden or seen == served
