"""Real models, logged by MLflow, that the server loads."""

import os
from typing import Any

import pytest
from logged_models import Logged

os.environ.setdefault("OMP_NUM_THREADS", "1")
COLUMNS = ("distance", "hour", "carrier")


@pytest.fixture(scope="session")
def rows() -> Any:
    import numpy as np
    import pandas as pd

    chance = np.random.default_rng(3)
    return pd.DataFrame(
        {
            "distance": chance.normal(800, 300, 400),
            "hour": chance.integers(5, 24, 400),
            "carrier": chance.integers(0, 16, 400),
        }
    )


@pytest.fixture(scope="session")
def truth(rows: Any) -> Any:
    return (rows["distance"] / 400 + rows["hour"] / 10 > 3.2).astype(int)


@pytest.fixture(scope="session")
def booster(tmp_path_factory: pytest.TempPathFactory, rows: Any, truth: Any) -> Logged:
    """Return a natively stored LightGBM Booster with a signature and an input example."""
    import lightgbm
    import mlflow
    from mlflow.models import infer_signature

    settings = {"objective": "binary", "verbose": -1, "seed": 1, "num_threads": 1}
    model = lightgbm.train(settings, lightgbm.Dataset(rows, truth), 20)
    scores = model.predict(rows)
    directory = tmp_path_factory.mktemp("models") / "booster"
    mlflow.lightgbm.save_model(
        model,
        str(directory),
        signature=infer_signature(rows, scores),
        input_example=rows.head(2),
        pip_requirements=[],
    )
    return Logged(directory, rows, scores)


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory, rows: Any, truth: Any) -> Logged:
    """Return a python_function model that answers the probabilities of both classes, logged without a signature."""
    import mlflow.pyfunc
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(max_iter=5000).fit(rows, truth)
    coefficients, intercept = fitted.coef_[0].tolist(), float(fitted.intercept_[0])
    source = f"""
import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

class Probabilities(PythonModel):
    def predict(self, context, model_input, params=None):
        odds = np.exp(model_input[{list(COLUMNS)}].to_numpy() @ np.array({coefficients}) + {intercept})
        return np.stack([1 / (1 + odds), odds / (1 + odds)], axis=1)

set_model(Probabilities())
"""
    folder = tmp_path_factory.mktemp("code")
    (folder / "probabilities.py").write_text(source)
    directory = tmp_path_factory.mktemp("models") / "classifier"
    mlflow.pyfunc.save_model(str(directory), python_model=str(folder / "probabilities.py"), pip_requirements=[])
    return Logged(directory, rows, fitted.predict_proba(rows)[:, 1])
