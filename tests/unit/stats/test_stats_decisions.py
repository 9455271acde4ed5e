"""The table of error rates: every group runs and says what it must. What it shows, `make bench-decisions` tells."""

import numpy as np
import pytest

from tests.perf.bench_decisions import GROUPS, PARTS, dealt, rows_of
from tests.perf.decisions import requests
from tests.perf.decisions.case import complete, median, never, share
from tests.perf.decisions.page import BEGIN, END, RULES, in_page

FEW = 10


@pytest.mark.parametrize("name", GROUPS)
def test_a_group_says_of_each_row_what_was_tried_how_often_and_what_holds(name: str) -> None:
    rows = complete(rows_of(name, 11, FEW)[0])
    assert len({(row["case"], row["variant"], row["kind"]) for row in rows}) == len(rows) > 0
    for row in rows:
        assert {"case", "variant", "bar", "kind", "rate", "low", "high", "trials", "passed"} <= row.keys()
        assert row.keys() <= {"case", "variant", "bar", "kind", "rate", "low", "high", "trials", "passed"} | {
            "beside",
            "unit",
        }
        assert row["low"] <= row["rate"] <= row["high"]
        assert row["kind"] in {"max", "min"}
        assert row["trials"] >= FEW or "unit" in row, "a median may be of those that came to it"
        assert row.get("beside", dict.fromkeys(RULES)).keys() == set(RULES)


def test_the_same_seed_gives_the_same_rows_and_another_one_others() -> None:
    assert rows_of("pace", 5, FEW)[0] == rows_of("pace", 5, FEW)[0]
    assert rows_of("pace", 5, FEW)[0] != rows_of("pace", 6, FEW)[0]
    assert rows_of("pace", 5, FEW, part=1)[0] != rows_of("pace", 5, FEW)[0]


def test_canaries_that_are_dealt_are_all_simulated_and_their_rows_are_one() -> None:
    assert set(PARTS) <= set(GROUPS)
    assert dealt(10, 4) == [3, 3, 2, 2]
    parts = [share("case", "variant", 0.05, "max", hits, 500) for hits in (7, 9)]
    assert complete(parts) == [
        {key: value for key, value in share("case", "variant", 0.05, "max", 16, 1000).items() if key != "hits"}
    ]


@pytest.mark.parametrize(
    ("row", "passed"),
    [
        (share("a risk", "", 0.05, "max", 30, 1000), True),
        (share("a risk that chance may have hidden", "", 0.05, "max", 40, 1000), False),
        (share("a power", "", 0.95, "min", 970, 1000), True),
        (share("a power by luck", "", 0.95, "min", 955, 1000), False),
        (never("what never happens", "", 0, 100), True),
        (never("what did happen", "", 1, 100), False),
        (median("usual", "", 2.0, "max", [1.0] * 60 + [9.0] * 40, "s"), True),
        (median("never, mostly", "", 2.0, "max", [1.0] * 40 + [np.inf] * 60, "s"), False),
    ],
)
def test_a_row_passes_by_what_is_shown_and_not_by_luck(row: dict[str, object], passed: bool) -> None:
    assert row["passed"] is passed


def test_what_is_said_half_way_to_be_needed_is_within_30_percent_in_the_median() -> None:
    rows = list(requests.needed(np.random.default_rng(20), 60))
    assert len(rows) == 18
    assert [row["variant"] for row in rows if not row["passed"]] == []


def test_the_page_gets_the_table_between_its_marks() -> None:
    rows = complete(rows_of("margin", 3, FEW)[0])
    page = in_page(f"before\n{BEGIN}\nold\n{END}\nafter\n", rows, 3, FEW)
    assert page.startswith(f"before\n{BEGIN}\nWith SEED=3 and 10 canaries")
    assert page.endswith(f"{END}\nafter\n")
    assert "not any more" not in page
    assert page.count("| at the margin, promoted |") == 1
    with pytest.raises(ValueError, match="each once"):
        in_page("no marks", rows, 3, FEW)
