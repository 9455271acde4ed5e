"""What every kind of expectation must say and keep, whoever adds it: this runs over the family's list."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from perennial.api.dataset import DatasetSpec, Schema
from perennial.families.expectation import Expect
from perennial.families.expectations import ColumnFacts, Expectation, FileFacts, kinds
from perennial.schema.structural import structural
from perennial.terms import reasons
from perennial.terms.part import Part
from perennial.terms.reasons import Reason
from perennial.terms.words import ColumnType, Verdict
from perennial.worker.judgement import needs
from perennial.worker.measure import measure, type_of
from perennial.worker.survey import survey

COLUMN = "some column"
ARROW = {
    ColumnType.STRING: pa.string(),
    ColumnType.INTEGER: pa.int64(),
    ColumnType.FLOAT: pa.float64(),
    ColumnType.BOOLEAN: pa.bool_(),
    ColumnType.TIMESTAMP: pa.timestamp("us"),
}
VALUES: dict[ColumnType, st.SearchStrategy[Any]] = {
    ColumnType.STRING: st.sampled_from(["a", "b", ""]),
    ColumnType.INTEGER: st.integers(-(2**63), 2**63 - 1),
    ColumnType.FLOAT: st.floats(),
    ColumnType.BOOLEAN: st.booleans(),
    ColumnType.TIMESTAMP: st.integers(-(2**63), 2**63 - 1),
}
every_kind = pytest.mark.parametrize(("name", "kind"), kinds().items(), ids=list(kinds()))


def written(name: str, kind: type[Expect], **more: Any) -> dict[str, Any]:
    """Return the example of a kind as a user writes it."""
    return {"name": "it", **({"column": COLUMN} if kind.types else {}), name: dict(kind.example), **more}


def example(name: str, kind: type[Expect]) -> Expectation:
    return Expectation.model_validate(written(name, kind))


def spec(*expectations: dict[str, Any], type_: ColumnType) -> dict[str, Any]:
    """Return a Dataset's spec whose only column is of a type."""
    columns = [{"name": COLUMN, "type": type_.value}]
    return {"source": {"uri": "pvc://lake"}, "schema": {"columns": columns}, "expectations": list(expectations)}


def a_type(kind: type[Expect]) -> ColumnType:
    return min(kind.types, default=ColumnType.STRING)


@every_kind
def test_it_is_described(name: str, kind: type[Expect]) -> None:
    """The docstring is what users read: in the CRD, in `kubectl explain` and in the reference."""
    told = structural(Expectation)["properties"][name]["description"]
    assert told.strip().endswith("."), f"{name} needs a docstring of whole sentences"
    assert len(told.split()) >= 5
    for field, node in structural(kind).get("properties", {}).items():
        assert node.get("description", "").endswith("."), f"{name}.{field} needs a description"


@every_kind
def test_it_has_a_reason_that_is_explained(name: str, kind: type[Expect]) -> None:
    known = {value for value in vars(reasons).values() if isinstance(value, Reason)}
    assert isinstance(kind.reason, Reason), f"{name} needs a reason of terms.reasons"
    assert kind.reason in known
    assert kind.reason.meaning


@every_kind
def test_its_example_is_taken_from_yaml_to_the_crd_to_the_model_and_back(name: str, kind: type[Expect]) -> None:
    user = yaml.safe_load(yaml.safe_dump(written(name, kind, severity="Warn")))
    assert kind.example.keys() <= structural(Expectation)["properties"][name].get("properties", {}).keys()
    (read,) = DatasetSpec.model_validate(spec(user, type_=a_type(kind))).expectations
    assert read.chosen() == name
    assert read.json_data() == user
    assert isinstance(read.expectation(), kind)


@every_kind
def test_a_column_is_named_where_one_is_looked_at_and_only_there(name: str, kind: type[Expect]) -> None:
    user = written(name, kind)
    wrong = {key: value for key, value in user.items() if key != "column"} if kind.types else user | {"column": "x"}
    with pytest.raises(ValidationError, match="needs a column" if kind.types else "must not have a column"):
        Expectation.model_validate(wrong)
    rule = f"!has(self.{name}) || {'' if kind.types else '!'}has(self.column)"
    assert rule in [each["rule"] for each in structural(Expectation)["x-kubernetes-validations"]]


@every_kind
def test_it_refuses_a_setting_that_it_does_not_have_and_another_kind_beside_it(name: str, kind: type[Expect]) -> None:
    strange = written(name, kind) | {name: {**kind.example, "strange": 1}}
    with pytest.raises(ValidationError, match="strange"):
        Expectation.model_validate_json(json.dumps(strange), extra="forbid")
    other = next(each for each in kinds() if each != name)
    with pytest.raises(ValidationError, match="exactly one of"):
        Expectation.model_validate(written(name, kind) | {other: dict(kinds()[other].example)})


def facts(name: str, values: list[Any], type_: ColumnType, expectation: Expectation) -> FileFacts:
    array = pa.array(values, ARROW[type_])
    wanted = needs(Schema.model_validate({"columns": [{"name": "other", "type": "String"}]}), [expectation])
    figures = measure(array, wanted.get(COLUMN, {}))
    column = ColumnFacts(stored=str(array.type), type=type_of(array.type), figures=figures)
    return FileFacts(path=name, rows=len(values), columns={COLUMN: column})


@every_kind
def test_it_judges_any_split_of_the_data_alike(name: str, kind: type[Expect]) -> None:
    expectation = example(name, kind)

    @settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
    @given(data=st.data())
    def hold(data: st.DataObject) -> None:
        type_ = data.draw(st.sampled_from(sorted(kind.types or ColumnType)))
        values = data.draw(st.lists(st.none() | VALUES[type_], max_size=12))
        cuts = sorted(data.draw(st.lists(st.integers(0, len(values)), max_size=4)))
        pieces = [values[low:high] for low, high in zip([0, *cuts], [*cuts, len(values)], strict=True)]
        whole = expectation.judge([facts("whole", values, type_, expectation)])
        split = expectation.judge([facts(f"p{i}", piece, type_, expectation) for i, piece in enumerate(pieces)])
        assert (split.verdict, split.reason, split.value, split.samples) == (
            whole.verdict,
            whole.reason,
            whole.value,
            whole.samples,
        )
        assert split.message.removesuffix(whole.message) == "" or split.message.startswith(whole.message)
        assert whole.samples == len(values)

    hold()


@every_kind
def test_it_is_measured_in_files_of_every_type_that_it_takes(name: str, kind: type[Expect], tmp_path: Path) -> None:
    """Files of no rows and columns of no values too; in a file of another type it fails, and nothing breaks."""
    expectation = example(name, kind)
    values = {
        ColumnType.STRING: ["a", None],
        ColumnType.INTEGER: [1, None],
        ColumnType.FLOAT: [1.5, None],
        ColumnType.BOOLEAN: [True, None],
        ColumnType.TIMESTAMP: [2**63 - 1, None],
    }
    wanted = needs(Schema.model_validate({"columns": [{"name": "other", "type": "String"}]}), [expectation])
    for type_, some in values.items():
        array = pa.array(some, ARROW[type_])
        for number, each in enumerate([array, array.slice(0, 0), pa.nulls(2), pa.nulls(2, ARROW[type_])]):
            file = tmp_path / f"{type_.value}-{number}.parquet"
            pq.write_table(pa.table({COLUMN: each}), file)
            finding = expectation.judge([survey(file.name, file, wanted)])
            fits = not kind.types or type_ in kind.types or number == 2
            assert fits or finding.verdict is Verdict.FAIL
            assert fits or file.name in finding.message


@every_kind
def test_a_finding_that_fails_says_what_must_hold_and_one_that_holds_has_no_reason(
    name: str, kind: type[Expect]
) -> None:
    """Where a column is asked for that no file has, it fails: what is not there is never judged as if it were."""
    expectation = example(name, kind)
    finding = expectation.judge([FileFacts(path="a.parquet", rows=0)])
    assert isinstance(finding, Part)
    if kind.types:
        assert finding.verdict is Verdict.FAIL
        assert finding.message.startswith(f"column {COLUMN} must be there once")
        assert finding.message.endswith("a.parquet has none")
    assert (finding.reason == kind.reason) is (finding.verdict is Verdict.FAIL)
    assert (finding.reason == "") is (finding.verdict is Verdict.PASS)


def test_there_are_several_kinds_and_their_order_is_the_alphabet() -> None:
    assert list(kinds()) == sorted(kinds())
    assert {"notNull", "range", "rowCount"} <= kinds().keys()
