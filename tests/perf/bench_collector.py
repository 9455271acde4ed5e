"""How soon a collector brakes and how much it takes in: `make bench-collector`, figures in build/bench/collector.json.

Sections (`SECTIONS=brake` measures this alone and keeps the other figures):

    brake        from the first answer of a candidate that fails to weight 0, which every router has acknowledged:
                 on trials that have just begun, and on those that have seen an hour of good traffic (written into the
                 collector's database, not waited for); two real Envoys, 200 requests a second, a fifth of them the
                 candidate's
    predictions  predictions a second that are stored for good, posted in batches of 20, under a policy that counts
                 cohorts of three metrics
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median, quantiles
from time import monotonic
from typing import Any, Final

import aiohttp
from figures import environment
from loopback import CollectorProcess, eventually, policy
from plane import Plane, plane_in

from perennial.api.messages.policy import Monitoring, SloPolicy
from perennial.families.metrics.error_rate import ErrorRate
from perennial.families.metrics.false_negative_rate import FalseNegativeRate
from perennial.families.metrics.false_positive_rate import FalsePositiveRate
from perennial.families.slos import Outcome

SECTIONS: Final = ("brake", "predictions")
WEIGHT: Final = 200
ANSWERED: Final = 20
"""Good answers of the candidate before it fails."""
ROUNDS: Final = 40
BATCH: Final = 20
AT_ONCE: Final = 32
MOST_BATCHES: Final = 3000
"""More than a collector takes in a second."""
SECONDS: Final = 10.0

BARS: Final = {
    "brake_p50_s": None,
    "brake_p95_s": 1.0,
    "brake_after_an_hour_p50_s": None,
    "brake_after_an_hour_p95_s": 1.0,
    "predictions_per_s": 20_000,
}
MEANINGS: Final = {
    "brake_p50_s": "a candidate fails: from its first such answer until every router has taken weight 0, half, s",
    "brake_p95_s": "the same, 95 %, s",
    "brake_after_an_hour_p50_s": "the same after an hour of good traffic, half, s",
    "brake_after_an_hour_p95_s": "the same, 95 %, s",
    "predictions_per_s": "predictions a second, stored for good, in batches of 20",
}
_BEGIN, _END = "<!-- collector: begin -->", "<!-- collector: end -->"


async def brake(directory: Path, rounds: int, *, hour: bool) -> list[float]:
    """Return the seconds from the first failing answer to acknowledged weight 0, of each round."""
    chance, found = random.Random(1), []
    async with plane_in(directory) as plane:
        for _ in range(rounds):
            plane.next()
            if hour:
                plane.an_hour_has_passed(WEIGHT)
            state = await plane.begin(plane.trial(WEIGHT, forms=("both",)))
            async with plane.traffic.running():
                await eventually(lambda: _answered(plane), "the candidate answers")
                # The looks must not fall into step with what they look at.
                await asyncio.sleep(chance.uniform(0.0, 1.0))
                plane.candidate.failing = 1.0
                state = await plane.live(state, candidate=0)
                assert plane.candidate.first_failure is not None
                found.append(monotonic() - plane.candidate.first_failure)
            assert state.brake is not None
    return found


async def _answered(plane: Plane) -> bool:
    return plane.traffic.total("b") >= ANSWERED


async def predictions(directory: Path, seconds: float) -> float:
    """Return the predictions a second that a collector acknowledges."""
    metrics = (
        Outcome(error_rate=ErrorRate(), max="0.3"),
        Outcome(false_negative_rate=FalseNegativeRate(), max="0.3"),
        Outcome(false_positive_rate=FalsePositiveRate(), max="0.3"),
    )
    slos = [SloPolicy(name=f"outcome-{i}", outcome=each) for i, each in enumerate(metrics)]
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        collector = CollectorProcess(directory, session)
        await collector.start()
        try:
            monitoring = Monitoring(cohort_seconds=3600, max_label_delay_seconds=86400)
            await collector.put(policy(None, *slos, monitoring=monitoring))
            token = collector.accounts.token(collector.accounts.neighbour)
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            # Made beforehand: who posts shares the machine with who is measured.
            bodies, done = iter([_batch(number) for number in range(int(seconds * MOST_BATCHES))]), 0
            begun = monotonic()

            async def client() -> None:
                nonlocal done
                for body in bodies:
                    if monotonic() > begun + seconds:
                        break
                    async with session.post(f"{collector.url}/v1/predictions", data=body, headers=headers) as answer:
                        assert answer.status == 200, await answer.text()
                        await answer.read()
                    done += BATCH

            await asyncio.gather(*(client() for _ in range(AT_ONCE)))
            pace = done / (monotonic() - begun)
            assert (await collector.state()).predictions == done
            return pace
        finally:
            await collector.stop()


def _batch(number: int) -> bytes:
    now = datetime.now(UTC) - timedelta(minutes=1)
    items = [
        {"id": f"{number:08x}-{i:04x}-4aaa-8aaa-aaaaaaaaaaaa", "time": now.isoformat(), "score": i / BATCH}
        for i in range(BATCH)
    ]
    return json.dumps({"version": "v-old", "modelVersion": "1", "predictions": items}).encode()


async def measured(sections: Sequence[str]) -> dict[str, Any]:
    """Measure the sections, and return figures and all that they come from."""
    values: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as directory:
        if "brake" in sections:
            for name, hour in (("brake", False), ("brake_after_an_hour", True)):
                place = Path(directory) / name
                place.mkdir()
                seconds = sorted(await brake(place, ROUNDS, hour=hour))
                values[f"{name}_p50_s"] = round(median(seconds), 3)
                values[f"{name}_p95_s"] = round(quantiles(seconds, n=20, method="inclusive")[-1], 3)
                values[f"{name}_s"] = [round(each, 3) for each in seconds]
                print(f"  {name}: " + " ".join(f"{each:.2f}" for each in seconds), flush=True)
        if "predictions" in sections:
            paces = []
            for number in range(3):
                place = Path(directory) / f"predictions-{number}"
                place.mkdir()
                paces.append(round(await predictions(place, SECONDS)))
                print(f"  predictions a second: {paces[-1]:,}", flush=True)
            values |= {"predictions_per_s": median(paces), "predictions_per_s_each": paces}
    return values


def table(report: dict[str, Any]) -> str:
    """Return the figures as a table for people."""
    lines = ["| figure | measured | bar |", "|---|---|---|"]
    for figure, bar in BARS.items():
        if figure in report:
            sign = "≥" if figure == "predictions_per_s" else "≤"
            told = "" if bar is None else f"{sign} {bar:,g}"
            lines.append(f"| {MEANINGS[figure]} (`{figure}`) | {report[figure]:,} | {told} |")
    machine = report["machine"]
    lines += ["", f"Measured {report['measured'][:10]} on {machine['processor']}, {machine['cores']} cores."]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Measure, write the report, print the table. Returns 1 if a bar is not kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sections", default="", help=f"some of {','.join(SECTIONS)}")
    parser.add_argument("--report", type=Path, default=Path("build/bench/collector.json"))
    parser.add_argument("--page", type=Path, help="a page to write the table into, from the report alone")
    options = parser.parse_args(arguments)
    report = json.loads(options.report.read_text()) if options.report.exists() else {}
    if options.page is not None:
        text = options.page.read_text()
        head, rest = text.split(_BEGIN)
        options.page.write_text(f"{head}{_BEGIN}\n{table(report)}\n{_END}{rest.split(_END)[1]}")
        return 0
    sections = options.sections.split(",") if options.sections else list(SECTIONS)
    if unknown := set(sections) - set(SECTIONS):
        parser.error(f"unknown sections {', '.join(sorted(unknown))}; known are {', '.join(SECTIONS)}")
    report |= asyncio.run(measured(sections)) | environment()
    options.report.parent.mkdir(parents=True, exist_ok=True)
    options.report.write_text(json.dumps(report, indent=1) + "\n")
    print(table(report))
    broken = [f for f, bar in BARS.items() if bar is not None and f in report and not _kept(f, report[f], bar)]
    print(f"bars that are not kept: {', '.join(broken) or 'none'}")
    return 1 if broken else 0


def _kept(figure: str, value: float, bar: float) -> bool:
    return value >= bar if figure == "predictions_per_s" else value <= bar


if __name__ == "__main__":
    sys.exit(main())
