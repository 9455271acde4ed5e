"""What is said about the chart's values: the README's table and the schema's words, from the comments in values.yaml.

A comment that begins with `# --` describes the value below it, one with `# ==` begins a section. A key whose value
stands on its own line is a value; one with values below it is a group.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

CHART: Final = Path(__file__).resolve().parents[3] / "charts" / "perennial"
_KEY: Final = re.compile(r"^( *)([A-Za-z][A-Za-z0-9]*):(?: +(.+))?$")
_BEGIN: Final = "<!-- values: made by `python -m perennial.schema` from values.yaml -->\n"
_END: Final = "<!-- end of values -->"


class UndescribedError(Exception):
    """A value without a description, or a comment without a value. The message names the line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A value of the chart: its path, its default as it is written, and what is said about it."""

    section: str
    path: tuple[str, ...]
    default: str
    text: str


def values(text: str) -> Iterator[Value]:
    """Yield the values of a values.yaml, in its order.

    Raises:
        UndescribedError: a value has no description.
    """
    section, said, path = "", list[str](), list[str]()
    for number, line in enumerate(text.splitlines(), start=1):
        comment = line.strip()
        if comment.startswith("# =="):
            section, said = comment.removeprefix("# ==").strip(), []
        elif comment.startswith("# --"):
            said = [comment.removeprefix("# --").strip()]
        elif comment.startswith("#"):
            said += [comment.removeprefix("#").strip()] if said else []
        elif found := _KEY.match(line):
            indent, key, default = found.groups()
            path[len(indent) // 2 :] = [key]
            if default is not None:
                if not said:
                    raise UndescribedError(f"values.yaml, line {number}: {'.'.join(path)} needs a comment `# -- …`")
                yield Value(section=section, path=tuple(path), default=default, text=" ".join(said))
            said = []
        elif comment:
            raise UndescribedError(f"values.yaml, line {number}: a value must stand on the line of its key")


def chart_values() -> Iterator[tuple[str, str]]:
    """Yield the chart's README and schema, with what values.yaml says."""
    found = tuple(values((CHART / "values.yaml").read_text()))
    readme, schema = (CHART / name for name in ("README.md", "values.schema.json"))
    before, _, rest = readme.read_text().partition(_BEGIN)
    after = rest.partition(_END)[2]
    yield "charts/perennial/README.md", before + _BEGIN + _tables(found) + _END + after
    described = _described(json.loads(schema.read_text()), found)
    yield "charts/perennial/values.schema.json", json.dumps(described, indent=2) + "\n"


def _tables(found: tuple[Value, ...]) -> str:
    lines: list[str] = []
    section = None
    for value in found:
        if value.section != section:
            section = value.section
            lines += ["", f"### {section}", "", "| value | default | |", "|---|---|---|"]
        cells = (f"`{'.'.join(value.path)}`", f"`{value.default}`", value.text)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([*lines, "", ""])


def _described(schema: dict[str, Any], found: tuple[Value, ...]) -> dict[str, Any]:
    """Return the schema with a description for every value. Raises KeyError where the schema does not know one."""
    for value in found:
        inner = schema
        for key in value.path:
            inner = inner["properties"][key]
        inner["description"] = value.text
    return schema
