"""What every kind of SLO must say, and what an SLO of no kind that is known is answered."""

from typing import Any

import pytest
from pydantic import ValidationError

from perennial.families.slos import SLO, Objective, critical_on_trial, judging
from perennial.families.slos.requests import Requests
from perennial.schema.structural import structural
from perennial.stats.judge import Judgement
from perennial.terms import reasons
from perennial.terms.part import camel
from perennial.terms.words import Role, Verdict

KINDS = {camel(name): SLO.model_fields[name] for name in SLO.members}


def objective(kind: str) -> Objective:
    """Return the example of a kind, as it is read."""
    found = SLO.types[kind]
    assert issubclass(found, Objective)
    made: Objective = found.model_validate(found.example)
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_described_and_judged_somewhere_and_its_example_is_read_as_it_is_written(kind: str) -> None:
    description = KINDS[kind].description
    assert description
    assert description.endswith(".")
    made = objective(kind)
    assert made.judges
    assert made.judges <= {"trial", "stable", "cohorts"}
    slo = SLO.model_validate({"name": "x", kind: made.example})
    assert (slo.chosen(), slo.objective()) == (kind, made)
    assert SLO.model_validate_json(slo.model_dump_json()) == slo
    assert made.json_data().items() >= made.example.items()
    schema = structural(SLO)["properties"][kind]
    assert schema["properties"].keys() >= made.example.keys()
    assert all(part["description"] for part in schema["properties"].values())


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({}, "none that this release knows"),
        ({"latency": {"milliseconds": 100}}, "none that this release knows"),
        ({"requests": {"max": "0.01"}, "outcome": {"errorRate": {}, "max": "0.3"}}, "outcome and requests"),
    ],
)
def test_an_slo_of_no_known_kind_or_of_two_is_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=f"exactly one of outcome, requests must be set, but {says} is"):
        SLO.model_validate({"name": "x", **wrong})


@pytest.mark.parametrize(
    ("role", "kind", "where", "decides"),
    [
        (Role.CRITICAL, "requests", "trial", True),
        (Role.CRITICAL, "requests", "stable", True),
        (Role.ADVISORY, "requests", "trial", False),
        (Role.DRY_RUN, "requests", "trial", False),
        (Role.CRITICAL, "outcome", "trial", False),
        (Role.CRITICAL, "outcome", "stable", False),
        (Role.CRITICAL, "outcome", "cohorts", True),
    ],
)
def test_whether_an_slo_decides(role: Role, kind: str, where: Any, decides: bool) -> None:
    slo = SLO.model_validate({"name": "x", "role": role, kind: objective(kind).example})
    assert slo.decides(where) is decides


def test_the_rule_that_something_judges_canaries_names_every_kind_that_does() -> None:
    rule, sentence = critical_on_trial("slos")
    for kind in KINDS:
        assert (f"has(s.{kind})" in rule) is (kind in judging("trial"))
        assert (kind in sentence) is (kind in judging("trial"))


@pytest.mark.parametrize(
    ("promised", "bad", "says"),
    [
        ({"max": "0.01", "maxRatio": "1.5"}, 0, "maxRatio can't be shown before something fails, max alone could be"),
        ({"max": "0.01"}, 0, "about 640,000 more requests are needed"),
        ({"max": "0.01", "maxRatio": "1.5"}, 1, "about 640,000 more requests are needed"),
    ],
)
def test_a_ratio_of_nothing_to_nothing_is_not_waited_for_without_a_word(
    promised: dict[str, str], bad: int, says: str
) -> None:
    found = Judgement(
        verdict=Verdict.UNDECIDED,
        reason=reasons.MORE_REQUESTS_NEEDED,
        candidate=(1000, 0),
        stable=(9000, bad),
        rejected=(0, 0),
        step_candidate=1000,
        step_total=10_000,
        log_e_harm=0.0,
        log_e_safe=0.0,
        threshold_harm=3.0,
        threshold_safe=3.0,
        low=0.0,
        high=0.006,
        needed=643_072,
        eta_seconds=None,
    )
    assert says in Requests.model_validate(promised).tell(found)
