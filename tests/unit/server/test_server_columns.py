"""No value becomes another one on its way to a model: it is what was sent, or it is refused."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.models.columns import BadRowsError, Column

ROWS = st.lists(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.sampled_from([2**31 - 1, 2**31, -(2**31) - 1, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 10**400]),
        st.floats(),
        st.floats(width=32),
        st.text(max_size=5),
        st.just("a\0"),
        st.just("\ud800"),
    ),
    min_size=1,
    max_size=5,
)


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("integer", 3_000_000_000, "must be from -2147483648 to 2147483647 (row 0 has 3000000000)"),
        ("integer", 3e9, "must be from -2147483648 to 2147483647 (row 0 has 3000000000.0)"),
        ("long", 2**63, f"must be from {-(2**63)} to {2**63 - 1} (row 0 has {2**63})"),
        ("long", 9.3e18, f"must be from {-(2**63)} to {2**63 - 1} (row 0 has 9.3e+18)"),
        ("long", float(2**63), f"must be from {-(2**63)} to {2**63 - 1} (row 0 has 9.223372036854776e+18)"),
        ("long", -(2**63) - 1, f"must be from {-(2**63)} to {2**63 - 1} (row 0 has {-(2**63) - 1})"),
        ("long", 10**400, f"must be from {-(2**63)} to {2**63 - 1} (row 0 has 1{'0' * 39}…)"),
        ("long", 3.5, "must be whole numbers, none missing (row 0 has 3.5)"),
        ("long", None, "must be whole numbers, none missing (row 0 has null)"),
        ("long", "3", "must be whole numbers, none missing (row 0 has '3')"),
        ("double", 10**400, f"must be from -1.7976931e+308 to 1.7976931e+308 (row 0 has 1{'0' * 39}…)"),
        ("double", 2**53 + 1, f"must be numbers that a 64-bit float holds exactly (row 0 has {2**53 + 1})"),
        ("double", math.inf, "must be finite numbers (row 0 has inf)"),
        ("float", 1e39, "must be from -3.4028235e+38 to 3.4028235e+38 (row 0 has 1e+39)"),
        ("double", "3", "must be numbers (row 0 has '3')"),
        ("double", [3], "must be numbers (row 0 has a list)"),
        ("string", 3, "must be strings (row 0 has 3)"),
        ("string", "\ud800", "must be valid Unicode (row 0 has '\\ud800')"),
        (
            "datetime",
            "yesterday",
            "must be times in microseconds, as 2026-01-31T12:00:00Z (row 0 has 'yesterday')",
        ),
        (
            "datetime",
            "2026-01-31T12:00:00.1234567Z",
            "must be times in microseconds, as 2026-01-31T12:00:00Z (row 0 has '2026-01-31T12:00:00.1234567Z')",
        ),
        ("float", 2**24 + 1, f"must be numbers that a 32-bit float holds exactly (row 0 has {2**24 + 1})"),
        ("datetime", 3, "must be times in microseconds, as 2026-01-31T12:00:00Z (row 0 has 3)"),
    ],
)
def test_what_a_type_cannot_hold_is_refused_with_column_and_row(kind: str, value: Any, message: str) -> None:
    with pytest.raises(BadRowsError) as refused:
        Column("small", kind).read([value])
    assert str(refused.value) == f"column 'small': {message}"


@pytest.mark.parametrize("text", ["2026-01-31T12:00:00.123456Z", "2026-01-31T12:00:00.123456000Z", "2026-01-31T12:00"])
def test_a_time_is_kept_to_its_last_digit(text: str) -> None:
    (kept,) = Column("at", "datetime").read([text])
    assert str(kept).startswith(text.removesuffix("Z").removesuffix("000"))


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint64, object])
def test_whole_numbers_of_any_width_are_kept_or_refused(dtype: type) -> None:
    kept = np.array([2**24, -(2**24), 2**25], dtype if dtype is not np.uint64 else np.int64)
    assert Column("x", "float").read(kept).tolist() == [2.0**24, -(2.0**24), 2.0**25]
    with pytest.raises(BadRowsError, match=r"32-bit float holds exactly \(row 1 has 16777217\)"):
        Column("x", "float").read(np.array([1, 2**24 + 1], dtype))


def test_the_row_is_that_of_the_first_wrong_value() -> None:
    with pytest.raises(BadRowsError, match=r"\(row 2 has 4000000000\)"):
        Column("n", "integer").read([1, 2, 4_000_000_000, 5_000_000_000])


def test_arrays_of_an_evaluation_are_held_to_the_same() -> None:
    with pytest.raises(BadRowsError, match="must be from -2147483648 to 2147483647"):
        Column("n", "integer").read(np.array([1, 3_000_000_000]))
    with pytest.raises(BadRowsError, match="must be from"):
        Column("n", "long").read(np.array([2**63], np.uint64))
    with pytest.raises(BadRowsError, match="must be from"):
        Column("n", "float").read(np.array([1e300]))
    assert math.isinf(Column("n", "double").read(np.array([np.inf]))[0]), "a table may hold what JSON does not"


def test_moments_are_read_as_utc() -> None:
    read = Column("at", "datetime").read(["2026-01-31T12:00:00+02:00", "9999-12-31"])
    assert read.tolist()[0].isoformat() == "2026-01-31T10:00:00"
    assert read.dtype == np.dtype("datetime64[us]")


@pytest.mark.parametrize("kind", ["double", "float", "long", "integer", "boolean", "string"])
@given(rows=ROWS)
def test_a_value_is_refused_or_is_what_was_sent(kind: str, rows: list[Any]) -> None:
    try:
        read = Column("x", kind).read(rows).tolist()
    except BadRowsError as error:
        message = str(error)
        assert message.startswith("column 'x': must be ")
        return
    assert len(read) == len(rows)
    for got, sent in zip(read, rows, strict=True):
        if sent is None or (isinstance(sent, float) and math.isnan(sent)):
            assert got is None or math.isnan(got)
        elif kind == "float":
            assert got == np.float32(sent), "rounded, and not to infinity"
            assert math.isfinite(got)
        else:
            assert got == sent
