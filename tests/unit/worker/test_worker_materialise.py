"""`materialise`, on versions that `check` made."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worker_process import Worker, write_parquet

from perennial.worker.check import check, requested
from perennial.worker.errors import BadArguments, BadData
from perennial.worker.materialise import Purpose, Rows, materialise
from perennial.worker.snapshots import Snapshots

START = datetime(2013, 1, 1, tzinfo=UTC)
REQUEST = requested(
    json.dumps(
        {
            "dataset": "weeks",
            "format": {"parquet": {}},
            "schema": {
                "target": "late",
                "time": "at",
                "columns": [{"name": "late", "type": "Boolean"}, {"name": "at", "type": "Timestamp"}],
            },
        }
    )
)


def hours(*numbers: float | None, kind: Any = None) -> dict[str, Any]:
    moments = [None if number is None else START + timedelta(hours=number) for number in numbers]
    return {
        "at": pa.array(moments, kind or pa.timestamp("us", "UTC")),
        "late": [True] * len(numbers),
        "hour": list(numbers),
    }


@pytest.fixture
def snapshots(tmp_path: Path) -> Path:
    return tmp_path / "snapshots"


@pytest.fixture
def digest(tmp_path: Path, snapshots: Path) -> str:
    """Three files with hours 0 to 9, 10 to 19 (in a folder) and 20 to 29."""
    source = tmp_path / "source"
    for index, name in enumerate(("a.parquet", "more/b.parquet", "c.parquet")):
        write_parquet(source / name, hours(*range(10 * index, 10 * index + 10)))
    return check(source, snapshots, REQUEST).digest


def at(hour: float) -> datetime:
    return START + timedelta(hours=hour)


def read_hours(folder: Path) -> list[float]:
    return sorted(hour for file in folder.rglob("*.parquet") for hour in pq.read_table(file)["hour"].to_pylist())


def test_the_rows_between_the_bounds_are_written_with_a_description(
    worker: Worker, snapshots: Path, digest: str, tmp_path: Path
) -> None:
    bounds = ["--time", "at", "--from", "2013-01-01T05:00:00+00:00", "--until", "2013-01-01T12:00:00Z"]
    arguments = ["--snapshots", snapshots, "--digest", digest, "--to", tmp_path / "data", *bounds, "--part", "train"]
    ended = worker("materialise", *arguments, PERENNIAL_DATASET_NAME="flights", PERENNIAL_TARGET="late")
    assert ended.code == 0
    assert read_hours(tmp_path / "data") == [*range(5, 12)]
    files = {
        path.relative_to(tmp_path / "data").as_posix() for path in (tmp_path / "data").rglob("*") if path.is_file()
    }
    assert files == {"a.parquet", "more/b.parquet", "_dataset.json"}
    assert json.loads((tmp_path / "data" / "_dataset.json").read_text()) == ended.message
    assert ended.message == {
        "dataset": "flights",
        "digest": digest,
        "from": "2013-01-01T05:00:00Z",
        "until": "2013-01-01T12:00:00Z",
        "part": "train",
        "rows": 7,
        "files": 2,
        "target": "late",
        "time": "at",
    }


def test_without_bounds_the_files_are_the_same_bytes(snapshots: Path, digest: str, tmp_path: Path) -> None:
    description = materialise(snapshots, digest, tmp_path / "data", Rows(), Purpose("train"))
    assert (description["rows"], description["files"]) == (30, 3)
    original = (tmp_path / "source" / "more" / "b.parquet").read_bytes()
    assert (tmp_path / "data" / "more" / "b.parquet").read_bytes() == original


def test_it_may_run_again_after_a_crash(snapshots: Path, digest: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    materialise(snapshots, digest, data, Rows("at", at(0), at(30)), Purpose("train"))
    (data / "_dataset.json").unlink()
    (data / ".materialising").touch()  # as if it had ended before the description
    materialise(snapshots, digest, data, Rows("at", at(0), at(3)), Purpose("train"))
    assert read_hours(data) == [0, 1, 2]


def test_a_folder_with_other_files_is_not_touched(worker: Worker, snapshots: Path, digest: str, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    arguments = ["--snapshots", snapshots, "--digest", digest, "--to", tmp_path, "--part", "train"]
    ended = worker("materialise", *arguments)
    assert ended.code == 64
    assert "must be an empty folder" in ended.message["error"]
    assert (tmp_path / "mine.txt").read_text() == "precious"


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
def test_bounds_hold_for_every_kind_of_timestamp(tmp_path: Path, unit: str, zone: str | None) -> None:
    write_parquet(tmp_path / "source" / "a.parquet", hours(0, 1, 2, None, 3, kind=pa.timestamp(unit, zone)))
    digest = check(tmp_path / "source", tmp_path / "snapshots", REQUEST).digest
    rows = Rows("at", at(1), at(3))
    assert materialise(tmp_path / "snapshots", digest, tmp_path / "data", rows, Purpose("test"))["rows"] == 2
    assert read_hours(tmp_path / "data") == [1, 2]


@settings(max_examples=40, deadline=None)
@given(
    seconds=st.lists(st.integers(-5000, 5000), min_size=1, max_size=30),
    cut=st.integers(-5_000_000_000, 5_000_000_000),
    unit=st.sampled_from(["s", "ms", "us"]),
)
def test_every_row_is_on_one_side_of_a_cut(
    tmp_path_factory: pytest.TempPathFactory, seconds: list[int], cut: int, unit: str
) -> None:
    """Whatever the bound, also one finer than the column's unit."""
    folder = tmp_path_factory.mktemp("cut")
    write_parquet(
        folder / "source" / "a.parquet", hours(*(second / 3600 for second in seconds), kind=pa.timestamp(unit, "UTC"))
    )
    digest = check(folder / "source", folder / "snapshots", REQUEST).digest
    bound = START + timedelta(microseconds=cut)

    def count(rows: Rows) -> int:
        try:
            return int(materialise(folder / "snapshots", digest, folder / "data", rows, Purpose("train"))["rows"])
        except BadData:
            return 0

    assert count(Rows("at", None, bound)) == sum(second * 10**6 < cut for second in seconds)
    assert count(Rows("at", bound, None)) == sum(second * 10**6 >= cut for second in seconds)


def test_an_altered_object_is_refused(worker: Worker, snapshots: Path, digest: str, tmp_path: Path) -> None:
    entry = Snapshots(snapshots).manifest(digest).entries[0]
    stored = Snapshots(snapshots).object_path(entry.sha256)
    content = bytearray(stored.read_bytes())
    content[20] ^= 1
    stored.chmod(0o644)
    stored.write_bytes(content)
    ended = worker(
        "materialise", "--snapshots", snapshots, "--digest", digest, "--to", tmp_path / "data", "--part", "train"
    )
    assert ended.code == 65
    assert "a.parquet was altered" in ended.message["error"]
    assert not (tmp_path / "data" / "_dataset.json").exists()


def test_a_missing_object_is_told(snapshots: Path, digest: str, tmp_path: Path) -> None:
    entry = Snapshots(snapshots).manifest(digest).entries[1]
    Snapshots(snapshots).object_path(entry.sha256).unlink()
    with pytest.raises(BadData, match=r"content of c\.parquet is missing"):
        materialise(snapshots, digest, tmp_path / "data", Rows(), Purpose("train"))


def test_what_cannot_be_had_ends_with_65(worker: Worker, snapshots: Path, digest: str, tmp_path: Path) -> None:
    common = ["materialise", "--snapshots", snapshots, "--to", tmp_path / "data", "--part", "test"]
    unknown = worker(*common, "--digest", "sha256:" + "0" * 64)
    assert unknown.code == 65
    assert "is not on the snapshot volume" in unknown.message["error"]
    later = worker(
        *common, "--digest", digest, "--time", "at", "--from", "2014-01-01T00:00:00Z", "--until", "2014-01-02T00:00:00Z"
    )
    assert later.code == 65
    assert "must have rows with at from 2014-01-01T00:00:00Z and before 2014-01-02T00:00:00Z" in later.message["error"]
    column = worker(*common, "--digest", digest, "--time", "when", "--from", "2013-01-01T00:00:00Z")
    assert column.code == 65
    assert "must have the time column 'when'" in column.message["error"]
    other = worker(*common, "--digest", digest, "--time", "hour", "--from", "2013-01-01T00:00:00Z")
    assert other.code == 65
    assert "must be of type Timestamp" in other.message["error"]


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        (["--part", "all"], "--part"),
        (["--part", "train", "--from", "2013-01-01T00:00:00Z"], "need --time"),
        (["--part", "train", "--time", "at", "--from", "2013-01-01T00:00:00"], "time zone"),
        (["--part", "train", "--time", "at", "--from", "yesterday"], "--from"),
        (["--part", "train", "--digest", "sha256:../../etc"], "64 hexadecimal digits"),
    ],
)
def test_bad_arguments_end_with_64(worker: Worker, tmp_path: Path, extra: list[str], sentence: str) -> None:
    common = ["materialise", "--snapshots", tmp_path, "--digest", "sha256:" + "0" * 64, "--to", tmp_path / "data"]
    ended = worker(*common, *extra)
    assert ended.code == 64
    assert sentence in ended.message["error"]


def test_bounds_must_be_in_order() -> None:
    with pytest.raises(BadArguments, match="before"):
        Rows("at", at(2), at(2))
