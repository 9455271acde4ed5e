"""`check`, as a process, on real files."""

import json
import os
import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from worker_process import Worker, write_parquet

from perennial.api.messages.check import CheckReport
from perennial.families.expectations import kinds
from perennial.terms.finding import Finding
from perennial.terms.part import exactly_one_of
from perennial.terms.words import Verdict
from perennial.worker.check import check, fitted, requested
from perennial.worker.errors import BadArguments, StorageFailed, Unavailable
from perennial.worker.manifest import Manifest
from perennial.worker.report import MESSAGE_BYTES, Progress, encoded
from perennial.worker.snapshots import Snapshots, storage_errors

WEEK = [datetime(2013, 1, day, 12, 30, tzinfo=UTC) for day in (1, 2, 3)]
SCHEMA = {
    "target": "late",
    "time": "at",
    "columns": [
        {"name": "late", "type": "Boolean", "nullable": False},
        {"name": "at", "type": "Timestamp", "nullable": False},
        {"name": "distance", "type": "Float"},
        {"name": "hour", "type": "Integer"},
        {"name": "carrier", "type": "String"},
    ],
}


def good(**changed: Any) -> dict[str, Any]:
    columns = {
        "late": [True, False, True],
        "at": pa.array(WEEK, pa.timestamp("us", "UTC")),
        "distance": [100.0, None, 2500.5],
        "hour": [5, 6, 7],
        "carrier": ["AA", "UA", None],
    }
    return {name: values for name, values in (columns | changed).items() if values is not None}


def spec(*expectations: dict[str, Any], **schema: Any) -> str:
    request = {"dataset": "weeks", "format": {"parquet": {}}, "schema": SCHEMA | schema, "expectations": expectations}
    return json.dumps(request)


def expectation(name: str, **what: Any) -> dict[str, Any]:
    return {"name": name, **what}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write_parquet(tmp_path / "lake" / "weeks" / "week-01.parquet", good())
    return tmp_path / "lake" / "weeks"


@pytest.fixture
def snapshots(tmp_path: Path) -> Path:
    return tmp_path / "snapshots"


def run(source: Path, snapshots: Path, text: str) -> dict[str, Any]:
    return check(source, snapshots, requested(text)).json_data()


def files_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {".lock"}


def test_a_good_folder_becomes_a_version(worker: Worker, source: Path, snapshots: Path) -> None:
    ended = worker(
        "check",
        "--source",
        source,
        "--snapshots",
        snapshots,
        "--spec",
        spec(expectation("labelled", column="late", notNull={})),
    )
    assert ended.code == 0
    digest = ended.message.pop("digest")
    size = (source / "week-01.parquet").stat().st_size
    assert ended.message == {
        "rows": 3,
        "bytes": size,
        "files": 1,
        "from": "2013-01-01T12:30:00Z",
        "to": "2013-01-03T12:30:00Z",
        "violated": 0,
        "passed": 1,
        "warned": 0,
        "failed": 0,
        "violations": [],
        "unmet": [],
    }
    manifest = Snapshots(snapshots).manifest(digest)
    assert [entry.path for entry in manifest.entries] == ["week-01.parquet"]
    with Snapshots(snapshots).verified(manifest.entries[0]) as stream:
        assert stream.read() == (source / "week-01.parquet").read_bytes()


def test_a_second_check_changes_nothing_on_the_volume(source: Path, snapshots: Path) -> None:
    first = run(source, snapshots, spec())
    before = {path: path.stat().st_mtime_ns for path in snapshots.rglob("*") if path.is_file() and path.name != ".lock"}
    assert run(source, snapshots, spec()) == first
    after = {path: path.stat().st_mtime_ns for path in snapshots.rglob("*") if path.is_file() and path.name != ".lock"}
    assert after == before


def test_a_new_file_makes_a_new_version_and_shares_the_old_content(source: Path, snapshots: Path) -> None:
    first = run(source, snapshots, spec())
    write_parquet(source / "week-02.parquet", good(hour=[8, 9, 10]))
    second = run(source, snapshots, spec())
    assert second["digest"] != first["digest"]
    assert (second["files"], second["rows"]) == (2, 6)
    assert len(files_of(snapshots / "objects")) == 2
    assert len(files_of(snapshots / "manifests")) == 2


def test_unfinished_and_internal_files_are_no_data(source: Path, snapshots: Path) -> None:
    first = run(source, snapshots, spec())
    for name in (
        ".week-02.parquet",
        "_week-02.parquet",
        "week-02.parquet.tmp",
        "README.md",
        "_temporary/week-02.parquet",
        ".x/w.parquet",
    ):
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_bytes(b"not yet")
    assert run(source, snapshots, spec()) == first


@pytest.mark.parametrize(
    ("changed", "column", "must", "so"),
    [
        ({"carrier": None}, "carrier", "be there, of type String", "has none"),
        ({"hour": ["5", "6", "7"]}, "hour", "be of type Integer", "holds string"),
        ({"hour": [5.0, 6.0, 7.0]}, "hour", "be of type Integer", "holds double"),
        ({"distance": [1, 2, 3]}, "distance", "be of type Float", "holds int64"),
        ({"late": [1, 0, 1]}, "late", "be of type Boolean", "holds int64"),
        ({"at": ["2013-01-01", "2013-01-02", "2013-01-03"]}, "at", "be of type Timestamp", "holds string"),
        ({"late": [True, None, False]}, "late", "not have missing values", "has 1 in 3 rows"),
        ({"late": pa.nulls(3)}, "late", "be of type Boolean", "holds null"),
    ],
)
def test_what_the_schema_forbids_is_told(
    source: Path, snapshots: Path, changed: dict[str, Any], column: str, must: str, so: str
) -> None:
    write_parquet(source / "week-02.parquet", good(**changed))
    result = run(source, snapshots, spec())
    message = f"column {column} must {must}, but week-02.parquet {so}"
    finding = {"name": f"schema/{column}", "verdict": "Fail", "reason": "SchemaViolated", "message": message}
    assert (result["violated"], result["violations"]) == (1, [finding])


def test_a_column_that_is_there_twice_is_told(source: Path, snapshots: Path) -> None:
    names, arrays = zip(*good().items(), strict=True)
    twice = pa.Table.from_arrays([pa.array(values) for values in (*arrays, [1, 2, 3])], [*names, "hour"])
    pq.write_table(twice, source / "week-02.parquet")
    (finding,) = run(source, snapshots, spec())["violations"]
    assert finding["message"] == "column hour must be there once, but week-02.parquet has it several times"


def test_integers_strings_and_times_may_be_stored_in_many_ways(source: Path, snapshots: Path) -> None:
    other = good(
        carrier=pa.array(["AA", "UA", None]).dictionary_encode(),
        hour=pa.array([5, 6, 7], pa.uint8()),
        distance=pa.array([1.0, 2.0, 3.0], pa.float32()),
        at=pa.array([moment.replace(tzinfo=None) for moment in WEEK], pa.timestamp("ns")),
    )
    write_parquet(source / "week-02.parquet", other)
    write_parquet(source / "week-03.parquet", good(carrier=pa.nulls(3)))
    result = run(source, snapshots, spec())
    assert result["violations"] == []
    assert result["from"] == "2013-01-01T12:30:00Z"


def test_the_same_fault_in_many_files_is_told_once(source: Path, snapshots: Path) -> None:
    for week in range(2, 30):
        write_parquet(source / f"week-{week:02}.parquet", good(carrier=None))
    result = run(source, snapshots, spec())
    (finding,) = result["violations"]
    assert finding["message"] == (
        "column carrier must be there, of type String, but week-02.parquet has none, and 27 more files alike"
    )


def test_at_most_eight_violations_are_told(source: Path, snapshots: Path) -> None:
    columns = [*SCHEMA["columns"], *({"name": f"x{index}", "type": "Float"} for index in range(20))]  # type: ignore[misc]
    result = run(source, snapshots, spec(columns=columns))
    assert [item["name"] for item in result["violations"]] == [f"schema/x{index}" for index in range(8)]
    assert result["violated"] == 20


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ({"column": "late", "notNull": {}}, None),
        ({"column": "carrier", "notNull": {}}, "carrier must not have missing values, but 1 of 3 are missing"),
        ({"column": "distance", "range": {"min": "100", "max": "2500.5"}}, None),
        (
            {"column": "distance", "range": {"max": "2500.499999999"}},
            "distance must be at most 2500.499999999, but goes from 100 to 2500.5",
        ),
        ({"column": "hour", "range": {"min": "5"}}, None),
        ({"column": "hour", "range": {"min": "5.5"}}, "hour must be at least 5.5, but goes from 5 to 7"),
        (
            {"column": "carrier", "range": {"min": "5"}},
            "column carrier must be there once, of type Integer or Float, but week-01.parquet holds string",
        ),
        (
            {"column": "nowhere", "notNull": {}},
            "column nowhere must be there once, but week-01.parquet has none",
        ),
        ({"rowCount": {"min": 3, "max": 3}}, None),
        ({"rowCount": {"min": 4}}, "rows must number at least 4, but there are 3"),
        ({"rowCount": {"max": 2}}, "rows must number at most 2, but there are 3"),
    ],
)
def test_expectations_are_judged(source: Path, snapshots: Path, what: dict[str, Any], message: str | None) -> None:
    result = run(source, snapshots, spec(expectation("it", severity="Warn", **what)))
    assert [finding["message"] for finding in result["unmet"]] == ([] if message is None else [message])
    assert (result["passed"], result["warned"], result["failed"]) == (int(message is None), int(message is not None), 0)


def test_the_file_that_is_at_fault_is_named(source: Path, snapshots: Path) -> None:
    write_parquet(source / "week-02.parquet", good(hour=[8, 9, 99]))
    what = [
        expectation("hours", column="hour", range={"max": "24"}),
        expectation("known", column="carrier", notNull={}),
        expectation("many", rowCount={"min": 7}),
    ]
    assert [finding["message"] for finding in run(source, snapshots, spec(*what))["unmet"]] == [
        "hour must be at most 24, but goes from 5 to 99 (week-02.parquet)",
        "carrier must not have missing values, but 2 of 6 are missing (week-01.parquet)",
        "rows must number at least 7, but there are 6",
    ]


def test_nan_is_a_missing_value(source: Path, snapshots: Path) -> None:
    write_parquet(source / "week-01.parquet", good(distance=[1.0, float("nan"), None]))
    what = [
        expectation("there", column="distance", notNull={}),
        expectation("small", column="distance", range={"max": "2"}),
    ]
    result = run(source, snapshots, spec(*what))
    assert [(finding["name"], finding["value"]) for finding in result["unmet"]] == [("there", "2")]
    assert result["passed"] == 1


def test_what_blocks_is_told_before_what_warns(source: Path, snapshots: Path) -> None:
    what = [
        expectation("first", rowCount={"min": 4}, severity="Warn"),
        expectation("second", rowCount={"min": 5}),
    ]
    result = run(source, snapshots, spec(*what))
    assert [finding["name"] for finding in result["unmet"]] == ["second", "first"]
    assert (result["failed"], result["warned"]) == (1, 1)


@pytest.mark.parametrize(
    ("item", "sentence"),
    [
        ({"column": "late", "neverHeardOf": {}}, "expectations[1].neverHeardOf: is not known to this release"),
        (
            {"column": "hour", "range": {"min": "1", "tolerance": "0.1"}},
            "expectations[1].range.tolerance: is not known",
        ),
        ({"column": "hour", "notNull": {}, "groupBy": ["hour"]}, "expectations[1].groupBy: is not known"),
        ({"column": "hour", "notNull": {}, "severity": "Fatal"}, "expectations[1].severity: must be 'Error' or 'Warn'"),
        ({"column": "hour"}, exactly_one_of(*kinds())[1]),
        ({"notNull": {}}, "notNull needs a column"),
        ({"column": "hour", "rowCount": {"min": 1}}, "rowCount must not have a column"),
    ],
)
def test_what_it_does_not_know_it_refuses_by_name_and_judges_as_nothing_else(
    worker: Worker, source: Path, snapshots: Path, item: dict[str, Any], sentence: str
) -> None:
    text = spec(expectation("enough", rowCount={"min": 1}), expectation("it", **item))
    ended = worker("check", "--source", source, "--snapshots", snapshots, PERENNIAL_DATASET=text)
    assert (ended.code, set(ended.message)) == (64, {"error"})
    assert sentence in ended.message["error"]
    assert not snapshots.exists()


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"format": {"csv": {"delimiter": ";"}}}, "format.csv: is not known to this release"),
        ({"files": ["*.parquet"]}, "files: is not known to this release"),
        ({"schema": SCHEMA | {"group": "carrier"}}, "schema.group: is not known to this release"),
        ({"schema": SCHEMA | {"columns": [{"name": "a", "type": "List"}]}}, "schema.columns[0].type: must be "),
    ],
)
def test_a_request_that_it_does_not_wholly_know_is_refused(changed: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadArguments, match=re.escape(sentence)):
        requested(json.dumps(json.loads(spec()) | changed))


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (spec(expectation("enough", rowCount={"min": 4}, severity="Warn")), True),
        (spec(expectation("enough", rowCount={"min": 4}, severity="Error")), False),
        (spec(columns=[*SCHEMA["columns"], {"name": "wind", "type": "Float"}]), False),  # type: ignore[misc]
    ],
)
def test_data_that_is_not_fit_is_not_kept(source: Path, snapshots: Path, text: str, *, kept: bool) -> None:
    result = run(source, snapshots, text)
    assert result["rows"] == 3
    assert bool(files_of(snapshots)) is kept


@pytest.mark.parametrize(
    ("prepare", "sentence"),
    [
        (lambda source: (source / "week-01.parquet").unlink(), "must contain at least one *.parquet file"),
        (
            lambda source: (source / "week-01.parquet").write_bytes(b"PAR1 but not really"),
            "week-01.parquet must be a Parquet file",
        ),
        (
            lambda source: (source / "week-02.parquet").symlink_to("/etc/hostname"),
            "must not be a link to something outside",
        ),
        (lambda source: source.rename(source.with_name("elsewhere")), "must have a folder 'weeks'"),
        (lambda source: (source / "a\nb.parquet").write_bytes(b""), "without line breaks"),
    ],
)
def test_a_source_that_is_no_data_ends_with_65(
    worker: Worker, source: Path, snapshots: Path, prepare: Any, sentence: str
) -> None:
    prepare(source)
    ended = worker("check", "--source", source, "--snapshots", snapshots, PERENNIAL_DATASET=spec())
    assert (ended.code, set(ended.message)) == (65, {"error"})
    assert sentence in ended.message["error"]
    assert files_of(snapshots) == set()


def test_a_truncated_file_is_refused(worker: Worker, source: Path, snapshots: Path) -> None:
    content = bytearray((source / "week-01.parquet").read_bytes())
    content[4:60] = b"\0" * 56
    (source / "week-01.parquet").write_bytes(content)
    ended = worker("check", "--source", source, "--snapshots", snapshots, "--spec", spec())
    assert ended.code == 65
    assert "week-01.parquet must be a Parquet file" in ended.message["error"]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["check"],
        ["check", "--source", "x", "--snapshots", "y", "--spec", "{"],
        ["check", "--source", "x", "--snapshots", "y", "--spec", "{}"],
        ["paint"],
    ],
)
def test_bad_arguments_end_with_64(worker: Worker, arguments: list[str]) -> None:
    ended = worker(*arguments)
    assert (ended.code, set(ended.message)) == (64, {"error"})


def test_a_spec_says_what_is_wrong_with_it() -> None:
    with pytest.raises(
        BadArguments, match=r"dataset: must be given; format: must be given; schema\.columns: must have"
    ):
        requested('{"schema": {"target": "late", "columns": []}}')


def test_only_one_check_writes_at_a_time(source: Path, snapshots: Path) -> None:
    with Snapshots(snapshots).writing(), pytest.raises(Unavailable, match="another check"):
        run(source, snapshots, spec())


def test_a_volume_that_cannot_be_written_is_told(source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StorageFailed, match="must be writable"):
        run(source, tmp_path / "file", spec())


def test_a_full_volume_is_told(source: Path) -> None:
    """/dev/full answers every write with "No space left on device"."""
    with (
        pytest.raises(StorageFailed, match="must be writable and have room: No space left"),
        storage_errors(Path("/dev/full")),
        Path("/dev/full").open("wb", buffering=0) as full,
    ):
        full.write((source / "week-01.parquet").read_bytes())


def test_a_damaged_object_is_replaced(source: Path, snapshots: Path) -> None:
    run(source, snapshots, spec())
    (stored,) = (path for path in (snapshots / "objects").rglob("*") if path.is_file())
    stored.chmod(0o644)
    stored.write_bytes(b"half")
    run(source, snapshots, spec())
    assert stored.read_bytes() == (source / "week-01.parquet").read_bytes()


def test_killed_at_any_moment_it_leaves_only_complete_versions(source: Path, snapshots: Path) -> None:
    """A check is killed before the n-th change of a file, for every n; each time what is there must be whole."""
    for week in range(2, 4):
        write_parquet(source / f"week-{week:02}.parquet", good(hour=[week] * 3))
    command = [sys.executable, str(Path(__file__).with_name("kill_checks.py")), source, snapshots, spec()]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 0, ended.stderr
    killed = json.loads(ended.stdout)
    assert killed[-1] is False
    assert len(killed) >= 12
    assert all(killed[:-1])
    assert not (snapshots / "staging").exists()
    assert len(Snapshots(snapshots).manifest(run(source, snapshots, spec())["digest"]).entries) == 3


def test_a_file_that_disappears_while_it_is_read_begins_again(
    source: Path, snapshots: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from perennial.worker import check as module

    listings = []

    def listed(folder: Path, _suffix: str) -> dict[str, Path]:
        listings.append(folder)
        gone = {"week-00.parquet": folder / "week-00.parquet"} if len(listings) == 1 else {}
        return gone | {"week-01.parquet": folder / "week-01.parquet"}

    monkeypatch.setattr(module, "data_files", listed)
    assert run(source, snapshots, spec())["files"] == 1
    assert len(listings) == 2
    assert "beginning again" in capsys.readouterr().err


def found(name: str, message: str) -> Finding:
    return Finding(name=name, verdict=Verdict.FAIL, reason="OutOfRange", message=message, value="1", samples=10**9)


@pytest.mark.parametrize("characters", ["x", "é", "\\"])
def test_the_report_always_fits(source: Path, snapshots: Path, characters: str) -> None:
    names = [f"{characters * 100}{index}" for index in range(100)]
    text = spec(
        *(expectation(f"e{index}", column=name[:128], notNull={}) for index, name in enumerate(names)),
        columns=[*SCHEMA["columns"], *({"name": name, "type": "Float"} for name in names)],  # type: ignore[misc]
    )
    result = run(source, snapshots, text)
    assert len(encoded(result)) <= MESSAGE_BYTES
    assert (result["violated"], result["failed"], len(result["violations"])) == (100, 100, 8)
    assert CheckReport.model_validate(result).json_data() == result


def test_of_findings_that_do_not_fit_the_last_are_left_out_but_counted() -> None:
    unmet = tuple(found(f"expectation-{index}", "m" * 200) for index in range(100))
    whole = CheckReport(digest="sha256:" + "0" * 64, rows=1, bytes=1, files=1, failed=60, warned=40, unmet=unmet)
    made = fitted(whole)
    assert len(encoded(made.json_data())) <= MESSAGE_BYTES
    assert made.unmet == unmet[: len(made.unmet)]
    assert len(made.unmet) >= 8
    assert made.but(unmet=unmet) == whole


def test_a_report_that_fits_is_left_as_it_is() -> None:
    whole = CheckReport(digest="sha256:" + "0" * 64, rows=1, bytes=1, files=1, failed=1, unmet=(found("a", "b"),))
    assert fitted(whole) is whole


def test_sigterm_ends_it_promptly(source: Path, snapshots: Path, tmp_path: Path) -> None:
    """The first process of a container gets no default for SIGTERM; here a FIFO keeps the check waiting for data."""
    os.mkfifo(source / "week-02.parquet")
    command = [
        sys.executable,
        "-m",
        "perennial.worker",
        "check",
        "--source",
        source,
        "--snapshots",
        snapshots,
        "--spec",
        spec(),
    ]
    environment = os.environ | {"PERENNIAL_TERMINATION_LOG": str(tmp_path / "log")}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not (snapshots / "staging").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert (snapshots / "staging").exists()
        process.terminate()
        assert process.wait(timeout=20) == 143


def test_manifests_name_what_was_copied_not_what_was_listed(source: Path, snapshots: Path) -> None:
    digest = run(source, snapshots, spec())["digest"]
    assert (
        Manifest.parse((snapshots / "manifests" / digest.removeprefix("sha256:")).read_bytes(), digest).size
        == (source / "week-01.parquet").stat().st_size
    )


def test_long_work_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = iter([0.0, 1.0, 3.0, 4.0, 6.0])
    monkeypatch.setattr("perennial.worker.report.time.monotonic", lambda: next(now))
    progress = Progress("reading", 8_000_000, (1e6, "MB"))
    for _ in range(4):
        progress.add(2_000_000)
    assert capsys.readouterr().err.splitlines() == [
        "reading: 4 of 8 MB, about 3 s left",
        "reading: 8 of 8 MB, about 0 s left",
    ]
