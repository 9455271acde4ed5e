"""For pytest: `pytest -p operator_faults.plugin`, or `from operator_faults.plugin import *` in a conftest.py.

A test suite gives two fixtures, `faults_subject` (a `Subject`) and `faults_kubeconfig` (the path of one, with rights to
make namespaces), and its tests take `campaign`.
"""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from operator_faults.campaign import Campaign
from operator_faults.nursery import nursery
from operator_faults.run import Subject
from operator_faults.upstream import upstream

__all__ = ["campaign", "faults_build", "faults_preloaded"]


@pytest.fixture
def faults_build(pytestconfig: pytest.Config) -> Path:
    """Return where failures leave their time lines."""
    return pytestconfig.rootpath / "build" / "faults"


@pytest.fixture
def faults_preloaded(faults_subject: Subject) -> tuple[str, ...]:
    """Return the modules that are imported once for all processes."""
    return (faults_subject.module,)


@pytest_asyncio.fixture
async def campaign(
    faults_subject: Subject,
    faults_kubeconfig: Path,
    faults_build: Path,
    faults_preloaded: tuple[str, ...],
    tmp_path: Path,
) -> AsyncIterator[Campaign]:
    """What plays scenarios with faults. At its end no process is left."""
    path = [part for part in sys.path if part]
    async with upstream(faults_kubeconfig) as api, nursery(faults_preloaded, path, tmp_path / "nursery.log") as born:
        yield Campaign(faults_subject, api, born, faults_build)
