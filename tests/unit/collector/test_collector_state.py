"""What the operator is told of cohorts, and when a revision is due."""

from datetime import UTC, datetime

import pytest

from perennial.api.messages.policy import Arm, Canary, ErrorRate, Monitoring, Outcome, Policy, SloPolicy
from perennial.api.messages.state import State, Weights
from perennial.collector.bodies import BadInputError
from perennial.collector.cohorts import CohortRow, Metric, Tally
from perennial.collector.service import check_policy, desired_weights
from perennial.collector.state import Known, build_state, matter, progress
from perennial.terms.words import Slot, Verdict

ARMS: dict[Slot, Arm] = {"a": Arm(version="v", model_version="1"), "b": Arm(version="w", model_version="2")}
MISSED = SloPolicy(name="missed", outcome=Outcome(metric="falseNegativeRate", max=0.5, min_samples=100))
METRIC = Metric("falseNegativeRate", 0.5)
TRIAL = Canary(
    id="c",
    slot="b",
    step=0,
    weight=100,
    started_time=datetime(2026, 1, 1, tzinfo=UTC),
    step_started_time=datetime(2026, 1, 1, tzinfo=UTC),
)


def policy(coverage: float = 0.9) -> Policy:
    monitoring = Monitoring(cohort_seconds=60, max_label_delay_seconds=300, min_coverage=coverage)
    return Policy(revision="p", stable="a", arms=ARMS, slos=(MISSED,), monitoring=monitoring)


def row(start: int, total: int, bad: int, labelled: int | None = None, version: str = "v") -> CohortRow:
    return CohortRow(start, version, "1", 1000, 1000 if labelled is None else labelled, {METRIC: (total, bad)})


def state(*rows: CohortRow, now: float = 10_000, coverage: float = 0.9) -> State:
    known = Known(
        policy=policy(coverage),
        weights=Weights(desired={"a": 1000, "b": 0}),
        members=None,
        brake=None,
        verdicts=(),
        cohorts=rows,
        tally=Tally(),
    )
    return build_state(known, datetime.fromtimestamp(now, UTC))


@pytest.mark.parametrize(
    ("now", "labelled", "matured"),
    [
        (59, 1000, False),  # not ended, however many labels
        (60, 900, True),  # ended and covered
        (60, 899, False),  # ended, labels still to come
        (359, 899, False),
        (360, 899, True),  # no label can be expected any more
    ],
)
def test_a_cohort_matures_by_coverage_or_age(now: float, labelled: int, matured: bool) -> None:
    assert state(row(0, 500, 100, labelled), now=now).cohorts[0].matured is matured


def test_immature_cohorts_never_decide() -> None:
    told = state(row(0, 500, 490, labelled=500), now=100)
    assert told.cohorts[0].outcomes[0].value == pytest.approx(0.98)
    assert told.monitoring[0].verdict is Verdict.NO_DATA


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        ([], Verdict.NO_DATA),
        ([row(0, 99, 99)], Verdict.NO_DATA),
        ([row(0, 500, 100)], Verdict.PASS),
        ([row(0, 500, 255)], Verdict.UNDECIDED),
        ([row(0, 500, 400)], Verdict.UNDECIDED),  # one bad day
        ([row(60 * i, 500, 400) for i in range(3)], Verdict.FAIL),
        ([row(60 * i, 500, 325) for i in range(12)], Verdict.FAIL),
        ([row(0, 500, 400), row(60, 500, 100)], Verdict.PASS),
        ([*(row(60 * i, 500, 400) for i in range(3)), row(180, 500, 100)], Verdict.FAIL),  # one good day
        ([row(0, 500, 400, version="w")], Verdict.NO_DATA),
    ],
)
def test_a_promise_is_judged_on_the_stable_versions_cohorts(rows: list[CohortRow], verdict: Verdict) -> None:
    assert state(*rows).monitoring[0].verdict is verdict


def test_the_current_cohort_and_the_last_twenty_are_shown() -> None:
    told = state(*(row(60 * i, 500, 10) for i in range(40)))
    assert [cohort.start.timestamp() for cohort in told.cohorts] == [60 * i for i in range(19, 40)]


def test_passing_time_alone_does_not_matter() -> None:
    before, after = state(row(0, 500, 100), now=5000), state(row(0, 500, 100), now=9000)
    assert matter(before) == matter(after)
    assert progress(before) == progress(after)


def test_maturity_matters() -> None:
    assert matter(state(row(0, 500, 100, 500), now=359)) != matter(state(row(0, 500, 100, 500), now=360))


def test_more_labels_are_progress_only() -> None:
    before, after = state(row(0, 500, 100), now=100), state(row(0, 501, 100, 1001), now=100)
    assert matter(before) == matter(after)
    assert progress(before) != progress(after)


def test_weights_follow_the_policy() -> None:
    assert desired_weights(policy(), None) == {"a": 1000, "b": 0}
    assert desired_weights(policy().model_copy(update={"canary": TRIAL}), None) == {"a": 900, "b": 100}
    swapped = TRIAL.model_copy(update={"slot": "a", "weight": 1000})
    changed = policy().model_copy(update={"stable": "b", "canary": swapped})
    assert desired_weights(changed, None) == {"a": 1000, "b": 0}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arms": {"b": ARMS["b"]}}, "arms: must tell what the stable slot runs"),
        ({"arms": {"a": ARMS["a"]}, "canary": TRIAL}, "arms: must tell what the canary's slot runs"),
        ({"stable": "b", "canary": TRIAL}, "canary.slot: must not be the stable slot"),
        ({"slos": (MISSED, MISSED)}, "slos: names must be unique"),
        ({"slos": (SloPolicy(name="x"),)}, "slos[0]: must have exactly one of errorRate and outcome"),
        ({"slos": (SloPolicy(name="x", error_rate=ErrorRate()),)}, "slos[0].errorRate: must have max or maxRatio"),
    ],
)
def test_a_policy_whose_parts_do_not_fit_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(BadInputError) as error:
        check_policy(policy().model_copy(update=changes))
    assert str(error.value) == message
