"""What every trigger and every guardrail of retraining must say, and that each says it of the right moments."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from perennial.families.guardrails import ALWAYS, Evidence, Guardrail, Guardrails, Past
from perennial.families.triggers import BrokenPromise, Known, RetrainingTrigger, Trigger
from perennial.schema.structural import structural
from perennial.terms.part import camel
from perennial.terms.reasons import Reason

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
COHORT = NOW - timedelta(days=2)
TRIGGERS = {camel(name): RetrainingTrigger.model_fields[name] for name in RetrainingTrigger.members}
NAMED = {camel(name): member for name, member in RetrainingTrigger.types.items()}
GUARDRAILS = {camel(name): field for name, field in Guardrails.model_fields.items()}


def ago(**how: float) -> datetime:
    return NOW - timedelta(**how)


@pytest.mark.parametrize("kind", TRIGGERS)
def test_every_trigger_is_described_and_its_example_is_read_as_it_is_written(kind: str) -> None:
    assert (TRIGGERS[kind].description or "").endswith(".")
    member = NAMED[kind]
    assert isinstance(member.reason, Reason)
    made = RetrainingTrigger.model_validate({"name": "x", kind: member.example})
    assert isinstance(made.trigger(), Trigger)
    assert made.json_data() == {"name": "x", kind: member.example}
    assert structural(RetrainingTrigger)["properties"][kind]["description"]


@pytest.mark.parametrize("kind", GUARDRAILS)
def test_every_guardrail_is_described_and_its_example_is_read_as_it_is_written(kind: str) -> None:
    assert (GUARDRAILS[kind].description or "").endswith(".")
    member = GUARDRAILS[kind].annotation
    assert isinstance(member, type)
    example: Any = member.example  # type: ignore[attr-defined]
    assert Guardrails.model_validate({kind: example}).json_data()[kind] == example
    assert all(isinstance(each, Guardrail) for each in Guardrails().members())
    assert all(isinstance(each.reason, Reason) for each in Guardrails().members())


def test_a_trigger_of_no_known_kind_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"exactly one of .*slo.* must be set, but none"):
        RetrainingTrigger.model_validate({"name": "x", "schedule": "0 3 * * *"})


def test_a_broken_promise_asks_with_its_cohort() -> None:
    trigger = RetrainingTrigger.model_validate({"name": "wrong", "slo": "misses"}).trigger()
    broken = {"misses": BrokenPromise(message="too many", cohort=COHORT)}
    ask = trigger.asks(Known(broken=broken), NOW)
    assert ask is not None
    assert (ask.reason, ask.message, ask.cohort) == ("SLOBroken", "too many", COHORT)
    assert isinstance(ask.reason, Reason)
    assert trigger.asks(Known(broken={"others": broken["misses"]}), NOW) is None


ASKED = Evidence(cohort=COHORT, dataset="new")


@pytest.mark.parametrize(
    ("past", "reason", "until"),
    [
        pytest.param(Past(asked=ASKED), None, None, id="nothing was started yet"),
        pytest.param(Past(starts=(ago(hours=6),), asked=ASKED), None, None, id="the cooldown is just over"),
        pytest.param(
            Past(starts=(ago(hours=5),), asked=ASKED),
            "Cooldown",
            NOW + timedelta(hours=1),
            id="the cooldown is not over",
        ),
        pytest.param(
            Past(starts=(ago(hours=23), ago(hours=7)), asked=ASKED),
            "DailyLimit",
            NOW + timedelta(hours=1),
            id="two within a day",
        ),
        pytest.param(Past(starts=(ago(hours=24), ago(hours=7)), asked=ASKED), None, None, id="one is a day ago"),
        *(
            pytest.param(Past(asked=ASKED, last=last), "NothingNew", None, id=f"asked before: {why}")
            for last, why in (
                (ASKED, "the very same"),
                (Evidence(cohort=COHORT, dataset="old"), "no later cohort"),
                (Evidence(cohort=NOW, dataset="old"), "an earlier cohort"),
                (Evidence(cohort=COHORT - timedelta(days=1), dataset="new"), "the same data"),
            )
        ),
        pytest.param(
            Past(asked=ASKED, last=Evidence(cohort=COHORT - timedelta(days=1), dataset="old")),
            None,
            None,
            id="a later cohort and new data",
        ),
        pytest.param(Past(asked=Evidence(), last=Evidence()), None, None, id="a trigger that is about neither"),
        *(
            pytest.param(
                Past(asked=replace(ASKED, template=now), last=replace(ASKED, template=then)), reason, None, id=why
            )
            for then, now, reason, why in (
                ("one", "other", None, "the same cohort and data, another template"),
                ("one", "one", "NothingNew", "the very same template, too"),
                (None, "one", "NothingNew", "nobody recorded the template then"),
            )
        ),
    ],
)
def test_who_refuses_and_until_when(past: Past, reason: str | None, until: datetime | None) -> None:
    refusal = Guardrails().refuses(past, NOW)
    assert (refusal.reason if refusal else None, refusal.until if refusal else None) == (reason, until)
    if refusal is not None:
        assert isinstance(refusal.reason, Reason)
        assert refusal.reason.meaning
        assert refusal.message.endswith(".")
        assert until is None or Guardrails().refuses(past, until) is None or until == NOW


def test_what_waiting_cannot_cure_is_said_before_what_it_can() -> None:
    """Who reads "from 14:00 on" waits till then; if nothing is new by then, that was the wrong thing to wait for."""
    started = (ago(hours=2), ago(hours=1))
    nothing_new = Guardrails().refuses(Past(starts=started, asked=ASKED, last=ASKED), NOW)
    assert nothing_new is not None
    assert (nothing_new.reason, nothing_new.until) == ("NothingNew", None)
    assert (
        nothing_new.message
        == "The last one learnt from this already: another one needs a later cohort and new data, or another template."
    )
    older = Evidence(cohort=COHORT - timedelta(days=1), dataset="old")
    cooling = Guardrails().refuses(Past(starts=started, asked=ASKED, last=older), NOW)
    assert cooling is not None
    assert (cooling.reason, cooling.until) == ("Cooldown", NOW + timedelta(hours=5))


def test_the_ones_that_nobody_has_to_write_come_first() -> None:
    """So that an alarm that goes on is told once, and not as a cooldown again and again."""
    assert Guardrails().members()[: len(ALWAYS)] == ALWAYS
