"""How a worker speaks: progress lines on stderr, its result on stdout and in the pod's termination message."""

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TERMINATION_LOG_VARIABLE = "PERENNIAL_TERMINATION_LOG"
TERMINATION_LOG = "/dev/termination-log"
MESSAGE_BYTES = 4096
"""The kubelet cuts a termination message off after so many bytes."""

_SENTENCE_BYTES = 2000
_PROGRESS_SECONDS = 2.0


def encoded(result: Mapping[str, Any]) -> bytes:
    """Return a result as compact JSON in UTF-8."""
    return json.dumps(result, ensure_ascii=False, separators=(",", ":")).encode()


def fits(result: Mapping[str, Any]) -> bool:
    """Whether a result can be a termination message as it is."""
    return len(encoded(result)) <= MESSAGE_BYTES


def clip(text: str, size: int) -> str:
    """Return `text` on one line that takes at most `size` bytes as a JSON string, quotes not counted."""
    line = " ".join(text.encode("utf-8", "replace").decode().split())
    if _json_size(line) <= size:
        return line
    while _json_size(line) > size - len("…".encode()):
        line = line[: min(len(line) - 1, size)]
    return line + "…"


def _json_size(text: str) -> int:
    return len(json.dumps(text, ensure_ascii=False).encode()) - 2


def publish(result: Mapping[str, Any]) -> None:
    """Print a result, and leave it as the termination message where there is a place for one."""
    message = encoded(result)
    print(message.decode(), flush=True)  # noqa: T201 - the result is what this program is for
    path = Path(os.environ.get(TERMINATION_LOG_VARIABLE, TERMINATION_LOG))
    if path.parent.is_dir() and (path.exists() or TERMINATION_LOG_VARIABLE in os.environ):
        path.write_bytes(message)


def publish_error(sentence: str) -> None:
    """Leave the reason for giving up where the operator finds it."""
    publish({"error": clip(sentence, _SENTENCE_BYTES)})


def say(line: str) -> None:
    """Tell people what is going on."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201


class Progress:
    """Tells how far a long piece of work is, every two seconds at most, with the time it will still take.

    `total` and the steps may be of any unit (bytes, rows); `unit` divides them for display, as in (1e6, "MB").
    """

    def __init__(self, what: str, total: int, unit: tuple[float, str] = (1.0, "")) -> None:
        self._what, self._total, self._unit = what, total, unit
        self._done = 0
        self._start = self._told = time.monotonic()

    def add(self, amount: int) -> None:
        """Count `amount` more as done."""
        self._done += amount
        now = time.monotonic()
        if now - self._told >= _PROGRESS_SECONDS:
            self._told = now
            size, name = self._unit
            rest = (now - self._start) * (self._total - self._done) / self._done if self._done else 0.0
            done = f"{self._done / size:.0f} of {self._total / size:.0f} {name}"
            say(f"{self._what}: {done}, about {max(rest, 0):.0f} s left")
