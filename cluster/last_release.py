"""The last release, as git has it: what compatibility is checked against and upgrades start from.

``python3 -m cluster.last_release --to DIRECTORY PATH…`` writes the release's files there and prints its version.
"""

import argparse
import io
import re
import shutil
import sys
import tarfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, CompletedProcess, run

from cluster.errors import ClusterError
from cluster.paths import REPOSITORY
from cluster.process import last_lines

TAGS = "v[0-9]*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A state of the repository that users have."""

    version: str
    commit: str


def last_release(repository: Path = REPOSITORY) -> Release:
    """Return the newest release that the checked out commit descends from.

    That is the newest tag `v…`; where the clone carries none, what `[tool.perennial] last-release` of pyproject.toml
    records.

    Raises:
        ClusterError: there is neither, or the clone is too shallow to have its commit.
    """
    described = _git(repository, "describe", "--tags", "--abbrev=0", "--match", TAGS)
    if described.returncode == 0:
        name = described.stdout.decode().strip()
        return Release(version=name.removeprefix("v"), commit=_commit(repository, name))
    settings = tomllib.loads((repository / "pyproject.toml").read_text()).get("tool", {}).get("perennial", {})
    record = settings.get("last-release", {})
    version, commit = record.get("version", ""), record.get("commit", "")
    if not version or not re.fullmatch(r"[0-9a-f]{40}", commit):
        raise ClusterError(
            f"The last release is not known: no tag {TAGS} is reachable from HEAD, and pyproject.toml has no "
            '[tool.perennial] last-release = {version = "…", commit = "…"} with a full hash.'
        )
    return Release(version=version, commit=_commit(repository, commit))


def unpack(release: Release, paths: Sequence[str], to: Path, repository: Path = REPOSITORY) -> None:
    """Write files and folders of a release below a directory, which is made anew.

    Raises:
        ClusterError: the release has no such path.
    """
    archive = _must(repository, "archive", "--format=tar", release.commit, "--", *paths)
    shutil.rmtree(to, ignore_errors=True)
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(to, filter="data")


def _commit(repository: Path, name: str) -> str:
    return _must(repository, "rev-parse", "--verify", f"{name}^{{commit}}").decode().strip()


def _must(repository: Path, *arguments: str) -> bytes:
    done = _git(repository, *arguments)
    if done.returncode != 0:
        raise ClusterError(
            f"Reading the last release failed (git {arguments[0]} ended with {done.returncode}); "
            f"a shallow clone needs `git fetch --unshallow --tags`:\n{last_lines(done.stderr.decode())}"
        )
    return done.stdout


def _git(repository: Path, *arguments: str) -> CompletedProcess[bytes]:
    try:
        return run(["git", "-C", str(repository), *arguments], stdin=DEVNULL, capture_output=True, check=False)
    except FileNotFoundError as error:
        raise ClusterError("Reading the last release failed: the program git must be installed.") from error


def main(arguments: Sequence[str]) -> int:
    """Write the last release's files; return the exit code."""
    parser = argparse.ArgumentParser(prog="python3 -m cluster.last_release", description=__doc__)
    parser.add_argument("--to", type=Path, required=True, help="the directory, which is made anew")
    parser.add_argument("paths", nargs="+", help="files and folders, relative to the repository")
    parsed = parser.parse_args(arguments)
    try:
        release = last_release()
        unpack(release, parsed.paths, parsed.to)
    except ClusterError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    print(release.version)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
