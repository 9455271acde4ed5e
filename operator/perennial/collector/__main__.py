"""`python3 -m perennial.collector`: the collector of one ModelDeployment."""

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path
from shutil import disk_usage

import aiohttp
from aiohttp import web

from perennial import logs
from perennial.collector.access import Access
from perennial.collector.api import application
from perennial.collector.database import Database
from perennial.collector.journal import Journal
from perennial.collector.predictions import Predictions
from perennial.collector.router_stats import Routers
from perennial.collector.rtds import WeightServer
from perennial.collector.service import Collector
from perennial.terms.names import COLLECTOR_PORT

log = logging.getLogger("perennial.collector")


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT. Returns the exit code."""
    options = _parser().parse_args(arguments)
    logs.configure("INFO", "json")
    try:
        asyncio.run(_run(options))
    except (ValueError, OSError) as error:
        print(f"perennial.collector: {error}", file=sys.stderr)  # noqa: T201 - its last words, to a person
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="perennial.collector", description=__doc__)
    parser.add_argument("--database", type=Path, required=True, help="SQLite file; made if absent")
    parser.add_argument(
        "--trust", type=Path, required=True, help="JSON file that says whom to believe; read again when it changes"
    )
    parser.add_argument("--host", default="0.0.0.0", help="address to listen on (default: all)")  # noqa: S104
    parser.add_argument("--port", type=int, default=COLLECTOR_PORT, help="port to listen on; 0: any")
    parser.add_argument(
        "--routers",
        type=_host_and_port,
        required=True,
        action="append",
        help="HOST:PORT of the routers' statistics; every IPv4 address of the name is one (may be repeated)",
    )
    parser.add_argument(
        "--tick-seconds",
        type=_positive,
        default=1.0,
        help="time between two looks at the routers while no candidate is on trial",
    )
    return parser


def _host_and_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise argparse.ArgumentTypeError("must be HOST:PORT")
    return host, int(port)


def _positive(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= 3600:  # noqa: PLR2004
        raise argparse.ArgumentTypeError("must be a number of seconds above 0, at most 3600")
    return seconds


async def _run(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    database = Database(options.database)
    await database.open()
    async with aiohttp.ClientSession() as session:
        routers = Routers(options.routers, session)
        predictions = Predictions(database, disk_usage(options.database.parent).total)
        collector = Collector(Journal(database), predictions, routers, WeightServer())
        await collector.start()
        runner = web.AppRunner(
            application(collector, Access(options.trust)), access_log=None, shutdown_timeout=2.0, auto_decompress=False
        )
        await runner.setup()
        site = web.TCPSite(runner, options.host, options.port)
        await site.start()
        log.info("listening", extra={"address": _address(site)})
        ticking = asyncio.create_task(_tick_for_ever(collector, options.tick_seconds))
        try:
            await stop.wait()
        finally:
            ticking.cancel()
            await asyncio.gather(ticking, return_exceptions=True)
            await runner.cleanup()
            await database.close()


async def _tick_for_ever(collector: Collector, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        try:
            await collector.tick()
        except Exception:
            # The next tick counts what this one did not: nothing is lost by going on.
            log.exception("tick failed")
        due = max(due + collector.pace(seconds), loop.time())
        await asyncio.sleep(due - loop.time())


def _address(site: web.TCPSite) -> str:
    server = getattr(site, "_server", None)
    sockets = getattr(server, "sockets", ())
    return ", ".join("{}:{}".format(*socket.getsockname()[:2]) for socket in sockets)


if __name__ == "__main__":
    sys.exit(main())
