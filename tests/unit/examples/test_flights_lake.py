"""The lake: what is in it, and that it is the same every time."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import lake
import pandas as pd
import pytest
import yaml
from features import CARRIERS, DESTINATIONS, FEATURES, ORIGINS, TARGET, TIME, UNKNOWN, codes

from perennial.worker.check import check, requested


def test_every_flight_that_arrived_is_in_it_once(year: pd.DataFrame) -> None:
    assert len(year) == 327_346
    assert year["flight_id"].is_unique
    assert year[TIME].is_monotonic_increasing
    assert year[TIME].min() >= lake.EPOCH
    assert 0.2 < year[TARGET].mean() < 0.25


def test_categories_are_complete_and_fixed(year: pd.DataFrame) -> None:
    for name, categories in (("carrier", CARRIERS), ("origin", ORIGINS), ("destination", DESTINATIONS)):
        assert categories == sorted(set(categories))
        assert set(year[name]) <= set(categories)
    assert codes(pd.Series(["JFK", "Narnia", None]), ORIGINS).tolist() == [1, UNKNOWN, UNKNOWN]


def test_what_is_known_of_the_weather_is_an_hour_old(year: pd.DataFrame) -> None:
    """The first hour that was measured serves the flights of the hour after it."""
    early = year[year[TIME] < pd.Timestamp("2013-01-01T12:00Z")]
    assert early["wind_speed"].notna().all()
    measured = pd.read_csv(lake._folder() / "weather.csv")
    row = measured[(measured["origin"] == "EWR") & (measured["time_hour"] == "2013-01-01T10:00:00Z")].iloc[0]
    flight = early[(early["origin"] == "EWR") & (early["hour"] == 6)].iloc[0]
    assert flight["wind_speed"] == row["wind_speed"]


def test_weeks_divide_the_year_and_are_the_same_bytes_every_time(year: pd.DataFrame, tmp_path: Path) -> None:
    assert sum(len(lake.week_rows(year, week)) for week in range(1, 54)) == len(year)
    assert lake.week_of(lake.end_of(7)) == 8
    first, again = (lake.write_week(year, 9, tmp_path / name) for name in ("one", "two"))
    assert first.name == "week-09.parquet"
    assert first.read_bytes() == again.read_bytes()
    rows = pd.read_parquet(first)
    assert list(rows.columns) == lake.COLUMNS
    assert rows[TIME].between(lake.end_of(8), lake.end_of(9), inclusive="left").all()
    assert [path.name for path in first.parent.iterdir()] == ["week-09.parquet"]


def test_a_week_that_is_there_is_not_written_again(year: pd.DataFrame, tmp_path: Path) -> None:
    written = lake.write_week(year, 3, tmp_path).stat().st_mtime_ns
    assert lake.write_week(year, 3, tmp_path).stat().st_mtime_ns == written


@pytest.fixture(scope="module")
def dataset(example: Path) -> dict[str, Any]:
    spec: dict[str, Any] = yaml.safe_load((example / "dataset.yaml").read_text())["spec"]
    return spec


def test_the_lake_is_what_the_dataset_says(year: pd.DataFrame, dataset: dict[str, Any], tmp_path: Path) -> None:
    for week in (1, 26, 53):
        lake.write_week(year, week, tmp_path / "weeks")
    asked = {key: dataset[key] for key in ("schema", "expectations")}
    request = requested(json.dumps({"dataset": "flights", "format": {"parquet": {}}, **asked}))
    report = check(tmp_path / "weeks", tmp_path / "snapshots", request)
    assert (report.violations, report.unmet) == ((), ())
    assert report.passed == len(dataset["expectations"])
    assert {*FEATURES, TARGET, TIME} == {column["name"] for column in dataset["schema"]["columns"]}


def test_a_week_is_held_out(dataset: dict[str, Any]) -> None:
    assert timedelta(seconds=dataset["split"]["byTime"]["lastSeconds"]) == lake.WEEK
