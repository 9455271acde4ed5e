"""`python3 -m perennial.server`: serves the MLflow model in a directory. Configured by its environment."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from aiohttp import web

from perennial import logs
from perennial.models.loading import ModelError
from perennial.server.api import application
from perennial.server.reporter import Reporter
from perennial.server.service import Identity, Phase, Service
from perennial.terms.names import SERVER_PORT

log = logging.getLogger("perennial.server")


class BadSettingError(Exception):
    """An environment variable is missing or wrong. The message tells which, and what must hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the environment says."""

    directory: str
    """MODEL_DIR: where the MLmodel file is."""
    identity: Identity
    """MODEL_NAME, MODEL_VERSION, PERENNIAL_VERSION."""
    host: str
    """HOST: address to listen on. Default: all."""
    port: int
    """PORT. Default: 8080."""
    collector: str | None
    """PERENNIAL_COLLECTOR: address that predictions are reported to. Default: nowhere."""
    token: str | None
    """PERENNIAL_COLLECTOR_TOKEN: file of the token that proves to the collector who reports. Default: none is sent."""
    warmup: int
    """PERENNIAL_WARMUP: predictions made before the server is ready. Default: 1."""
    drain_seconds: float
    """PERENNIAL_DRAIN_SECONDS: how long new connections are taken after SIGTERM, for routers to notice. Default: 3."""

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """Read the environment. Raises BadSettingError."""
        name = environment.get("MODEL_NAME", "")
        if not name:
            raise BadSettingError("MODEL_NAME must be set")
        return cls(
            directory=environment.get("MODEL_DIR", "/models"),
            identity=Identity(
                model=name,
                model_version=environment.get("MODEL_VERSION") or "0",
                version=environment.get("PERENNIAL_VERSION") or "unknown",
            ),
            host=environment.get("HOST", "0.0.0.0"),  # noqa: S104 - a pod serves its network
            port=int(_number(environment, "PORT", SERVER_PORT, 65535)),
            collector=environment.get("PERENNIAL_COLLECTOR") or None,
            token=environment.get("PERENNIAL_COLLECTOR_TOKEN") or None,
            warmup=int(_number(environment, "PERENNIAL_WARMUP", 1, 100_000)),
            drain_seconds=_number(environment, "PERENNIAL_DRAIN_SECONDS", 3, 600),
        )


def _number(environment: Mapping[str, str], name: str, default: float, most: float) -> float:
    try:
        number = float(environment.get(name) or default)
    except ValueError:
        number = -1.0
    if not 0 <= number <= most:
        raise BadSettingError(f"{name} must be a number from 0 to {most:g}")
    return number


def main() -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit code."""
    logs.configure("INFO", "json")
    # One prediction is too small to be shared among threads, and pods share cores. Read when LightGBM is imported.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        asyncio.run(serve(Settings.of(os.environ)))
    except (BadSettingError, ModelError, OSError) as error:
        log.error(str(error))  # noqa: TRY400 - one sentence, no trace
        return 1
    return 0


async def serve(settings: Settings) -> None:
    """Serve until a signal; raises ModelError if the model cannot be loaded."""
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    identity = settings.identity
    reporter = None
    if settings.collector is not None:
        reporter = Reporter(settings.collector, identity.version, identity.model_version, settings.token)
    service = Service(identity, reporter)
    runner = web.AppRunner(
        application(service), access_log=None, keepalive_timeout=75.0, shutdown_timeout=15.0, auto_decompress=False
    )
    await runner.setup()
    reporting = asyncio.create_task(reporter.run()) if reporter is not None else None
    try:
        await web.TCPSite(runner, settings.host, settings.port).start()
        log.info("listening", extra={"port": settings.port})
        await _until_stopped(service, settings, stop)
    finally:
        await runner.cleanup()
        if reporter is not None and reporting is not None:
            reporter.end()
            await reporting


async def _until_stopped(service: Service, settings: Settings, stop: asyncio.Event) -> None:
    stopped = asyncio.create_task(stop.wait())
    starting = asyncio.create_task(service.start(settings.directory, settings.warmup))
    await asyncio.wait({stopped, starting}, return_when=asyncio.FIRST_COMPLETED)
    if starting.done():
        await starting
        await stopped
        service.phase = Phase.DRAINING
        log.info("draining", extra={"seconds": settings.drain_seconds})
        await asyncio.sleep(settings.drain_seconds)
        return
    starting.cancel()
    with suppress(asyncio.CancelledError):
        await starting


if __name__ == "__main__":
    sys.exit(main())
