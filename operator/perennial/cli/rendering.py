"""Trees and chains as text: icons, colour on a terminal, plain words elsewhere."""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TextIO

from perennial.cli.snapshot import State
from perennial.cli.tree import Node
from perennial.cli.why import Answer

_ICONS: Final = {
    State.OK: ("✔", "+", "32"),
    State.WARNING: ("⚠", "!", "33"),
    State.WAITING: ("◐", "~", "36"),
    State.PAUSED: ("⏸", "=", "33"),
    State.BAD: ("✗", "x", "31"),
    State.NONE: ("·", ".", "2"),
}
_MAX_TEXT: Final = 160
_MAX_REASON: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """What the output can show: escape codes, characters beyond ASCII, and how many in a line (0: any number)."""

    colour: bool = False
    unicode: bool = True
    width: int = 0

    @classmethod
    def of(cls, stream: TextIO = sys.stdout) -> "Style":
        """Return what a stream can show. Colour only on a terminal, and never against NO_COLOR."""
        terminal = stream.isatty()
        encoding = (getattr(stream, "encoding", None) or "ascii").lower()
        return cls(
            colour=terminal and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb",
            unicode=encoding.replace("-", "").startswith("utf"),
            width=os.get_terminal_size(stream.fileno()).columns if terminal else 0,
        )

    def paint(self, text: str, code: str) -> str:
        """Return text in a colour."""
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour and text else text

    def icon(self, state: State) -> str:
        """Return the icon of a state."""
        icon, plain, code = _ICONS[state]
        return self.paint(icon if self.unicode else plain, code)

    def plain(self, text: str) -> str:
        """Return text in characters that can be shown."""
        if self.unicode:
            return text
        for fine, plain in (("·", "-"), ("…", "..."), ("≈", "about"), ("→", "->")):
            text = text.replace(fine, plain)
        return text.encode("ascii", "replace").decode("ascii")


def tree_lines(trees: tuple[Node, ...], style: Style, *, namespaces: bool = False) -> Iterator[str]:
    """Yield the lines of some trees, the texts aligned; with `namespaces`, each root says where it is."""
    rows = [row for tree in trees for row in _rows(tree, style, namespaces=namespaces)]
    indent = max((row.length for row in rows), default=0) + 2
    column = min(max((len(row.node.reason) for row in rows), default=0), _MAX_REASON)
    for row in rows:
        reason, text = style.plain(row.node.reason), style.plain(row.node.text)
        text = text if len(text) <= _MAX_TEXT or style.width else text[: _MAX_TEXT - 1] + style.plain("…")
        room = style.width - indent - 2 - max(len(reason), column) if style.width else 0
        if room > 0 and len(text) > room:
            text = text[: max(room - 1, 0)] + style.plain("…")
        code = _ICONS[row.node.state][2]
        yield f"{row.drawn}{' ' * (indent - row.length)}{style.paint(f'{reason:<{column}}', code)} {text}".rstrip()


@dataclass(frozen=True, slots=True)
class _Row:
    drawn: str
    length: int
    node: Node


def _rows(node: Node, style: Style, *, namespaces: bool = False, lead: str = "", joint: str = "") -> Iterator[_Row]:
    where = f"{node.namespace}/" if namespaces and not joint else ""
    label = f"{node.kind} {where}{node.name}".rstrip()
    kind, _, rest = label.partition(" ")
    drawn = f"{lead}{joint}{style.icon(node.state)} {style.paint(kind, '2')} {style.paint(rest, '1')}".rstrip()
    yield _Row(drawn, len(lead) + len(joint) + 2 + len(label), node)
    down, last, beside = ("├─ ", "└─ ", "│  ") if style.unicode else ("|- ", "`- ", "|  ")
    below = lead + ("" if not joint else beside if joint == down else "   ")
    for number, child in enumerate(node.children, start=1):
        yield from _rows(child, style, lead=below, joint=last if number == len(node.children) else down)


def answer_lines(answer: Answer, style: Style) -> Iterator[str]:
    """Yield the lines of an answer: the object, the links to the first cause, open promises, what to do."""
    for depth, link in enumerate(answer.chain):
        lead = "" if depth == 0 else "   " * (depth - 1) + ("└─ " if style.unicode else "`- ")
        icon = style.icon(answer.state) if depth == 0 else style.icon(State.NONE)
        because = "" if depth == 0 else "because "
        title = style.paint(f"{link.kind} {link.name}", "1")
        yield f"{lead}{icon} {because}{title}: {style.plain(link.reason)}"
        if link.message:
            yield f"{'   ' * depth}  {style.plain(link.message)}"
    if answer.trial:
        yield f"{style.icon(State.WAITING)} on trial: {style.plain(answer.trial)}"
    for promise in answer.promises:
        yield f"{style.icon(State.NONE)} {promise.kind} {promise.name}: {style.plain(promise.reason)}"
        if promise.message:
            yield f"  {style.plain(promise.message)}"
    if answer.advice:
        yield ""
        yield f"{style.paint('What to do:', '1')} {style.plain(answer.advice)}"
    if answer.look:
        yield f"{style.paint('More:', '1')} {answer.look}"
