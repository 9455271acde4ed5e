"""The routers' pages, read: whatever they are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.collector.router_stats import parse
from perennial.stats.sums import Sums
from perennial.stats.ticks import ABANDONED, ANSWERED, REJECTED, REQUESTS, UNFINISHED

PAGE = """\
# TYPE envoy_cluster_upstream_rq_total counter
envoy_cluster_upstream_rq_total{envoy_cluster_name="a"} 103
envoy_cluster_upstream_rq_total{envoy_cluster_name="collector"} 44
# TYPE envoy_cluster_upstream_rq_xx counter
envoy_cluster_upstream_rq_xx{envoy_response_code_class="2",envoy_cluster_name="a"} 90
envoy_cluster_upstream_rq_xx{envoy_response_code_class="4",envoy_cluster_name="a"} 7
envoy_cluster_upstream_rq_xx{envoy_response_code_class="5",envoy_cluster_name="a"} 3
envoy_cluster_upstream_rq_xx{envoy_cluster_name="b",envoy_response_code_class="5"} 2
envoy_cluster_upstream_rq_xx{envoy_response_code_class="1",envoy_cluster_name="b"} 50
envoy_cluster_upstream_rq_xx{envoy_response_code_class="5",envoy_cluster_name="collector"} 44
# TYPE envoy_cluster_upstream_rq_active gauge
envoy_cluster_upstream_rq_active{envoy_cluster_name="a"} 3
# TYPE envoy_server_uptime gauge
envoy_server_uptime{} 17
"""


def test_a_page_is_read_for_both_slots() -> None:
    found = parse(PAGE)
    assert found.age == 17
    assert found.counters == {
        (REQUESTS, "a", ""): Sums.count(103, 3),
        (REJECTED, "a", ""): Sums.count(103, 7),
        (ANSWERED, "a", ""): Sums(100),
        (ABANDONED, "a", ""): Sums(),
        (UNFINISHED, "a", ""): Sums(3),
        (REQUESTS, "b", ""): Sums.count(2, 2),
        (REJECTED, "b", ""): Sums.count(2, 0),
        (ANSWERED, "b", ""): Sums(2),
        (ABANDONED, "b", ""): Sums(),
        (UNFINISHED, "b", ""): Sums(),
    }


@pytest.mark.parametrize("text", ["", "no healthy upstream", PAGE.replace("envoy_server_uptime", "x")])
def test_a_page_without_uptime_is_no_page_of_a_router(text: str) -> None:
    with pytest.raises(ValueError, match="uptime"):
        parse(text)


NUMBERS = st.one_of(st.integers(-10, 10**18), st.just("9" * 5000), st.floats(), st.text(max_size=5))


@given(
    st.lists(
        st.builds(
            'envoy_cluster_upstream_{}{{envoy_response_code_class="{}",envoy_cluster_name="{}"}} {}'.format,
            st.sampled_from(["rq_total", "rq_xx", "rq_active", "rq_timeout", "cx_destroy_local_with_active_rq", "x"]),
            st.integers(0, 12),
            st.sampled_from(["a", "b", "c", ""]),
            NUMBERS,
        )
    ),
    st.one_of(st.integers(0, 10**6), NUMBERS),
)
def test_whatever_a_page_says_it_is_counted_or_refused(lines: list[str], uptime: object) -> None:
    text = "\n".join([*lines, f"envoy_server_uptime{{}} {uptime}", ""])
    try:
        found = parse(text)
    except ValueError as error:
        assert "uptime" in str(error)  # noqa: PT017 - either is right
        return
    assert all(0 <= sums.total <= sums.n < 2**63 for sums in found.counters.values())
