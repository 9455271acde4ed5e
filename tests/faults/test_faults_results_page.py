"""docs/reliability.md shows what results.json says, the failures too."""

import pytest
import results_page

ROWS = [
    {"fault": "F10", "kind": "Dataset", "scenario": "recorded", "runs": 5, "passed": 5},
    {"fault": "F1", "kind": "Dataset", "scenario": "recorded", "runs": 12, "passed": 12},
    {
        "fault": "F1",
        "kind": "Dataset",
        "scenario": "refused",
        "runs": 22,
        "passed": 21,
        "failures": [{"variant": "killed", "problem": "another | end (see /tmp/x/history.html)"}],
    },
]


def test_a_line_for_each_fault_in_their_order_and_what_failed() -> None:
    assert results_page.table(ROWS, "a machine").splitlines() == [
        "| fault | Dataset | TrainingRun | ModelDeployment |",
        "|---|---|---|---|",
        "| F1 | 33 of 34 | - | - |",
        "| F10 | 5 of 5 | - | - |",
        "",
        "38 of 39 runs passed, on a machine.",
        "",
        "What did not pass:",
        "",
        "- F1, Dataset refused, killed: another \\| end",
    ]


def test_only_what_is_between_the_marks_is_replaced() -> None:
    page = f"before\n{results_page.BEGIN}\nold\n{results_page.END}\nafter\n"
    assert results_page.put(page, "new") == f"before\n{results_page.BEGIN}\nnew\n{results_page.END}\nafter\n"
    with pytest.raises(ValueError, match="must have"):
        results_page.put("no marks", "new")
