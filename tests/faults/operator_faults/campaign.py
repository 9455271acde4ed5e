"""Plays scenarios with faults, some side by side, and counts how many came to the end that they have without."""

import asyncio
import itertools
import os
import shutil
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from operator_faults import history
from operator_faults.nursery import Nursery
from operator_faults.run import Run, Scenario, State, Subject, differences, operated, stage
from operator_faults.upstream import Upstream

PLAY_SECONDS = 240.0
_QUIET_SECONDS = 0.7
_ATTEMPTS = 4
_CONVERGED_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Reference:
    """How a scenario ends without faults, and by which writes it gets there."""

    state: State
    created: Counter[str]
    writes: tuple[tuple[str, str], ...]
    """Method and path, without the run's own names, in order."""
    requests: int
    """Requests other than watches and what does not count."""
    seconds: float
    """From the story's beginning to its end."""


Drive = Callable[[Run, Scenario, Reference], Awaitable[None]]
"""Plays a scenario with a fault; raises where something does not hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One way in which a fault strikes. `set_up` is called before the operator starts."""

    name: str
    set_up: Callable[[Run], None] = lambda _: None
    drive: Drive | None = None
    check: Callable[[Run, Reference], None] = lambda _, __: None
    """Called at the end; raises AssertionError where something does not hold."""
    seconds: float = PLAY_SECONDS
    expects_exit: bool = False
    cases: int = 1
    """How many objects it tries, one after the other: it passes with all of them, or with none."""


Variants = Callable[[Scenario, Reference], Iterable[Variant]]


@dataclass(slots=True)
class Row:
    """What came of all variants of a fault in a scenario."""

    fault: str
    kind: str
    scenario: str
    runs: int = 0
    passed: int = 0
    failures: list[dict[str, str]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return it as results.json has it."""
        core: dict[str, Any] = {"fault": self.fault, "kind": self.kind, "scenario": self.scenario}
        core |= {"runs": self.runs, "passed": self.passed}
        return core | ({"failures": self.failures} if self.failures else {})


class Failed(Exception):
    """A run did not hold what must hold."""


class Campaign:
    """Runs scenarios of one subject on one API server, at most so many at a time."""

    _numbers = itertools.count(1)

    def __init__(
        self, subject: Subject, api: Upstream, nursery: Nursery, directory: Path, *, at_a_time: int = 5
    ) -> None:
        self._subject = subject
        self._api = api
        self._nursery = nursery
        self._directory = directory.resolve()
        self._places = asyncio.Semaphore(at_a_time)
        self.begun = 0
        self.ended = 0
        self._references: dict[tuple[str, str], asyncio.Task[Reference]] = {}

    async def reference(self, scenario: Scenario) -> Reference:
        """Play a scenario without faults; once for each, whoever asks."""
        key = (scenario.kind, scenario.name)
        if key not in self._references:
            self._references[key] = asyncio.create_task(self._learn(scenario))
        return await self._references[key]

    async def row(self, fault: str, scenario: Scenario, variants: Variants) -> Row | None:
        """Play all variants of a fault; None if there are none."""
        row = Row(fault, scenario.kind, scenario.name)
        try:
            reference = await self.reference(scenario)
        except Exception as error:  # a story that does not come to its end is a failed one, and the others go on
            row.runs = 1
            row.failures.append({"variant": "without faults", "problem": f"{type(error).__name__}: {error}"})
            return row
        chosen = list(variants(scenario, reference))
        self.begun += sum(each.cases for each in chosen)
        outcomes = await asyncio.gather(*(self._outcome(fault, scenario, each, reference) for each in chosen))
        for variant, problem in outcomes:
            row.runs += variant.cases
            row.passed += variant.cases if problem is None else 0
            if problem is not None:
                row.failures.append({"variant": variant.name, "problem": problem[:2000]})
        return row if chosen else None

    async def _learn(self, scenario: Scenario) -> Reference:
        async with self._places, self._stage("reference", scenario) as run:
            async with operated(run):
                started = time.monotonic()
                async with asyncio.timeout(PLAY_SECONDS):
                    await scenario.play(run)
                seconds = time.monotonic() - started
                await quiet(run)
                state = await whole_state(run, scenario)
            problems = run.problems()
            if problems:
                raise Failed(f"{scenario.kind} {scenario.name} without faults: {'; '.join(problems)}")
            writes = tuple(
                (each.request.method, run.named(each.request.path)) for each in run.proxy.log if each.request.writes
            )
            made = Reference(
                state=state, created=run.created(), writes=writes, requests=requests_of(run), seconds=seconds
            )
        self._tidy(run)
        return made

    async def _outcome(
        self, fault: str, scenario: Scenario, variant: Variant, reference: Reference
    ) -> tuple[Variant, str | None]:
        async with self._places:
            for _ in range(_ATTEMPTS):
                run, problem = await self._attempt(fault, scenario, variant, reference)
                if problem is not None or run is None or run.settle is None:
                    break
                run.settle()
                problem = "the moment to strike never came"
            self.ended += variant.cases
            return variant, problem

    async def _attempt(
        self, fault: str, scenario: Scenario, variant: Variant, reference: Reference
    ) -> tuple[Run | None, str | None]:
        problem: str | None = None
        run: Run | None = None
        try:
            async with self._stage(fault, scenario) as run:
                run.expects_exit = variant.expects_exit
                await self._play(run, scenario, variant, reference)
        except (Failed, AssertionError, TimeoutError) as error:
            problem = str(error) or type(error).__name__
        except Exception as error:  # a broken run is a failed one, and the others go on
            problem = f"{type(error).__name__}: {error}"
        if run is None or problem is None:
            if run is not None:
                self._tidy(run)
            return run, problem
        title = f"{fault}: {scenario.kind}, {scenario.name}, {variant.name}"
        history.write(run.directory / "history.html", title, problem, run.proxy.log, run.proxy.notes)
        return run, f"{problem} (see {run.directory / 'history.html'})"

    async def _play(self, run: Run, scenario: Scenario, variant: Variant, reference: Reference) -> None:
        variant.set_up(run)
        if variant.drive is not None:
            async with asyncio.timeout(variant.seconds):
                await variant.drive(run, scenario, reference)
        else:
            async with operated(run):
                async with asyncio.timeout(variant.seconds):
                    await scenario.play(run)
                await converged(run, scenario, reference)
                nothing_twice(run, reference)
        variant.check(run, reference)
        problems = run.problems()
        if problems:
            raise Failed("; ".join(problems))

    def _stage(self, fault: str, scenario: Scenario) -> Any:
        number = next(self._numbers)
        name = f"{fault}-{scenario.kind}-{scenario.name}-{number}".lower().replace(" ", "-")
        return stage(
            self._subject, scenario, self._api, self._nursery, f"faults-{number}-{os.getpid()}", self._directory / name
        )

    def _tidy(self, run: Run) -> None:
        shutil.rmtree(run.directory, ignore_errors=True)


def requests_of(run: Run) -> int:
    """Return how many requests were made, but for watches and what does not count."""
    counts = run.subject.counts
    return sum(not each.request.watch and counts(each.request.method, each.request.path) for each in run.proxy.log)


async def quiet(run: Run, seconds: float = _QUIET_SECONDS) -> None:
    """Wait until the operator has asked for nothing for a while but what it always asks for."""

    async def look() -> bool:
        return bool(run.proxy.log) and run.proxy.quiet_seconds() > seconds

    await run.until("the operator finds rest", look)


async def whole_state(run: Run, scenario: Scenario) -> State:
    """Return the end state, in the cluster and outside."""
    return {**await run.state(), "outside": await scenario.outside(run)}


async def converged(run: Run, scenario: Scenario, reference: Reference, seconds: float = _CONVERGED_SECONDS) -> None:
    """Wait until the state is the reference's, and stays.

    Raises:
        Failed: it is another one.
    """
    deadline = time.monotonic() + seconds
    while True:
        different = differences(reference.state, await whole_state(run, scenario))
        if not different and run.proxy.quiet_seconds() > _QUIET_SECONDS:
            return
        if time.monotonic() > deadline:
            raise Failed(f"another end: {'; '.join(different[:8]) or 'and no rest'}")
        await asyncio.sleep(0.25)


def nothing_twice(run: Run, reference: Reference) -> None:
    """Hold that nothing was brought into being more often than without faults, or than the clock asks for.

    Raises:
        Failed: something was.
    """
    twice = {path: more for path, more in (run.created() - reference.created).items() if path not in run.clocked}
    if twice:
        raise Failed(f"made once more than without faults: {twice}")
    if soon := run.too_soon():
        raise Failed("; ".join(soon))


def failures(rows: Sequence[Row]) -> list[str]:
    """Return a line for each run that failed."""
    return [
        f"{row.fault} {row.kind} {row.scenario}, {each['variant']}: {each['problem']}"
        for row in rows
        for each in row.failures
    ]
