"""The bench in small, so that it does not rot: what is counted is the same with fifty TrainingRuns as with more."""

from collections import Counter
from pathlib import Path

import pytest
from audit import counted
from bench_scale import about_runs, change, cluster, live, rest, runs_of, start, team
from running import rss_mib

pytestmark = pytest.mark.api

TEAMS, RUNS = 5, 50


async def test_a_training_run_costs_six_writes_and_no_read_and_rest_costs_nothing(tmp_path: Path) -> None:
    teams = [team(number) for number in range(TEAMS)]
    async with cluster(tmp_path, teams=TEAMS, node=False) as at:
        await rest(at, seconds=1)
        await start(at, runs_of(teams, RUNS // TEAMS, seconds=0))
        await live(at, RUNS)
        requests = await rest(at, seconds=2)
        assert counted(about_runs(requests)) == {
            "patch trainingruns/status": 3 * RUNS,
            "create jobs": 2 * RUNS,
            "create events": RUNS,
        }
        assert set(
            Counter((each.namespace, each.name[: len("run-000")]) for each in about_runs(requests)).values()
        ) == {6}
        assert counted(each for each in requests if each not in about_runs(requests)) == {}

        delays, asked = await change(at, TEAMS)
        assert len(asked) <= 2 * len(delays), counted(asked)
        await rest(at, seconds=2)
        assert rss_mib(at.operator) < 200
        assert at.operator.lines("reconciling failed unexpectedly") == []
