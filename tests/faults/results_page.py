"""Puts build/faults/results.json into docs/reliability.md, between its marks: `make faults-page`."""

import json
import os
import platform
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

REPOSITORY = Path(__file__).parents[2]
RESULTS = REPOSITORY / "build" / "faults" / "results.json"
PAGE = REPOSITORY / "docs" / "reliability.md"
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
KINDS: Final = ("Dataset", "TrainingRun", "ModelDeployment")


def table(rows: Sequence[Mapping[str, Any]], where: str) -> str:
    """Return the results as Markdown: a line for each fault, a column for each kind, and what did not pass."""
    sums: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for row in rows:
        sums[row["fault"], row["kind"]][0] += row["passed"]
        sums[row["fault"], row["kind"]][1] += row["runs"]
    faults = sorted({row["fault"] for row in rows}, key=lambda fault: int(fault[1:]))
    lines = [f"| fault | {' | '.join(KINDS)} |", f"|---|{'---|' * len(KINDS)}"]
    for fault in faults:
        cells = [
            f"{sums[fault, kind][0]} of {sums[fault, kind][1]}" if (fault, kind) in sums else "-" for kind in KINDS
        ]
        lines.append(f"| {fault} | {' | '.join(cells)} |")
    passed, runs = sum(row["passed"] for row in rows), sum(row["runs"] for row in rows)
    lines += ["", f"{passed:,} of {runs:,} runs passed, on {where}."]
    failed = [(row, each) for row in rows for each in row.get("failures", ())]
    if failed:
        lines += ["", "What did not pass:", ""]
        lines += [
            f"- {row['fault']}, {row['kind']} {row['scenario']}, {each['variant']}: {_sentence(each['problem'])}"
            for row, each in failed
        ]
    return "\n".join(lines)


def _sentence(problem: str) -> str:
    return problem.partition(" (see ")[0].partition("\n")[0][:240].replace("|", "\\|")


def put(page: str, text: str) -> str:
    """Return a page with a text between its marks.

    Raises:
        ValueError: there are no marks.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page must have {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def machine(versions: Mapping[str, str]) -> str:
    """Return what the results were got on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    named = ", ".join(f"{name} {version}" for name, version in versions.items())
    day = datetime.fromtimestamp(RESULTS.stat().st_mtime, UTC).strftime("%Y-%m-%d")
    return f"{os.cpu_count()} cores and {memory:.0f} GiB ({platform.machine()}), {named}; {day}"


def main() -> int:
    """Write the page."""
    import importlib.metadata

    sys.path.insert(0, str(REPOSITORY))
    from cluster import kubernetes

    versions = {"Kubernetes": kubernetes.DEFAULT_VERSION, "Python": platform.python_version()}
    versions |= {name: importlib.metadata.version(name) for name in ("kopf", "aiohttp", "mlflow")}
    PAGE.write_text(put(PAGE.read_text(), table(json.loads(RESULTS.read_text()), machine(versions))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
