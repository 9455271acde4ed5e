"""The gate's findings: what each metric shows, what is said of it, and how often the same rows were looked at."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from given import DATASET_SPEC, DIGEST, NOW, OTHER_DIGEST, READY_STATUS, RUN_SPEC, dataset, given, planned, training_run
from hypothesis import given as anything
from hypothesis import strategies as st
from pydantic import ValidationError

from perennial.api.messages.evaluation import MOST_METRICS, Evaluation, EvaluationRequest, Measured
from perennial.api.training_run import Gate, GateStatus
from perennial.plan.training_run.gate import disagreement, judge, overall
from perennial.stats.days import Days
from perennial.stats.sums import Sums
from perennial.terms import reasons
from perennial.terms.finding import Finding
from perennial.terms.words import Verdict
from perennial.worker.report import MESSAGE_BYTES


def gate(**metric: Any) -> Gate:
    return Gate.model_validate({"metrics": [{"name": "misses", "falseNegativeRate": {}, **metric}]})


def counted(*days: tuple[int, int], worse: tuple[int, int] | None = None) -> Measured:
    """Return days of (rows, wrong ones); `worse`: rows a day that candidate and champion alone got wrong."""
    candidate = Days.of(Sums.count(n, bad) for n, bad in days)
    if worse is None:
        return Measured.made("misses", candidate)
    first, second = worse
    baseline = Days.of(Sums.count(n, bad - first + second) for n, bad in days)
    apart = Days.of(Sums(n, first - second, first + second) for n, _ in days)
    return Measured.made("misses", candidate, baseline, apart)


def found(asked: Gate, measured: Measured, *, attempt: int = 1) -> Finding:
    (finding,) = judge(asked, [measured], champion=measured.difference is not None, attempt=attempt)
    return finding


WEEK = [(200, 60)] * 7


@pytest.mark.parametrize(
    ("asked", "measured", "verdict", "reason", "message"),
    [
        pytest.param(
            gate(max="0.5"),
            counted(*WEEK),
            Verdict.PASS,
            reasons.LIMIT_KEPT,
            "misses: false negative rate 0.3, max 0.5: kept (97 % interval 0.2737 to 0.3273, 1400 rows of 7 days).",
            id="within the limit",
        ),
        pytest.param(
            gate(max="0.2"),
            counted(*WEEK),
            Verdict.FAIL,
            reasons.LIMIT_EXCEEDED,
            "misses: false negative rate 0.3, max 0.2: broken (97 % interval 0.2737 to 0.3273, 1400 rows of 7 days).",
            id="beyond the limit",
        ),
        pytest.param(
            gate(max="0.001"),
            counted((174, 1)),
            Verdict.UNDECIDED,
            reasons.TOO_FEW_ROWS,
            "misses: false negative rate 0.005747, max 0.001: undecided (97 % interval 8.801e-05 to 0.03485, 174 rows "
            "of one day, so how days differ is not known). About 358 more held-out rows that count for it would "
            "decide.",
            id="one of 174",
        ),
        pytest.param(
            gate(maxRegression="0.02"),
            counted(*WEEK, worse=(5, 10)),
            Verdict.PASS,
            reasons.CANDIDATE_NOT_WORSE,
            "misses: false negative rate 0.3 against the champion's 0.325, maxRegression 0.02: kept (97 % interval "
            "-0.04147 to -0.009361, 1400 rows of 7 days).",
            id="better than the champion",
        ),
        pytest.param(
            gate(max="0.5", maxRegression="0.02"),
            counted(*WEEK, worse=(20, 5)),
            Verdict.FAIL,
            reasons.CANDIDATE_WORSE,
            "misses: false negative rate 0.3, max 0.5: kept (97 % interval 0.2737 to 0.3273, 1400 rows of 7 days). "
            "false negative rate 0.3 against the champion's 0.225, maxRegression 0.02: broken (97 % interval "
            "0.05551 to 0.09579, 1400 rows of 7 days).",
            id="worse than the champion, though within the limit",
        ),
        pytest.param(
            gate(maxRegression="0.02"),
            counted(*WEEK),
            Verdict.PASS,
            reasons.NO_CHAMPION,
            "misses: false negative rate 0.3; there is no champion to compare with.",
            id="no champion",
        ),
        pytest.param(
            gate(max="0.3"),
            counted(*WEEK),
            Verdict.UNDECIDED,
            reasons.TOO_FEW_ROWS,
            "misses: false negative rate 0.3, max 0.3: undecided (97 % interval 0.2737 to 0.3273, 1400 rows of 7 "
            "days). It lies so near its limit that no number of held-out rows would decide.",
            id="on the limit",
        ),
        pytest.param(
            gate(max="0.3"),
            counted(),
            Verdict.NO_DATA,
            reasons.NO_HELD_OUT_ROWS,
            "misses: no held-out row counts for the false negative rate. Hold out more.",
            id="no row",
        ),
    ],
)
def test_what_is_found(asked: Gate, measured: Measured, verdict: Verdict, reason: str, message: str) -> None:
    finding = found(asked, measured)
    assert (finding.verdict, finding.reason, finding.message) == (verdict, reason, message)


def test_a_finding_has_its_numbers() -> None:
    finding = found(gate(max="0.31"), counted(*WEEK))
    assert (finding.value, finding.low, finding.high, finding.samples) == ("0.3", "0.273656", "0.327349", 1400)
    assert finding.needed is not None
    assert finding.needed > 1400
    against = found(gate(maxRegression="0.02"), counted(*WEEK, worse=(20, 5)))
    assert (against.value, against.baseline, against.samples) == ("0.3", "0.225", 1400)
    assert against.low is not None
    assert 0.05 < float(against.low) < 0.075


def test_a_champion_that_was_not_measured_is_not_beaten() -> None:
    (finding,) = judge(gate(max="0.5", maxRegression="0.02"), [counted(*WEEK)], champion=True, attempt=1)
    assert (finding.verdict, finding.reason) == (Verdict.NO_DATA, reasons.CHAMPION_NOT_MEASURED)


def test_each_gate_on_the_same_rows_must_show_more_than_the_one_before() -> None:
    verdicts = [found(gate(max="0.34"), counted(*WEEK), attempt=j).verdict for j in (1, 2, 20)]
    assert verdicts == [Verdict.PASS, Verdict.PASS, Verdict.UNDECIDED]
    widths = []
    for attempt in (1, 2, 20):
        finding = found(gate(max="0.5"), counted(*WEEK), attempt=attempt)
        assert finding.low is not None
        assert finding.high is not None
        widths.append(float(finding.high) - float(finding.low))
    assert np.all(np.diff(widths) > 0)
    assert found(gate(max="0.5"), counted(*WEEK), attempt=3).message.endswith(
        " Gate 3 of the model on these rows: each must show more than the one before."
    )


def test_days_that_differ_are_believed_less_than_as_many_rows_of_days_that_do_not() -> None:
    unlike = [(200, 20), (200, 100), (200, 40), (200, 80), (200, 60), (200, 50), (200, 70)]
    assert found(gate(max="0.35"), counted(*WEEK)).verdict is Verdict.PASS
    assert found(gate(max="0.35"), counted(*unlike)).verdict is Verdict.UNDECIDED


VERDICTS = (Verdict.PASS, Verdict.FAIL, Verdict.UNDECIDED, Verdict.NO_DATA)


@pytest.mark.parametrize("first", VERDICTS)
@pytest.mark.parametrize("second", VERDICTS)
@pytest.mark.parametrize("on_undecided", ["Reject", "Pass"])
def test_a_gate_passes_only_what_all_its_metrics_pass(first: Verdict, second: Verdict, on_undecided: str) -> None:
    asked = gate(max="0.5").but(on_undecided=on_undecided)
    verdict = overall(asked, [Finding(name=str(i), verdict=each) for i, each in enumerate((first, second))])
    both = {first, second}
    passes = both == {Verdict.PASS} or (on_undecided == "Pass" and both <= {Verdict.PASS, Verdict.UNDECIDED})
    assert verdict is (Verdict.FAIL if Verdict.FAIL in both else Verdict.PASS if passes else Verdict.UNDECIDED)


# --- the limits that may be asked for ---


@pytest.mark.parametrize("limit", ["0.9999999999999999", "1", "1.5", "0", "-0.1", "nan", "1e-3"])
def test_a_limit_that_no_rate_can_have_is_refused(limit: str) -> None:
    with pytest.raises(ValidationError, match="max"):
        gate(max=limit)


def test_a_limit_next_to_1_is_decided() -> None:
    assert found(gate(max="0.999999999"), counted(*WEEK)).verdict is Verdict.PASS


@pytest.mark.parametrize("tolerated", ["-0.1", "1.1", "2"])
def test_a_regression_that_no_rate_can_have_is_refused(tolerated: str) -> None:
    with pytest.raises(ValidationError, match="maxRegression"):
        gate(maxRegression=tolerated)


# --- the agreement with the worker ---


def test_what_is_asked_of_the_worker_is_what_the_gate_says_without_its_limits() -> None:
    metrics = [
        {"name": "misses", "falseNegativeRate": {"threshold": "0.26"}, "max": "0.7", "maxRegression": "0"},
        {"name": "misses-later", "falseNegativeRate": {"threshold": "0.4"}, "max": "0.8"},
    ]
    plan = planned(
        given(
            training_run(
                {
                    "dataset": {"digest": DIGEST, "target": "late", "time": "scheduled"},
                    "startTime": "2026-03-01T11:00:00Z",
                    "mlflow": {"experimentId": "4", "runId": "abc123"},
                    "training": {"name": "run-1-train"},
                    "gate": {},
                },
                gate={"metrics": metrics},
                model={"name": "flight-delay", "loggedAs": "best"},
            )
        ),
        "TrainingRun",
        "run-1",
    )
    (create,) = plan.applies
    (container,) = create.manifest["spec"]["template"]["spec"]["containers"]  # type: ignore[union-attr]
    (text,) = [item["value"] for item in container["env"] if item["name"] == "PERENNIAL_EVALUATION"]
    asked = EvaluationRequest.read(text)
    assert asked.written() == text
    assert (asked.target, asked.time, asked.logged_as) == ("late", "scheduled", "best")
    assert [item.json_data() for item in asked.metrics] == [
        {key: value for key, value in metric.items() if not key.startswith("max")} for metric in metrics
    ]


LARGE = st.floats(1, 1e15).map(lambda value: value * (1 + 2**-40))


@anything(value=LARGE, rows=st.integers(1, 10**9), days=st.integers(1, 1000))
def test_the_largest_report_fits_a_termination_message(value: float, rows: int, days: int) -> None:
    rows = max(rows, days)
    mean = Days(Sums(rows, value * rows, value * value * rows * 1.7), days, value * value * rows / 7)
    apart = Days(Sums(rows, 0.0, value * value * rows), days, value * value * rows / 7)
    names = [f"{i:02}{'m' * 61}" for i in range(MOST_METRICS)]
    report = Evaluation(
        source="models:/m-" + "f" * 32,
        digest=DIGEST,
        logged_as="m" * 128,
        logged=12,
        results=tuple(Measured.made(name, mean, mean, apart) for name in names),
    )
    assert len(report.model_dump_json(exclude_none=True).encode()) <= MESSAGE_BYTES
    assert Evaluation.model_validate_json(report.model_dump_json(exclude_none=True)) == report


def test_a_report_of_other_metrics_than_were_asked_for_is_no_report() -> None:
    asked = gate(max="0.5")
    assert disagreement(asked, [counted(*WEEK)]) == ""
    assert "must be of misses, but is of none" in disagreement(asked, [])
    assert "must be of misses, but is of misses, misses" in disagreement(asked, [counted(*WEEK)] * 2)
    assert "must be of no metric" in disagreement(None, [counted(*WEEK)])


# --- how often the same rows were looked at ---

BEGUN: Mapping[str, Any] = {
    "dataset": {"digest": DIGEST, "target": "late", "time": "scheduled"},
    "mlflow": {"experimentId": "4", "runId": "abc123"},
}
WAS_TRAINED: Mapping[str, Any] = {**BEGUN, "startTime": "2026-03-01T11:00:00Z", "training": {"name": "run-1-train"}}


def another(name: str, started: str, *, digest: str = DIGEST, gate: Any = None, **spec: Any) -> Mapping[str, Any]:
    status = {
        **BEGUN,
        "dataset": {**BEGUN["dataset"], "digest": digest},
        "startTime": f"2026-03-01T{started}:00Z",
        "gate": gate if gate is not None else {"verdict": "Fail"},
        "terminalState": "Failed",
    }
    return training_run(status, name=name, **spec)


EARLIER = another("earlier", "10:00")


@pytest.mark.parametrize(
    ("others", "attempt"),
    [
        pytest.param((), 1, id="none"),
        pytest.param((EARLIER,), 2, id="one before"),
        pytest.param((EARLIER, another("second", "10:30")), 3, id="two before"),
        pytest.param(
            (another("second", "10:30", gate={"verdict": "Pass", "attempt": 7}),), 8, id="others were deleted"
        ),
        pytest.param((another("later", "11:30"),), 1, id="one that was pinned later"),
        pytest.param((another("earlier", "10:00", digest=OTHER_DIGEST),), 1, id="other data"),
        pytest.param((another("earlier", "10:00", model={"name": "other"}),), 1, id="another model"),
        pytest.param((another("earlier", "10:00", gate={}),), 1, id="one that failed before its gate"),
        pytest.param(
            (training_run({**BEGUN, "startTime": "2026-03-01T10:00:00Z"}, name="under-way"),), 2, id="one under way"
        ),
        pytest.param((another("earlier", "10:00", gate={"verdict": "Fail"}, seed=7),), 2, id="an identical one"),
        pytest.param(
            (training_run({"gate": {"results": [{}]}}, name="strange", model=None),), 1, id="an unreadable one"
        ),
    ],
)
def test_the_attempt_is_counted_over_the_gates_on_the_same_rows(
    others: tuple[Mapping[str, Any], ...], attempt: int
) -> None:
    ungated = {**RUN_SPEC["gate"], "baseline": "None"}
    world = given(training_run(WAS_TRAINED, gate=ungated), *map(dict, others))
    status = planned(world, "TrainingRun", "run-1").status
    assert status is not None
    assert status["gate"]["attempt"] == attempt


def test_an_attempt_that_is_on_record_stays_what_it_is() -> None:
    trained = {**WAS_TRAINED, "gate": {"attempt": 4}, "evaluation": {"name": "run-1-evaluate"}}
    world = given(training_run({**trained, "model": {"source": "models:/m-1", "digest": OTHER_DIGEST}}), EARLIER)
    plan = planned(world.but(), "TrainingRun", "run-1")
    assert plan.status is None or plan.status["gate"]["attempt"] == 4


def test_what_the_last_release_recorded_of_a_gate_is_read_without_its_results() -> None:
    old = {"verdict": "Pass", "results": [{"verdict": "Pass", "message": "m", "samples": 3, "low": "0.1"}]}
    assert GateStatus.model_validate(old) == GateStatus(verdict=Verdict.PASS)


# --- the three reasons for which rows can't be told apart by event time ---

VERSION = READY_STATUS["version"]
TIMELESS = {key: value for key, value in VERSION.items() if key not in {"from", "to"}}


@pytest.mark.parametrize(
    ("version", "spec", "reason", "says"),
    [
        pytest.param(
            VERSION,
            {"schema": {**DATASET_SPEC["schema"], "time": None}},
            reasons.NO_EVENT_TIME,
            "spec.window goes by event time, but Dataset flights has no spec.schema.time: name the column there.",
            id="no column is named",
        ),
        pytest.param(
            {**TIMELESS, "rows": 0},
            {},
            reasons.NO_ROWS,
            f"Version {DIGEST[:19]}… of Dataset flights has no rows: put files with rows into its source.",
            id="there is no row",
        ),
        pytest.param(
            TIMELESS,
            {},
            reasons.NO_EVENT_TIME,
            f"spec.window goes by event time, but no row of version {DIGEST[:19]}… of Dataset flights has one: fill "
            "column scheduled, or name another in spec.schema.time.",
            id="no row has a time",
        ),
    ],
)
def test_why_rows_have_no_event_time(
    version: Mapping[str, Any], spec: Mapping[str, Any], reason: str, says: str
) -> None:
    data = dataset({**READY_STATUS, "version": version, "versions": [version]}, **spec)
    status = planned(given(training_run(), data), "TrainingRun", "run-1", NOW).status
    assert status is not None
    (succeeded,) = [item for item in status["conditions"] if item["type"] == "Succeeded"]
    assert (succeeded["reason"], succeeded["message"]) == (reason, says)


def test_a_dataset_of_another_release_that_cannot_be_read_is_named_with_what_must_be_changed() -> None:
    data = dataset(READY_STATUS, source=None)
    status = planned(given(training_run(), data), "TrainingRun", "run-1", NOW).status
    assert status is not None
    (succeeded,) = [item for item in status["conditions"] if item["type"] == "Succeeded"]
    assert succeeded["reason"] == reasons.DATASET_NOT_READY
    assert succeeded["message"].startswith("Dataset flights must be changed before it can be read: source: ")
