"""Logs as events: a short constant phrase and fields, one JSON object a line.

Fields come from `extra=` of the call and from `bound`, which holds for everything that runs inside it.
"""

import contextlib
import json
import logging
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final, Literal

_fields: ContextVar[Mapping[str, Any]] = ContextVar("fields", default={})  # noqa: B039 - never changed in place

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


@contextlib.contextmanager
def bound(**fields: Any) -> Iterator[None]:
    """Add fields to every line that is logged inside, also by the tasks that are started inside."""
    token = _fields.set({**_fields.get(), **fields})
    try:
        yield
    finally:
        _fields.reset(token)


def _collect(record: logging.LogRecord) -> dict[str, Any]:
    extra = {name: value for name, value in vars(record).items() if name not in _STANDARD and not name.startswith("_")}
    return {**_fields.get(), **extra}


class JsonFormatter(logging.Formatter):
    """`{"time": …, "level": …, "logger": …, "message": …, <fields>}`; an exception goes into `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line of JSON."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_collect(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    """The same for eyes: `12:00:00.000 WARNING message  field=value …`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, and the traceback of an exception below it."""
        time = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S.%f")[:-3]
        fields = "".join(f" {name}={value}" for name, value in _collect(record).items())
        trace = f"\n{self.formatException(record.exc_info)}" if record.exc_info else ""
        return f"{time} {record.levelname:7} {record.getMessage()} {fields}{trace}"


def configure(level: str, style: Literal["json", "text"]) -> None:
    """Send what Perennial says from `level` on, and what libraries say from WARNING on, to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("perennial").setLevel(level)
    # kopf sets a level of its own.
    logging.getLogger("kopf").setLevel(logging.WARNING)
    # kopf runs in a thread here, on purpose, and says so at every start.
    logging.getLogger("kopf._core.reactor.running").addFilter(lambda record: "OS signals" not in record.getMessage())
