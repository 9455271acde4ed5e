"""Data that is odd, as it comes in the field: a version, or a sentence with file, column, value and what must hold."""

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from worker_process import Worker

from perennial.api.messages.check import CheckReport
from perennial.worker import moments
from perennial.worker.check import check, requested
from perennial.worker.errors import BadData

N = 400
TIMES = [datetime(2026, 1, 1) + timedelta(hours=i) for i in range(N)]  # noqa: DTZ001 - as a script writes them
SPEC = {
    "dataset": "d01",
    "format": {"parquet": {}},
    "schema": {
        "target": "y",
        "time": "at",
        "columns": [
            {"name": "at", "type": "Timestamp"},
            {"name": "x", "type": "Float"},
            {"name": "n", "type": "Integer"},
            {"name": "y", "type": "Boolean", "nullable": False},
        ],
    },
    "expectations": [{"name": "r", "column": "x", "range": {"min": "-100"}}],
}


def base() -> dict[str, pa.Array]:
    rng = np.random.default_rng(1)
    return {
        "at": pa.array(TIMES, pa.timestamp("us")),
        "x": pa.array(rng.normal(size=N)),
        "n": pa.array(rng.integers(0, 50, N)),
        "y": pa.array(rng.random(N) < 0.3),
    }


def with_value(column: str, index: int, value: Any) -> dict[str, pa.Array]:
    """Return the base with one value replaced; of a column of moments, by its count of microseconds."""
    columns = base()
    kind = columns[column].type
    plain = columns[column].cast(pa.int64()) if pa.types.is_timestamp(kind) else columns[column]
    values = plain.to_pylist()
    values[index] = value
    columns[column] = pa.array(values, plain.type).cast(kind)
    return columns


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    (tmp_path / "d01").mkdir()
    return tmp_path / "d01"


def write(file: Path, columns: dict[str, pa.Array]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), file)


def checked(lake: Path, **changed: Any) -> CheckReport:
    report = check(lake, lake.parent / "snapshots", requested(json.dumps(SPEC | changed)))
    assert CheckReport.model_validate_json(json.dumps(report.json_data())) == report, (
        "the operator reads its own report"
    )
    assert (lake.parent / "snapshots" / "manifests").exists() is report.fit
    return report


def test_data_with_nothing_odd_is_a_version(lake: Path) -> None:
    write(lake / "a.parquet", base())
    report = checked(lake)
    assert report.fit
    assert (report.from_, report.to) == (TIMES[0].replace(tzinfo=UTC), TIMES[-1].replace(tzinfo=UTC))


def microseconds(*when: int) -> int:
    return (datetime(*when, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)  # type: ignore[misc, arg-type]


@pytest.mark.parametrize(
    ("index", "count", "told"),
    [
        pytest.param(0, microseconds(1, 1, 1), "0001-01-01T00:00:00Z", id="the first of January of year 1: no date"),
        pytest.param(-1, 2**63 - 1, "+294247-01-10T04:00:54Z", id="infinity of a database"),
        pytest.param(0, -(2**63), "-290308-12-21T19:59:05Z", id="minus infinity of a database"),
        pytest.param(-1, microseconds(9999, 12, 31), "9999-12-31T00:00:00Z", id="the last day of year 9999: for ever"),
        pytest.param(-1, microseconds(2262, 1, 1), "2262-01-01T00:00:00Z", id="a moment too late for 64 bits"),
        pytest.param(0, microseconds(1677, 12, 31), "1677-12-31T00:00:00Z", id="a moment too early for 64 bits"),
    ],
)
def test_a_time_that_is_none_is_no_event_time(lake: Path, index: int, count: int, told: str) -> None:
    write(lake / "a.parquet", base())
    write(lake / "b.parquet", with_value("at", index, count))
    report = checked(lake)
    (finding,) = report.violations
    assert (finding.name, finding.reason) == ("schema/at", "SchemaViolated")
    assert finding.message == (
        "column at must have event times of the years 1678 to 2261, and none where it is not known, "
        f"but b.parquet has {told}"
    )
    assert (report.from_, report.to) == (None, None)


def test_moments_that_have_no_unit_of_their_own_are_no_others(lake: Path) -> None:
    """INT96, as Spark and Hive wrote for years: as nanoseconds, the year 9999 would be a day of 1815."""
    lake.mkdir(parents=True, exist_ok=True)
    with_forever = with_value("at", -1, microseconds(9999, 12, 31))
    pq.write_table(pa.table(with_forever), lake / "a.parquet", use_deprecated_int96_timestamps=True)
    (finding,) = checked(lake).violations
    assert finding.message.endswith("but a.parquet has 9999-12-31T00:00:00Z")
    pq.write_table(pa.table(base()), lake / "a.parquet", use_deprecated_int96_timestamps=True)
    report = checked(lake)
    assert report.fit
    assert (report.from_, report.to) == (TIMES[0].replace(tzinfo=UTC), TIMES[-1].replace(tzinfo=UTC))


@pytest.mark.parametrize("count", [microseconds(1678, 1, 1), microseconds(2261, 12, 31), None])
def test_old_and_late_times_and_missing_ones_are_event_times(lake: Path, count: int | None) -> None:
    write(lake / "a.parquet", with_value("at", 0, count))
    assert checked(lake).fit


def test_a_time_that_is_none_may_be_in_another_column(lake: Path) -> None:
    """Only event times decide which rows a run sees."""
    columns = base() | {"until": with_value("at", -1, 2**63 - 1)["at"]}
    write(lake / "a.parquet", columns)
    schema = {**SPEC["schema"], "columns": [*SPEC["schema"]["columns"], {"name": "until", "type": "Timestamp"}]}  # type: ignore[dict-item, index, misc]
    assert checked(lake, schema=schema, expectations=[{"name": "u", "column": "until", "notNull": {}}]).fit


@pytest.mark.parametrize("files", [1, 3])
def test_no_rows_are_no_version_whatever_is_expected(lake: Path, files: int) -> None:
    for number in range(files):
        pq.write_table(pa.table(base()).slice(0, 0), lake / f"{number}.parquet")
    report = checked(lake, expectations=[])
    more = "" if files == 1 else f" and {files - 1} more files"
    (finding,) = report.violations
    assert (finding.name, finding.reason) == ("schema/*", "NoRows")
    assert finding.message == f"the data must have rows, but there is none in 0.parquet{more}"


def test_a_file_without_rows_beside_others_is_nothing_odd(lake: Path) -> None:
    write(lake / "a.parquet", base())
    pq.write_table(pa.table(base()).slice(0, 0), lake / "b.parquet")
    assert checked(lake).rows == N


def test_no_event_time_at_all_is_no_version(lake: Path) -> None:
    write(lake / "a.parquet", base() | {"at": pa.nulls(N, pa.timestamp("us"))})
    report = checked(lake)
    (finding,) = report.violations
    assert (finding.name, finding.reason) == ("schema/at", "EventTimesMissing")
    assert finding.message == "column at must have event times, but there is none in a.parquet"


def test_event_times_in_one_of_the_files_are_enough(lake: Path) -> None:
    write(lake / "a.parquet", base() | {"at": pa.nulls(N)})
    write(lake / "b.parquet", base())
    assert checked(lake).to == TIMES[-1].replace(tzinfo=UTC)


def test_a_schema_without_time_asks_for_none(lake: Path) -> None:
    write(lake / "a.parquet", base() | {"at": pa.nulls(N, pa.timestamp("us"))})
    schema = {**SPEC["schema"]}  # type: ignore[dict-item]
    del schema["time"]
    report = checked(lake, schema=schema)
    assert (report.fit, report.from_) == (True, None)


def test_floats_of_16_bits_are_refused_by_column(lake: Path) -> None:
    write(lake / "a.parquet", base() | {"x": pa.array(np.zeros(N, np.float16))})
    report = checked(lake)
    assert [(each.name, each.message) for each in (*report.violations, *report.unmet)] == [
        (
            "schema/x",
            "column x must be of type Float, but a.parquet holds halffloat: write it as float or double",
        ),
        (
            "r",
            "column x must be there once, of type Integer or Float, but a.parquet holds halffloat",
        ),
    ]


def test_a_link_that_leads_nowhere_is_named(worker: Worker, lake: Path) -> None:
    write(lake / "a.parquet", base())
    (lake / "b.parquet").symlink_to(".annex/objects/xx/gone.parquet")
    ended = worker(
        "check", "--source", lake, "--snapshots", lake.parent / "snapshots", PERENNIAL_DATASET=json.dumps(SPEC)
    )
    assert ended.code == 65
    assert ended.message["error"] == (
        "b.parquet must lead to a file, but is a link to .annex/objects/xx/gone.parquet, which is not there"
    )


def test_a_link_that_leads_to_itself_is_named(lake: Path) -> None:
    write(lake / "a.parquet", base())
    (lake / "b.parquet").symlink_to("b.parquet")
    with pytest.raises(
        BadData, match=r"^b\.parquet must lead to a file, but is a link to b\.parquet, which leads back"
    ):
        checked(lake)


def test_a_link_to_a_file_of_the_source_is_data(lake: Path) -> None:
    write(lake / "a.parquet", base())
    (lake / "b.parquet").symlink_to("a.parquet")
    assert checked(lake).rows == 2 * N


def test_a_folder_that_cannot_be_read_is_told(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files would be missing without a word."""
    write(lake / "a.parquet", base())
    walk = os.walk

    def refused(top: Path, onerror: Callable[[OSError], None]) -> Any:
        onerror(PermissionError(13, "Permission denied", str(top / "secret")))
        return walk(top, onerror=onerror)

    monkeypatch.setattr("perennial.worker.source.os.walk", refused)
    with pytest.raises(BadData, match=r"the source must be readable, but .*/secret is not: Permission denied"):
        checked(lake)


def test_a_folder_that_is_lost_meanwhile_begins_again(
    lake: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(lake / "a.parquet", base())
    walk, walks = os.walk, []

    def lost_once(top: Path, onerror: Callable[[OSError], None]) -> Any:
        walks.append(top)
        if len(walks) == 1:
            onerror(FileNotFoundError(2, "No such file or directory", str(top / "gone")))
        return walk(top, onerror=onerror)

    monkeypatch.setattr("perennial.worker.source.os.walk", lost_once)
    assert checked(lake).fit
    assert len(walks) == 2
    assert "gone disappeared" in capsys.readouterr().err


def test_a_folder_that_is_called_like_a_file_holds_files(lake: Path) -> None:
    folder = lake / "rows.parquet"
    for number in range(2):
        write(folder / f"part-0000{number}-c{number}.snappy.parquet", base())
    (folder / "_SUCCESS").touch()
    (folder / ".part-00000-c0.snappy.parquet.crc").write_bytes(b"crc")
    report = checked(lake)
    assert (report.fit, report.files, report.rows) == (True, 2, 2 * N)


def test_whole_numbers_with_a_missing_value_are_whole_numbers(lake: Path) -> None:
    write(lake / "a.parquet", with_value("n", -3, None))
    assert checked(lake, expectations=[{"name": "n", "column": "n", "range": {"min": "0", "max": "49"}}]).fit


def test_moments_of_several_units_and_zones_are_one_column(lake: Path) -> None:
    write(lake / "a.parquet", base())
    other = pa.array([moment + timedelta(days=30) for moment in TIMES], pa.timestamp("ns", "America/New_York"))
    write(lake / "b.parquet", base() | {"at": other})
    report = checked(lake)
    assert report.from_ == TIMES[0].replace(tzinfo=UTC)
    assert report.to == TIMES[-1].replace(tzinfo=UTC) + timedelta(days=30)


def test_a_fault_of_the_worker_itself_is_told_in_a_sentence(
    lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from perennial.worker.__main__ import main

    def broken(*_: object) -> None:
        raise OverflowError("date value out of range")

    write(lake / "a.parquet", base())
    monkeypatch.setattr("perennial.worker.check.violations", broken)
    monkeypatch.setenv("PERENNIAL_TERMINATION_LOG", str(tmp_path / "log"))
    arguments = ["check", "--source", lake, "--snapshots", tmp_path / "snapshots", "--spec", json.dumps(SPEC)]
    assert main([str(argument) for argument in arguments]) == 70
    error = json.loads((tmp_path / "log").read_text())["error"]
    assert error.startswith("this is a fault of Perennial's worker, not of what it was given; please report it")
    assert "OverflowError in test_worker_check_odd_data.py, line" in error
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (-1, "1969-12-31T23:59:59Z"),
        (microseconds(2000, 2, 29, 23, 59, 59) * 1000, "2000-02-29T23:59:59Z"),
        (microseconds(1, 1, 1) * 1000 - 1, "0000-12-31T23:59:59Z"),
        (253402300800 * 10**9, "+10000-01-01T00:00:00Z"),
        (-62167219201 * 10**9, "-0001-12-31T23:59:59Z"),
    ],
)
def test_any_moment_can_be_told(moment: int, text: str) -> None:
    assert moments.as_text(moment) == text
