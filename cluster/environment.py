"""Makes the virtual environment of the repository: ``python3 -m cluster.environment DIRECTORY``.

The environment remembers the hash of what it was made from, so that nothing happens when nothing changed. Times
of files play no part, because a fresh clone has them all new.
"""

import hashlib
import shutil
import sys
from pathlib import Path

from cluster import debian, tools
from cluster.errors import ClusterError
from cluster.paths import REPOSITORY
from cluster.process import exclusive, run
from cluster.progress import step

_LOCK = REPOSITORY / "requirements" / "dev.txt"
_STAMP = ".perennial"


def create(directory: Path) -> None:
    """Make the environment, or bring it up to date.

    Args:
        directory: Where it is.

    Raises:
        ClusterError: A package could not be installed; the message says why.
    """
    wanted = _inputs(directory)
    stamp = directory / _STAMP
    with exclusive(REPOSITORY / "build" / ".environment.lock"):
        if stamp.exists() and stamp.read_text() == wanted and (directory / "bin" / "uv").exists():
            return
        programs = [tools.kubectl(), tools.helm(), tools.helm3(), tools.uv()]
        with step("Virtual environment: installing the locked packages"):
            _install(directory, tools.uv())
        for program in programs:
            link = directory / "bin" / program.name
            link.unlink(missing_ok=True)
            link.symlink_to(program)
        stamp.write_text(wanted)


def _install(directory: Path, uv: Path) -> None:
    debian.require_venv()
    python = directory / "bin" / "python"
    if not _works(python):
        shutil.rmtree(directory, ignore_errors=True)
        run([sys.executable, "-m", "venv", directory], because="Making a virtual environment failed")
    target: list[str | Path] = ["--python", python, "--quiet"]
    # Packages that the lock does not name are removed: what is not locked must not be leant on by accident.
    run([uv, "pip", "sync", *target, "--require-hashes", _LOCK], because="Installing the locked packages failed")
    editable: list[str | Path] = ["--no-deps", "--no-build-isolation", "--editable", REPOSITORY]
    run([uv, "pip", "install", *target, *editable], because="Installing the package itself failed")


def _works(python: Path) -> bool:
    if not python.exists():
        return False
    try:
        found = run([python, "-c", "import sys; print(sys.version_info[:2])"], because="Asking Python for its version")
    except ClusterError:
        return False
    return found.strip() == str(tuple(sys.version_info[:2]))


def _inputs(directory: Path) -> str:
    content = b"".join(
        [
            _LOCK.read_bytes(),
            tools.LOCK.read_bytes(),
            (REPOSITORY / "pyproject.toml").read_bytes(),
            f"{REPOSITORY} {directory.resolve()} {sys.version_info[:2]} {tools.directory()}".encode(),
        ]
    )
    return hashlib.sha256(content).hexdigest()


if __name__ == "__main__":
    try:
        create(Path(sys.argv[1]).absolute())
    except ClusterError as failure:
        sys.exit(str(failure))
