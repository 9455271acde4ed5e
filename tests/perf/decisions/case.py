"""A row of the table: what was tried, how often something happened, and whether that keeps the bar.

A bar is about what is true in the long run, so a share passes by the end of its exact 99 % interval: a risk (`max`) if
it is shown to be at most the bar, a power (`min`) if it is shown to be at least the bar; a run of bad luck then fails a
case that is right about once in two hundred times where the truth is at the end of what is allowed, and never lets one
pass by good luck more often than that. A median passes by itself: its bar is about what is usual, and its interval says
how well that is known. What must not happen at all (`never`) passes if it did not happen.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

CONFIDENCE = 0.99


def share(
    case: str,
    variant: str,
    bar: float,
    kind: str,
    hits: int,
    trials: int,
    beside: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Return a row about a share: at most (`max`) or at least (`min`) the bar; with the exact 99 % interval.

    `beside`: how often other rules do the same on the same traffic.
    """
    tail = (1 - CONFIDENCE) / 2
    low = float(stats.beta.ppf(tail, hits, trials - hits + 1)) if hits else 0.0
    high = float(stats.beta.ppf(1 - tail, hits + 1, trials - hits)) if hits < trials else 1.0
    row = _row(case, variant, bar, kind, hits / trials, low, high, trials)
    row |= {} if beside is None else {"beside": dict(beside)}
    return row | {"hits": hits, "passed": high <= bar if kind == "max" else low >= bar}


def never(case: str, variant: str, hits: int, trials: int) -> dict[str, Any]:
    """Return a row about what must not happen at all."""
    row = share(case, variant, 0.0, "max", hits, trials)
    return row | {"passed": hits == 0}


def median(case: str, variant: str, bar: float, kind: str, values: Sequence[float], unit: str) -> dict[str, Any]:
    """Return a row about a median; low and high are its distribution-free 99 % interval. Infinity: never."""
    ordered = np.sort(np.asarray(values, float))
    trials = len(ordered)
    low, high = (int(stats.binom.ppf(q, trials, 0.5)) for q in ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    middle = float(np.median(ordered))
    row = _row(case, variant, bar, kind, middle, float(ordered[low]), float(ordered[min(high, trials - 1)]), trials)
    return row | {"passed": middle <= bar if kind == "max" else middle >= bar, "unit": unit}


def complete(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return finished rows: those of one case, variant and kind are parts of one; some tell but `hits` of `trials`."""
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in rows:
        key = row["case"], row["variant"], row["kind"]
        before = found.get(key)
        if before is None:
            found[key] = dict(row)
        else:
            found[key] = _asked(before) | {name: before[name] + row[name] for name in ("hits", "trials")}
    return [
        {name: value for name, value in (row if "passed" in row else share(**row)).items() if name != "hits"}
        for row in found.values()
    ]


def _asked(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("case", "variant", "bar", "kind")}


def _row(
    case: str,
    variant: str,
    bar: float,
    kind: str,
    rate: float,
    low: float,
    high: float,
    trials: int,
) -> dict[str, Any]:
    if kind not in {"max", "min"}:
        raise ValueError(f"kind must be max or min, not {kind!r}")
    return {
        "case": case,
        "variant": variant,
        "bar": bar,
        "kind": kind,
        "rate": rate,
        "low": low,
        "high": high,
        "trials": trials,
    }
