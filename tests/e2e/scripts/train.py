"""A user's training script: plain MLflow and LightGBM. `--fail CODE` ends it with that exit code."""

import argparse
import sys

import lightgbm
import mlflow
import pandas as pd

parser = argparse.ArgumentParser()
parser.add_argument("--data", required=True)
parser.add_argument("--flip", action="store_true")
parser.add_argument("--fail", type=int)
arguments = parser.parse_args()
if arguments.fail:
    print("the column `distance` is in miles, not in kilometres", file=sys.stderr)
    sys.exit(arguments.fail)
frame = pd.read_parquet(arguments.data)
features = frame[["distance", "rain"]]
labels = (~frame["late"] if arguments.flip else frame["late"]).astype(int)
with mlflow.start_run():
    mlflow.log_param("rows", len(frame))
    booster = lightgbm.train(
        {"objective": "binary", "verbose": -1, "num_threads": 1}, lightgbm.Dataset(features, labels), 40
    )
    mlflow.lightgbm.log_model(booster, name="model", pip_requirements=[])
