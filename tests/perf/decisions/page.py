"""The table of error rates, for the terminal and for the page about statistics."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

Row = Mapping[str, Any]

BEGIN, END = "<!-- decisions: begin -->", "<!-- decisions: end -->"
RULES: Final = (
    "threshold, no failure",
    "threshold, 4 failures",
    "z-test at each look",
    "Mann-Whitney",
    "O'Brien-Fleming",
)


def shown(rows: Sequence[Row]) -> str:
    """Return a table for the terminal."""
    lines = []
    for row in rows:
        said = "ok    " if row["passed"] else "FAILED"
        name = f"{row['case']}: {row['variant']}"
        lines.append(
            f"{said} {_number(row, 'rate'):>8} [{_number(row, 'low')} … {_number(row, 'high')}], {_bar(row):8} {name}"
        )
    return "\n".join(lines)


def in_page(page: str, rows: Sequence[Row], seed: int, canaries: int) -> str:
    """Return the page with the table between its marks.

    Raises:
        ValueError: the page lacks a mark.
    """
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise ValueError(f"the page must have {BEGIN} and {END}, each once")
    before, rest = page.split(BEGIN)
    return before + BEGIN + "\n" + table(rows, seed, canaries) + END + rest.split(END)[1]


def table(rows: Sequence[Row], seed: int, canaries: int) -> str:
    """Return the table in Markdown: each case's worst row, and beside it what other rules do there."""
    lines = [
        f"With SEED={seed} and {canaries:,} canaries, gates or years a row; of each case the row that is nearest to",
        "its bar, or beyond it, with its 99 % interval.",
        "",
        f"| case | rows | bar | found | {' | '.join(RULES)} |",
        f"|---|---|---|---|{'---|' * len(RULES)}",
    ]
    for case in dict.fromkeys(row["case"] for row in rows):
        listed = [row for row in rows if row["case"] == case]
        row = max(listed, key=_nearness)
        beside = row.get("beside", {})
        others = " | ".join(f"{100 * beside[rule]:.1f} %" if rule in beside else "" for rule in RULES)
        interval = f"{_number(row, 'rate')} ({_number(row, 'low')} … {_number(row, 'high')})"
        lines.append(f"| {case} | {len(listed)} | {_bar(row)} | {interval}: {row['variant']} | {others} |")
    return "\n".join(lines) + "\n"


def _nearness(row: Row) -> float:
    """Return how near a row is to failing: above 0 if it fails."""
    seen = row["high"] if row["kind"] == "max" else row["low"]
    distance = (seen - row["bar"]) / max(abs(row["bar"]), 1e-9)
    return float(distance if row["kind"] == "max" else -distance) + 1e6 * (not row["passed"])


def _bar(row: Row) -> str:
    return f"{'≤' if row['kind'] == 'max' else '≥'} {_number(row, 'bar')}"


def _number(row: Row, name: str) -> str:
    value = row[name]
    return f"{value:,.4g}" if row.get("unit") else f"{100 * value:.4g} %"
