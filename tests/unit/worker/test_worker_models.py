"""`fetch-model` and `evaluate`, against a real MLflow server, with LightGBM models that a script logged."""

import json
import shutil
import time
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import lightgbm
import mlflow
import pyarrow.parquet as pq
import pytest
import trained
from real_mlflow import MLflowServer, free_port
from worker_process import Ended, Worker, call_worker

from perennial.worker.manifest import manifest_of_folder

pytestmark = pytest.mark.filterwarnings("default")  # what MLflow and its libraries warn of is theirs

GATE = json.dumps(
    {
        "target": "late",
        "metrics": [
            {"metric": "falseNegativeRate", "threshold": 0.4},
            {"metric": "falsePositiveRate", "threshold": 0.5},
            {"metric": "errorRate"},
        ],
    }
)


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
    return name, trained.log_run(register=name, trees=2)


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


def evaluate(worker: Worker, run: str, *more: object, spec: str = GATE) -> Ended:
    return worker("evaluate", "--run-id", run, *more, "--spec", spec)


def expected_counts(
    folder: Path, candidate: lightgbm.Booster, baseline: lightgbm.Booster | None
) -> list[dict[str, Any]]:
    """Count anew, row by row, without the worker's code."""
    counts = []
    rows = [
        row
        for file in sorted(folder.rglob("*.parquet"))
        for row in pq.read_table(file).to_pylist()
        if row["late"] is not None
    ]
    features = [[row["x"], row["y"]] for row in rows]
    scores, others = candidate.predict(features), None if baseline is None else baseline.predict(features)
    for metric, threshold, over in (
        ("falseNegativeRate", 0.4, {True}),
        ("falsePositiveRate", 0.5, {False}),
        ("errorRate", 0.5, {True, False}),
    ):
        result = dict.fromkeys(("total", "candidateBad", "baselineBad", "onlyCandidateBad", "onlyBaselineBad"), 0)
        for index, row in enumerate(rows):
            if row["late"] not in over:
                continue
            wrong = (scores[index] >= threshold) != row["late"]
            wrong_too = others is not None and (others[index] >= threshold) != row["late"]
            result["total"] += 1
            result["candidateBad"] += int(wrong)
            result["baselineBad"] += int(wrong_too)
            result["onlyCandidateBad"] += int(wrong and not wrong_too)
            result["onlyBaselineBad"] += int(wrong_too and not wrong)
        if others is None:
            result = {key: value if key in {"total", "candidateBad"} else None for key, value in result.items()}
        counts.append({"metric": metric} | result)
    return counts


def test_mistakes_are_counted_beside_the_champions(
    worker: Worker, registered: tuple[str, str], data: Path, tmp_path: Path
) -> None:
    name, _ = registered
    run = trained.log_run(trees=30)
    digest = fetch(worker, tmp_path / "champion", name, "1").message["digest"]
    champion = ["--baseline-version", 1, "--model", name, "--baseline-digest", digest]
    ended = evaluate(worker, run, "--data", data, *champion)
    assert ended.code == 0, ended.message
    assert ended.message["source"].startswith("models:/m-")
    assert ended.message["results"] == expected_counts(data, trained.booster(0, 30), trained.booster(0, 2))
    assert any(result["onlyBaselineBad"] for result in ended.message["results"])
    assert "20 without a label were left out" in ended.told


def test_the_digest_is_the_one_that_the_version_will_have(
    worker: Worker, registered: tuple[str, str], data: Path, tmp_path: Path
) -> None:
    name, run = registered
    ended = evaluate(worker, run, "--data", data)
    assert ended.message["results"] == expected_counts(data, trained.booster(0, 2), None)
    assert fetch(worker, tmp_path / "models", name, "1").message["digest"] == ended.message["digest"]


def test_without_metrics_only_the_model_is_told(worker: Worker, registered: tuple[str, str]) -> None:
    ended = evaluate(worker, registered[1], spec='{"target": "late", "metrics": []}')
    assert ended.code == 0
    assert ended.message["results"] == []
    assert ended.message["digest"].startswith("sha256:")


def test_of_several_models_the_last_is_taken(worker: Worker, data: Path) -> None:
    run = trained.log_run(models=2, trees=30)
    ended = evaluate(worker, run, "--data", data)
    assert ended.message["results"] == expected_counts(data, trained.booster(1, 30), None)


def test_a_run_without_a_model_ends_with_65(worker: Worker, data: Path) -> None:
    ended = evaluate(worker, trained.log_run(models=0), "--data", data)
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
        ("late", 2, "must be true/false or 0/1"),
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
    run = trained.log_run(models=0)
    client = mlflow.MlflowClient()
    client.log_artifacts(run, str(tmp_path / "model"), "old")
    client.set_tag(run, "mlflow.log-model.history", '[{"artifact_path": "old"}]')
    ended = evaluate(worker, run, "--data", data)
    assert ended.message["source"] == f"runs:/{run}/old"
    assert ended.message["digest"] == manifest_of_folder(tmp_path / "model").digest
    assert ended.message["results"] == expected_counts(data, trained.booster(0, 2), None)


@pytest.mark.parametrize(
    ("arguments", "spec"),
    [
        (["--data", "/nowhere", "--baseline-version", "1"], GATE),
        ([], GATE),
        (["--data", "/nowhere"], "{"),
        (["--data", "/nowhere"], '{"target": "late", "metrics": [{"metric": "beauty"}]}'),
    ],
)
def test_bad_arguments_end_with_64(worker: Worker, arguments: list[str], spec: str) -> None:
    ended = evaluate(worker, "run", *arguments, spec=spec)
    assert (ended.code, set(ended.message)) == (64, {"error"})


def test_missing_rows_are_told(worker: Worker, registered: tuple[str, str], tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "none", ignore_errors=True)
    ended = evaluate(worker, registered[1], "--data", tmp_path / "none")
    assert ended.code == 65
    assert "must have Parquet files" in ended.message["error"]
