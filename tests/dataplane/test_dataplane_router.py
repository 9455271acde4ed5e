"""What a client sees of the router: ids, slots, and nothing that is not meant for it."""

import asyncio

import aiohttp
import pytest
from loopback import Model, Router


async def test_a_prediction_has_an_id(session: aiohttp.ClientSession, router: Router) -> None:
    async with session.get(router.url) as first, session.get(router.url) as second:
        made = first.headers["x-perennial-prediction-id"]
        assert (await first.json())["x-perennial-prediction-id"] == made
        assert len(made) >= 32
        assert second.headers["x-perennial-prediction-id"] != made


async def test_a_client_may_choose_the_id(session: aiohttp.ClientSession, router: Router) -> None:
    headers = {"x-prediction-id": "order-17", "x-perennial-prediction-id": "forged"}
    async with session.get(router.url, headers=headers) as response:
        assert response.headers["x-perennial-prediction-id"] == "order-17"
        assert (await response.json())["x-perennial-prediction-id"] == "order-17"


async def test_a_client_cannot_make_the_router_retry_or_hurry(
    session: aiohttp.ClientSession, router: Router, stable_model: Model
) -> None:
    stable_model.failing = 1.0
    stable_model.seconds = 0.1
    served = stable_model.served
    headers = {
        "x-envoy-retry-on": "5xx",
        "x-envoy-max-retries": "5",
        "x-envoy-upstream-rq-timeout-ms": "10",
        "x-perennial-version-slot": "b",
    }
    async with session.get(router.url, headers=headers) as response:
        assert response.status == 500
        assert response.headers["x-perennial-version-slot"] == "a"
        assert not {name.lower() for name in await response.json()} & {"x-envoy-retry-on", "x-envoy-max-retries"}
    assert stable_model.served == served + 1


@pytest.mark.parametrize("head", ["GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.0\r\nHost: model\r\n\r\n"])
async def test_a_client_of_http_1_0_is_answered(router: Router, head: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", router.traffic)
    writer.write(head.encode())
    answer = await reader.read()
    writer.close()
    assert answer.startswith((b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 200 OK\r\n"))
    assert b"x-perennial-version-slot: a" in answer


async def test_a_slow_answer_is_a_504_of_its_slot(
    session: aiohttp.ClientSession, router: Router, stable_model: Model
) -> None:
    stable_model.seconds = 11.0
    async with session.get(router.url, headers={"x-prediction-id": "slow"}) as response:
        assert response.status == 504
        assert response.headers["x-perennial-version-slot"] == "a"
        assert response.headers["x-perennial-prediction-id"] == "slow"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/ready", 200),
        ("GET", "/stats/prometheus", 200),
        ("GET", "/stats/prometheus?usedonly", 200),
        ("GET", "/clusters", 200),
        ("GET", "/stats", 404),
        ("GET", "/config_dump", 404),
        ("POST", "/ready", 404),
        ("POST", "/quitquitquit", 404),
        ("GET", "/stats/prometheus/../../config_dump", 404),
    ],
)
async def test_only_three_pages_of_the_admin_interface_are_open(
    session: aiohttp.ClientSession, router: Router, method: str, path: str, status: int
) -> None:
    async with session.request(method, f"http://127.0.0.1:{router.statistics}{path}") as response:
        assert response.status == status


async def test_envoy_has_nothing_to_warn_of_in_the_bootstrap(router: Router) -> None:
    assert "eprecated" not in router.program.log()
    assert "error" not in router.program.log()
