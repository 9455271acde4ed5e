"""What every metric must say and keep, whoever adds it: this runs over the family's list."""

import re
from collections import Counter
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from perennial.families.metrics import (
    UNKNOWN,
    Direction,
    Labels,
    Metric,
    OneMetric,
    as_numbers,
    limit_rules,
    metrics_of,
)
from perennial.stats.sums import Sums
from perennial.terms.part import camel

every_metric = pytest.mark.parametrize("metric", metrics_of(OneMetric), ids=lambda metric: metric.name)

Row = tuple[float, float]


def confusion(which: Callable[[bool], bool]) -> Callable[[list[Row], dict[str, str]], float]:
    """Return the plain definition of a rate over the rows whose truth is `which`."""

    def rate(rows: list[Row], settings: dict[str, str]) -> float:
        threshold = float(settings.get("threshold", "0.5"))
        over = [(truth == 1, score >= threshold) for truth, score in rows if which(truth == 1)]
        return sum(true != predicted for true, predicted in over) / len(over) if over else 0.0

    return rate


PLAIN: dict[str, Callable[[list[Row], dict[str, str]], float]] = {
    "errorRate": confusion(lambda _: True),
    "falseNegativeRate": confusion(lambda true: true),
    "falsePositiveRate": confusion(lambda true: not true),
}
"""The definition of each rate, row by row."""


def rows_for(metric: type[Metric]) -> st.SearchStrategy[list[Row]]:
    truth = st.sampled_from([0.0, 1.0]) if metric.labels is Labels.BINARY else st.floats(-1e3, 1e3)
    return st.lists(st.tuples(truth, st.floats(-2, 2).map(lambda score: round(score, 3))), min_size=1, max_size=40)


def measured(metric: Metric, rows: list[Row]) -> Sums:
    truth, score = np.array(rows, dtype=float).reshape(-1, 2).T
    return Sums.of(metric.losses(truth, score)[metric.over(truth)])


@every_metric
def test_it_is_called_what_users_write(metric: type[Metric]) -> None:
    fields = {camel(name): field for name, field in OneMetric.model_fields.items()}
    assert fields[metric.name].annotation == metric | None


def test_the_list_is_in_alphabetical_order() -> None:
    assert list(OneMetric.members) == sorted(OneMetric.members)


@every_metric
def test_it_says_what_it_is(metric: type[Metric]) -> None:
    assert metric.__doc__ is not None
    assert re.fullmatch(r"[A-Z].{20,300}\.", metric.__doc__, re.DOTALL), "a description: a sentence or two"
    assert re.fullmatch(r"[a-z][a-z ]+", metric.title), "a title: words that go into a sentence"
    assert metric.direction in Direction
    assert metric.unit
    assert metric.labels in Labels
    assert isinstance(metric.merges, bool)
    assert isinstance(metric.rate, bool)
    assert metric.limits.above < metric.limits.below


@every_metric
def test_every_setting_is_described(metric: type[Metric]) -> None:
    assert [name for name, field in metric.model_fields.items() if not field.description] == []


@every_metric
def test_its_example_is_taken_and_says_something(metric: type[Metric]) -> None:
    chosen = OneMetric.model_validate({metric.name: metric.example})
    assert chosen.chosen() == metric.name
    assert set(metric.example) <= {camel(name) for name in metric.model_fields}
    assert chosen.json_data()[metric.name] == metric.example | chosen.json_data()[metric.name]


@every_metric
def test_its_own_settings_have_defaults(metric: type[Metric]) -> None:
    assert OneMetric.model_validate({metric.name: {}}).metric() == metric()


@every_metric
def test_its_worked_example_is_right(metric: type[Metric]) -> None:
    rows = list(zip(metric.worked.truth, metric.worked.score, strict=True))
    assert measured(metric(), rows).mean == pytest.approx(metric.worked.value, rel=1e-12)
    assert metric.worked.value != 0


@pytest.mark.parametrize("metric", [each for each in metrics_of(OneMetric) if each.name in PLAIN])
@given(data=st.data())
def test_a_rate_is_what_counting_row_by_row_says(metric: type[Metric], data: st.DataObject) -> None:
    rows = data.draw(rows_for(metric))
    for settings in ({}, metric.example):
        sums = measured(metric.model_validate(settings), rows)
        assert (sums.mean if sums.n else 0.0) == pytest.approx(PLAIN[metric.name](rows, settings))


@every_metric
@given(data=st.data())
def test_it_merges_in_any_split_if_it_says_so(metric: type[Metric], data: st.DataObject) -> None:
    rows = data.draw(rows_for(metric))
    cut = data.draw(st.integers(0, len(rows)))
    whole, parts = measured(metric(), rows), measured(metric(), rows[:cut]) + measured(metric(), rows[cut:])
    assert metric.merges, "a metric that is no mean of losses needs a suite of its own"
    assert (parts.n, parts.total, parts.squares) == pytest.approx((whole.n, whole.total, whole.squares))


@every_metric
@given(data=st.data())
def test_a_rates_losses_are_0_or_1(metric: type[Metric], data: st.DataObject) -> None:
    truth, score = np.array(data.draw(rows_for(metric))).T
    losses = metric().losses(truth, score)
    assert losses.shape == truth.shape
    assert not metric.rate or set(losses) <= {0.0, 1.0}


REFUSED: tuple[tuple[Any, str], ...] = (
    ({}, "none that this release knows"),
    ({"groupBy": ["plan"]}, "none that this release knows"),
    ({"errorRate": {}, "falseNegativeRate": {}}, "errorRate and falseNegativeRate"),
    ({"errorRate": {"threshold": "half"}}, "threshold"),
    ({"errorRate": {"threshold": "1e3"}}, "threshold"),
)


@pytest.mark.parametrize(("what", "told"), REFUSED)
def test_what_is_not_exactly_one_known_metric_is_refused_by_name(what: Any, told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        OneMetric.model_validate(what)


@every_metric
def test_a_limit_is_bounded_by_the_metric(metric: type[Metric]) -> None:
    bounds = metric.limits
    assert not bounds.hold(bounds.above)
    assert not bounds.hold(bounds.below)
    assert not bounds.hold(float("nan"))
    assert bounds.hold(bounds.above + 1e-9)
    rules = [(rule, told) for rule, told in limit_rules(OneMetric, "max") if f"self.{metric.name})" in rule]
    assert [told for _, told in rules] == [f"max of {metric.name} must be {bounds.words()}"]
    assert all("double(self.max) >" in rule for rule, _ in rules)


LABELS: tuple[tuple[object, bool, bool], ...] = (
    (True, True, True),
    (0, True, True),
    (1.0, True, True),
    (np.int64(1), True, True),
    (np.False_, True, True),
    (0.7, False, True),
    (-1, False, True),
    (float("nan"), False, False),
    (float("inf"), False, False),
    (10**400, False, False),
    ("1", False, False),
    (None, False, False),
)


@pytest.mark.parametrize(("label", "binary", "number"), LABELS, ids=lambda value: str(value)[:12])
def test_a_label_is_usable_or_it_is_not(label: object, *, binary: bool, number: bool) -> None:
    values = as_numbers([label])
    assert list(Labels.BINARY.usable(values)) == [binary]
    assert list(Labels.NUMBER.usable(values)) == [number]


@every_metric
@given(data=st.data())
def test_its_ends_are_the_least_and_the_most_that_missing_labels_can_make_of_it(
    metric: type[Metric], data: st.DataObject
) -> None:
    """Against every way in which the missing labels may turn out."""
    made, known = metric(), data.draw(rows_for(metric))
    scores = [score for _, score in data.draw(rows_for(metric))][:6]
    strata = made.stratum(np.array([row[1] for row in known]))
    labelled: dict[int, list[Row]] = {}
    for stratum, row in zip(strata, known, strict=True):
        labelled.setdefault(int(stratum), []).append(row)
    unlabelled = Counter(made.stratum(np.array(scores)).tolist())
    ends = made.ends({stratum: measured(made, rows) for stratum, rows in labelled.items()}, unlabelled)
    assert ends.known == measured(made, known)
    outcomes = [
        measured(made, [*known, *zip(truth, scores, strict=True)]) for truth in product((0.0, 1.0), repeat=len(scores))
    ]
    means = [sums.mean for sums in outcomes if sums.n]
    if means and ends.least.n and ends.most.n:
        assert ends.least.mean - 1e-9 <= min(means) <= max(means) <= ends.most.mean + 1e-9
        if metric.rate:  # of other losses 0 and 1 are not all that may come true
            assert (min(means), max(means)) == pytest.approx((ends.least.mean, ends.most.mean))
    assert ends.known.n + ends.missing >= max(sums.n for sums in outcomes)
    assert 0 <= ends.coverage <= 1


@every_metric
def test_of_predictions_of_which_only_the_number_is_known_anything_may_be_true(metric: type[Metric]) -> None:
    made = metric()
    ends = made.ends({0: Sums.count(10, 3)}, {UNKNOWN: 5})
    either = [made.ends({0: Sums.count(10, 3)}, {stratum: 5}) for stratum in (0, 1)]
    assert ends.least.mean == min(each.least.mean for each in either)
    assert ends.most.mean == max(each.most.mean for each in either)
    assert ends.missing == 5
