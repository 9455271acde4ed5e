"""What the routers' statistics amount to: requests that began, ended badly, were refused, given up, or still run."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.collector.router_stats import FILTER
from perennial.collector.signals import READERS, SIGNALS, Page, known
from perennial.collector.signals.requests import READER, read
from perennial.stats import ticks
from perennial.stats.sums import Sums


def counted(**values: int) -> dict[str, Sums]:
    page = Page({("b", f"upstream_{name}"): n for name, n in values.items()})
    return {signal: sums for (signal, _), sums in read(page, "b").items()}


def seen(**values: int) -> tuple[int, int, int, int, int]:
    """Return (began, bad, answered, abandoned, unfinished)."""
    found = counted(**values)
    requests = found[ticks.REQUESTS]
    assert requests.squares == requests.total
    return (
        requests.n,
        int(requests.total),
        found[ticks.ANSWERED].n,
        found[ticks.ABANDONED].n,
        found[ticks.UNFINISHED].n,
    )


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param({}, (0, 0, 0, 0, 0), id="nothing"),
        pytest.param({"rq_total": 10, "rq_2xx": 10}, (10, 0, 10, 0, 0), id="answered"),
        pytest.param({"rq_total": 9, "rq_2xx": 5, "rq_active": 4}, (9, 0, 5, 0, 4), id="some still run"),
        pytest.param(
            {"rq_total": 9, "rq_2xx": 5, "rq_5xx": 4, "rq_timeout": 4, "cx_destroy_local_with_active_rq": 4},
            (9, 4, 9, 0, 0),
            id="some timed out: 504",
        ),
        pytest.param(
            {"rq_total": 5, "cx_destroy_local_with_active_rq": 5}, (5, 5, 0, 5, 0), id="all clients left while waiting"
        ),
        pytest.param(
            {"rq_cancelled": 3, "rq_5xx": 6, "rq_pending_failure_eject": 6},
            (9, 9, 6, 3, 0),
            id="refused connections, and clients that left while one was made",
        ),
        pytest.param({"cx_none_healthy": 7, "rq_5xx": 7}, (7, 7, 7, 0, 0), id="no pod"),
        pytest.param({"rq_pending_overflow": 2, "rq_5xx": 2}, (2, 2, 2, 0, 0), id="too many waiting"),
        pytest.param(
            {"rq_total": 3, "rq_2xx": 3, "rq_timeout": 3, "cx_destroy_local_with_active_rq": 3},
            (3, 0, 3, 0, 0),
            id="cut off after the answer had begun",
        ),
        pytest.param(
            {"rq_total": 3, "rq_4xx": 3, "cx_destroy_local_with_active_rq": 3},
            (3, 0, 3, 0, 0),
            id="answered before the request was complete",
        ),
        pytest.param({"rq_total": 9, "rq_2xx": 10}, (10, 0, 10, 0, 0), id="an answer newer than the counter of begun"),
        pytest.param({"rq_total": 10, "rq_2xx": 8}, (10, 0, 8, 0, 2), id="ended between two counters: not given up"),
        pytest.param({"rq_total": 10, "rq_1xx": 8, "rq_active": 10}, (10, 0, 0, 0, 10), id="a 1xx is no answer"),
    ],
)
def test_a_page_of_statistics_as_envoy_gives_it(values: dict[str, int], expected: tuple[int, ...]) -> None:
    assert seen(**values) == expected


def test_4xx_are_refusals_of_what_began() -> None:
    found = counted(rq_total=20, rq_2xx=12, rq_4xx=5, rq_active=3)
    assert found[ticks.REJECTED] == Sums.count(20, 5)
    assert found[ticks.REQUESTS] == Sums.count(20, 0)


@dataclass
class Envoy:
    """Counters as Envoy keeps them, and what is true."""

    values: dict[str, int] = field(default_factory=dict)
    left: int = 0
    failed: int = 0

    def add(self, *names: str, by: int = 1) -> None:
        for name in names:
            self.values[name] = self.values.get(name, 0) + by

    def act(self, event: str) -> None:
        match event:
            case "begin":
                self.add("rq_total", "rq_active")
            case "refuse":
                self.add("rq_pending_failure_eject", "rq_5xx")
                self.failed += 1
            case _ if not self.values.get("rq_active"):
                return
            case "answer":
                self.add("rq_2xx")
                self.add("rq_active", by=-1)
            case "fail":
                self.add("rq_5xx")
                self.add("rq_active", by=-1)
                self.failed += 1
            case "time out":
                self.add("rq_timeout", "rq_5xx", "cx_destroy_local_with_active_rq")
                self.add("rq_active", by=-1)
                self.failed += 1
            case "leave":
                self.add("cx_destroy_local_with_active_rq")
                self.add("rq_active", by=-1)
                self.left += 1


EVENTS = st.lists(st.sampled_from(["begin", "begin", "refuse", "answer", "fail", "time out", "leave"]), max_size=60)


@given(EVENTS)
def test_between_two_events_all_is_told(events: list[str]) -> None:
    envoy = Envoy()
    for event in events:
        envoy.act(event)
    began, bad, answered, abandoned, unfinished = seen(**envoy.values)
    assert abandoned == envoy.left
    assert bad == envoy.failed + envoy.left
    assert unfinished == envoy.values.get("rq_active", 0)
    assert began == answered + abandoned + unfinished


@given(EVENTS, st.data())
def test_counters_that_are_read_while_requests_go_on_make_no_client_leave(
    events: list[str], data: st.DataObject
) -> None:
    """Each counter is read at another time, whatever the order."""
    events = [event for event in events if event != "leave"]
    envoy, shots = Envoy(), [{}]
    for event in events:
        envoy.act(event)
        shots.append(dict(envoy.values))
    when = sorted(data.draw(st.lists(st.integers(0, len(events)), min_size=20, max_size=20)))
    names = data.draw(st.permutations(sorted({name.removeprefix("upstream_") for name in READER.statistics})))
    read_late = {name: shots[moment].get(name, 0) for name, moment in zip(names, when, strict=False)}
    timeouts = envoy.values.get("rq_timeout", 0)
    found = seen(**read_late)
    assert found[3] <= timeouts, "without a connection that we closed ourselves, nobody has left"
    assert all(value >= 0 for value in found)


def test_the_signals_are_those_that_are_judged() -> None:
    assert set(SIGNALS) == set(ticks.SIGNALS)
    assert len(SIGNALS) == sum(len(reader.signals) for reader in READERS)


def test_a_signal_that_is_not_known_is_refused_by_its_name() -> None:
    with pytest.raises(ValueError, match=r"signal 'latency': must be one of requests, .*requests/unfinished"):
        known("latency")


@pytest.mark.parametrize("name", READER.statistics)
def test_what_is_read_is_asked_for(name: str) -> None:
    import re

    assert re.search(FILTER, f"cluster.a.{name}")
    assert not re.search(FILTER, f"cluster.collector.{name}")
