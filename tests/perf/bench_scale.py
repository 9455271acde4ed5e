"""How Perennial's operator scales: `make bench-scale`, figures in build/bench/scale.json.

Sections (`SECTIONS=rss,takeover` measures these alone and keeps the other figures):

    start     1,000 TrainingRuns applied at once; on the last cluster they then live to their end
    change    specs changed amid 1,000 runs: how soon the status says so, how many requests that takes
    steady    1,000 runs at rest: requests, processor time, memory
    takeover  the leader killed, and asked to stop, with a standby
    rss       5,000 TrainingRuns: memory, and how long a process takes from its start to a full cache

Each figure is the median of at least three measurements; `runs` has them all. MLflow is a stand-in (standin_mlflow.py).
"""

import argparse
import asyncio
import json
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final

from aiohttp import web
from audit import AuditLog, Request, counted
from figures import merged, shown
from fleet import Fleet, training_run, truth
from operator_process import Process
from running import cpu_seconds, operator, rss_mib
from stage import CHECK_SECONDS, Stage, cores
from standin_mlflow import StandInMLflow

from perennial.manifests.manifest import Manifest
from perennial.manifests.resources import JOB
from perennial.plan.kinds import DATASET, TRAINING_RUN
from perennial.runtime.resources import Key
from perennial.runtime.store import key_of

TEAMS: Final = 50
RUNS_A_TEAM: Final = 20
SECTIONS: Final = ("start", "change", "steady", "takeover", "rss")
_LONG: Final = 45
"""Seconds of a training that is under way while others start."""
_NEVER: Final = 86_400


@dataclass
class Measured:
    """Measurements by figure, and what else was seen on the way."""

    values: dict[str, list[float]] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)

    def add(self, figure: str, *values: float) -> None:
        """Add measurements of a figure."""
        self.values.setdefault(figure, []).extend(values)
        told = f"{median(values):.4g}" if len(values) == 1 else f"{min(values):.4g} to {max(values):.4g}"
        print(f"  {figure} {told}", flush=True)


@dataclass
class Cluster:
    """A stage with users, the stand-in, and an operator that leads. Made by `cluster`."""

    stage: Stage
    fleet: Fleet
    mlflow: StandInMLflow
    mlflow_url: str
    audit: AuditLog
    processes: ExitStack
    operator: Process = field(init=False)
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    """Never the same number twice: what is changed to one of them is changed."""

    def begin(self, **more: str) -> Process:
        """Start one more operator."""
        log = self.stage.directory / "logs" / f"operator-{next(self.numbers)}.log"
        kubeconfig = self.stage.operator_kubeconfig()
        return self.processes.enter_context(
            operator(kubeconfig, log, core=OPERATOR_CORE, mlflow=self.mlflow_url, **more)
        )


OPERATOR_CORE, _ = cores()


@asynccontextmanager
async def cluster(directory: Path, *, teams: int = TEAMS, node: bool = True) -> AsyncIterator[Cluster]:
    """Set up a cluster with teams whose Datasets are ready, and an operator that leads."""
    async with AsyncExitStack() as stack:
        stage = stack.enter_context(Stage(directory, node=node))
        fleet = await stack.enter_async_context(Fleet.at(stage.control_plane.kubeconfig))
        if not node:
            await stack.enter_async_context(fleet.playing_pods())
        mlflow = StandInMLflow()
        runner = web.AppRunner(mlflow.application(), access_log=None)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        audit = AuditLog(stage.control_plane.audit_log, stage.user)
        stack.callback(audit.close)
        made = Cluster(stage, fleet, mlflow, url, audit, stack.enter_context(ExitStack()))
        made.operator = made.begin()
        await said(made.operator, "leading")
        await fleet.settle([team(number) for number in range(teams)])
        yield made


def team(number: int) -> str:
    """Return the name of a team's namespace."""
    return f"team-{number:03d}"


async def said(process: Process, message: str, *, seconds: float = 120) -> None:
    """Wait until an operator's log has a message."""
    async with asyncio.timeout(seconds):
        while not process.lines(message):
            if process.popen.poll() is not None:
                raise AssertionError(f"the operator ended:\n{process.text()}")
            await asyncio.sleep(0.1)


def runs_of(teams: Sequence[str], each: int, *, seconds: int) -> list[dict[str, Any]]:
    """Return TrainingRuns, one team after the other in turn."""
    return [training_run(name, f"run-{number:03d}", seconds=seconds) for number in range(each) for name in teams]


async def start(at: Cluster, runs: Sequence[Manifest]) -> float:
    """Apply TrainingRuns; return the seconds from the first until each has its Job and a status."""
    wanted = {Key(TRAINING_RUN.name, run["metadata"]["namespace"], run["metadata"]["name"]) for run in runs}
    jobs = {Key(JOB.kind, key.namespace, f"{key.name}-train") for key in wanted}
    fleet = at.fleet

    def told(seen: Manifest) -> bool:
        return key_of(TRAINING_RUN.name, seen) in wanted and truth(seen, "Succeeded") is not None

    async with (
        fleet.watching(TRAINING_RUN.resource, told) as statuses,
        fleet.watching(JOB, lambda seen: key_of(JOB.kind, seen) in jobs, metadata_only=True) as children,
    ):
        before = time.monotonic()
        await fleet.apply(runs)
        print(f"    applied in {time.monotonic() - before:.1f} s", flush=True)
        await fleet.until("each run has a status", statuses, lambda: len(statuses.first) == len(wanted), seconds=600)
        await fleet.until("each run has its Job", children, lambda: len(children.first) == len(jobs), seconds=600)
        return max(*statuses.first.values(), *children.first.values()) - before


async def live(at: Cluster, runs: int) -> None:
    """Wait until all TrainingRuns have succeeded and MLflow knows it."""

    def ended(seen: Manifest) -> bool:
        status = seen.get("status") or {}
        return status.get("terminalState") is not None and status["mlflow"]["state"] != "RUNNING"

    async with at.fleet.watching(TRAINING_RUN.resource, ended) as watch:
        await at.fleet.until("all runs have ended", watch, lambda: len(watch.first) >= runs, seconds=600)
        failed = [key for key, seen in watch.objects.items() if truth(seen, "Succeeded") != "True"]
        if failed:
            raise AssertionError(f"{len(failed)} runs failed, for example {watch.objects[failed[0]]['status']}")


async def rest(at: Cluster, *, seconds: float = 5) -> list[Request]:
    """Wait until the operator has been silent for some seconds; return its requests until then."""
    seen = at.audit.news()
    while news := (await asyncio.sleep(seconds), at.audit.news())[1]:
        seen += news
    return seen


async def measure_start(at: Cluster, measured: Measured) -> None:
    """Measure one start of 1,000 runs, from applied to under way."""
    before = cpu_seconds(at.operator)
    runs = runs_of([team(number) for number in range(TEAMS)], RUNS_A_TEAM, seconds=_LONG)
    at.mlflow.calls.clear()
    measured.add("training_runs_1000_s", await start(at, runs))
    measured.add("training_runs_1000_cpu_s", cpu_seconds(at.operator) - before)


async def measure_lives(at: Cluster, measured: Measured) -> None:
    """Count what the lives of 1,000 runs cost, from their creation to their end, whole."""
    await live(at, TEAMS * RUNS_A_TEAM)
    requests = about_runs(await rest(at))
    writes = Counter((each.namespace, each.name[: len("run-000")]) for each in requests if each.is_write)
    measured.add("writes_per_training_run", *writes.values())
    measured.details["requests_of_1000_training_runs"] = counted(requests)
    measured.details["mlflow_calls_of_1000_training_runs"] = dict(at.mlflow.calls.most_common())


def about_runs(requests: Iterable[Request]) -> list[Request]:
    """Return the requests about TrainingRuns, their Jobs and their Events, all of which begin with the run's name."""
    return [each for each in requests if each.name.startswith("run-")]


async def measure_change(at: Cluster, measured: Measured, *, rounds: int = 5, changes: int = TEAMS) -> None:
    """Change specs, ten a second, of one team after the other; a round is over before the first check is."""
    await rest(at, seconds=CHECK_SECONDS + 2)
    for _ in range(rounds):
        delays, requests = await change(at, changes)
        measured.add("event_to_status_p50_s", median(delays))
        measured.add("event_to_status_p95_s", quantiles(delays, n=20, method="inclusive")[-1])
        measured.add("requests_per_spec_change", len(requests) / changes)
        measured.details[f"requests_of_{changes}_spec_changes"] = counted(requests)
        # The check that a changed spec asks for ends later; what it costs then is the data's, not the change's.
        measured.details[f"requests_of_{changes}_checks_that_ended"] = counted(
            await rest(at, seconds=CHECK_SECONDS + 2)
        )


async def change(at: Cluster, changes: int) -> tuple[list[float], list[Request]]:
    """Change specs; return the seconds until each is in its status, and the operator's requests until then."""
    sent: dict[tuple[Key, int], float] = {}
    seen: dict[tuple[Key, int], float] = {}

    def look(at_hand: Manifest) -> bool:
        now, metadata = time.monotonic(), at_hand["metadata"]
        key = Key(DATASET.name, metadata["namespace"], metadata["name"])
        seen.setdefault((key, (at_hand.get("status") or {}).get("observedGeneration", 0)), now)
        return False

    async with at.fleet.watching(DATASET.resource, look) as watch:
        began = time.monotonic()
        for number in range(changes):
            await asyncio.sleep(max(0.0, began + number / 10 - time.monotonic()))
            key = Key(DATASET.name, team(number % TEAMS), "flights")
            spec = {"expectations": [{"name": "rows", "rowCount": {"min": next(at.numbers)}}]}
            moment = time.monotonic()
            changed = await at.fleet.client.merge(DATASET.resource, key.namespace, key.name, {"spec": spec})
            sent[key, changed["metadata"]["generation"]] = moment
        await at.fleet.until("each change is in its status", watch, lambda: sent.keys() <= seen.keys(), seconds=60)
    return [seen[each] - moment for each, moment in sent.items()], at.audit.news()


async def measure_steady(at: Cluster, measured: Measured, *, windows: int = 3, seconds: float = 45) -> None:
    """Look at an operator that has nothing to do."""
    await rest(at, seconds=CHECK_SECONDS + 2)
    for _ in range(windows):
        before, began = cpu_seconds(at.operator), time.monotonic()
        await asyncio.sleep(seconds)
        passed = time.monotonic() - began
        requests = at.audit.news()
        measured.add("steady_requests_per_min", len(requests) * 60 / passed)
        measured.add("cpu_idle_millicores_1000", (cpu_seconds(at.operator) - before) * 1000 / passed)
        measured.add("rss_mib_1000", rss_mib(at.operator))
        if requests:
            measured.details["steady_requests"] = counted(requests)


async def measure_takeover(at: Cluster, measured: Measured, *, times: int = 3) -> None:
    """Kill the leader, or ask it to end, and see how soon another carries out what is changed after that."""
    for figure, number in (("takeover_clean_s", signal.SIGTERM), ("takeover_crash_s", signal.SIGKILL)):
        for _ in range(times):
            standby = at.begin()
            await said(standby, "the cache is filled")
            await asyncio.sleep(3)  # it has looked at the lease, and waits
            began = time.monotonic()
            at.operator.popen.send_signal(number)
            await change(at, 1)
            measured.add(figure, time.monotonic() - began)
            at.operator.stop()
            at.operator = standby
            await rest(at)


async def measure_rss(at: Cluster, measured: Measured, *, times: int = 3) -> None:
    """Bring the cluster to 5,000 runs, then start operators anew."""
    teams = [team(number) for number in range(TEAMS)]
    first = f"run-{RUNS_A_TEAM:03d}"
    more = [run for run in runs_of(teams, 5 * RUNS_A_TEAM, seconds=_NEVER) if run["metadata"]["name"] >= first]
    measured.details["start_of_4000_more_s"] = await start(at, more)
    await rest(at)
    measured.details["rss_mib_5000_of_the_process_that_started_them"] = rss_mib(at.operator)
    everything = 5 * TEAMS * RUNS_A_TEAM + TEAMS
    for _ in range(times):
        at.operator.stop()
        began = time.monotonic()
        at.operator = at.begin()
        await said(at.operator, "leading")
        measured.add("start_to_sync_5000_s", await synced(at, everything) - began)
        await rest(at)
        measured.add("rss_mib_5000", rss_mib(at.operator))
    measured.details["cached_objects_5000"] = (await metrics(at.operator))["perennial_cached_objects"]


async def synced(at: Cluster, everything: int) -> float:
    """Return the moment from which on the operator has nothing to do, having looked at everything.

    Its own figures are asked for only when its processor is at rest: writing out those of 5,000 objects is work.
    """
    while True:
        moment, before = time.monotonic(), cpu_seconds(at.operator)
        await asyncio.sleep(0.5)
        if cpu_seconds(at.operator) - before < 0.05 and await reconciled(at.operator) >= everything:
            return moment


async def metrics(process: Process) -> dict[str, float]:
    """Return an operator's figures of itself, summed over their labels."""
    _, text = await asyncio.to_thread(process.ask, "metrics", "/metrics")
    sums: dict[str, float] = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            series, value = line.rsplit(" ", 1)
            name = series.partition("{")[0]
            sums[name] = sums.get(name, 0.0) + float(value)
    return sums


async def reconciled(process: Process) -> float:
    """Return how many reconciliations there were; 0 while keys still wait."""
    figures = await metrics(process)
    return 0.0 if figures["workqueue_depth"] else figures["controller_runtime_reconcile_total"]


async def measure(sections: Sequence[str], measured: Measured, directory: Path, *, times: int = 3) -> None:
    """Measure the sections, on as few clusters as possible."""
    for attempt in range(times if "start" in sections else 1):
        print(f"cluster {attempt + 1}", flush=True)
        async with cluster(directory / f"cluster-{attempt}") as at:
            await measure_start(at, measured)
            if attempt < times - 1 and "start" in sections:
                continue
            await measure_lives(at, measured)
            for section, measuring in (
                ("change", measure_change),
                ("steady", measure_steady),
                ("takeover", measure_takeover),
                ("rss", measure_rss),
            ):
                if section in sections:
                    print(section, flush=True)
                    await measuring(at, measured)


def main() -> int:
    """Measure, write the figures, and tell which bars are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sections", default="", help=f"some of {','.join(SECTIONS)}; all by default")
    parser.add_argument("--times", type=int, default=3, help="how often runs are started, and operators")
    parser.add_argument("--output", type=Path, default=Path("build/bench/scale.json"))
    arguments = parser.parse_args()
    sections = [each for each in arguments.sections.split(",") if each] or list(SECTIONS)
    if unknown := set(sections) - set(SECTIONS):
        parser.error(f"{', '.join(sorted(unknown))}: sections are {', '.join(SECTIONS)}")
    measured = Measured()
    directory = Path(tempfile.mkdtemp(prefix="perennial-scale-"))
    try:
        asyncio.run(measure(sections, measured, directory, times=arguments.times))
    except BaseException:
        print(f"logs: {directory}", file=sys.stderr)
        raise
    shutil.rmtree(directory)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    before = json.loads(arguments.output.read_text()) if arguments.output.exists() else {}
    report = merged(before, measured.values, measured.details)
    arguments.output.write_text(json.dumps(report, indent=2) + "\n")
    print(shown(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
