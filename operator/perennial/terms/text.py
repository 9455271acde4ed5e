"""Numbers, moments and sentences for people, made in one place."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any


def decimal(value: float) -> str:
    """Return a number as the API writes it: at most six decimals, none that say nothing."""
    return f"{value:.6f}".rstrip("0").rstrip(".") or "0"


def percent(rate: float) -> str:
    """Return a share as per cent with three significant digits."""
    return f"{100 * rate:.3g} %"


def clip(text: str, length: int) -> str:
    """Return a text of at most `length` characters; what was cut off is said by an ellipsis."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def rfc3339(moment: datetime) -> str:
    """Return a moment (with a time zone) in UTC as RFC 3339, cut to whole seconds: its year has four digits."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def complaint(errors: Iterable[Mapping[str, Any]]) -> str:
    """Return one sentence of what pydantic found wrong (`ValidationError.errors()`): which field, what must hold."""
    return "; ".join(": ".join(filter(None, (place(error["loc"]), _must(error)))) for error in errors)


def place(path: Sequence[str | int]) -> str:
    """Return where something stands, as users write it: `spec.slos[0].name`; empty: it is the whole."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def _must(error: Mapping[str, Any]) -> str:
    match error["type"]:
        case "extra_forbidden":
            return "is not known to this release"
        case "missing":
            return "must be given"
        case "json_invalid":
            return "must be JSON, but is not"
        case "value_error":
            return str(error["ctx"]["error"])
    said = str(error["msg"])
    subject, should, rest = said.partition(" should ")
    return f"must {rest}" if should and subject in {"Input", "String", "List", "Tuple", "Value"} else said
