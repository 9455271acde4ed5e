"""Finds out, offline, what the promise in modeldeployment.yaml does on the real year, and prints it as Markdown.

    python examples/flights/calibrate.py > docs/flights.md

It trains with the example's own code, samples as the replay does, and asks the very detector that the collector runs.
"""

import argparse
from datetime import datetime, timedelta
from pathlib import Path

import lake
import numpy as np
import pandas as pd
import yaml
from features import FEATURES, TARGET, TIME
from replay import SAMPLE, SEED, moment, sample_of_day
from train import Settings, fit

from perennial.stats.detect import Cohorts, day_variance, detect

HERE = Path(__file__).parent
FALSE_ALARM = 0.01
FIRST = (1, 8)  # the weeks that the first model learns from and is held against
RETRAINED_AFTER = (27, 28, 29)
LEARNT_WEEKS = 8
PHASES, SEEDS = 7, 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    promise = outcome_slo()
    parser.add_argument("--threshold", type=float, default=float(promise["falseNegativeRate"]["threshold"]))
    parser.add_argument("--max", type=float, default=float(promise["max"]))
    parser.add_argument("--min-samples", type=int, default=int(promise["minSamples"]))
    parser.add_argument("--sample", type=int, default=SAMPLE)
    options = parser.parse_args()
    year = lake.flights()
    year["week"] = (year[TIME] - lake.EPOCH) // lake.WEEK + 1
    year["day"] = (year[TIME] - lake.EPOCH) // timedelta(days=1)
    models = {"first": learnt(year, *FIRST)}
    for last in RETRAINED_AFTER:
        models[f"after week {last}"] = learnt(year, last - LEARNT_WEEKS, last)
    warned = {name: model.predict(year[FEATURES]) >= options.threshold for name, model in models.items()}
    print(introduction(options))
    print(by_week(year, warned))
    print(alarms(year, warned["first"], options), end="")


def outcome_slo() -> dict:
    """Return the outcome SLO of the example's ModelDeployment."""
    deployment = yaml.safe_load((HERE / "modeldeployment.yaml").read_text())
    return next(slo["outcome"] for slo in deployment["spec"]["slos"] if "outcome" in slo)


def learnt(year: pd.DataFrame, first: int, last: int):
    """Return a model of the weeks from `first` to before `last`; week `last` is what its gate holds out."""
    return fit(year[(year["week"] >= first) & (year["week"] < last)], Settings())[0]


def introduction(options: argparse.Namespace) -> str:
    first, held_out = FIRST
    return f"""# The flights example, in figures

Made by `python examples/flights/calibrate.py`, from the 327,346 flights of 2013 that left New York and arrived. The
figures are about the model that `train.py` makes, at the threshold {options.threshold:g} and with the promise
"falseNegativeRate at most {options.max:g}" of `examples/flights/modeldeployment.yaml`:
at least {1 - options.max:.0%} of the late flights are announced an hour before they leave.

The first model learns from the weeks {first} to {held_out - 1} and is held against week {held_out}. What is retrained
after a week learns from the {LEARNT_WEEKS} weeks before it and is held against it, as the template says.

## Late flights that each model misses, week by week

In brackets: flights on time that it warns of. Bold: the promise is broken in that week.
"""


def by_week(year: pd.DataFrame, warned: dict[str, np.ndarray]) -> str:
    names = list(warned)
    limit = float(outcome_slo()["max"])
    lines = [f"| week | from | flights | late | {' | '.join(names)} |", "|---:|---|---:|---:|" + "---:|" * len(names)]
    for week, rows in year[year["week"].between(FIRST[1], 44)].groupby("week"):
        late = rows[TARGET].to_numpy()
        cells = []
        for name in names:
            said = warned[name][rows.index]
            seen = name == "first" or week > int(name.rsplit(" ", 1)[1])
            missed, false = (~said[late]).mean(), said[~late].mean()
            text = f"{missed:.2f} ({false:.2f})" if seen else ""
            cells.append(f"**{text}**" if seen and missed > limit else text)
        start = lake.end_of(week - 1)
        lines.append(f"| {week} | {start:%b %d} | {len(rows):,} | {late.mean():.0%} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def alarms(year: pd.DataFrame, warned: np.ndarray, options: argparse.Namespace) -> str:
    """Replay the monitoring many times: other samples, and cohorts that begin on other days of the week."""
    days = dict(iter(year.groupby("day")))
    lines = [
        "## When the alarm comes",
        "",
        f"The first model's cohorts (a week of {options.sample} predictions a day) go through the e-detector that the",
        f"collector runs (alarm at an e-value of {1 / FALSE_ALARM:.0f}), for {SEEDS} samples and each of the {PHASES}",
        "weekdays on which a cohort may begin. Weeks differ, so the three bad ones of April are no alarm and",
        "those in a row from the middle of June are. The replay always takes the same sample: that of the second line.",
        "",
        "| replay from | samples | replays | before June | by the cohort that ends July 23 | by July 30 | median |",
        "|---|---|---:|---:|---:|---:|---|",
    ]
    for start in (moment("2013-03-01"), moment("2013-05-01")):
        for name, seeds in ((f"{SEEDS} others", range(100, 100 + SEEDS)), ("the replay's", [SEED])):
            found = [alarm(days, warned, start, (seed, phase), options) for seed in seeds for phase in range(PHASES)]
            lines.append(f"| {start:%B %d} | {name} | {len(found)} | {summary(found)} |")
    return "\n".join(lines) + "\n"


def summary(found: list[datetime]) -> str:
    june, july, later = moment("2013-06-01"), moment("2013-07-23"), moment("2013-07-30")
    early = np.mean([when < june for when in found])
    shares = [np.mean([june <= when <= end for when in found]) for end in (july, later)]
    median = sorted(found)[len(found) // 2]
    return " | ".join([f"{early:.0%}", *(f"{share:.0%}" for share in shares), f"{median:%B %d}"])


def alarm(
    days: dict, warned: np.ndarray, start: datetime, drawn: tuple[int, int], options: argparse.Namespace
) -> datetime:
    """Return the end of the cohort that raised the alarm (the end of the year if none did); `drawn`: seed, weekday."""
    seed, phase = drawn
    counts: list[tuple[int, int]] = []
    ends: list[int] = []
    first = (start - lake.EPOCH).days
    begin = first - phase
    while begin + 7 < 364:
        total = bad = 0
        for day in range(max(begin, first), begin + 7):
            rows = sample_of_day(days[day], lake.EPOCH + timedelta(days=day), options.sample, seed)
            late = rows.index[rows[TARGET]]
            total, bad = total + len(late), bad + int((~warned[late]).sum())
        if total >= options.min_samples:
            counts.append((total, bad))
            ends.append(begin + 7)
        begin += 7
    cohorts = Cohorts.complete(*np.array(counts, float).T[:, None])
    alarmed = detect(cohorts, options.max, day_variance(cohorts), FALSE_ALARM).alarm[0]
    return lake.EPOCH + timedelta(days=ends[int(alarmed.argmax())] if alarmed.any() else begin)


if __name__ == "__main__":
    main()
