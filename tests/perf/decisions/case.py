"""A row of the table: what was tried, how often something happened, and whether that keeps the bar."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from scipy import stats

CONFIDENCE = 0.99


def share(case: str, variant: str, bar: float, kind: str, hits: int, trials: int) -> dict[str, Any]:
    """Return a row about a share: at most (`max`) or at least (`min`) the bar.

    A risk (`max`) keeps its bar if the upper end of its exact 99 % interval does; a power (`min`) if its share does.
    """
    tail = (1 - CONFIDENCE) / 2
    low = float(stats.beta.ppf(tail, hits, trials - hits + 1)) if hits else 0.0
    high = float(stats.beta.ppf(1 - tail, hits + 1, trials - hits)) if hits < trials else 1.0
    return _row(case, variant, bar, kind, hits / trials, low, high, trials)


def never(case: str, variant: str, hits: int, trials: int) -> dict[str, Any]:
    """Return a row about what must not happen at all."""
    row = share(case, variant, 0.0, "max", hits, trials)
    return row | {"passed": hits == 0}


def median(case: str, variant: str, bar: float, kind: str, values: Sequence[float]) -> dict[str, Any]:
    """Return a row about a median; low and high are its distribution-free 99 % interval. Infinity: never."""
    ordered = np.sort(np.asarray(values, float))
    trials = len(ordered)
    low, high = (int(stats.binom.ppf(q, trials, 0.5)) for q in ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    middle = float(np.median(ordered))
    return _row(
        case,
        variant,
        bar,
        kind,
        middle,
        float(ordered[low]),
        float(ordered[min(high, trials - 1)]),
        trials,
        bound=False,
    )


def complete(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows of which some only tell `hits` of `trials`, with rate, interval and verdict."""
    return [row if "passed" in row else share(**row) for row in rows]


def _row(
    case: str,
    variant: str,
    bar: float,
    kind: str,
    rate: float,
    low: float,
    high: float,
    trials: int,
    *,
    bound: bool = True,
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
        "passed": (high if bound else rate) <= bar if kind == "max" else rate >= bar,
    }
