"""Each value of the chart changes what it says it changes, and is described."""

import json

import pytest
from rendering import CHART, render
from value_cases import CASES, SAME, Case

from perennial.schema.chart import UndescribedError, values

VALUES = tuple(values((CHART / "values.yaml").read_text()))


@pytest.mark.parametrize("case", [pytest.param(case, id=case.path) for case in CASES])
def test_it_changes_what_it_says(case: Case) -> None:
    expected = case.value if case.expected is SAME else case.expected
    given = {"crds.enabled": case.path.startswith("crds."), **case.given}  # the CRDs are half of the time
    assert case.look(render({**given, case.path: case.value})) == expected
    before = render(given)
    try:
        seen = case.look(before)
    except LookupError:
        return  # what is looked at is only there with the value
    assert seen != expected, "it was so before"


def test_every_value_has_a_case() -> None:
    known = {".".join(value.path) for value in VALUES}
    assert len(known) > 100
    assert known - {case.path for case in CASES} == set()
    assert {case.path for case in CASES} - known == set()


def test_every_value_is_described_where_people_look() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    readme = (CHART / "README.md").read_text()
    for value in VALUES:
        inner = schema
        for key in value.path:
            inner = inner["properties"][key]
        assert inner["description"] == value.text
        assert f"| `{'.'.join(value.path)}` |" in readme


def test_a_value_without_a_word_is_not_let_through() -> None:
    assert [value.path for value in values("# -- what for\na: 1\n")] == [("a",)]
    with pytest.raises(UndescribedError, match=r"line 3: a\.c needs a comment"):
        list(values("a:\n  # -- known\n  c: 1\n".replace("# -- ", "# ")))


def test_only_objects_of_kubernetes_own_take_unknown_names() -> None:
    """Wherever the schema says what a value is made of, a typing error in a name is refused."""
    schema = json.loads((CHART / "values.schema.json").read_text())

    def closed(part: object) -> bool:
        if isinstance(part, list):
            return all(closed(each) for each in part)
        if not isinstance(part, dict):
            return True
        open_ = "properties" in part and "required" not in part and part.get("additionalProperties") is not False
        return not open_ and all(closed(each) for each in part.values())

    assert closed(schema)
