"""What the operator is told of cohorts, and when a revision is due."""

from datetime import UTC, datetime

import pytest

from perennial.api.messages.policy import Arm, Canary, Monitoring, Policy, SloPolicy
from perennial.api.messages.state import State, Weights
from perennial.collector.bodies import BadInputError
from perennial.collector.cohort_sums import key_of
from perennial.collector.cohorts import CohortRow
from perennial.collector.joining import Tally
from perennial.collector.monitoring import Monitored
from perennial.collector.service import check_policy, desired_weights
from perennial.collector.state import Known, build_state, matter, progress
from perennial.families.metrics.false_negative_rate import FalseNegativeRate
from perennial.families.slos import Outcome
from perennial.stats.sums import Sums
from perennial.terms.words import Slot

ARMS: dict[Slot, Arm] = {"a": Arm(version="v", model_version="1"), "b": Arm(version="w", model_version="2")}
MISSED = SloPolicy(name="missed", outcome=Outcome(false_negative_rate=FalseNegativeRate(), max="0.5", min_samples=100))
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


def row(start: int, total: int, bad: int, labelled: int = 1000) -> CohortRow:
    metric = FalseNegativeRate()
    ends = {key_of(metric): metric.ends({1: Sums.count(total, bad)}, {0: 1000 - labelled})}
    return CohortRow(start, "v", "1", 1000, labelled, 0, ends, ends)


def state(*rows: CohortRow, now: float = 10_000, tally: Tally | None = None) -> State:
    known = Known(
        policy=policy(),
        weights=Weights(desired={"a": 1000, "b": 0}),
        members=None,
        brake=None,
        verdicts=(),
        watch=(),
        monitored=Monitored(rows),
        tally=tally or Tally(),
    )
    return build_state(known, datetime.fromtimestamp(now, UTC))


def test_the_current_cohort_and_the_last_twenty_are_shown() -> None:
    told = state(*(row(60 * i, 500, 10) for i in range(40)))
    assert [cohort.start.timestamp() for cohort in told.cohorts] == [60 * i for i in range(19, 40)]


def test_passing_time_alone_does_not_matter() -> None:
    before, after = state(row(0, 500, 100), now=5000), state(row(0, 500, 100), now=9000)
    assert matter(before) == matter(after)
    assert progress(before) == progress(after)


def test_maturity_matters() -> None:
    assert matter(state(row(0, 500, 100, 500), now=359)) != matter(state(row(0, 500, 100, 500), now=360))


def test_what_became_of_predictions_and_labels_is_told() -> None:
    told = state(tally=Tally(9, repeated=4, dropped=3, joined=2, corrected=1))
    assert (told.predictions, told.repeated, told.dropped) == (9, 4, 3)
    assert (told.labels.joined, told.labels.corrected) == (2, 1)
    assert progress(told) != progress(state(tally=Tally(9, repeated=5, dropped=3, joined=2, corrected=1)))


def test_more_labels_are_progress_only() -> None:
    before, after = state(row(0, 500, 100, 600), now=100), state(row(0, 501, 100, 601), now=100)
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
        ({"slos": (SloPolicy(name="x"),)}, "slos[0]: must have exactly one of requests and outcome"),
    ],
)
def test_a_policy_whose_parts_do_not_fit_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(BadInputError) as error:
        check_policy(policy().model_copy(update=changes))
    assert str(error.value) == message
