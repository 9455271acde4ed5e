"""`fetch-model` and `evaluate`, against a real MLflow server, with LightGBM models that a script logged."""

import json
import shutil
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import lightgbm
import mlflow
import pandas as pd
import pyarrow.parquet as pq
import pytest
import trained
from real_mlflow import MLflowServer, free_port
from worker_process import Ended, Worker, call_worker

from perennial.worker.manifest import manifest_of_folder

pytestmark = pytest.mark.filterwarnings("default")  # what MLflow and its libraries warn of is theirs

ASKED: dict[str, Any] = {
    "target": "late",
    "time": "at",
    "metrics": [
        {"name": "misses", "falseNegativeRate": {"threshold": "0.4"}},
        {"name": "false-alarms", "falsePositiveRate": {}},
        {"name": "errors", "errorRate": {}},
    ],
}


def asked(**changes: Any) -> str:
    return json.dumps(ASKED | changes)


@pytest.fixture(scope="module", autouse=True)
def _addressed(mlflow_server: MLflowServer) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", mlflow_server.url)
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        yield


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Worker:
    return partial(call_worker, monkeypatch, tmp_path / "termination-log")


@pytest.fixture(scope="module")
def registered(_addressed: None) -> tuple[str, str]:
    """A registered model with one version, and the run that logged it: (name, run)."""
    name = f"delay-{uuid.uuid4().hex[:8]}"
    return name, trained.log_run("model", register=name, trees=2)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "more").mkdir(parents=True)
    for name, seed in (("a.parquet", 7), ("more/b.parquet", 8)):
        frame = trained.rows(400, seed)
        frame["late"] = frame["late"].astype("boolean").mask(frame.index < 10)
        frame.to_parquet(folder / name)
    return folder


def fetch(worker: Worker, to: Path, name: str, version: str, *more: str, **variables: str) -> Ended:
    return worker("fetch-model", "--model", name, "--version", version, "--to", to, *more, **variables)


def test_a_version_is_fetched_and_its_digest_told(worker: Worker, registered: tuple[str, str], tmp_path: Path) -> None:
    name, _ = registered
    ended = fetch(worker, tmp_path / "models", name, "1")
    assert ended.code == 0
    digest = manifest_of_folder(tmp_path / "models").digest
    assert ended.message == {"model": name, "version": "1", "digest": digest}
    assert (tmp_path / "models" / "MLmodel").is_file()
    again = fetch(worker, tmp_path / "models", name, "1", "--digest", digest)
    assert (again.code, again.message["digest"]) == (0, digest)


def test_another_digest_is_refused_and_nothing_is_left_to_serve(
    worker: Worker, registered: tuple[str, str], tmp_path: Path
) -> None:
    ended = fetch(worker, tmp_path / "models", registered[0], "1", "--digest", "sha256:" + "0" * 64)
    assert ended.code == 65
    assert "its files were changed afterwards" in ended.message["error"]
    assert list((tmp_path / "models").iterdir()) == []


@pytest.mark.parametrize(("name", "version"), [("nobody", "1"), ("", "99")])
def test_a_version_that_is_not_there_ends_with_65(
    worker: Worker, registered: tuple[str, str], tmp_path: Path, name: str, version: str
) -> None:
    ended = fetch(worker, tmp_path / "models", name or registered[0], version)
    assert ended.code == 65
    assert f"MLflow must have models:/{name or registered[0]}/{version}" in ended.message["error"]


def test_without_mlflow_it_ends_with_75_within_seconds(worker: Worker, tmp_path: Path) -> None:
    started = time.monotonic()
    address = f"http://user:secret@127.0.0.1:{free_port()}"
    ended = fetch(worker, tmp_path / "models", "delay", "1", MLFLOW_TRACKING_URI=address)
    assert ended.code == 75
    assert "MLflow at http://127.0.0.1:" in ended.message["error"]
    assert "secret" not in ended.message["error"]
    assert time.monotonic() - started < 45


def test_without_an_address_it_ends_with_64(worker: Worker, tmp_path: Path) -> None:
    assert fetch(worker, tmp_path / "models", "delay", "1", MLFLOW_TRACKING_URI="").code == 64


def evaluate(worker: Worker, run: str, *more: object, spec: str | None = None) -> Ended:
    return worker("evaluate", "--run-id", run, *more, "--spec", asked() if spec is None else spec)


def sums(losses: dict[str, list[float]]) -> list[Any]:
    """Return the sum of losses, of their squares, and how days differ."""
    every = [loss for day in losses.values() for loss in day]
    mean = sum(every) / len(every)
    between = sum((sum(day) - mean * len(day)) ** 2 for day in losses.values())
    return [sum(every), sum(loss * loss for loss in every), pytest.approx(between)]


def expected(folder: Path, candidate: lightgbm.Booster, baseline: lightgbm.Booster | None) -> list[dict[str, Any]]:
    """Measure anew, row by row, without the worker's code."""
    results = []
    rows = [
        row
        for file in sorted(path for path in folder.rglob("*.parquet") if path.is_file())
        for row in pq.read_table(file).to_pylist()
        if row["late"] is not None
    ]
    features = [[row["x"], row["y"]] for row in rows]
    scores, others = candidate.predict(features), None if baseline is None else baseline.predict(features)
    for name, threshold, over in (
        ("misses", 0.4, {True}),
        ("false-alarms", 0.5, {False}),
        ("errors", 0.5, {True, False}),
    ):
        first: dict[str, list[float]] = defaultdict(list)
        second: dict[str, list[float]] = defaultdict(list)
        for index, row in enumerate(rows):
            if row["late"] in over:
                day = row["at"].date().isoformat()
                first[day].append(float((scores[index] >= threshold) != row["late"]))
                if others is not None:
                    second[day].append(float((others[index] >= threshold) != row["late"]))
        size = sum(len(day) for day in first.values())
        result = {"name": name, "rows": size, "days": len(first), "candidate": sums(first)}
        if others is not None:
            result["baseline"] = sums(second)[0]
            apart = {day: [a - b for a, b in zip(first[day], second[day], strict=True)] for day in first}
            result["difference"] = sums(apart)
        results.append(result)
    return results


def test_losses_are_measured_by_day_beside_the_champions(
    worker: Worker, registered: tuple[str, str], data: Path, tmp_path: Path
) -> None:
    name, _ = registered
    run = trained.log_run("model", trees=30)
    digest = fetch(worker, tmp_path / "champion", name, "1").message["digest"]
    champion = ["--baseline-version", 1, "--model", name, "--baseline-digest", digest]
    ended = evaluate(worker, run, "--data", data, *champion)
    assert ended.code == 0, ended.message
    assert ended.message["source"].startswith("models:/m-")
    assert ended.message["results"] == expected(data, trained.booster(0, 30), trained.booster(0, 2))
    assert {result["days"] for result in ended.message["results"]} == {3}
    assert any(result["difference"][0] for result in ended.message["results"])
    assert "20 without a label were left out" in ended.told


def test_the_digest_is_the_one_that_the_version_will_have(
    worker: Worker, registered: tuple[str, str], data: Path, tmp_path: Path
) -> None:
    name, run = registered
    ended = evaluate(worker, run, "--data", data)
    assert ended.message["results"] == expected(data, trained.booster(0, 2), None)
    assert fetch(worker, tmp_path / "models", name, "1").message["digest"] == ended.message["digest"]


def test_without_metrics_only_the_model_is_told(worker: Worker, registered: tuple[str, str]) -> None:
    ended = evaluate(worker, registered[1], spec=asked(metrics=[]))
    assert ended.code == 0
    assert ended.message["results"] == []
    assert ended.message["digest"].startswith("sha256:")


def test_of_several_models_of_one_name_the_last_is_taken_and_told(worker: Worker, data: Path) -> None:
    ended = evaluate(worker, trained.log_run("model", "model", trees=30), "--data", data)
    assert ended.message["results"] == expected(data, trained.booster(1, 30), None)
    assert (ended.message["loggedAs"], ended.message["logged"]) == ("model", 2)


def test_several_models_need_a_name(worker: Worker, data: Path) -> None:
    run = trained.log_run("best", "baseline", trees=30)
    ended = evaluate(worker, run, "--data", data)
    assert ended.code == 65
    assert ended.message["error"] == (
        f"spec.model.loggedAs must name the model that is meant, because run {run} logged several: baseline, best"
    )
    ended = evaluate(worker, run, "--data", data, spec=asked(loggedAs="best"))
    assert ended.message["results"] == expected(data, trained.booster(0, 30), None)
    assert (ended.message["loggedAs"], ended.message["logged"]) == ("best", 1)
    ended = evaluate(worker, run, "--data", data, spec=asked(loggedAs="worst"))
    assert ended.code == 65
    assert "must log a model named worst (spec.model.loggedAs), but logged baseline, best" in ended.message["error"]


def test_a_folder_called_like_a_file_is_looked_into(
    worker: Worker, registered: tuple[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "spark" / "rows.parquet"
    folder.mkdir(parents=True)
    trained.rows(300, 7).to_parquet(folder / "part-00000.parquet")
    ended = evaluate(worker, registered[1], "--data", tmp_path / "spark")
    assert ended.message["results"] == expected(tmp_path / "spark", trained.booster(0, 2), None)


def test_rows_without_an_event_time_are_one_days(worker: Worker, registered: tuple[str, str], data: Path) -> None:
    ended = evaluate(worker, registered[1], "--data", data, spec=asked(time=None))
    assert {result["days"] for result in ended.message["results"]} == {1}


def test_a_signature_that_lacks_missing_values_is_told_how_to_be_logged(worker: Worker, tmp_path: Path) -> None:
    frame = trained.rows(300, 7).assign(n=1)

    def count(model_input: pd.DataFrame) -> Any:
        return model_input["n"].to_numpy() * 0.5

    with mlflow.start_run(experiment_id="0") as run:
        signature = mlflow.models.infer_signature(frame[["n"]], [0.5])
        mlflow.pyfunc.log_model(name="model", python_model=count, signature=signature, pip_requirements=[])
    frame["n"] = frame["n"].astype("Int64").where(frame.index != 5)
    frame.to_parquet(tmp_path / "a.parquet")
    ended = evaluate(worker, run.info.run_id, "--data", tmp_path)
    assert ended.code == 65
    assert "column 'n', which held-out rows have, but its signature lacks them: it says long" in ended.message["error"]
    assert "astype('float64') before infer_signature" in ended.message["error"]


def test_a_run_without_a_model_ends_with_65(worker: Worker, data: Path) -> None:
    ended = evaluate(worker, trained.log_run(), "--data", data)
    assert ended.code == 65
    assert "must log a model" in ended.message["error"]


def test_a_run_that_is_not_there_ends_with_65(worker: Worker, data: Path) -> None:
    ended = evaluate(worker, "0" * 32, "--data", data)
    assert (ended.code, set(ended.message)) == (65, {"error"})


def test_a_champion_that_was_changed_is_refused(worker: Worker, registered: tuple[str, str], data: Path) -> None:
    champion = ["--baseline-version", 1, "--model", registered[0], "--baseline-digest", "sha256:" + "1" * 64]
    ended = evaluate(worker, registered[1], "--data", data, *champion)
    assert ended.code == 65
    assert "its files were changed afterwards" in ended.message["error"]


@pytest.mark.parametrize(
    "bad",
    [
        ("late", None, "must have the target column 'late'"),
        ("late", 0.7, "must be true, false, 1 or 0 for these metrics, but 50 of 50 labels are not, such as 0.7"),
        ("late", "yes", "such as 'yes'"),
        ("x", None, "the trained model must be able to predict the held-out rows"),
    ],
)
def test_rows_that_cannot_be_judged_end_with_65(
    worker: Worker, registered: tuple[str, str], tmp_path: Path, bad: tuple[str, Any, str]
) -> None:
    column, values, sentence = bad
    frame = trained.rows(50, 1)
    frame = frame.drop(columns=column) if values is None else frame.assign(**{column: values})
    (tmp_path / "bad").mkdir()
    frame.to_parquet(tmp_path / "bad" / "a.parquet")
    ended = evaluate(worker, registered[1], "--data", tmp_path / "bad")
    assert ended.code == 65
    assert sentence in ended.message["error"]


def test_rows_without_any_label_end_with_65(worker: Worker, registered: tuple[str, str], tmp_path: Path) -> None:
    frame = trained.rows(50, 1)
    frame["late"] = frame["late"].astype("boolean").where(frame["late"].isna())
    (tmp_path / "bad").mkdir()
    frame.to_parquet(tmp_path / "bad" / "a.parquet")
    ended = evaluate(worker, registered[1], "--data", tmp_path / "bad")
    assert ended.code == 65
    assert "must have labels in 'late'" in ended.message["error"]


def test_a_run_of_an_older_client_keeps_its_model_among_its_artifacts(
    worker: Worker, registered: tuple[str, str], data: Path, tmp_path: Path
) -> None:
    """MLflow 2 tells of logged models by a tag of the run alone."""
    name, _ = registered
    fetch(worker, tmp_path / "model", name, "1")
    run = trained.log_run()
    client = mlflow.MlflowClient()
    client.log_artifacts(run, str(tmp_path / "model"), "old")
    client.set_tag(run, "mlflow.log-model.history", '[{"artifact_path": "old"}]')
    ended = evaluate(worker, run, "--data", data)
    assert ended.message["source"] == f"runs:/{run}/old"
    assert ended.message["digest"] == manifest_of_folder(tmp_path / "model").digest
    assert ended.message["results"] == expected(data, trained.booster(0, 2), None)


MISSES = {"name": "misses", "falseNegativeRate": {}}


@pytest.mark.parametrize(
    ("arguments", "spec", "told"),
    [
        (["--data", "/nowhere", "--baseline-version", "1"], asked(), "--baseline-version needs --model"),
        ([], asked(), "metrics need --data"),
        (["--data", "/nowhere"], "{", "JSON"),
        (["--data", "/nowhere"], asked(metrics=[{"name": "beauty", "beauty": {}}]), "metrics[0]"),
        (["--data", "/nowhere"], asked(metrics=[MISSES | {"groupBy": ["plan"]}]), "metrics[0].groupBy"),
        (["--data", "/nowhere"], asked(metrics=[{**MISSES, "falseNegativeRate": {"of": "x"}}]), "falseNegativeRate.of"),
        (["--data", "/nowhere"], asked(metrics=[MISSES | {"errorRate": {}}]), "exactly one of"),
        (["--data", "/nowhere"], asked(weights="x"), "weights"),
    ],
)
def test_what_is_not_known_to_this_release_ends_with_64_and_its_name(
    worker: Worker, arguments: list[str], spec: str, told: str
) -> None:
    ended = evaluate(worker, "run", *arguments, spec=spec)
    assert (ended.code, set(ended.message)) == (64, {"error"})
    assert told in ended.message["error"]


def test_missing_rows_are_told(worker: Worker, registered: tuple[str, str], tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "none", ignore_errors=True)
    ended = evaluate(worker, registered[1], "--data", tmp_path / "none")
    assert ended.code == 65
    assert "must have Parquet files" in ended.message["error"]
