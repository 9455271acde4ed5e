"""The lowest layer: Debian with Python, made by debootstrap."""

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from cluster import debian, internal_images
from cluster.errors import ClusterError
from cluster.oci import Entry, tree
from cluster.process import exclusive, run
from cluster.progress import step

SUITE = "bookworm"
# libgomp1 is what LightGBM and scikit-learn compute in parallel with.
PACKAGES = ("ca-certificates", "libgomp1", "python3")
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
# What no container needs, or what would differ from one machine to the next.
_LEFT_OUT = (
    "boot",
    "dev",
    "etc/hostname",
    "etc/machine-id",
    "etc/resolv.conf",
    "proc",
    "run",
    "sys",
    "tmp",
    "usr/share/doc",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/man",
    "var/cache",
    "var/lib/apt/lists",
    "var/lib/dpkg/info",
    "var/lib/systemd",
    "var/log",
)
_EMPTY = ("dev", "proc", "run", "sys", "var/cache/apt/archives/partial", "var/lib/apt/lists/partial", "var/log")
_USER = "perennial:x:10001:10001:Perennial:/tmp:/usr/sbin/nologin\n"
_GROUP = "perennial:x:10001:\n"
_RECIPE = "1"


def key() -> str:
    """Return what the layer is kept under."""
    return hashlib.sha256(" ".join([_RECIPE, SUITE, *PACKAGES]).encode()).hexdigest()[:12]


def root() -> Path:
    """Return the directory of the Debian system that the layer is made from, made when it is missing.

    Raises:
        ClusterError: We are not root, or debootstrap failed.
    """
    target = internal_images.store().directory / f"base-{key()}"
    with exclusive(target.with_name(f".{target.name}.lock")):
        if not target.exists():
            with step("Base image: installing Debian with Python (about 2 min, once)"):
                _bootstrap(target)
    return target


def entries() -> Iterator[Entry]:
    """Yield the entries of the layer."""
    system = root()
    yield from tree(system, "", skip=_LEFT_OUT)
    for path in _EMPTY:
        yield Entry(path)
    yield Entry("tmp", mode=0o1777)
    yield Entry("etc/passwd", content=((system / "etc/passwd").read_text() + _USER).encode())
    yield Entry("etc/group", content=((system / "etc/group").read_text() + _GROUP).encode())


def compile_modules(directory: Path, installed: str) -> None:
    """Compile the Python modules of a directory with the base's own Python.

    The compiled files are trusted without a look at the sources, whose times no layer keeps.

    Args:
        directory: A directory inside ``root()``.
        installed: The path that the directory has in the image, for tracebacks.
    """
    inside = "/" + str(directory.relative_to(root()))
    command = ["python3", "-m", "compileall", "-q", "-f", "-j", "0", "--invalidation-mode", "unchecked-hash"]
    _in_base(root(), [*command, "-s", inside, "-p", installed, inside])


def _bootstrap(target: Path) -> None:
    if os.geteuid() != 0:
        raise ClusterError("Building the images needs root (debootstrap makes a Debian system) or a Docker engine.")
    debian.require(["debootstrap", "unshare", "mount"], purpose="Building the base image")
    if not _KEYRING.exists():
        debian.install({"debian-archive-keyring"}, purpose="Building the base image")
    unfinished = target.with_name(f".{target.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    options = ["--variant=minbase", f"--include={','.join(PACKAGES)}", f"--keyring={_KEYRING}"]
    command = [str(debian.which("debootstrap")), *options, SUITE, str(unfinished), *_mirror()]
    run(command, because="Installing Debian into a directory failed", environment=_proxy())
    for path in [unfinished, *unfinished.rglob("*")]:
        if path.is_file() and not path.is_symlink():
            path.chmod(path.stat().st_mode & 0o777)  # nothing may raise its rights in our containers
    (unfinished / "usr/bin/python").symlink_to("python3")
    compiled = ["python3", "-m", "compileall", "-q", "-f", "-j", "0", "--invalidation-mode", "unchecked-hash"]
    _in_base(unfinished, [*compiled, "/usr/lib/python3", "/usr/lib/python3.11"])
    unfinished.rename(target)


def _in_base(system: Path, command: list[str]) -> None:
    # Python's worker processes need shared memory, in mounts that end with the command.
    script = 'mount -t tmpfs tmpfs "$0/dev/shm" && exec chroot "$0" "$@"'
    (system / "dev/shm").mkdir(parents=True, exist_ok=True)
    isolated = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, str(system)]
    clean = {"HOME": "/tmp", "LC_ALL": "C.UTF-8", "PYTHONPATH": "", "PYTHONHASHSEED": "0"}  # noqa: S108  inside the base
    environment = clean | {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    run([*isolated, *command], because="Compiling Python modules failed", environment=environment)


def _mirror() -> list[str]:
    """Return where this machine's own apt gets this suite from, if it does; debootstrap has a default otherwise."""
    question = ["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages", "Origin: Debian"]
    answer = subprocess.run([*question, f"Codename: {SUITE}"], capture_output=True, text=True, check=False)
    return answer.stdout.split()[:1]


def _proxy() -> dict[str, str]:
    """Return apt's proxy as the variable that debootstrap's downloader reads, unless one is set."""
    if "http_proxy" in os.environ:
        return {}
    answer = subprocess.run(["apt-config", "dump", "Acquire::http::Proxy"], capture_output=True, text=True, check=False)
    found = re.search(r'Acquire::http::Proxy "(\S+)";', answer.stdout)
    return {"http_proxy": found[1]} if found and found[1] != "DIRECT" else {}
