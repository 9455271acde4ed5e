"""Numbers and sentences for people, made in one place."""


def decimal(value: float) -> str:
    """Return a number as the API writes it: at most six decimals, none that say nothing."""
    return f"{value:.6f}".rstrip("0").rstrip(".") or "0"


def percent(rate: float) -> str:
    """Return a share as per cent with three significant digits."""
    return f"{100 * rate:.3g} %"


def clip(text: str, length: int) -> str:
    """Return a text of at most `length` characters; what was cut off is said by an ellipsis."""
    return text if len(text) <= length else f"{text[: length - 1]}…"
