"""What Kubernetes and Prometheus may ask this process: `/healthz`, `/readyz`, `/metrics`."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

Check = Callable[[], str | None]
"""Returns what is wrong, in a sentence, or None. Must be quick."""

_UNHEALTHY: Final = 503


def probes(alive: Mapping[str, Check], ready: Mapping[str, Check]) -> web.Application:
    """Return the probes: 200 `ok`, or 503 with a line for each thing that is wrong.

    `alive` asks for a restart, so its checks look at this process alone, never at what it depends on.
    """

    async def healthz(_: web.Request) -> web.Response:
        return _answer(alive)

    async def readyz(_: web.Request) -> web.Response:
        return _answer({**alive, **ready})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz)])
    return app


def metrics(registry: CollectorRegistry) -> web.Application:
    """Return the metrics in Prometheus' text format.

    They are collected in the event loop, where nothing changes meanwhile, and written out in a thread: with thousands
    of objects that takes the longer part, and the lease must not wait for it.
    """

    async def read(_: web.Request) -> web.Response:
        body = await asyncio.to_thread(generate_latest, _Collected(list(registry.collect())))
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get("/metrics", read)])
    return app


class _Collected(Collector):
    """Metrics that are collected already."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Sequence[Metric]:
        """Return them."""
        return self._metrics


async def serve(app: web.Application, host: str, port: int) -> web.AppRunner:
    """Serve an application until the returned runner's `cleanup`. Port 0 takes a free one (`runner.addresses`)."""
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner


def _answer(checks: Mapping[str, Check]) -> web.Response:
    wrong = [f"{name}: {problem}" for name, check in checks.items() if (problem := check()) is not None]
    return web.Response(text="\n".join(wrong) + "\n" if wrong else "ok\n", status=_UNHEALTHY if wrong else 200)
