"""Loading real models, and the scores they give."""

from pathlib import Path

import numpy as np
import pytest
from logged_models import Logged

from perennial.models.columns import BadRowsError
from perennial.models.loading import Model, ModelError, load

# MLflow warns of its own insides, already when it is imported.
pytestmark = pytest.mark.filterwarnings("ignore")


def test_a_booster_scores_as_mlflow_would_have_it(booster: Logged) -> None:
    import mlflow.pyfunc

    scores = load(booster.directory).predict(booster.frame)
    typed = booster.frame.astype({"hour": "int64", "carrier": "int64"})
    assert scores.tolist() == mlflow.pyfunc.load_model(str(booster.directory)).predict(typed).tolist()
    assert scores == pytest.approx(booster.scores, abs=1e-12)
    assert scores.dtype == np.float64


def test_columns_may_come_in_any_order_with_strangers_among_them(booster: Logged) -> None:
    shuffled = booster.frame[["carrier", "distance", "hour"]].assign(arrived="late")
    assert load(booster.directory).predict(shuffled) == pytest.approx(booster.scores, abs=1e-12)


def test_a_model_of_probabilities_scores_the_positive_class(classifier: Logged) -> None:
    assert load(classifier.directory).predict(classifier.frame) == pytest.approx(classifier.scores, abs=1e-6)


def test_a_missing_column_is_named(booster: Logged) -> None:
    with pytest.raises(BadRowsError, match=r"^column 'hour': must be given \(long\)$"):
        load(booster.directory).predict(booster.frame.drop(columns="hour"))


def test_the_input_example_can_be_predicted(booster: Logged) -> None:
    model = load(booster.directory)
    assert model.example is not None
    assert model.predict_columns(model.example, 2) == pytest.approx(booster.scores[:2], abs=1e-12)


def test_a_folder_without_a_model_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no file MLmodel"):
        load(tmp_path)


def test_a_broken_model_is_told_so_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text("flavors: {python_function: {loader_module: no.such.module}}\n")
    with pytest.raises(ModelError, match="cannot be loaded") as error:
        load(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([0.5], "one number a row"),
        ([[0.1, 0.2, 0.7]] * 2, "one number a row"),
        ([0.5, float("nan")], "finite numbers"),
        (["late", "early"], "must answer numbers"),
        ([None, 0.5], "finite numbers"),
    ],
)
def test_an_unusable_answer_is_the_models_failure(answer: object, message: str) -> None:
    model = Model(None, None, lambda _columns, _rows: answer)
    with pytest.raises(ModelError, match=message):
        model.predict_columns({"x": [1, 2]}, 2)


def test_a_model_that_raises_is_its_own_failure() -> None:
    def answer(_columns: object, _rows: int) -> object:
        raise KeyError("tail number")

    with pytest.raises(ModelError, match=r"^the model failed: KeyError: 'tail number'$"):
        Model(None, None, answer).predict_columns({"x": [1]}, 1)
