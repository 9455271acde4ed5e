"""How all levels run together, and the last line of every run: how many tests passed, failed and were skipped."""

from pathlib import Path

import pytest

_ROOT = Path(__file__).parent
_counts = pytest.StashKey[dict[str, int]]()

_ON_ONE_WORKER = ("e2e", "chart", "cluster")
"""Folders whose tests share a cluster or a release: one worker runs all of them, in their order."""
_LONGEST_FIRST = (*_ON_ONE_WORKER, "faults", "api", "dataplane")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Deal tests out by module (by folder, where they share a cluster), and begin with those that wait longest.

    Without workers (`pytest` alone) only the order matters.
    """
    level = {id(item): item.path.relative_to(_ROOT).parts[0] for item in items}
    rank = {name: place for place, name in enumerate(_LONGEST_FIRST)}
    items.sort(key=lambda item: rank.get(level[id(item)], len(rank)))
    for item in items:
        together = level[id(item)] in _ON_ONE_WORKER
        item.add_marker(pytest.mark.xdist_group(level[id(item)] if together else item.path.stem))


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
