"""The training script on real weeks, and what the promise in the manifest does on the real year."""

from argparse import Namespace
from datetime import timedelta
from pathlib import Path
from typing import Any

import calibrate
import lake
import lightgbm
import mlflow
import pandas as pd
import pytest
import yaml
from features import FEATURES, TARGET, TIME
from replay import SAMPLE, SEED, moment
from train import Settings, fit, main

from perennial.families.metrics import OneMetric
from perennial.models.loading import load


@pytest.fixture
def logged_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> mlflow.MlflowClient:
    """MLflow's environment, as a Job has it: a run that is there already; but a database in place of a server."""
    address = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.chdir(tmp_path)  # its artifacts
    client = mlflow.MlflowClient(address)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "0")
    monkeypatch.setenv("MLFLOW_RUN_ID", client.create_run("0").info.run_id)
    return client


def run_script(monkeypatch: pytest.MonkeyPatch, data: Path, *arguments: str) -> None:
    monkeypatch.setattr("sys.argv", ["train.py", "--data", str(data), *arguments])
    main()


@pytest.mark.filterwarnings("default")  # MLflow's libraries' own
def test_the_script_logs_a_model_that_the_server_serves(
    year: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged_to: mlflow.MlflowClient
) -> None:
    lake.write_week(year, 1, tmp_path / "data")
    run_script(monkeypatch, tmp_path / "data", "--trees", "30", "--leaves", "4", "--seed", "5")
    (run,) = logged_to.search_runs(["0"])
    assert (run.data.params["trees"], run.data.params["leaves"]) == ("30", "4")
    assert 0.5 < run.data.metrics["auc"] < 1
    (logged,) = logged_to.search_logged_models(["0"])
    folder = Path(logged.artifact_location.removeprefix("file://"))
    assert not [path for path in folder.rglob("*") if path.suffix in {".pkl", ".pickle"}]
    rows = lake.week_rows(year, 2)
    expected = lightgbm.Booster(model_file=str(folder / "model.lgb")).predict(rows[FEATURES])
    assert load(folder).predict(rows).tolist() == pytest.approx(expected.tolist(), abs=0)


def test_data_that_is_of_no_use_ends_with_65(
    year: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = lake.week_rows(year, 1)
    (tmp_path / "punctual").mkdir()
    rows[~rows[TARGET]].to_parquet(tmp_path / "punctual" / "week.parquet")
    for folder, sentence in (("none", "must have Parquet files"), ("punctual", "flights that were late")):
        with pytest.raises(SystemExit) as ended:
            run_script(monkeypatch, tmp_path / folder)
        assert ended.value.code == 65
        assert sentence in capsys.readouterr().err


def test_training_is_deterministic(year: pd.DataFrame) -> None:
    rows = lake.week_rows(year, 1)
    first, again = (fit(rows, Settings())[0].predict(rows[FEATURES]) for _ in range(2))
    assert first.tolist() == again.tolist()


@pytest.fixture(scope="module")
def months(year: pd.DataFrame) -> dict[str, Any]:
    """The first model's warnings, its rows by day, and those of a model retrained after week 27."""
    rows = year.assign(
        week=(year[TIME] - lake.EPOCH) // lake.WEEK + 1, day=(year[TIME] - lake.EPOCH) // timedelta(days=1)
    )
    promise = calibrate.outcome_slo()
    threshold = float(promise["falseNegativeRate"]["threshold"])
    last = calibrate.RETRAINED_AFTER[0]
    models = {"first": calibrate.learnt(rows, *calibrate.FIRST), "retrained": calibrate.learnt(rows, last - 8, last)}
    warned = {name: model.predict(rows[FEATURES]) >= threshold for name, model in models.items()}
    return {"rows": rows, "days": dict(iter(rows.groupby("day"))), "promise": promise} | warned


@pytest.mark.parametrize("start", ["2013-03-01", "2013-05-01"])
def test_the_replayed_spring_never_alarms_and_the_replayed_summer_does(months: dict[str, Any], start: str) -> None:
    """Whichever day of the week the cohorts begin on."""
    options = Namespace(
        max=float(months["promise"]["max"]), min_samples=int(months["promise"]["minSamples"]), sample=SAMPLE
    )
    for phase in range(calibrate.PHASES):
        when = calibrate.alarm(months["days"], months["first"], moment(start), (SEED, phase), options)
        assert moment("2013-06-01") < when <= moment("2013-07-23")


def test_a_retrained_model_is_visibly_better_in_the_weeks_that_follow(months: dict[str, Any]) -> None:
    rows = months["rows"]
    for week in range(28, 36):
        late = rows.index[(rows["week"] == week) & rows[TARGET]]
        missed = {name: 1 - months[name][late].mean() for name in ("first", "retrained")}
        assert missed["retrained"] < missed["first"] - 0.15


def manifest(example: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((example / name).read_text())
    return found


def test_the_manifests_are_of_one_mind(example: Path) -> None:
    """Gates and promise share the threshold; a cohort is a week of the replay; the bad one differs in its server."""
    good, bad = manifest(example, "modeldeployment.yaml"), manifest(example, "bad/modeldeployment.yaml")
    spec = good["spec"]
    promise = calibrate.outcome_slo()
    gates = [manifest(example, "trainingrun.yaml")["spec"]["gate"], spec["retraining"]["template"]["gate"]]
    thresholds = {OneMetric.model_validate(metric).member().threshold for gate in gates for metric in gate["metrics"]}
    assert thresholds == {promise["falseNegativeRate"]["threshold"]}
    replayer = next(iter(yaml.safe_load_all((example / "lake.yaml").read_text().split("---")[1])))
    arguments = dict(
        word.lstrip("-").split("=") for word in replayer["spec"]["template"]["spec"]["containers"][0]["args"][:-1]
    )
    assert int(arguments["seconds-per-week"]) == spec["monitoring"]["cohortSeconds"]
    window = timedelta(seconds=spec["retraining"]["template"]["window"]["lastSeconds"])
    assert window == (calibrate.LEARNT_WEEKS + 1) * lake.WEEK
    first = manifest(example, "trainingrun.yaml")["spec"]["window"]
    assert [lake.week_of(moment(first[end][:-1])) for end in ("from", "to")] == [
        calibrate.FIRST[0],
        calibrate.FIRST[1] + 1,
    ]
    assert {key: value for key, value in bad["spec"]["server"].items() if key not in {"image", "command"}} == spec[
        "server"
    ]
    assert bad["spec"] | {"server": spec["server"]} == spec
