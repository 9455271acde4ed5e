"""Breaks since the last release that are meant, each with the reason. A release empties the list."""

from collections.abc import Mapping

from perennial.families.metrics import OneMetric
from perennial.families.slos import SLO, critical_on_trial
from perennial.families.triggers import RetrainingTrigger
from perennial.schema.compatibility import Break
from perennial.terms.part import OneOf, camel, exactly_one_of

Argued = Mapping[str, tuple[tuple[str, str], ...]]
"""Why, and what breaks for that: where, and what."""


def _rule(message: str) -> str:
    return f"must hold, and need not: {message}"


def _one_of(family: type[OneOf]) -> str:
    """Return the sentence that one of a family's members is set, with those that there are by now."""
    return exactly_one_of(*map(camel, family.types))[1]


_DATASET: Argued = {
    "the format, the refresh and the split are chosen by a field, so that others can stand beside them": (
        ("Dataset spec.source.format", "type was string, is object"),
        ("Dataset spec.refresh", "must hold, and need not: exactly one of intervalSeconds must be set"),
        ("Dataset spec.split", "must hold, and need not: exactly one of byTime must be set"),
    ),
    "what was required is held by the rule above; the rest is as it was": (
        (
            "Dataset spec",
            "must hold, and need not: split.byTime needs schema.time, the column it goes by",
        ),
    ),
    "a Dataset may have no target: a run on it says that it needs one": (
        ("Dataset spec.schema", "must hold, and need not: target must be one of columns"),
    ),
    "one rule became one for each kind of expectation, and each says what it wants": (
        ("Dataset spec.expectations[]", "must hold, and need not: notNull needs a column"),
        ("Dataset spec.expectations[]", "must hold, and need not: range needs a column"),
        (
            "Dataset spec.expectations[]",
            "must hold, and need not: rowCount must not have a column: it is of all rows",
        ),
    ),
    "the name says that it is a number": (("Dataset status.checks", "is gone"),),
    "what does not hold is shown as a finding, everywhere alike": (("Dataset status.expectations.failed", "is gone"),),
}
"""What is written otherwise in a Dataset now."""

_MODEL_DEPLOYMENT: Argued = {
    "an SLO says what it is about by a field, so that another kind is another field": (
        ("ModelDeployment spec.slos[].errorRate", "is gone"),
        ("ModelDeployment spec.slos[]", _rule(_one_of(SLO))),
        ("ModelDeployment spec", _rule(critical_on_trial("slos")[1])),
    ),
    "an outcome says by a field which metric it is of, and may be compared with its own beginning": (
        ("ModelDeployment spec.slos[].outcome.metric", "is gone"),
        ("ModelDeployment spec.slos[].outcome.threshold", "is gone"),
        (
            "ModelDeployment spec.slos[].outcome.max",
            "pattern was ^0\\.[0-9]{0,8}[1-9][0-9]{0,8}$, is ^-?[0-9]{1,12}(\\.[0-9]{1,9})?$",
        ),
        *(
            ("ModelDeployment spec.slos[].outcome", f"must hold, and need not: {must}")
            for must in (
                _one_of(OneMetric),
                "outcome needs max, maxIncrease or both",
            )
        ),
    ),
    "a trigger has a name, and says what it is about by a field, so that others can stand beside SLOs": (
        ("ModelDeployment spec.retraining.triggers", "list-map-keys was ['slo'], is none"),
        ("ModelDeployment spec.retraining.triggers", "list-type was map, is atomic"),
        ("ModelDeployment spec.retraining.triggers[].name", "is required, and was not"),
        ("ModelDeployment spec.retraining.triggers[]", _rule(_one_of(RetrainingTrigger))),
        (
            "ModelDeployment spec",
            (
                "must hold, and need not: retraining.triggers[].slo must name one of slos that is judged by cohorts: "
                "outcome"
            ),
        ),
    ),
    "two more fields have defaults; those that were there are what they were": (
        (
            "ModelDeployment spec.canary",
            (
                "default was {'maxSeconds': 86400, 'onUndecided': 'Hold', 'progressDeadlineSeconds': 600, 'risk': "
                "{'falsePromotion': '0.05', 'falseRollback': '0.05'}, 'scaleDownDelaySeconds': 300, 'steps': "
                "[{'minSeconds': 0, 'weight': 10}, {'minSeconds': 0, 'weight': 50}]}, is {'steps': [{'minSeconds': 0, "
                "'weight': 10}, {'minSeconds': 0, 'weight': 50}], 'onUndecided': 'Hold', 'maxSeconds': 86400, "
                "'progressDeadlineSeconds': 600, 'scaleDownDelaySeconds': 300, 'risk': {'falsePromotion': '0.05', "
                "'falseRollback': '0.05'}, 'warmupSeconds': 0, 'rollbackWindowSeconds': 86400}"
            ),
        ),
    ),
    "a verdict is shown as a finding, everywhere alike": tuple(
        (f"ModelDeployment status.{field}", "is gone")
        for field in (
            *("canary.slos[].bad", "canary.slos[].eHarm", "canary.slos[].eSafe", "canary.slos[].requests"),
            *("slos[].cohort", "slos[].modelVersion"),
        )
    ),
    "what a version was made from is recorded field by field; what earlier releases recorded has the same names": tuple(
        (f"ModelDeployment status.{role}.server{field}", what)
        for role in ("stable", "canary", "previous")
        for field, what in (
            ("", "unknown fields are no longer kept"),
            (".image", "is required, and was not"),
            (".fetchImage", "is required, and was not"),
        )
    ),
    "what was made of a trigger is one of four words, as it always was": (
        (
            "ModelDeployment status.retraining.decisions[].decision",
            "takes only Started, Refused, Passed, Rejected, and took anything",
        ),
    ),
}
"""What is written otherwise in a ModelDeployment now: why, and where."""

_GATES = ("TrainingRun spec.gate", "ModelDeployment spec.retraining.template.gate")
_DECIMAL = r"^-?[0-9]{1,12}(\.[0-9]{1,9})?$"

_TRAINING_RUN: Argued = {
    "a gate's metric has a name of its own, and says what it is by a field: one rate can have two thresholds": tuple(
        (f"{gate}.metrics[]{field}", what)
        for gate in _GATES
        for field, what in (
            ("", _rule(_one_of(OneMetric))),
            (".name", "maxLength was free, is 63"),
            (".name", "minLength was free, is 1"),
            (".name", "pattern was free, is ^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"),
            (".threshold", "is gone"),
        )
    ),
    "what a limit may be is the metric's affair; for rates it is what it was": tuple(
        (f"{gate}.metrics[]{field}", what)
        for gate in _GATES
        for field, what in (
            (".max", rf"pattern was ^0\.[0-9]{{0,8}}[1-9][0-9]{{0,8}}$, is {_DECIMAL}"),
            (".maxRegression", rf"pattern was ^(0\.[0-9]{{1,9}}|1(\.0{{1,9}})?|0)$, is {_DECIMAL}"),
        )
    ),
    "what is measured of so many metrics fits a container's termination message": tuple(
        (f"{gate}.metrics", "maxItems was 16, is 10") for gate in _GATES
    ),
    "one more field that may not be changed": (
        (
            "TrainingRun spec",
            (
                "must hold, and need not: spec is immutable but for suspend: a TrainingRun is one training; create "
                "another one"
            ),
        ),
    ),
    "a verdict is shown as a finding, everywhere alike": (
        ("TrainingRun status.gate.results[].candidate", "is gone"),
        ("TrainingRun status.gate.results[].metric", "is gone"),
        ("TrainingRun status.gate.results[].name", "is required, and was not"),
    ),
}
"""What is written otherwise in a TrainingRun now: why, and where."""

ARGUED: Mapping[Break, str] = {
    Break(where, what): why
    for argued in (_DATASET, _MODEL_DEPLOYMENT, _TRAINING_RUN)
    for why, broken in argued.items()
    for where, what in broken
}
