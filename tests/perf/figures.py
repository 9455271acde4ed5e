"""The figures of the bench: their bars, their JSON, their tables."""

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, Final

from stage import CONTROLLER_MANAGER, SCHEDULER_QPS, cores

from cluster import kubernetes

BARS: Final[Mapping[str, float | None]] = {
    "training_runs_1000_s": 30,
    "event_to_status_p50_s": None,
    "event_to_status_p95_s": 1,
    "rss_mib_1000": 200,
    "rss_mib_5000": 300,
    "cpu_idle_millicores_1000": None,
    "requests_per_spec_change": 2,
    "writes_per_training_run": 6,
    "steady_requests_per_min": 0,
    "start_to_sync_5000_s": 30,
    "takeover_crash_s": 17,
    "takeover_clean_s": 2,
}
"""The figures that are published, with the most that each may be (None: no promise)."""

MEANINGS: Final[Mapping[str, str]] = {
    "training_runs_1000_s": "1,000 TrainingRuns applied at once: until the last has its Job and a status, s",
    "event_to_status_p50_s": "a Dataset's spec changed: until its status tells of it, half of the changes, s",
    "event_to_status_p95_s": "the same, 95 % of the changes, s",
    "rss_mib_1000": "memory (RSS) with 1,000 TrainingRuns that have ended, each with two Jobs and two pods, MiB",
    "rss_mib_5000": "memory with 5,000 TrainingRuns, 4,000 of them under way, MiB",
    "cpu_idle_millicores_1000": "processor at rest with 1,000 TrainingRuns, thousandths of a core",
    "requests_per_spec_change": "requests for a changed spec: the Job that it asks for and the status",
    "writes_per_training_run": "writes in a TrainingRun's whole life: Jobs, statuses and Events",
    "steady_requests_per_min": "requests at rest, without watches and the lease, a minute",
    "start_to_sync_5000_s": "from the start of the process until all of 5,000 TrainingRuns were looked at, s",
    "takeover_crash_s": "the leader is killed: until another has carried out a change, s",
    "takeover_clean_s": "the leader is asked to end: until another has carried out a change, s",
}

_BEGIN, _END = "<!-- figures: begin -->", "<!-- figures: end -->"


def merged(before: Mapping[str, Any], values: Mapping[str, Sequence[float]], details: Mapping[str, Any]) -> Any:
    """Return the report: each figure's median under its own name, all that was measured under `runs`.

    Figures that were not measured this time are kept from the report before.
    """
    runs = dict(before.get("runs", {}))
    for figure, measured in values.items():
        kept = [round(value, 4) for value in measured]
        spread = {"min": min(kept), "median": round(median(kept), 4), "max": max(kept), "measurements": len(kept)}
        runs[figure] = spread | ({"values": kept} if len(kept) <= _SHOWN else {})
    return {
        **{figure: runs[figure]["median"] for figure in BARS if figure in runs},
        "runs": runs,
        "details": {**before.get("details", {}), **details},
        **environment(),
    }


_SHOWN = 20


def environment() -> dict[str, Any]:
    """Return on what and with which versions and settings was measured."""
    own, others = cores()
    model = next((line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if "model name" in line), "?")
    memory = next(int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal"))
    return {
        "machine": {
            "processor": model,
            "cores": os.cpu_count(),
            "memory_gib": round(memory / 2**20, 1),
            "operator_on_cores": own,
            "everything_else_on_cores": others,
        },
        "versions": {
            "kubernetes": kubernetes.version(),
            "python": platform.python_version(),
            **{name: version(name) for name in ("kopf", "aiohttp", "pydantic")},
        },
        "settings": {
            "kube-controller-manager": list(CONTROLLER_MANAGER),
            "kube-scheduler": f"{SCHEDULER_QPS} requests/s",
            "mlflow": "a stand-in that answers from memory (tests/perf/standin_mlflow.py)",
            "operator": "defaults",
        },
        "measured": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


def shown(report: Mapping[str, Any]) -> str:
    """Return a table for the terminal: figure, spread, bar, met or not."""
    lines = [f"{'figure':28} {'min':>8} {'median':>8} {'max':>8} {'bar':>7}"]
    for figure, bar in BARS.items():
        if figure not in report["runs"]:
            lines.append(f"{figure:28} not measured")
            continue
        run = report["runs"][figure]
        numbers = " ".join(f"{run[each]:>8.4g}" for each in ("min", "median", "max"))
        said = "" if bar is None else f"<= {bar:g}".rjust(7) + ("  met" if run["median"] <= bar else "  NOT MET")
        lines.append(f"{figure:28} {numbers} {said}")
    return "\n".join(lines)


def markdown(report: Mapping[str, Any]) -> str:
    """Return the table of docs/performance.md.

    Raises:
        ValueError: a figure was never measured.
    """
    missing = BARS.keys() - report["runs"].keys()
    if missing:
        raise ValueError(f"not measured yet: {', '.join(sorted(missing))}")
    lines = ["| figure | median | min … max | bar |", "|---|---|---|---|"]
    for figure, meaning in MEANINGS.items():
        run, bar = report["runs"][figure], BARS[figure]
        spread = f"{run['min']:.3g} … {run['max']:.3g}" if run["min"] != run["max"] else "always"
        promise = "" if bar is None else f"≤ {bar:g}" + ("" if run["median"] <= bar else ", **not met**")
        lines.append(f"| {meaning} (`{figure}`) | {run['median']:.3g} | {spread} | {promise} |")
    machine, versions = report["machine"], report["versions"]
    told = ", ".join(f"{name} {number}" for name, number in versions.items())
    where = f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']:g} GiB"
    how = "the operator on one core, everything else on all of them"
    lines += ["", f"Measured {report['measured'][:10]} on {where}: {how}. {told}."]
    return "\n".join(lines)


def main(report: Path, page: Path) -> None:
    """Write the table into the page, between its marks."""
    before, rest = page.read_text().split(_BEGIN)
    _, after = rest.split(_END)
    table = markdown(json.loads(report.read_text()))
    page.write_text(f"{before}{_BEGIN}\n{table}\n{_END}{after}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
