"""The whole fault matrix on a real API server: `make faults`, or some of it: `make faults FAULTS=F1,F7 KINDS=Dataset`.

Rows of a run with a choice replace those of the same name in build/faults/results.json; a run without begins anew.
"""

import argparse
import asyncio
import json
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

REPOSITORY = Path(__file__).parents[2]
sys.path += [str(REPOSITORY / part) for part in (".", "operator", "tests/unit/facts", "tests/dataplane")]

from matrix import MATRIX, struck  # noqa: E402
from operator_faults.campaign import Campaign, Row, failures  # noqa: E402
from operator_faults.nursery import nursery  # noqa: E402
from operator_faults.run import Scenario  # noqa: E402
from operator_faults.upstream import upstream  # noqa: E402
from perennial_subject import PRELOADED, PYTHON_PATH, SUBJECT, Registry, install  # noqa: E402
from real_mlflow import MLflowServer  # noqa: E402

from cluster.apiserver import ControlPlane  # noqa: E402

BUILD = REPOSITORY / "build" / "faults"
RESULTS = BUILD / "results.json"


def main(arguments: list[str]) -> int:
    """Run what is chosen; return 0 if every run of it passed."""
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("--faults", default="", help=f"of {', '.join(MATRIX)}; all by default")
    parser.add_argument("--kinds", default="", help="of Dataset, TrainingRun, ModelDeployment; all by default")
    parser.add_argument("--scenarios", default="", help="names of scenarios; all by default")
    parser.add_argument("--at-a-time", type=int, default=6, help="runs side by side (default: 6)")
    options = parser.parse_args(arguments)
    chosen = [{part.strip() for part in text.split(",") if part.strip()} for text in (options.faults, options.kinds)]
    chosen.append({part.strip() for part in options.scenarios.split(",") if part.strip()})
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that what was started is stopped
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="perennial-faults-") as directory:
        mlflow = MLflowServer(Path(directory))
        with ControlPlane(Path(directory) / "control-plane", controller_manager=True) as control_plane:
            try:
                if chosen[1] != {"Dataset"}:
                    mlflow.start()
                rows = asyncio.run(_all(control_plane.kubeconfig, mlflow.url, *chosen, options.at_a_time))
            finally:
                mlflow.stop()
    failed = failures(rows)
    for line in failed:
        print(line)
    runs, passed = sum(row.runs for row in rows), sum(row.passed for row in rows)
    print(f"{passed} of {runs} runs passed in {time.monotonic() - started:.0f} s: {RESULTS.relative_to(REPOSITORY)}")
    return 1 if passed != runs or not rows else 0


async def _all(
    kubeconfig: Path, mlflow: str, faults: set[str], kinds: set[str], names: set[str], at_a_time: int
) -> list[Row]:
    if not faults and not kinds and not names:
        RESULTS.unlink(missing_ok=True)
    rows: list[Row] = []
    async with _campaign(kubeconfig, at_a_time) as (campaign, session):
        chosen = [
            (fault, story)
            for fault in MATRIX
            for story in struck(fault, Registry(mlflow, session))
            if (not faults or fault in faults)
            and (not kinds or story.kind in kinds)
            and (not names or story.name in names)
        ]
        ticking = asyncio.create_task(_tick(campaign))

        async def one(fault: str, story: Scenario) -> None:
            row = await campaign.row(fault, story, MATRIX[fault])
            if row is not None:
                rows.append(row)
                _record(row)
                print(f"{row.fault:4} {row.kind:16} {row.scenario:24} {row.passed} of {row.runs}", flush=True)

        await asyncio.gather(*(one(fault, story) for fault, story in chosen))
        ticking.cancel()
    return rows


@asynccontextmanager
async def _campaign(kubeconfig: Path, at_a_time: int) -> AsyncIterator[tuple[Campaign, aiohttp.ClientSession]]:
    BUILD.mkdir(parents=True, exist_ok=True)
    async with (
        upstream(kubeconfig) as api,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session,
        nursery(PRELOADED, PYTHON_PATH, BUILD / "nursery.log") as children,
    ):
        await install(api)
        yield Campaign(SUBJECT, api, children, BUILD, at_a_time=at_a_time), session


async def _tick(campaign: Campaign) -> None:
    """Say every half a minute how far it is."""
    started = time.monotonic()
    while True:
        await asyncio.sleep(30)
        print(f"… {time.monotonic() - started:.0f} s: {campaign.ended} of {campaign.begun} runs", flush=True)


def _record(row: Row) -> None:
    """Put a row into results.json, in the place of an older one."""
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    what = (row.fault, row.kind, row.scenario)
    others = [each for each in known if (each["fault"], each["kind"], each["scenario"]) != what]
    order = sorted([*others, row.as_json()], key=lambda each: (int(each["fault"][1:]), each["kind"], each["scenario"]))
    RESULTS.write_text(json.dumps(order, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
