"""What must come from the machine's own package manager, and installing it where that is apt and we are root."""

import importlib.util
import os
import platform
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from cluster.errors import ClusterError
from cluster.paths import cache_directory
from cluster.process import exclusive, run
from cluster.progress import step

# Which package brings which program (names of Debian and Ubuntu).
PACKAGES: Mapping[str, str] = {
    "conntrack": "conntrack",
    "containerd": "containerd",
    "ctr": "containerd",
    "debootstrap": "debootstrap",
    "ip": "iproute2",
    "iptables": "iptables",
    "mount": "mount",
    "nsenter": "util-linux",
    "openssl": "openssl",
    "runc": "runc",
    "setpriv": "util-linux",
    "unshare": "util-linux",
}
CNI_DIRECTORIES = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def require(programs: Iterable[str], *, purpose: str) -> None:
    """Make sure that programs are installed, with apt-get where we may.

    Args:
        programs: Names of programs, keys of ``PACKAGES``.
        purpose: What needs them, for the message.

    Raises:
        ClusterError: Some are missing and can't be installed from here.
    """
    missing = [program for program in programs if which(program) is None]
    install({PACKAGES[program] for program in missing}, purpose=purpose)


def require_cni() -> Path:
    """Return the directory of the CNI plugins, installing them where we may."""
    for attempt in range(2):
        for directory in CNI_DIRECTORIES:
            if (directory / "bridge").exists() and (directory / "portmap").exists():
                return directory
        if attempt == 0:
            install({"containernetworking-plugins"}, purpose="The network of pods")
    raise ClusterError(f"The CNI plugins bridge and portmap must be in one of {', '.join(map(str, CNI_DIRECTORIES))}.")


def require_venv() -> None:
    """Make sure that this Python can make virtual environments; Debian splits that off into a package of its own."""
    if importlib.util.find_spec("ensurepip") is None or importlib.util.find_spec("venv") is None:
        install({"python3-venv"}, purpose="Making a virtual environment")


def which(program: str) -> str | None:
    """Return the path of a program, also when it is in a directory that only root's PATH has."""
    return shutil.which(program) or shutil.which(program, path=_SYSTEM_PATH)


def install(packages: set[str], *, purpose: str) -> None:
    """Install Debian packages; nothing to do for an empty set.

    Raises:
        ClusterError: There is no apt-get, or we are not root.
    """
    if not packages:
        return
    wanted = " ".join(sorted(packages))
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise ClusterError(
            f"{purpose} needs what these Debian packages bring: {wanted}. "
            f"Install them (as root: apt-get install --no-install-recommends {wanted}) and run this again."
        )
    quiet = {"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_SUSPEND": "1"}
    options = ["-y", "-q", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300"]
    with exclusive(cache_directory() / ".apt.lock"), step(f"apt-get install {wanted}"):
        run(["apt-get", "update", "-q"], because="Updating the lists of Debian packages failed", environment=quiet)
        command = ["apt-get", "install", *options, *sorted(packages)]
        run(command, because=f"Installing {wanted} failed", environment=quiet)


def unpacked(package: str, *, purpose: str) -> Path:
    """Return a directory with the files of a Debian package that is fetched but not installed: no service of it starts.

    Raises:
        ClusterError: There is no apt-get, or it can't fetch the package.
    """
    target = cache_directory() / "debian" / f"{package}-{platform.machine()}"
    with exclusive(target.with_name(f".{target.name}.lock")):
        if not target.exists():
            if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
                raise ClusterError(
                    f"{purpose} needs what the Debian package {package} brings, and there is no apt-get."
                )
            with step(f"apt-get download {package}"), tempfile.TemporaryDirectory(dir=target.parent) as fetched:
                _fetch(package, Path(fetched), purpose=purpose)
                (archive,) = Path(fetched).glob("*.deb")
                unfinished = Path(fetched) / "files"
                run(["dpkg-deb", "-x", archive, unfinished], because=f"Unpacking {package} failed")
                unfinished.rename(target)
    return target


def _fetch(package: str, directory: Path, *, purpose: str) -> None:
    """Download a package; where apt does not know it yet, after an update of its lists."""
    command = ["apt-get", "download", "-q", package]
    try:
        run(command, because=f"{purpose}: fetching {package} failed", directory=directory)
    except ClusterError:
        if os.geteuid() != 0:
            raise
        run(["apt-get", "update", "-q"], because="Updating the lists of Debian packages failed")
        run(command, because=f"{purpose}: fetching {package} failed", directory=directory)
