"""Which release is the last, and what it held."""

import os
import subprocess
from pathlib import Path

import pytest

from cluster.errors import ClusterError
from cluster.last_release import last_release, unpack

RECORD = '[tool.perennial]\nlast-release = {{ version = "{}", commit = "{}" }}\n'


class Clone:
    """A small repository."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self.git("init", "--quiet")

    def git(self, *arguments: str) -> str:
        who = {f"GIT_{role}_{what}": "a@b" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        environment = {**os.environ, **who, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        command = ["git", "-C", str(self.path), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()

    def commit(self, text: str, *, record: str = "") -> str:
        (self.path / "crds").mkdir(exist_ok=True)
        (self.path / "crds" / "kind.yaml").write_text(text)
        (self.path / "pyproject.toml").write_text(record)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", text)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path / "clone")


def test_the_newest_tag_that_is_reachable(clone: Clone) -> None:
    for version in ("0.1.0", "0.2.0"):
        clone.commit(version, record=RECORD.format("0.0.1", "0" * 40))
        clone.git("tag", f"v{version}")
    clone.git("tag", "nightly", clone.commit("later", record=RECORD.format("0.0.1", "0" * 40)))
    found = last_release(clone.path)
    assert (found.version, found.commit) == ("0.2.0", clone.git("rev-parse", "v0.2.0^{commit}"))


def test_a_tag_of_another_branch_does_not_count(clone: Clone) -> None:
    first = clone.commit("first")
    clone.git("checkout", "--quiet", "-b", "other")
    clone.commit("other")
    clone.git("tag", "v9.0.0")
    clone.git("checkout", "--quiet", first)
    clone.commit("second", record=RECORD.format("0.1.0", first))
    assert last_release(clone.path).version == "0.1.0"


def test_the_record_where_there_is_no_tag(clone: Clone, tmp_path: Path) -> None:
    first = clone.commit("first")
    clone.commit("second", record=RECORD.format("0.1.0", first))
    found = last_release(clone.path)
    assert (found.version, found.commit) == ("0.1.0", first)
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "stale").touch()
    unpack(found, ["crds"], tmp_path / "to", clone.path)
    assert [path.name for path in (tmp_path / "to").rglob("*")] == ["crds", "kind.yaml"]
    assert (tmp_path / "to" / "crds" / "kind.yaml").read_text() == "first"


@pytest.mark.parametrize(
    ("record", "says"),
    [
        pytest.param("", "no tag v[0-9]* is reachable from HEAD, and pyproject.toml has no", id="there is none"),
        pytest.param(RECORD.format("0.1.0", "316f893"), "with a full hash", id="a short hash"),
        pytest.param(RECORD.format("0.1.0", "1" * 40), "git fetch --unshallow --tags", id="the clone has not got it"),
    ],
)
def test_a_release_that_cannot_be_read_is_a_failure(clone: Clone, record: str, says: str) -> None:
    clone.commit("first", record=record)
    with pytest.raises(ClusterError) as raised:
        last_release(clone.path)
    assert says in str(raised.value)


def test_a_path_that_the_release_has_not_got(clone: Clone, tmp_path: Path) -> None:
    first = clone.commit("first")
    clone.commit("second", record=RECORD.format("0.1.0", first))
    with pytest.raises(ClusterError, match="git archive ended with"):
        unpack(last_release(clone.path), ["charts"], tmp_path / "to", clone.path)


def test_this_repositorys_last_release_can_be_read(tmp_path: Path) -> None:
    unpack(last_release(), ["crds"], tmp_path / "to")
    assert len(list((tmp_path / "to" / "crds").glob("*.yaml"))) >= 3
