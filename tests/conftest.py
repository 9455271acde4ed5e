"""How all levels run together, and the last line of every run: how many tests passed, failed and were skipped."""

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

settings.register_profile("any machine", deadline=None)  # how long a case takes is measured in benchmarks
settings.load_profile("any machine")

_counts = pytest.StashKey[dict[str, int]]()

_ON_ONE_WORKER = ("e2e", "chart", "cluster")
"""Folders whose tests share a cluster or a release: one worker runs all of them, in their order."""
_LONGEST_FIRST = (*_ON_ONE_WORKER, "faults", "api", "dataplane")


def level(nodeid: str) -> str:
    """Return the folder below tests/ that a test is in."""
    return nodeid.removeprefix("tests/").partition("/")[0]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests that wait longest; what is left over at the end is short then."""
    rank = {name: place for place, name in enumerate(_LONGEST_FIRST)}
    items.sort(key=lambda item: rank.get(level(item.nodeid), len(rank)))


class ByModule(LoadScopeScheduling):
    """Deals tests out by module, and by folder where they share a cluster."""

    def _split_scope(self, nodeid: str) -> str:
        where = level(nodeid)
        return where if where in _ON_ONE_WORKER else nodeid.partition("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByModule:
    return ByModule(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    stats = terminalreporter.stats
    config.stash[_counts] = {
        "passed": len(stats.get("passed", [])),
        "failed": len(stats.get("failed", [])) + len(stats.get("error", [])),
        "skipped": len(stats.get("skipped", [])),
    }


def pytest_unconfigure(config: pytest.Config) -> None:
    counts = config.stash.get(_counts, None)
    if counts is not None:
        skipped = f", {counts['skipped']} skipped" if counts["skipped"] else ""
        print(f"{counts['passed']} passed, {counts['failed']} failed{skipped}")
