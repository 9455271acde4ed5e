"""Posted bodies: what is refused, with which sentence."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.collector.bodies import BadInputError, PostedPredictions, read_labels, read_predictions
from perennial.collector.joining import PostedLabel, Prediction, Reporter

NOW = 1_800_000_000.0


def predictions(*items: Any, **others: Any) -> bytes:
    return json.dumps({"version": "v", "modelVersion": "1", "predictions": list(items), **others}).encode()


def test_predictions_are_read() -> None:
    body = predictions({"id": "p", "time": "2026-01-31T12:00:00.5+01:00", "score": 1})
    assert read_predictions(body, NOW) == PostedPredictions("v", "1", [Prediction("p", 1769857200.5, 1.0)], None)


def test_who_reports_says_what_it_dropped() -> None:
    assert read_predictions(predictions(reporter="shop-a-7", dropped=12), NOW).reporter == Reporter("shop-a-7", 12)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"reporter": "x"}, "dropped: must be a whole number from 0 on, beside reporter"),
        ({"reporter": "x", "dropped": -1}, "dropped: must be a whole number from 0 on, beside reporter"),
        ({"reporter": "x", "dropped": 10**400}, "dropped: must be a whole number from 0 on, beside reporter"),
        ({"reporter": "x", "dropped": True}, "dropped: must be a whole number from 0 on, beside reporter"),
        ({"dropped": 1}, "reporter: must be a string of 1 to 128 characters"),
    ],
)
def test_who_reports_says_it_in_both_fields(more: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInputError) as error:
        read_predictions(predictions(**more), NOW)
    assert str(error.value) == message


@pytest.mark.parametrize(("label", "read"), [(True, 1.0), (False, 0.0), (1, 1.0), (0.25, 0.25)])
def test_labels_are_read(label: Any, read: float) -> None:
    body = {"labels": [{"id": "p", "label": label, "time": "2026-01-31T12:00:00Z"}]}
    assert read_labels(json.dumps(body).encode()) == [PostedLabel("p", read)]


GOOD = {"id": "p", "time": "2026-01-31T12:00:00Z", "score": 0.5}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"\xff", "the body: must be JSON"),
        (b"[]", "the body: must be a JSON object"),
        (predictions(version=""), "version: must be a string of 1 to 128 characters"),
        (predictions(modelVersion=3), "modelVersion: must be a string of 1 to 128 characters"),
        (
            predictions(extra=1),
            "the body: has an unknown field 'extra'; known are dropped, modelVersion, predictions, reporter, version",
        ),
        (predictions(3), "predictions[0]: must be a JSON object"),
        (predictions({**GOOD, "id": "x" * 257}), "predictions[0].id: must be a string of 1 to 256 characters"),
        (predictions({**GOOD, "id": "\ud800"}), "predictions[0].id: must be valid Unicode"),
        (predictions(GOOD, {**GOOD, "score": "high"}), "predictions[1].score: must be a number"),
        (predictions({**GOOD, "score": True}), "predictions[0].score: must be a number"),
        (predictions({**GOOD, "score": float("nan")}), "predictions[0].score: must be a finite number"),
        (predictions({**GOOD, "score": 10**400}), "predictions[0].score: must be a finite number"),
        (
            predictions({**GOOD, "score": 2**53 + 1}),
            "predictions[0].score: must be a number that a 64-bit float holds exactly",
        ),
        (
            predictions({**GOOD, "time": "2026-01-31T12:00:00"}),
            "predictions[0].time: must be an RFC 3339 time with its zone, such as 2026-01-31T12:00:00Z",
        ),
        (
            predictions({**GOOD, "time": "1969-01-31T12:00:00Z"}),
            "predictions[0].time: must be after 1970 and not more than a day ahead",
        ),
        (
            predictions({**GOOD, "time": "2099-01-31T12:00:00Z"}),
            "predictions[0].time: must be after 1970 and not more than a day ahead",
        ),
        (predictions(*[GOOD] * 20_001), "predictions: must have at most 20,000 items, has 20,001"),
    ],
)
def test_bad_predictions_are_told_what_must_hold(body: bytes, message: str) -> None:
    with pytest.raises(BadInputError) as error:
        read_predictions(body, NOW)
    assert str(error.value) == message


leaves = st.none() | st.booleans() | st.floats() | st.text()
names = st.sampled_from(["labels", "id", "label", "time", "other"])


@given(st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(names, inner), max_leaves=12))
def test_any_json_is_either_read_or_refused_with_a_sentence(data: Any) -> None:
    try:
        read = len(read_labels(json.dumps(data).encode()))
    except BadInputError as error:
        told = str(error)
    else:
        told = f"{read} labels"
        assert read == len(data["labels"])
    assert told
