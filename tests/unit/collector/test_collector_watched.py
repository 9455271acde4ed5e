"""What is found of the version that answers, by itself."""

from datetime import UTC, datetime

import pytest

from perennial.api.messages.policy import Arm, Policy, SloPolicy, Watch
from perennial.collector.watched import Watched
from perennial.families.slos import Requests
from perennial.stats.ticks import REQUESTS, Key, Row, Tick, Ticks
from perennial.terms import reasons
from perennial.terms.reasons import Reason
from perennial.terms.words import Verdict

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def policy(slo: SloPolicy, watch: Watch | None = Watch(since=NOW)) -> Policy:  # noqa: B008 - frozen
    return Policy(revision="r", stable="a", arms={"a": Arm(version="s", model_version="3")}, slos=(slo,), watch=watch)


def ticks(*bad: float) -> Ticks:
    return Ticks.of(Tick(k, 0, None, {Key(REQUESTS, "stable"): Row.of(100, each)}) for k, each in enumerate(bad))


@pytest.mark.parametrize(
    ("requests", "table", "verdict", "reason", "says"),
    [
        (Requests(max="0.05"), ticks(), Verdict.NO_DATA, reasons.NO_REQUESTS, "no request has reached"),
        (Requests(max="0.05"), ticks(*[1] * 60), Verdict.PASS, reasons.REQUESTS_LIMIT_KEPT, "60 of 6,000 requests"),
        (Requests(max="0.05"), ticks(1, 1, 60), Verdict.FAIL, reasons.REQUESTS_LIMIT_EXCEEDED, "more than 5 %"),
        (Requests(max_ratio="1.5"), ticks(1, 1, 60), Verdict.NO_DATA, reasons.NOT_LIMITED, "without max"),
    ],
)
def test_what_is_found(requests: Requests, table: Ticks, verdict: Verdict, reason: Reason, says: str) -> None:
    (found,) = Watched.of(policy(SloPolicy(name="errors", requests=requests)), table).verdicts()
    assert (found.slo, found.verdict, found.reason) == ("errors", verdict, reason)
    assert says in found.message


def test_a_version_that_is_not_watched_has_no_verdicts() -> None:
    assert not Watched.of(policy(SloPolicy(name="e", requests=Requests(max="0.05")), None), ticks(90)).verdicts()
