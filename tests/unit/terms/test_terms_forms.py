"""What the fields of the API accept, and how they are written."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from perennial.terms import forms, kube
from perennial.terms.kube import Condition, Resources
from perennial.terms.part import Part, camel, exactly_one_of


class Example(Part):
    """Something to be written and read."""

    plain: int = 1
    step_started_time: forms.Time | None = None
    from_: str | None = None


@pytest.mark.parametrize(
    ("name", "written"),
    [("plain", "plain"), ("step_started_time", "stepStartedTime"), ("from_", "from"), ("class_", "class")],
)
def test_names_are_camel_case(name: str, written: str) -> None:
    assert camel(name) == written


def test_a_part_is_frozen_tolerant_and_leaves_out_what_is_absent() -> None:
    part = Example.model_validate({"plain": 2, "from": "x", "addedLater": True})
    assert part.json_data() == {"plain": 2, "from": "x"}
    assert part == Example(plain=2, from_="x")
    with pytest.raises(ValidationError):
        part.plain = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("2026-03-01T12:00:00Z", "2026-03-01T12:00:00Z"),
        ("2026-03-01T12:00:00.999999Z", "2026-03-01T12:00:00Z"),
        ("2026-03-01T01:00:00+02:00", "2026-02-28T23:00:00Z"),
        (datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(hours=-5))), "2026-03-01T17:00:00Z"),
    ],
)
def test_moments_are_whole_seconds_in_utc(given: Any, written: str) -> None:
    assert Example(step_started_time=given).json_data()["stepStartedTime"] == written


@given(st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.timezones()))  # noqa: DTZ001 - the zone is drawn
def test_moments_are_read_back_as_they_were_written(moment: datetime) -> None:
    part = Example(step_started_time=moment)
    assert Example.model_validate(part.json_data()) == part
    assert part.step_started_time == moment.astimezone(UTC).replace(microsecond=0)


def test_a_moment_without_a_zone_is_refused() -> None:
    """It would mean another moment on every machine."""
    with pytest.raises(ValidationError, match="must have a time zone"):
        Example.model_validate({"stepStartedTime": "2026-03-01T12:00:00"})


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (forms.Name, ["a", "1", "a-b", "a" * 46], ["", "-a", "a-", "A", "a.b", "a_b", "a" * 47]),
        (forms.ObjectName, ["a", "a.b-c.d", "a" * 253], ["", ".a", "a..b", "A", "a" * 254]),
        (forms.PartName, ["a" * 63], ["a" * 64, "a b"]),
        (forms.ModelName, ["Flight Delay_v2.x", "a" * 128], ["", " a", "a/b", "a:b", "a" * 129]),
        (forms.ModelVersionName, ["1", "10", "9" * 20], ["", "0", "01", "v1", "-1", "9" * 21]),
        (forms.Digest, ["sha256:" + "0af" * 21 + "9"], ["sha256:", "md5:" + "a" * 64, "sha256:" + "A" * 64]),
        (forms.Decimal, ["0", "-1", "1.5", "999999999999.999999999"], ["", "1.", ".5", "1e3", "+1", "1,5", "--1"]),
        (forms.Share, ["0", "1", "0.5", "1.0", "0.000000001"], ["-0.1", "1.1", "2", "0.", "00.5", "1.01"]),
        (forms.OpenShare, ["0.5", "0.000000001", "0.100000000"], ["0", "1", "0.0", "0.000", "1.0", "1.5", "-0.5"]),
        (forms.Ratio, ["1.1", "2", "10", "99.9", "1.000000001"], ["1", "1.0", "0.9", "100", "01.5", "-2"]),
        (forms.Quantity, ["500m", "2Gi", "1", 1, "1e3", "1.5"], ["x" * 33, True, None]),
        (kube.Image, ["registry.test/a:1", "a@sha256:0"], ["x" * 513]),  # its form is a rule in CEL
    ],
)
def test_what_a_field_accepts(kind: Any, good: list[Any], bad: list[Any]) -> None:
    adapter = TypeAdapter(kind)
    for value in good:
        assert adapter.validate_python(value) == str(value)
    for value in bad:
        with pytest.raises(ValidationError):
            adapter.validate_python(value)


@given(st.from_regex(r"\A0\.[0-9]{1,9}\Z"))
def test_an_open_share_is_above_nought_and_below_one(text: str) -> None:
    accepted = True
    try:
        TypeAdapter(forms.OpenShare).validate_python(text)
    except ValidationError:
        accepted = False
    assert accepted == (0 < float(text) < 1)


@given(st.from_regex(r"\A[0-9]{1,3}(\.[0-9]{1,9})?\Z"))
def test_a_ratio_is_above_one_and_below_a_hundred(text: str) -> None:
    accepted = True
    try:
        TypeAdapter(forms.Ratio).validate_python(text)
    except ValidationError:
        accepted = False
    whole = text.split(".", maxsplit=1)[0]
    canonical = whole == str(int(whole))
    assert accepted == (canonical and 1 < float(text) < 100)


def test_quantities_that_are_numbers_become_texts() -> None:
    assert Resources.model_validate({"limits": {"cpu": 2, "memory": "1Gi"}}).limits == {"cpu": "2", "memory": "1Gi"}


def test_a_condition_needs_a_reason_in_one_word() -> None:
    known = {
        "type": "Ready",
        "status": "True",
        "message": "",
        "observedGeneration": 1,
        "lastTransitionTime": "2026-03-01T12:00:00Z",
    }
    assert Condition.model_validate({**known, "reason": "Ready"}).json_data() == {**known, "reason": "Ready"}
    for reason in ("", "Not ready", "1st", "Ends_"[:-1] + ","):
        with pytest.raises(ValidationError):
            Condition.model_validate({**known, "reason": reason})


def test_the_rule_of_exactly_one_says_which() -> None:
    rule, message = exactly_one_of("version", "alias")
    assert rule == "(has(self.version) ? 1 : 0) + (has(self.alias) ? 1 : 0) == 1"
    assert message == "exactly one of version, alias must be set"
