"""The time line of a run as one HTML file: who asked for what, what was answered, what was injected."""

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path

from operator_faults.proxy import Exchange

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #fff; --faint: #6b7280; --line: #e5e7eb;
  --write: #1d4ed8; --bad: #b91c1c; --fault: #fef3c7; --faultink: #92400e; --note: #ecfdf5; }
@media (prefers-color-scheme: dark) { :root { --ink: #e5e7eb; --paper: #111418; --faint: #9ca3af; --line: #2a2f37;
  --write: #93c5fd; --bad: #fca5a5; --fault: #43330a; --faultink: #fcd34d; --note: #0b2b20; } }
body { font: 14px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 2rem; }
h1 { font-size: 1.25rem; } p.problem { color: var(--bad); white-space: pre-wrap; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; padding: .15rem .6rem; vertical-align: top;
  border-bottom: 1px solid var(--line); } td { font-family: ui-monospace, monospace; font-size: 12px; }
td:nth-child(1), td:nth-child(7) { text-align: right; white-space: nowrap; color: var(--faint); }
td:nth-child(5) { overflow-wrap: anywhere; } tr.write td:nth-child(4) { color: var(--write); font-weight: 600; }
tr.error td:nth-child(6) { color: var(--bad); font-weight: 600; } tr.fault { background: var(--fault); }
tr.fault td:last-child { color: var(--faultink); font-weight: 600; } tr.note { background: var(--note); }
"""
_HEAD = ("s", "who", "write", "verb", "path", "status", "ms", "fault")
_FIRST_ERROR = 400


def write(
    file: Path, title: str, problem: str, log: Sequence[Exchange], notes: Sequence[tuple[float, str]] = ()
) -> None:
    """Write the time line of a run that failed with a problem."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(page(title, problem, log, notes))


def page(title: str, problem: str, log: Sequence[Exchange], notes: Sequence[tuple[float, str]] = ()) -> str:
    """Return the page: self-contained, light and dark."""
    start = min([each.at for each in log] + [at for at, _ in notes], default=0.0)
    lines = [(each.at, _exchange(each, start)) for each in log]
    lines += [(at, _note(at - start, text)) for at, text in notes]
    rows = "\n".join(row for _, row in sorted(lines, key=lambda line: line[0]))
    head = "".join(f"<th>{name}</th>" for name in _HEAD)
    when = datetime.fromtimestamp(start, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>\n<h1>{escape(title)}</h1>\n"
        f'<p class="problem">{escape(problem)}</p>\n'
        f"<p>From {when}. Numbered requests are the writes that count.</p>\n"
        f"<table><thead><tr>{head}</tr></thead><tbody>\n{rows}\n</tbody></table></body></html>\n"
    )


def _exchange(each: Exchange, start: float) -> str:
    request = each.request
    classes = [
        name
        for name, holds in (
            ("write", request.writes),
            ("error", each.status >= _FIRST_ERROR),
            ("fault", bool(each.fault)),
        )
        if holds
    ]
    path = f"{request.path}?{request.query}" if request.query else request.path
    verb = "WATCH" if request.watch else request.method
    cells = (
        f"{each.at - start:.3f}",
        request.who,
        str(request.number or ""),
        verb,
        path,
        str(each.status or "-"),
        f"{each.seconds * 1000:.0f}",
        each.fault,
    )
    return f'<tr class="{" ".join(classes)}">' + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"


def _note(at: float, text: str) -> str:
    return f'<tr class="note"><td>{at:.3f}</td><td colspan="7">{escape(text)}</td></tr>'
