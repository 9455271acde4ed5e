"""What servers and people post: predictions and labels, checked to the last field before anything is stored."""

from dataclasses import dataclass
from datetime import datetime
from json import JSONDecodeError, loads
from math import isfinite
from typing import Any

from perennial.collector.joining import PostedLabel, Prediction, Reporter

MOST_ITEMS = 20_000
MOST_ID = 256
MOST_NAME = 128
MOST_DROPPED = 2**53
AHEAD_SECONDS = 86400.0
"""How far ahead of our clock a prediction may be dated."""


class BadInputError(Exception):
    """The body is not what it must be. The message tells which field, and what must hold."""

    status = 400


@dataclass(frozen=True, slots=True)
class PostedPredictions:
    """What one version answered, and who says so."""

    version: str
    model_version: str
    predictions: list[Prediction]
    reporter: Reporter | None


def read_predictions(body: bytes, now: float) -> PostedPredictions:
    """Return the predictions of a body. Raises BadInputError."""
    data = _object(body)
    _only(data, "the body", {"version", "modelVersion", "predictions", "reporter", "dropped"})
    version = _text(data.get("version"), "version", MOST_NAME)
    model_version = _text(data.get("modelVersion"), "modelVersion", MOST_NAME)
    items = _items(data, "predictions", {"id", "time", "score"})
    predictions = [_prediction(item, f"predictions[{i}]", now) for i, item in enumerate(items)]
    return PostedPredictions(version, model_version, predictions, _reporter(data))


def read_labels(body: bytes) -> list[PostedLabel]:
    """Return the labels of a body. Raises BadInputError."""
    data = _object(body)
    _only(data, "the body", {"labels"})
    items = _items(data, "labels", {"id", "label", "time"})
    return [_label(item, f"labels[{i}]") for i, item in enumerate(items)]


def _prediction(item: dict[str, Any], where: str, now: float) -> Prediction:
    time = _time(item.get("time"), f"{where}.time")
    if not 0 <= time <= now + AHEAD_SECONDS:
        raise BadInputError(f"{where}.time: must be after 1970 and not more than a day ahead")
    return Prediction(_text(item.get("id"), f"{where}.id", MOST_ID), time, _number(item.get("score"), f"{where}.score"))


def _reporter(data: dict[str, Any]) -> Reporter | None:
    if "reporter" not in data and "dropped" not in data:
        return None
    dropped = data.get("dropped")
    if isinstance(dropped, bool) or not isinstance(dropped, int) or not 0 <= dropped < MOST_DROPPED:
        raise BadInputError("dropped: must be a whole number from 0 on, beside reporter")
    return Reporter(_text(data.get("reporter"), "reporter", MOST_NAME), dropped)


def _label(item: dict[str, Any], where: str) -> PostedLabel:
    if "time" in item:
        _time(item["time"], f"{where}.time")
    value = item.get("label")
    label = float(value) if isinstance(value, bool) else _number(value, f"{where}.label")
    return PostedLabel(_text(item.get("id"), f"{where}.id", MOST_ID), label)


def _object(body: bytes) -> dict[str, Any]:
    try:
        data = loads(body)
    except (JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInputError("the body: must be JSON") from error
    except ValueError as error:
        raise BadInputError("the body: must have numbers of at most 4,300 digits") from error
    if not isinstance(data, dict):
        raise BadInputError("the body: must be a JSON object")
    return data


def _items(data: dict[str, Any], name: str, fields: set[str]) -> list[dict[str, Any]]:
    items = data.get(name)
    if not isinstance(items, list):
        raise BadInputError(f"{name}: must be a list")
    if len(items) > MOST_ITEMS:
        raise BadInputError(f"{name}: must have at most {MOST_ITEMS:,} items, has {len(items):,}")
    for i, item in enumerate(items):
        if not isinstance(item, dict):
            raise BadInputError(f"{name}[{i}]: must be a JSON object")
        _only(item, f"{name}[{i}]", fields)
    return items


def _only(data: dict[str, Any], where: str, fields: set[str]) -> None:
    if not data.keys() <= fields:
        unknown = min(data.keys() - fields)
        known = ", ".join(sorted(fields))
        raise BadInputError(f"{where}: has an unknown field {unknown[:MOST_NAME]!r}; known are {known}")


def _text(value: object, where: str, most: int) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= most or "\0" in value:
        raise BadInputError(f"{where}: must be a string of 1 to {most} characters")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise BadInputError(f"{where}: must be valid Unicode") from error
    return value


def _number(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadInputError(f"{where}: must be a number")
    try:
        number = float(value)
    except OverflowError:
        number = float("inf")
    if not isfinite(number):
        raise BadInputError(f"{where}: must be a finite number")
    if isinstance(value, int) and int(number) != value:
        raise BadInputError(f"{where}: must be a number that a 64-bit float holds exactly")
    return number


def _time(value: object, where: str) -> float:
    if isinstance(value, str):
        try:
            time = datetime.fromisoformat(value)
        except ValueError:
            time = None
        if time is not None and time.tzinfo is not None:
            return time.timestamp()
    raise BadInputError(f"{where}: must be an RFC 3339 time with its zone, such as 2026-01-31T12:00:00Z")
