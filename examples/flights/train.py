"""Trains the delay model: LightGBM, logged to MLflow. An ordinary script; it knows nothing of where it runs.

    python train.py --data DIR [--trees 60 --leaves 8 --learning-rate 0.05 --seed 7]

MLflow's address, run and experiment come from its own environment variables (MLFLOW_TRACKING_URI, MLFLOW_RUN_ID, …).
Exits with 65 if the data is of no use.
"""

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import lightgbm
import mlflow
import pandas as pd
from features import FEATURES, TARGET, TIME

UNUSABLE_DATA = 65
VALIDATION_SHARE = 0.1


@dataclass(frozen=True)
class Settings:
    """What can be chosen about a model."""

    trees: int = 60
    leaves: int = 8
    learning_rate: float = 0.05
    seed: int = 7


def read(folder: Path) -> pd.DataFrame:
    """Return the rows of all Parquet files below a folder, in the order of departure."""
    files = sorted(folder.rglob("*.parquet"))
    if not files:
        give_up(f"{folder} must have Parquet files, but has none")
    rows = pd.concat([pd.read_parquet(file, columns=[TIME, *FEATURES, TARGET]) for file in files])
    if rows[TARGET].nunique() != 2:
        give_up(f"{folder} must have flights that were late and flights that were not")
    return rows.sort_values(TIME, ignore_index=True)


def fit(
    rows: pd.DataFrame, settings: Settings, validation: pd.DataFrame | None = None
) -> tuple[lightgbm.Booster, list[float]]:
    """Return a model, and its area under the ROC curve on the validation rows after each tree."""
    parameters = {
        "objective": "binary",
        "metric": "auc",
        "num_leaves": settings.leaves,
        "learning_rate": settings.learning_rate,
        "min_data_in_leaf": 50,
        "seed": settings.seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 2,
        "verbose": -1,
    }
    curves: dict = {}
    booster = lightgbm.train(
        parameters,
        dataset(rows),
        num_boost_round=settings.trees,
        valid_sets=[] if validation is None else [dataset(validation)],
        valid_names=[] if validation is None else ["validation"],
        callbacks=[] if validation is None else [lightgbm.record_evaluation(curves)],
    )
    return booster, curves.get("validation", {}).get("auc", [])


def dataset(rows: pd.DataFrame) -> lightgbm.Dataset:
    return lightgbm.Dataset(rows[FEATURES], rows[TARGET])


def give_up(sentence: str) -> None:
    print(f"train: {sentence}", file=sys.stderr)
    raise SystemExit(UNUSABLE_DATA)


def say(started: float, text: str) -> None:
    print(f"{time.monotonic() - started:5.1f} s  {text}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with Parquet files")
    for name, value in vars(Settings()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    options = vars(parser.parse_args())
    folder, settings = options.pop("data"), Settings(**options)
    started = time.monotonic()

    rows = read(folder)
    say(started, f"read {len(rows):,} flights, {rows[TARGET].mean():.1%} of them late")
    cut = int(len(rows) * (1 - VALIDATION_SHARE))
    with mlflow.start_run():
        mlflow.log_params(vars(settings) | {"flights": len(rows), "first": rows[TIME].min(), "last": rows[TIME].max()})
        _, curve = fit(rows[:cut], settings, rows[cut:])
        for tree in range(9, len(curve), 10):
            mlflow.log_metric("auc", curve[tree], step=tree + 1)
        say(started, f"validated on the newest {VALIDATION_SHARE:.0%}: AUC {curve[-1]:.3f}; now learning from all")
        booster, _ = fit(rows, settings)
        example = rows[FEATURES].dropna().head(5)
        mlflow.lightgbm.log_model(
            booster,
            name="model",
            signature=mlflow.models.infer_signature(example, booster.predict(example)),
            input_example=example,
            pip_requirements=[f"lightgbm=={lightgbm.__version__}", f"pandas=={pd.__version__}"],
        )
    say(started, f"logged a model of {settings.trees} trees")


if __name__ == "__main__":
    main()
