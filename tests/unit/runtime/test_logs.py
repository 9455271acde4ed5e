"""Lines are JSON objects with the fields that are bound where they are logged."""

import asyncio
import json
import logging
import sys

from perennial.logs import JsonFormatter, TextFormatter, bound


def record(message: str = "something happened", **extra: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "perennial.x", "levelname": "INFO", "levelno": 20, "msg": message})
    made.__dict__.update(extra)
    return made


def test_a_line_is_one_json_object_with_its_fields() -> None:
    with bound(kind="Dataset", name="flights"):
        line = JsonFormatter().format(record(child="a\nb"))
    assert "\n" not in line
    parsed = json.loads(line)
    assert parsed["message"] == "something happened"
    assert (parsed["level"], parsed["kind"], parsed["name"], parsed["child"]) == ("info", "Dataset", "flights", "a\nb")
    assert "levelno" not in parsed


def test_bound_fields_end_with_their_block_and_do_not_leak_between_tasks() -> None:
    async def story() -> None:
        async def one(name: str) -> str:
            with bound(name=name):
                await asyncio.sleep(0)
                return str(json.loads(JsonFormatter().format(record()))["name"])

        assert await asyncio.gather(one("a"), one("b")) == ["a", "b"]

    asyncio.run(story())
    assert "name" not in json.loads(JsonFormatter().format(record()))


def test_an_exception_is_a_field() -> None:
    try:
        raise ZeroDivisionError("no")  # noqa: TRY301 - to have one
    except ZeroDivisionError:
        parsed = json.loads(JsonFormatter().format(record(exc_info=sys.exc_info())))
    assert "ZeroDivisionError: no" in parsed["exception"]


def test_what_is_no_json_is_its_text() -> None:
    assert json.loads(JsonFormatter().format(record(error=ValueError("x"))))["error"] == "x"


def test_the_text_form_has_the_same_fields() -> None:
    with bound(kind="Dataset"):
        assert TextFormatter().format(record(child="a")).endswith("something happened  kind=Dataset child=a")
