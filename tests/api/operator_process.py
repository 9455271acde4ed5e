"""An operator in a process of its own, as a test sees it: its log, its probes, its end."""

import contextlib
import http.client
import json
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from waiting import until


@dataclass
class Process:
    """An operator (`python -m perennial.app` or another module) in a process of its own."""

    popen: subprocess.Popen[bytes]
    log: Path

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def lines(self, message: str) -> list[dict[str, Any]]:
        """Return the log's lines with this message, as far as they are complete."""
        found = [json.loads(line) for line in self.text().splitlines(keepends=True) if line.endswith("}\n")]
        return [line for line in found if line["message"] == message]

    def said(self, message: str, *, seconds: float = 30) -> dict[str, Any]:
        """Wait for a line with this message and return the last."""

        def look() -> dict[str, Any] | None:
            if self.popen.poll() is not None:
                raise AssertionError(f"the operator ended:\n{self.text()}")
            lines = self.lines(message)
            return lines[-1] if lines else None

        return until(f"the operator says {message!r}", look, seconds=seconds)

    def ask(self, server: str, path: str) -> tuple[int, str]:
        """GET a path of `health` or `metrics`; return status and body."""
        port = self.said("serving")[server]
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()

    def stop(self, number: signal.Signals = signal.SIGTERM, *, seconds: float = 20) -> int:
        """Send a signal and return the exit code."""
        if self.popen.poll() is None:
            self.popen.send_signal(number)
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
            raise AssertionError(f"the operator did not end in {seconds} s:\n{self.text()}") from None


Start = Callable[..., Process]
