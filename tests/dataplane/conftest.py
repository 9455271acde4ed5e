"""A collector, a router and two model servers on the loopback interface. No cluster is needed."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest
from loopback import CollectorProcess, Model, Router

from perennial.terms.words import Slot


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def stable_model() -> AsyncIterator[Model]:
    async with Model().running() as model:
        yield model


@pytest.fixture
async def candidate_model() -> AsyncIterator[Model]:
    async with Model().running() as model:
        yield model


@pytest.fixture
async def collector(tmp_path: Path, session: aiohttp.ClientSession) -> AsyncIterator[CollectorProcess]:
    collector = CollectorProcess(tmp_path, session)
    try:
        yield collector
    finally:
        if collector.program is not None:
            await collector.stop()


@pytest.fixture
def make_router(
    tmp_path: Path,
    collector: CollectorProcess,
    stable_model: Model,
    candidate_model: Model,
) -> Callable[[str], Router]:
    """Return what makes routers of a name, not yet started."""
    models: dict[Slot, Model] = {"a": stable_model, "b": candidate_model}
    return lambda name: Router(name, tmp_path, models, collector)


@pytest.fixture
async def router(make_router: Callable[[str], Router]) -> AsyncIterator[Router]:
    """Yield a router that listens; the collector does not run yet, so everything goes to slot a."""
    router = make_router("router-1")
    try:
        await router.start()
        yield router
    finally:
        await router.stop()
