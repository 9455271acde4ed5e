"""Reasons are data: each is explained and given, and nobody gives one that is not in the lists."""

import re
from pathlib import Path

import pytest

from perennial.api.training_run import FailureClass
from perennial.cli.advice import ADVICE
from perennial.terms import reasons
from perennial.terms.reasons import Reason

SOURCES = Path(reasons.__file__).parents[2]
BY_VALUE = {"INVALID": "the API server's own", "GATE_FAILURE": "by the class of a failure"}
"""Reasons that no source names by their constant, and how they come."""
NAMED = {name: value for name, value in vars(reasons).items() if isinstance(value, Reason)}


@pytest.mark.parametrize("reason", reasons.ALL.values(), ids=str)
def test_a_reason_says_what_it_means_and_what_to_do(reason: Reason) -> None:
    assert re.fullmatch(r"[A-Z][A-Za-z]+", reason)
    assert reason.meaning, "it must say what it means"
    assert not reason.meaning.endswith(".")
    assert reason.remedy is None or re.fullmatch(r"[A-Z].*\.", reason.remedy), "what to do is a sentence"


def test_a_name_is_one_reason() -> None:
    listed = [str(each) for one in reasons.LISTS.values() for each in reasons.listed(one)]
    assert sorted(listed) == sorted(set(listed))
    assert set(listed) == {str(each) for each in NAMED.values()}


def test_every_reason_is_given_by_somebody() -> None:
    sources = [path for path in SOURCES.rglob("*.py") if "reasons" not in path.parts]
    text = "\n".join(path.read_text() for path in sources)
    used = set(re.findall(r"\breasons\.([A-Z_]+)\b", text))
    assert NAMED.keys() - used == BY_VALUE.keys()


def test_no_reason_is_written_out_where_it_is_given() -> None:
    """The words stand in the lists; elsewhere they are `reasons.NAME`."""
    given = re.compile(r"(?:reason=|reason [!=]= |reason in \{|(?:True|False|\"Unknown\"), )\"([A-Z][A-Za-z]+)\"")
    raised = re.compile(r"(?:Terminal|Blocked)\(\s*\"([A-Z][A-Za-z]+)\"")
    wrong = {
        (path.name, word)
        for path in SOURCES.rglob("*.py")
        for pattern in (given, raised)
        for word in pattern.findall(path.read_text())
    }
    assert {(name, word) for name, word in wrong if word not in {"True", "False", "Unknown"}} == set()


def test_each_class_of_failure_has_its_reason() -> None:
    assert {f"{each.value}Failure" for each in FailureClass} <= reasons.ALL.keys()


def test_the_plugin_advises_what_the_lists_say() -> None:
    assert {str(each): each.remedy for each in reasons.ALL.values() if each.remedy} == ADVICE
