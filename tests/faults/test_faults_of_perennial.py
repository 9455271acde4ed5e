"""Some of the fault matrix: what `make faults` does for every write of every story, here for one story of a kind."""

import itertools

import pytest
from matrix import stories
from operator_faults import faults
from operator_faults.campaign import Campaign, Row, failures
from operator_faults.run import Scenario
from perennial_subject import Registry

pytestmark = pytest.mark.api


def story(registry: Registry, kind: str, name: str) -> Scenario:
    return next(each for each in stories(registry) if (each.kind, each.name) == (kind, name))


def check(row: Row | None, runs: int) -> None:
    assert row is not None
    assert row.runs >= runs
    assert failures([row]) == []


async def test_a_dataset_survives_a_kill_around_each_write(campaign: Campaign, registry: Registry) -> None:
    row = await campaign.row("F1", story(registry, "Dataset", "recorded"), lambda _, seen: faults.kills(seen))
    check(row, 12)


async def test_a_training_run_makes_one_run_and_one_version_wherever_its_operator_is_killed(
    campaign: Campaign, registry: Registry
) -> None:
    gated = story(registry, "TrainingRun", "gated")
    row = await campaign.row("F1", gated, lambda _, seen: itertools.islice(faults.kills(seen), 1, None, 4))
    check(row, 4)
