"""Whatever a client sends: never an answer of 5xx, never a trace, always one sentence."""

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import numpy as np
import pytest
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given, settings
from hypothesis import strategies as st

from perennial.models.columns import Column, Signature
from perennial.models.loading import Model
from perennial.server.api import application
from perennial.server.reporter import MOST_WAITING, Reported, Reporter
from perennial.server.service import Identity, Phase, Service
from perennial.terms.names import PREDICTION_ID, RECORDED

SIGNATURE = Signature(
    (Column("x", "double"), Column("n", "long"), Column("small", "integer"), Column("word", "string", required=False))
)
ROW = {"x": 1.0, "n": 3, "small": 4}
DIGITS = '{"dataframe_records":[{"x":' + "9" * 5000 + "}]}"
PATHS = ("/invocations", "/v2/models/m/infer", "/v2/models/m/versions/1/infer")


def service(reporter: Reporter | None = None) -> Service:
    def answer(columns: Mapping[str, Any], _rows: int) -> Any:
        return np.asarray(columns["n"], float) + columns["small"]

    made = Service(Identity(model="m", model_version="1", version="v"), reporter)
    made.model = Model(SIGNATURE, None, answer)
    made.phase = Phase.READY
    return made


async def exchange(ask: Callable[[TestClient[Any, Any]], Awaitable[None]], reporter: Reporter | None = None) -> None:
    server = TestServer(application(service(reporter)))
    await server.start_server(auto_decompress=False)
    async with TestClient(server) as client:
        await ask(client)


async def post(client: TestClient[Any, Any], path: str, body: bytes, **headers: str) -> tuple[int, str]:
    async with client.post(path, data=body, headers={"content-type": "application/json", **headers}) as answer:
        text = await answer.text()
        assert answer.status < 500, (path, body[:200], text)
        assert "Traceback" not in text
        if answer.status >= 400:
            assert "\n" not in json.loads(text)["error"]
        return answer.status, text


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([10**400, 2**63, -(2**63) - 1, 3_000_000_000, 1e300, 5e-324]),
    st.floats(),
    st.text(max_size=6),
    st.sampled_from(["\ud800", "a\0", "FP32", "INT8", "BOOL", "x", "n", "small"]),
)
NAMES = st.sampled_from(
    ["x", "n", "small", "word", "columns", "data", "inputs", "instances", "dataframe_split", "dataframe_records",
     "name", "shape", "datatype", "id", "\ud800"]
)  # fmt: skip
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=12
)
TENSORS = st.fixed_dictionaries(
    {
        "inputs": st.lists(
            st.fixed_dictionaries(
                {
                    "name": st.sampled_from(["x", "n", "small", "word"]),
                    "shape": st.lists(st.integers(-1, 3) | st.just(10**400), max_size=3),
                    "datatype": st.sampled_from(["BOOL", "UINT8", "INT8", "INT64", "FP32", "FP64", "BYTES", "X"]),
                    "data": st.lists(SCALARS | st.lists(SCALARS, max_size=2), max_size=4),
                }
            ),
            max_size=4,
        )
    }
)
FORMS = st.one_of(
    st.builds(lambda rows: {"dataframe_records": rows}, st.lists(st.dictionaries(NAMES, SCALARS), max_size=3)),
    st.builds(lambda content: {"inputs": content}, st.dictionaries(NAMES, st.lists(SCALARS, max_size=3))),
    st.builds(lambda content: {"instances": content}, st.lists(st.lists(SCALARS, max_size=4), max_size=3)),
    st.builds(
        lambda names, data: {"dataframe_split": {"columns": names, "data": data}},
        st.lists(VALUES, max_size=3),
        st.lists(st.lists(SCALARS, max_size=3), max_size=3),
    ),
    TENSORS,
    VALUES,
)
BODIES = st.one_of(
    st.binary(max_size=60),
    FORMS.map(lambda value: json.dumps(value).encode()),
    FORMS.map(lambda value: json.dumps(value).encode("utf-16")),
    FORMS.map(lambda value: b"\xef\xbb\xbf" + json.dumps(value, ensure_ascii=True).encode()),
    FORMS.map(lambda value: json.dumps(value).encode()[:-1]),
    st.sampled_from([DIGITS.encode(), b"[" * 100_000, b'{"inputs":' * 100_000, b"\xff\xfe\x00", b"{}", b""]),
)


@settings(max_examples=60, deadline=None)
@given(bodies=st.lists(BODIES, min_size=8, max_size=8), path=st.sampled_from(PATHS), name=st.text(max_size=300))
async def test_any_body_is_answered_or_refused(bodies: list[bytes], path: str, name: str) -> None:
    async def ask(client: TestClient[Any, Any]) -> None:
        for body in bodies:
            await post(client, path, body)
        header = "".join(c for c in name if c.isprintable() and c.isascii()).strip()
        await post(client, path, b"{}", **{PREDICTION_ID: header})

    await exchange(ask)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        pytest.param(b"garbage", {"content-encoding": "gzip"}, id="no gzip"),
        pytest.param(gzip.compress(b"{}")[:-6], {"content-encoding": "gzip"}, id="half a gzip"),
        pytest.param(b"garbage", {"content-encoding": "deflate"}, id="no deflate"),
        pytest.param(b"{}", {"content-type": "application/json; charset=klingon"}, id="a charset nobody knows"),
        pytest.param(b"{}", {PREDICTION_ID: "x" * 4000}, id="a long id"),
        pytest.param(b"{}", {PREDICTION_ID: "ü"}, id="an id of bytes"),
        pytest.param(DIGITS.encode(), {}, id="5,000 digits"),
        pytest.param(b'{"dataframe_records":[{"x":1e999,"n":1,"small":1}]}', {}, id="a number beyond floats"),
        pytest.param(b'{"dataframe_records":[{"x":' + b"[" * 50_000 + b"]" * 50_000 + b"}]}", {}, id="deep"),
    ],
)
async def test_what_cannot_be_read_is_refused(body: bytes, headers: dict[str, str]) -> None:
    async def ask(client: TestClient[Any, Any]) -> None:
        for path in PATHS:
            status, _ = await post(client, path, body, **headers)
            assert 400 <= status < 500

    await exchange(ask)


async def test_a_compressed_body_is_read() -> None:
    async def ask(client: TestClient[Any, Any]) -> None:
        body = gzip.compress(json.dumps({"dataframe_records": [ROW]}).encode())
        assert await post(client, "/invocations", body, **{"content-encoding": "gzip"}) == (
            200,
            '{"predictions": [7.0]}',
        )

    await exchange(ask)


async def test_an_answer_says_how_many_of_its_rows_will_be_counted() -> None:
    reporter = Reporter("http://collector.invalid", "v", "1")
    body = json.dumps({"inputs": {"x": [1.0] * 60_000, "n": [1] * 60_000, "small": [0] * 60_000}}).encode()

    async def ask(client: TestClient[Any, Any]) -> None:
        counted = []
        for _ in range(4):
            async with client.post("/invocations", data=body) as answer:
                assert answer.status == 200
                counted.append(int(answer.headers[RECORDED]))
        assert counted == [60_000, 60_000, 60_000, MOST_WAITING - 180_000]

    await exchange(ask, reporter)
    assert (len(reporter), reporter.dropped) == (MOST_WAITING, 40_000)


async def test_without_a_collector_nothing_will_be_counted() -> None:
    async def ask(client: TestClient[Any, Any]) -> None:
        async with client.post("/invocations", json={"dataframe_records": [ROW]}) as answer:
            assert (answer.status, answer.headers[RECORDED]) == (200, "0")

    await exchange(ask)


def test_what_was_dropped_is_told_with_the_next_report() -> None:
    reporter = Reporter("http://collector.invalid", "v", "1")
    assert reporter._losses() == {}
    reporter.add(Reported(str(i), 0.0, 0.5) for i in range(MOST_WAITING + 3))
    told = reporter._losses()
    assert told["dropped"] == 3
    assert told["reporter"]


@pytest.mark.parametrize(
    ("method", "path", "status", "says"),
    [
        ("GET", "/nothing", 404, "the path: must be one of /invocations, "),
        ("POST", "/v2/models/m/infer/more", 404, "/v2/models/{model}/infer"),
        ("GET", "/invocations", 405, "the method: must be one of POST"),
        ("DELETE", "/v2/models/m", 405, "the method: must be one of GET, HEAD"),
        ("POST", "/v2/models/other/infer", 404, "this server has model m, version 1"),
    ],
)
async def test_a_path_or_method_that_it_does_not_have_is_answered_with_a_sentence(
    method: str, path: str, status: int, says: str
) -> None:
    async def ask(client: TestClient[Any, Any]) -> None:
        async with client.request(method, path, data=b"{}") as answer:
            assert answer.status == status
            assert says in (await answer.json())["error"]

    await exchange(ask)


@pytest.mark.parametrize(
    "sent",
    [
        b"Transfer-Encoding: chunked\r\n\r\nnot a chunk\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nx\r\n",
        b"Content-Length: 10\r\n\r\n{}",
        b"Content-Length: -1\r\n\r\n{}",
        b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"Content-Length: 99999999999\r\n\r\n{}",
    ],
)
async def test_a_body_that_is_not_what_its_headers_say_is_no_failure_of_the_server(
    sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def ask(client: TestClient[Any, Any]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.port or 0)
        writer.write(b"POST /invocations HTTP/1.1\r\nHost: m\r\n" + sent)
        writer.write_eof()
        async with asyncio.timeout(30):
            answer = await reader.read()
        writer.close()
        assert not answer.startswith((b"HTTP/1.0 5", b"HTTP/1.1 5"))
        assert b"Traceback" not in answer
        assert (await post(client, "/invocations", json.dumps({"dataframe_records": [ROW]}).encode()))[0] == 200

    await exchange(ask)
    assert [record for record in caplog.get_records("call") if record.name.startswith("perennial")] == []
