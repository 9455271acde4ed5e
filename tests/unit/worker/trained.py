"""Small LightGBM Boosters, logged to MLflow as a user's script does."""

import lightgbm
import mlflow
import numpy as np
import pandas as pd

FEATURES = ["x", "y"]


def rows(count: int, seed: int) -> pd.DataFrame:
    """Return rows whose label mostly follows x, with columns no model asks for."""
    chance = np.random.default_rng(seed)
    frame = pd.DataFrame(chance.normal(size=(count, 2)), columns=FEATURES)
    frame["late"] = frame.x + chance.normal(scale=0.5, size=count) > 0
    frame["note"] = "text"
    frame["at"] = pd.Timestamp("2026-03-01", tz="UTC") + pd.to_timedelta(np.arange(count) * 600, unit="s")
    return frame


def booster(seed: int, trees: int) -> lightgbm.Booster:
    """Return a small model."""
    frame = rows(500, seed)
    settings = {"objective": "binary", "verbose": -1, "num_leaves": 4, "seed": seed, "num_threads": 1}
    return lightgbm.train(settings, lightgbm.Dataset(frame[FEATURES], frame.late), num_boost_round=trees)


def log_run(*names: str, trees: int = 20, register: str | None = None) -> str:
    """Do as a user's script does: a run, and in it models of some names, the n-th of seed n. Return the run's id."""
    with mlflow.start_run(experiment_id="0") as run:  # set_experiment would outlive the test
        for index, name in enumerate(names):
            mlflow.lightgbm.log_model(
                booster(index, trees),
                name=name,
                input_example=rows(2, 0)[FEATURES],
                pip_requirements=[],
                registered_model_name=register,
            )
    return str(run.info.run_id)
