"""Whatever is sent to a collector: never an answer of 5xx, never a trace, always one sentence; and it goes on."""

import asyncio
import copy
import gzip
import json
import logging
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlencode

import pytest
from aiohttp.test_utils import TestClient, TestServer
from collector_room import NOW, Room, policy
from hypothesis import given, settings
from hypothesis import strategies as st

from perennial.api.messages.policy import Monitoring, SloPolicy, Watch
from perennial.api.messages.state import State
from perennial.collector import rtds
from perennial.collector.access import Access
from perennial.collector.api import application
from perennial.collector.pods import members, parse_pods
from perennial.collector.router_stats import parse
from perennial.families.metrics.false_negative_rate import FalseNegativeRate
from perennial.families.slos import Outcome

sys.path.append(str(Path(__file__).parents[2] / "dataplane"))
from accounts import NEIGHBOUR, OPERATOR, Accounts

Client = TestClient[Any, Any]
POSTS = ("/v1/predictions", "/v1/labels", "/v3/discovery:runtime")


class Known:
    """A client of a collector, by the operator's token or a neighbour's."""

    def __init__(self, client: Client, room: Room, accounts: Accounts) -> None:
        self.client, self.room, self.token = client, room, accounts.token

    async def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, str]:
        """Ask, check that the answer is one, and return its status and its body."""
        user = NEIGHBOUR if method == "POST" else OPERATOR
        sent = {"Authorization": f"Bearer {self.token(user)}", **headers}
        async with self.client.request(method, path, data=BytesIO(body), headers=sent) as answer:
            text = await answer.text()
            assert answer.status < 500, (method, path, body[:300], text)
            assert "Traceback" not in text
            if answer.status >= 400:
                told = json.loads(text)["error"]
                assert told
                assert "\n" not in told
            return answer.status, text

    async def send(self, what: bytes) -> bytes:
        """Send bytes and nothing more; return what is answered before the connection ends."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.client.port)
        writer.write(what)
        writer.write_eof()
        async with asyncio.timeout(5):
            answer = await reader.read()
        writer.close()
        assert b"Traceback" not in answer
        assert not answer.startswith((b"HTTP/1.0 5", b"HTTP/1.1 5"))
        return answer

    async def state(self) -> State:
        return State.model_validate_json((await self.ask("GET", "/v1/state"))[1])


@asynccontextmanager
async def collector() -> AsyncIterator[Known]:
    with TemporaryDirectory() as directory:
        room, accounts = Room(Path(directory) / "c.sqlite"), Accounts(Path(directory))
        await room.open()
        try:
            server = TestServer(application(room.collector, Access(accounts.trust)))
            await server.start_server(auto_decompress=False)
            async with TestClient(server) as client:
                yield Known(client, room, accounts)
        finally:
            await room.database.close()


@pytest.fixture(autouse=True)
def _no_polls_are_held_and_nothing_is_logged_as_a_failure(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Iterator[None]:
    monkeypatch.setattr(rtds, "HOLD_SECONDS", 0.0)
    yield
    failures = [record for record in caplog.get_records("call") if record.levelno >= logging.ERROR]
    assert [record for record in failures if record.name.startswith("perennial")] == []


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([10**400, 2**63, -(2**63) - 1, 2**53, 1e300, -1e300, 5e-324, 1e18, 1e12, 0]),
    st.floats(),
    st.text(max_size=6),
    st.datetimes().map(lambda time: time.isoformat()),
    st.sampled_from(
        ["\ud800", "a\0", "a", "b", "0.05", "1e-999", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-12:00", "x" * 5000]
    ),
)
EXTREMES = (
    None, True, 0, -1, 1.5, 2**31, 2**63, 10**400, -(10**400), 5e-324, 1e-17, 1 - 1e-16, 1e300, float("nan"),
    float("inf"), "", "a\0", "x" * 5000, "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-12:00", "2026-11-26T00:00:00",
    [], {}, [[]],
)  # fmt: skip
WORDS = ("labels", "predictions", "id", "label", "time", "score", "version", "modelVersion", "reporter", "dropped")
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=3), inner),
    max_leaves=12,
)
IDS = st.sampled_from(["p1", "p2", "p3", "x" * 256, ""]) | SCALARS
PREDICTIONS = st.fixed_dictionaries(
    {
        "version": st.just("v") | SCALARS,
        "modelVersion": st.just("1") | SCALARS,
        "predictions": st.lists(
            st.fixed_dictionaries(
                {
                    "id": IDS,
                    "time": st.sampled_from(["2026-11-26T00:00:00Z", "1970-01-01T00:00:00Z"]) | SCALARS,
                    "score": st.floats(0, 1) | SCALARS,
                }
            ),
            max_size=3,
        )
        | VALUES,
    },
    optional={"reporter": IDS, "dropped": st.integers(0, 9) | SCALARS, "more": SCALARS},
)
LABELS = st.fixed_dictionaries(
    {
        "labels": st.lists(
            st.fixed_dictionaries(
                {"id": IDS, "label": st.booleans() | st.sampled_from([0, 1, 0.5, -1e308]) | SCALARS},
                optional={"time": SCALARS},
            ),
            max_size=3,
        )
        | VALUES
    }
)
POLLS = st.fixed_dictionaries(
    {"version_info": SCALARS, "node": st.fixed_dictionaries({"id": SCALARS}) | VALUES}, optional={"more": VALUES}
)
FORMS = PREDICTIONS | LABELS | POLLS | VALUES
BODIES = st.one_of(
    st.binary(max_size=60),
    FORMS.map(lambda value: json.dumps(value).encode()),
    FORMS.map(lambda value: json.dumps(value).encode("utf-16")),
    FORMS.map(lambda value: b"\xef\xbb\xbf" + json.dumps(value).encode()),
    FORMS.map(lambda value: json.dumps(value).encode()[:-1]),
    st.sampled_from(
        [
            b'{"labels":[{"id":"p","label":' + b"9" * 5000 + b"}]}",
            b"[" * 100_000,
            b'{"labels":' * 100_000,
            b"\xff\xfe\x00",
            b"{}",
            b"",
            b'{"node": {"id": "\xff\xff"}}',
        ]
    ),
)
HEADERS = st.sampled_from([{}, {"Content-Encoding": "gzip"}, {"Content-Encoding": "br"}, {"Content-Type": "\u00fc"}])

WHOLE = policy(watch=Watch(since=NOW)).model_copy(
    update={
        "slos": (
            *policy().slos,
            SloPolicy(name="misses", outcome=Outcome(false_negative_rate=FalseNegativeRate(), max="0.3")),
        ),
        "monitoring": Monitoring(cohort_seconds=60, max_label_delay_seconds=600),
    }
)


def paths(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return where there is something in JSON."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here, *(path for name, each in inner for path in paths(each, (*here, name)))]


POLICY = WHOLE.model_dump(mode="json")
PATHS = [path for path in paths(POLICY) if path]


def changed(changes: list[tuple[tuple[Any, ...], Any]]) -> Any:
    """Return the policy with other values at some places."""
    result = copy.deepcopy(POLICY)
    for path, value in changes:
        at = result
        try:
            for name in path[:-1]:
                at = at[name]
            at[path[-1]] = value
        except (KeyError, IndexError, TypeError):
            continue  # Another change has taken the place away.
    return result


POLICIES = st.lists(st.tuples(st.sampled_from(PATHS), VALUES), min_size=1, max_size=2).map(changed) | VALUES


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(POSTS), BODIES, HEADERS), min_size=15, max_size=15))
async def test_any_body_is_taken_or_refused(posts: list[tuple[str, bytes, dict[str, str]]]) -> None:
    async with collector() as known:
        await known.ask("PUT", "/v1/policy", json.dumps(POLICY).encode())
        for path, body, headers in posts:
            await known.ask("POST", path, body, **headers)
        await known.room.collector.tick()
        await known.state()


async def put(known: Known, number: int, wanted: Any) -> int:
    """Put a policy and live under it for a moment; return what was answered."""
    status, _ = await known.ask("PUT", "/v1/policy", json.dumps(wanted).encode())
    if status >= 400:
        return status
    known.room.routers.serve("a", 50, 1)
    known.room.routers.serve("b", 20, number % 7)
    await post_predictions(known, (f"p{number}", 0.5))
    await known.ask("POST", "/v1/labels", json.dumps({"labels": [{"id": f"p{number}", "label": 1}]}).encode())
    await known.room.collector.tick()
    await known.state()
    await known.ask("GET", "/metrics")
    return status


@settings(max_examples=25, deadline=None)
@given(policies=st.lists(POLICIES, min_size=8, max_size=8))
async def test_any_policy_is_taken_or_refused_and_what_is_taken_is_judged_by(policies: list[Any]) -> None:
    async with collector() as known:
        for number, wanted in enumerate(policies):
            await put(known, number, wanted)


async def test_a_policy_with_any_extreme_value_at_any_place_is_taken_or_refused() -> None:
    async with collector() as known:
        cases = [(path, value) for path in PATHS for value in EXTREMES]
        answered = [await put(known, n, changed([(path, value)])) for n, (path, value) in enumerate(cases)]
        assert {200, 400} == set(answered)
        await known.room.again()


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=20), st.text(max_size=8) | st.floats(max_value=0.01).map(str)), min_size=9))
async def test_any_question_for_the_state_is_answered_or_refused(asked: list[tuple[str, str]]) -> None:
    async with collector() as known:
        for after, wait in asked:
            status, _ = await known.ask(
                "GET", f"/v1/state?{urlencode({'after': after, 'wait': wait}, errors='replace')}"
            )
            assert status in {200, 400}


@settings(max_examples=10, deadline=None)
@given(st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=80), min_size=9))
async def test_any_token_that_is_none_is_refused(tokens: list[str]) -> None:
    async with collector() as known:
        for token in tokens:
            for kind in ("Bearer ", "Basic ", ""):
                status, _ = await known.ask("POST", "/v1/labels", b"{}", Authorization=f"{kind}{token}".strip())
                assert status == 401


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/labels", 405), ("GET", "/", 404), ("DELETE", "/v1/policy", 405), ("GET", "/v1/state?wait=nan", 400)],
)
async def test_what_there_is_not_is_refused_with_a_sentence(method: str, path: str, status: int) -> None:
    async with collector() as known:
        assert (await known.ask(method, path))[0] == status


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        pytest.param(b"garbage", {"Content-Encoding": "gzip"}, 400, id="no gzip"),
        pytest.param(gzip.compress(b"{}")[:-6], {"Content-Encoding": "gzip"}, 400, id="half a gzip"),
        pytest.param(b"{}", {"Content-Encoding": "br"}, 415, id="an encoding nobody asked for"),
        pytest.param(gzip.compress(b" " * 5_000_000), {"Content-Encoding": "gzip"}, 413, id="large when decoded"),
        pytest.param(b" " * 5_000_000, {}, 413, id="large"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/predictions", "/v1/labels"])
async def test_what_cannot_be_read_is_refused(path: str, body: bytes, headers: dict[str, str], status: int) -> None:
    async with collector() as known:
        assert (await known.ask("POST", path, body, **headers))[0] == status


async def test_the_state_counts_what_was_dropped_repeated_corrected_refused_and_unmatched() -> None:
    async with collector() as known:
        await known.ask("PUT", "/v1/policy", json.dumps(POLICY).encode())
        await post_predictions(known, ("p1", 0.25), ("p2", 0.5), ("p3", 0.75), reporter="shop-1", dropped=5)
        await post_predictions(known, ("p1", 0.25), ("p2", 0.9), reporter="shop-1", dropped=7)
        for label in ({"p1": 1, "p2": 1, "p3": 0.5, "late": 1}, {"p1": 0, "p2": 1}):
            listed = [{"id": name, "label": value} for name, value in label.items()]
            assert (await known.ask("POST", "/v1/labels", json.dumps({"labels": listed}).encode()))[0] == 200
        state = await known.state()
        assert (state.predictions, state.repeated, state.dropped) == (3, 1, 7)
        became = state.labels
        assert (became.joined, became.duplicates, became.corrected, became.refused, became.unmatched) == (2, 1, 1, 1, 1)


async def post_predictions(known: Known, *rows: tuple[str, float], **more: Any) -> None:
    items = [{"id": name, "time": "2026-11-26T00:00:00Z", "score": score} for name, score in rows]
    body = {"version": "v-old", "modelVersion": "1", "predictions": items, **more}
    status, text = await known.ask("POST", "/v1/predictions", json.dumps(body).encode())
    assert status == 200, text


LINES = st.one_of(
    st.text(max_size=40),
    st.builds(
        "{}::{}::{}::{}".format,
        st.sampled_from(["a", "b", "c", "", "a::b"]),
        st.sampled_from(["10.0.0.1:8080", "[::1]:80", "...:1", "1.2.3.4:99999999999999999999", ""]),
        st.sampled_from(["rq_error", "rq_success", "health_flags", "rq_total", "x"]),
        st.integers() | st.floats() | st.sampled_from(["healthy", "/failed_eds_health", "9" * 5000, "", "\u0663"]),
    ),
    st.builds(
        'envoy_cluster_upstream_{}{{envoy_cluster_name="{}"}} {}'.format,
        st.sampled_from(["rq_total", "rq_xx", "rq_active", "cx_none_healthy"]),
        st.sampled_from(["a", "b", "", '"', "\ud800"]),
        st.integers() | st.floats() | st.sampled_from(["9" * 5000, "1e999", "-0", "0x10", "\u0663"]),
    ),
    st.sampled_from(["envoy_server_uptime{} 17", "envoy_server_uptime 999999999999999", "envoy_server_uptime{} -3"]),
)


@given(st.lists(LINES, max_size=12).map("\n".join) | st.binary(max_size=80).map(lambda b: b.decode(errors="replace")))
def test_any_page_of_a_router_is_read_or_no_page_of_a_router(text: str) -> None:
    pods = parse_pods(text)
    assert all(pod.answered >= pod.failed >= 0 for pod in pods.values())
    assert members([pods]) is not None
    try:
        reading = parse(text)
    except ValueError as error:
        assert "uptime" in str(error)  # noqa: PT017 - either is right
        return
    assert all(0 <= sums.total <= sums.n < 2**63 for sums in reading.counters.values())


@settings(max_examples=10, deadline=None)
@given(st.lists(st.binary(max_size=200), min_size=9))
async def test_any_bytes_are_answered_as_http_or_the_connection_ends(sent: list[bytes]) -> None:
    async with collector() as known:
        for each in sent:
            await known.send(each + b"\r\n\r\n")


@pytest.mark.parametrize(
    "rest",
    [
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\n{}\r\n",
        b"Content-Length: 50\r\n\r\n{}",
        b"Content-Length: -1\r\n\r\n{}",
        b"Content-Length: 99999999999999999999999999\r\n\r\n{}",
        b"Content-Type: application/json; charset=\xff\r\nContent-Length: 2\r\n\r\n{}",
        b"Expect: the impossible\r\nContent-Length: 2\r\n\r\n{}",
    ],
)
async def test_a_body_that_is_not_sent_as_its_headers_say_is_refused(rest: bytes) -> None:
    async with collector() as known:
        head = f"POST /v1/labels HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {known.token(NEIGHBOUR)}\r\n"
        answer = await known.send(head.encode() + rest)
        assert not answer.startswith(b"HTTP/1.1 2")
