"""What the operator asked of the API server, as the API server's audit log has it."""

import json
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_WRITES = frozenset({"create", "update", "patch", "delete"})


@dataclass(frozen=True, slots=True)
class Request:
    """One request: what was done to what, when it came (RFC 3339), and how it was answered."""

    verb: str
    resource: str
    subresource: str
    namespace: str
    name: str
    time: str
    code: int

    @property
    def is_write(self) -> bool:
        return self.verb in _WRITES

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}{'/' if self.subresource else ''}{self.subresource}"


class AuditLog:
    """Follows the log, also when the API server begins a new file. `user`: whose requests count."""

    def __init__(self, path: Path, user: str) -> None:
        self._path = path
        self._user = user
        self._mark = f'"username":"{user}"'.encode()
        self._file = path.open("rb")
        self._rest = b""

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def news(self) -> list[Request]:
        """Return the requests since the last call, without watches and without those for the lease."""
        lines = self._lines()
        if os.fstat(self._file.fileno()).st_ino != self._path.stat().st_ino:
            self._file.close()
            self._file = self._path.open("rb")
            lines += self._lines()
        return [each for line in lines if self._mark in line if (each := _request(line)) is not None]

    def _lines(self) -> list[bytes]:
        *whole, self._rest = (self._rest + self._file.read()).split(b"\n")
        return whole


def _request(line: bytes) -> Request | None:
    event = json.loads(line)
    what = event.get("objectRef") or {}
    if event["verb"] == "watch" or what.get("resource") in {None, "leases"}:
        return None
    return Request(
        verb=event["verb"],
        resource=what["resource"],
        subresource=what.get("subresource", ""),
        namespace=what.get("namespace", ""),
        name=what.get("name", ""),
        time=event["requestReceivedTimestamp"],
        code=event.get("responseStatus", {}).get("code", 0),
    )


def counted(requests: Iterable[Request]) -> dict[str, int]:
    """Return how often each verb was used on each resource, most frequent first."""
    return dict(Counter(str(each) for each in requests).most_common())
