"""Logs as events: one JSON object a line, a short constant phrase and fields."""

import json
import logging
import sys
from datetime import UTC, datetime

_USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """`{"time": …, "level": …, "message": …, <fields>}`; an exception goes into `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line of JSON."""
        fields = {name: value for name, value in vars(record).items() if name not in _USUAL}
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": time, "level": record.levelname.lower(), "message": record.getMessage(), **fields}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def log_json() -> None:
    """Send everything from INFO on (what libraries say: from WARNING on) to standard output, as JSON lines."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("perennial").setLevel(logging.INFO)
