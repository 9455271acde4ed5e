"""How often decisions are wrong and how long they take, from one seed: `make bench-decisions SEED=… CANARIES=…`.

Every case is the operator's own code on simulated traffic. The rows go into a JSON list of
{case, variant, bar, kind: "max" | "min", rate, low, high, trials, passed, beside}, where low and high are the exact
99 % interval of a share (of a median: of order statistics), and `beside` is what other rules do on the same traffic.
The bars are about what is true, not about what was seen, so a share passes by the end of its interval that is nearer to
its bar (see `decisions.case`): a case that is right only by luck of the seed does not pass. Ends with 1 if a row fails.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from time import monotonic
from typing import Any
from zlib import crc32

import numpy as np

from tests.perf.decisions import canaries, cohorts, gate, requests
from tests.perf.decisions.case import complete
from tests.perf.decisions.page import in_page, shown

Rows = Iterator[Mapping[str, Any]]

GROUPS: Mapping[str, Callable[[np.random.Generator, int], Rows]] = {
    **{section.__name__: section for section in (*canaries.SECTIONS, *requests.SECTIONS)},
    "gate": lambda chance, trials: gate.cases(int(chance.integers(2**32)), trials),
    "cohorts": lambda chance, trials: cohorts.cases(int(chance.integers(2**32)), trials),
}
"""All cases, in the order of the table. One more is one more line in its module, or here."""
LEAST, PUBLISHED = 10, 1000
"""With fewer canaries the page is left as it is: intervals are too wide to say much."""
PARTS: Mapping[str, int] = {"gate": 1, "boundary": 8, "late": 8}
"""Groups that take long, in how many parts: they are begun first, and their canaries dealt to the processes."""


def rows_of(name: str, seed: int, trials: int, part: int = 0) -> tuple[list[dict[str, Any]], float]:
    """Return a group's rows, and how many seconds they took. The same seed always gives the same rows."""
    began = monotonic()
    chance = np.random.default_rng([abs(seed), int(seed < 0), crc32(name.encode()), part])
    return [dict(row) for row in GROUPS[name](chance, trials)], monotonic() - began


def dealt(canaries: int, parts: int) -> list[int]:
    """Return how many canaries each part gets."""
    return [canaries // parts + (part < canaries % parts) for part in range(parts)]


def main() -> int:
    """Run what is asked for; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--canaries", type=int, default=PUBLISHED, help="simulated in each row, at least 10")
    parser.add_argument("--groups", default="", help=f"some of {', '.join(GROUPS)}, with commas between; all if empty")
    parser.add_argument("--to", type=Path, default=Path("build/bench/decisions.json"))
    parser.add_argument("--page", type=Path, default=Path("docs/statistics.md"))
    asked = parser.parse_args()
    names = [name for name in asked.groups.split(",") if name] or list(GROUPS)
    if unknown := set(names) - set(GROUPS):
        parser.error(f"--groups: {', '.join(sorted(unknown))} must be some of {', '.join(GROUPS)}")
    if asked.canaries < LEAST:
        parser.error(f"--canaries must be at least {LEAST}, not {asked.canaries}")
    began = monotonic()
    found: list[dict[str, Any]] = []
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        futures = {
            name: [
                pool.submit(rows_of, name, asked.seed, share, part)
                for part, share in enumerate(dealt(asked.canaries, PARTS.get(name, 1)))
            ]
            for name in sorted(names, key=lambda name: name not in PARTS)
        }
        for name in names:
            parts, seconds = zip(*(future.result() for future in futures[name]), strict=True)
            rows = complete(row for part in parts for row in part)
            found += rows
            print(shown(rows), f"-- {name}: {sum(seconds):.0f} s\n", sep="\n", flush=True)
    asked.to.parent.mkdir(parents=True, exist_ok=True)
    asked.to.write_text(json.dumps(found, indent=1) + "\n")
    if asked.canaries >= PUBLISHED and names == list(GROUPS):
        asked.page.write_text(in_page(asked.page.read_text(), found, asked.seed, asked.canaries))
    failed = [row for row in found if not row["passed"]]
    print(f"{len(found)} rows in {monotonic() - began:.0f} s, seed {asked.seed}: {len(failed)} failed, see {asked.to}")
    for row in failed:
        print(f"FAILED: {row['case']}, {row['variant']}: {row['rate']:.4g}, {row['kind']} {row['bar']:g}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
