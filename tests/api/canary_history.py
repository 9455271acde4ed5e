"""What a ModelDeployment's status said, change by change, and the rules that every such history must keep."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby, pairwise
from typing import Any, NamedTuple

import aiohttp
from kstatus import Status, kstatus

from perennial.api.model_deployment import ModelDeploymentStatus

CONDITIONS = {"Ready", "Available", "Progressing", "SLOsMet", "Reconciling", "Stalled"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The object as one write left it."""

    version: int
    generation: int
    status: ModelDeploymentStatus
    seen_as: Status
    """What kstatus makes of it."""


class Stage(NamedTuple):
    """Where a trial is: its canary's id, the step, and when the step began."""

    canary: str
    step: int
    since: datetime


@dataclass
class History:
    """Every change of one ModelDeployment, in order, as one unbroken watch delivers them: it leaves none out."""

    changes: list[Change] = field(default_factory=list)
    on_change: Callable[[ModelDeploymentStatus], None] = lambda _: None

    @property
    def now(self) -> ModelDeploymentStatus:
        return self.changes[-1].status if self.changes else ModelDeploymentStatus()

    async def follow(self, session: aiohttp.ClientSession, url: str) -> None:
        """Follow a collection's watch until cancelled; `url` selects one object and says from where on."""
        async with session.get(url, timeout=aiohttp.ClientTimeout(total=None), read_bufsize=2**22) as response:
            response.raise_for_status()
            async for line in response.content:
                self._take(json.loads(line))
        raise AssertionError("the API server ended the watch that records the history")

    def _take(self, event: dict[str, Any]) -> None:
        assert event["type"] in {"ADDED", "MODIFIED"}, event
        metadata = event["object"]["metadata"]
        status = ModelDeploymentStatus.model_validate(event["object"].get("status", {}))
        self.changes.append(
            Change(
                version=int(metadata["resourceVersion"]),
                generation=metadata["generation"],
                status=status,
                seen_as=kstatus(event["object"])[0],
            )
        )
        self.on_change(status)

    def stages(self) -> list[Stage]:
        """Return the trials' stages in the order they were recorded; one that came back would be there twice."""
        canaries = (change.status.canary for change in self.changes)
        found = [Stage(each.id, each.step, each.step_started_time) for each in canaries if each is not None]
        return [stage for stage, _ in groupby(found)]

    def steps(self) -> list[int]:
        return [stage.step for stage in self.stages()]

    def stable_versions(self) -> list[str]:
        """Return the model versions that answered, one after the other."""
        stables = (change.status.stable for change in self.changes)
        return [version for version, _ in groupby(each.model_version for each in stables if each is not None)]

    def check(self) -> None:
        """Check what holds for every history, whoever died meanwhile."""
        versions = [change.version for change in self.changes]
        assert versions == sorted(set(versions)), "the watch went back"
        self._check_trials()
        self._check_waiting()
        for before, after in pairwise(change.status for change in self.changes):
            assert after.canaries - before.canaries in {0, 1}
            ended = after.history[: len(after.history) - len(before.history)]
            assert after.history == (*ended, *before.history), "what was decided was changed"
            assert len(ended) <= 1
            gone = before.canary is not None and (after.canary is None or after.canary.id != before.canary.id)
            assert [entry.id for entry in ended] == ([before.canary.id] if gone and before.canary else [])
            _check_evidence(before, after)

    def _check_trials(self) -> None:
        """Each trial: the steps 0, 1, 2 … without a gap, each begun once; no trial comes back once it has ended."""
        stages = self.stages()
        trials = [canary for canary, _ in groupby(stages, key=lambda stage: stage.canary)]
        assert len(trials) == len(set(trials)), f"a trial came back: {trials}"
        for trial in trials:
            of_trial = [stage for stage in stages if stage.canary == trial]
            assert [stage.step for stage in of_trial] == list(range(len(of_trial))), of_trial
            assert [stage.since for stage in of_trial] == sorted(stage.since for stage in of_trial), of_trial

    def _check_waiting(self) -> None:
        """Flux and its like go on where kstatus says Current: only where a version answers and none is on trial."""
        done = [change for change in self.changes if change.seen_as is Status.CURRENT]
        assert done, "nobody who waits would ever have gone on"
        for change in done:
            assert change.status.observed_generation == change.generation
            assert change.status.stable is not None
            assert (change.status.stable.since is None, change.status.canary) == (False, None), change
        first = next(change for change in self.changes if change.status.observed_generation != -1)
        assert {item.type for item in first.status.conditions} == CONDITIONS


def _check_evidence(before: ModelDeploymentStatus, after: ModelDeploymentStatus) -> None:
    """Evidence that was shown is never taken back: a trial's requests only become more."""
    old, new = before.canary, after.canary
    if old is None or new is None or old.id != new.id:
        return
    shown = {slo.name: slo.samples or 0 for slo in old.slos}
    assert all((slo.samples or 0) >= shown.get(slo.name, 0) for slo in new.slos), (old.slos, new.slos)
