"""A cgroup of our own in every hierarchy, of version 1 or 2, so that a cluster can be found and removed whole."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from cluster.errors import ClusterError

_V2_CONTROLLERS = ("cpuset", "cpu", "io", "memory", "hugetlb", "pids")
_GONE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """A mounted cgroup hierarchy.

    Attributes:
        mount: Where it is mounted.
        unified: Whether it is of version 2.
    """

    mount: Path
    unified: bool


def hierarchies() -> list[Hierarchy]:
    """Return the mounted hierarchies.

    Raises:
        ClusterError: There is none.
    """
    found: dict[Path, Hierarchy] = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        kind = rest.split()[0]
        if kind in {"cgroup", "cgroup2"}:
            mount = Path(fields.split()[4])
            found[mount] = Hierarchy(mount, unified=kind == "cgroup2")
    if not found:
        raise ClusterError("A local cluster needs cgroups mounted below /sys/fs/cgroup.")
    return list(found.values())


def create(name: str) -> list[Path]:
    """Make a cgroup at the top of every hierarchy, with a child ``system`` for the cluster's own processes.

    Returns:
        The children, one a hierarchy.

    Raises:
        ClusterError: The hierarchies can't be written to.
    """
    children = []
    for hierarchy in hierarchies():
        group = hierarchy.mount / name
        try:
            (group / "system").mkdir(parents=True, exist_ok=True)
            if hierarchy.unified:
                _delegate(hierarchy.mount)
                _delegate(group)
            else:
                _inherit_cpuset(hierarchy.mount, group)
                _inherit_cpuset(group, group / "system")
        except OSError as error:
            raise ClusterError(
                f"A local cluster needs cgroups that it may change, and {error.filename or group} can't be: "
                f"{error.strerror} (in a container, run it privileged)."
            ) from error
        children.append(group / "system")
    return children


def processes(name: str) -> set[int]:
    """Return the ids of all processes in a cgroup and below it."""
    found: set[int] = set()
    for hierarchy in hierarchies():
        for file in (hierarchy.mount / name).rglob("cgroup.procs"):
            try:
                found.update(int(line) for line in file.read_text().split())
            except OSError:  # the group vanished, or is a threaded one
                continue
    return found


def remove(name: str) -> None:
    """Remove a cgroup from every hierarchy; its processes must be ending.

    Raises:
        ClusterError: Some process stays in it.
    """
    deadline = time.monotonic() + _GONE_SECONDS
    for hierarchy in hierarchies():
        group = hierarchy.mount / name
        while group.exists():
            try:
                for directory, _, _ in os.walk(group, topdown=False):
                    Path(directory).rmdir()
            except OSError as error:
                if time.monotonic() > deadline:
                    stay = ", ".join(map(str, sorted(processes(name)))) or "none"
                    raise ClusterError(f"The cgroup {group} must be removable; processes in it: {stay}.") from error
                time.sleep(0.05)


def _delegate(group: Path) -> None:
    """Hand a version 2 group's controllers down to its children."""
    controllers = set((group / "cgroup.controllers").read_text().split())
    for controller in _V2_CONTROLLERS:
        enabled = (group / "cgroup.subtree_control").read_text().split()
        if controller not in controllers or controller in enabled:
            continue
        try:
            (group / "cgroup.subtree_control").write_text(f"+{controller}")
        except OSError:
            # Only the real root may have both processes and controllers for its children. A container's root may not:
            # its processes move one level down first, as kind's and k3s' entry points do it.
            _evacuate(group)
            (group / "cgroup.subtree_control").write_text(f"+{controller}")


def _evacuate(group: Path) -> None:
    refuge = group / "processes"
    refuge.mkdir(exist_ok=True)
    for process in (group / "cgroup.procs").read_text().split():
        try:
            (refuge / "cgroup.procs").write_text(process)
        except ProcessLookupError:
            continue


def _inherit_cpuset(parent: Path, child: Path) -> None:
    """Fill a version 1 cpuset, which starts empty and takes no process before it is filled."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        if (child / name).exists() and not (child / name).read_text().strip():
            (child / name).write_text((parent / name).read_text())
