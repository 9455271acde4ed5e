"""Copies that are validated, messages that are read strictly, and what is said of those that are wrong."""

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, ClassVar

import pytest
from pydantic import TypeAdapter, ValidationError

from perennial.api.messages.wire import Asked
from perennial.terms.forms import Time
from perennial.terms.part import Member, OneOf, Part, Scalar
from perennial.terms.text import complaint, rfc3339


class Square(Member):
    """Four equal sides."""

    side: int = 1


class Name(Scalar[str]):
    """Any other shape."""


class Shape(OneOf):
    """Something drawn."""

    colour: str = "black"
    square: Square | None = None
    named: Name | None = None

    @classmethod
    def member_rules(cls) -> tuple[tuple[str, str], ...]:
        return (("has(self.colour)", f"one of {len(cls.types)} shapes needs a colour"),)


class Wish(Asked):
    """What is asked for."""

    shapes: tuple[Shape, ...]


class Drawn(Part):
    """Something with a field whose JSON name is a word of Python's."""

    from_: int = 0
    shape: Shape = Shape(square=Square())
    fixed: ClassVar[str] = "no field"


def test_a_copy_has_what_was_changed_and_the_rest_as_it_was() -> None:
    before = Drawn(from_=1, shape=Shape(named=Name("dot")))
    assert before.but(from_=2) == Drawn(from_=2, shape=before.shape)
    assert before.from_ == 1


@pytest.mark.parametrize("name", ["form", "From", "from", "fixed"])
def test_a_copy_with_a_field_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(TypeError, match=f"Drawn has no {name}"):
        Drawn().but(**{name: 3})


def test_a_copy_with_a_value_that_the_field_does_not_take_is_refused() -> None:
    with pytest.raises(ValidationError):
        Drawn().but(from_="many")


def test_a_one_of_tells_its_members_and_adds_their_rules() -> None:
    assert dict(Shape.types) == {"square": Square, "named": Name}
    rules = Shape.model_json_schema()["x-kubernetes-validations"]
    assert [rule["message"] for rule in rules] == [
        "exactly one of square, named must be set",
        "one of 2 shapes needs a colour",
    ]


def test_a_wish_is_read_as_it_was_written() -> None:
    wish = Wish(shapes=(Shape(square=Square(side=2)), Shape(named=Name("dot"), colour="red")))
    assert wish.written() == ('{"shapes":[{"colour":"black","square":{"side":2}},{"colour":"red","named":"dot"}]}')
    assert Wish.read(wish.written()) == wish


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"shapes": [{"square": {}}, {"circle": {}}]}', "shapes[1].circle: is not known to this release"),
        ('{"shapes": [{"square": {"sides": 4}}]}', "shapes[0].square.sides: is not known to this release"),
        ('{"shapes": [], "size": 3}', "size: is not known to this release"),
        (
            '{"shapes": [{"square": {}, "named": "x"}]}',
            "exactly one of square, named must be set, but square and named",
        ),
        ('{"shapes": [{}]}', "shapes[0]: exactly one of square, named must be set, but none"),
        ("{}", "shapes: must be given"),
        ("{", "must be JSON, but is not"),
        ('{"shapes": [{"square": {"side": "wide"}}]}', "shapes[0].square.side: must be a valid integer"),
        ('{"shapes": 3}', "shapes: must be a valid "),
    ],
)
def test_a_wish_that_is_not_wholly_understood_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)) as refused:
        Wish.read(text)
    assert "pydantic" not in str(refused.value)


def test_a_report_passes_over_what_it_does_not_know() -> None:
    assert Shape.model_validate({"square": {"side": 2, "angle": 90}}) == Shape(square=Square(side=2))


def test_several_faults_are_one_sentence() -> None:
    with pytest.raises(ValidationError) as refused:
        Drawn.model_validate({"from": "x", "shape": {"square": 3}})
    told = complaint(refused.value.errors())
    assert told == (
        "from: must be a valid integer, unable to parse string as an integer; "
        "shape.square: must be a valid dictionary or instance of Square"
    )


@pytest.mark.parametrize(
    ("moment", "written"),
    [
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00Z"),
        (datetime(987, 6, 5, 4, 3, 2, 999999, tzinfo=UTC), "0987-06-05T04:03:02Z"),
        (datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), "9999-12-31T23:59:59Z"),
        (datetime(2026, 3, 1, 1, tzinfo=timezone(timedelta(hours=2))), "2026-02-28T23:00:00Z"),
    ],
)
def test_years_have_four_digits_so_that_a_moment_can_be_read_again(moment: datetime, written: str) -> None:
    assert rfc3339(moment) == written
    times: TypeAdapter[Any] = TypeAdapter(Time)
    assert times.dump_python(times.validate_python(written)) == written


def test_a_moment_beyond_the_years_is_refused_in_a_sentence() -> None:
    times: TypeAdapter[Any] = TypeAdapter(Time)
    with pytest.raises(ValidationError, match="must lie in the years 1 to 9999"):
        times.validate_python("0001-01-01T00:00:00+02:00")
