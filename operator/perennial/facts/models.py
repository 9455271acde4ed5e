"""What the registry says of registered models, with a time-to-live: planners ask often, MLflow is asked rarely."""

import logging
import random
from asyncio import CancelledError, Event, Task, create_task, gather, timeout
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Protocol

from perennial.facts.errors import OutsideError
from perennial.facts.mlflow import Registration, VersionRecord
from perennial.plan.observed import Fact, ModelVersion, RegisteredModel

logger = logging.getLogger(__name__)


class Registry(Protocol):
    """Where the facts come from: `perennial.facts.mlflow.MLflow`."""

    async def get_registered_model(self, name: str) -> Registration | None:
        """Return a registered model, or None."""
        ...

    async def get_model_version(self, name: str, version: str) -> VersionRecord | None:
        """Return a version of a registered model, or None."""
        ...


@dataclass(slots=True)
class _Entry:
    asked: float
    fact: Fact[RegisteredModel] = field(default_factory=Fact)
    wanted: dict[str, float] = field(default_factory=dict)
    answered: frozenset[str] = frozenset()
    records: dict[str, tuple[float, ModelVersion]] = field(default_factory=dict)
    wake: Event = field(default_factory=Event)
    task: Task[None] | None = None


class ModelFacts:
    """Keeps what is known of the registered models that somebody asks for.

    A model is read when it is first asked for, then once in `ttl_seconds` (one GET: its aliases; versions hardly change
    and are read again after ten times that). A model that is missing, or an outage, is looked at again sooner, with a
    back-off up to the time-to-live. A model nobody asked for in `idle_seconds` is forgotten, unless somebody does when
    `on_change` is called once more: objects that are as they should be are not planned for hours.

    Args:
        registry: what is read.
        on_change: called with the model's name, in the event loop, when its fact is another one.
        ttl_seconds: how old a fact gets; a change by somebody else is seen that late.
        idle_seconds: how long a model is read for nobody's sake.
        now: a clock that never goes back, in seconds.
        chance: numbers in [0, 1): 5 % of jitter, so that 1,000 models are not all read in the same second.
    """

    def __init__(
        self,
        registry: Registry,
        on_change: Callable[[str], None],
        *,
        ttl_seconds: float = 60.0,
        first_retry_seconds: float = 1.0,
        idle_seconds: float = 1800.0,
        now: Callable[[], float] = monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._registry = registry
        self._on_change = on_change
        self._ttl = ttl_seconds
        self._first_retry = first_retry_seconds
        self._idle = idle_seconds
        self._now = now
        self._chance = chance
        self._entries: dict[str, _Entry] = {}

    def get(self, name: str, version: str | None = None) -> Fact[RegisteredModel]:
        """Return what is known of a registered model, and keep it fresh from now on.

        With `version`, the fact has no value until that version has been looked for; if it is not in the value's
        `versions` then, there is none.
        """
        entry = self._entries.get(name)
        if entry is None:
            entry = _Entry(self._now())
            self._entries[name] = entry
            entry.task = create_task(self._keep(name, entry), name=f"registered model {name}")
        entry.asked = self._now()
        if version is None:
            return entry.fact
        if version not in entry.wanted:
            entry.wake.set()
        entry.wanted[version] = entry.asked
        known = entry.fact.value is None or version in entry.answered or version in entry.fact.value.versions
        return entry.fact if known else Fact(error=entry.fact.error)

    def refresh(self, name: str) -> None:
        """Read a model again at once, because something was just written to it."""
        if (entry := self._entries.get(name)) is not None:
            entry.wake.set()

    def forget(self, name: str) -> None:
        """Drop what is known of a model and stop reading it."""
        entry = self._entries.pop(name, None)
        if entry is not None and entry.task is not None:
            entry.task.cancel()

    async def close(self) -> None:
        """Stop reading all models."""
        tasks = [entry.task for entry in self._entries.values() if entry.task is not None]
        for name in tuple(self._entries):
            self.forget(name)
        await gather(*tasks, return_exceptions=True)

    async def _keep(self, name: str, entry: _Entry) -> None:
        restless, reminded = 0, False
        while True:
            entry.wake.clear()
            fact, answered = await self._look(name, entry)
            restless = 0 if fact.error is None and fact.value is not None and fact.value.exists else restless + 1
            changed = fact != entry.fact or answered != entry.answered
            entry.fact, entry.answered = fact, answered
            if changed:
                self._on_change(name)
            try:
                async with timeout(self._pause(restless)):
                    await entry.wake.wait()
            except TimeoutError:
                idle = self._now() - entry.asked > self._idle
                if idle and reminded:
                    self._entries.pop(name, None)
                    return
                if idle:
                    self._on_change(name)
                reminded = idle

    async def _look(self, name: str, entry: _Entry) -> tuple[Fact[RegisteredModel], frozenset[str]]:
        """Return what a model is now, and the versions that were looked for because somebody had asked for them."""
        entry.wanted = {version: at for version, at in entry.wanted.items() if self._now() - at <= 2 * self._idle}
        wanted = frozenset(entry.wanted)
        try:
            registration = await self._registry.get_registered_model(name)
            aliases = {} if registration is None else dict(registration.aliases)
            versions = {} if registration is None else await self._versions(name, entry, wanted | set(aliases.values()))
        except OutsideError as error:
            return Fact(value=entry.fact.value, error=str(error)), entry.answered
        except CancelledError:
            raise
        except Exception:  # a reader that dies unseen would leave the fact stale for ever
            logger.exception("reading a registered model failed", extra={"model": name})
            return Fact(value=entry.fact.value, error="the operator did not understand MLflow's answer"), entry.answered
        model = RegisteredModel(name=name, exists=registration is not None, aliases=aliases, versions=versions)
        return Fact(value=model), wanted

    async def _versions(self, name: str, entry: _Entry, wanted: frozenset[str]) -> Mapping[str, ModelVersion]:
        fresh = self._now() - 10 * self._ttl
        records = {version: known for version, known in entry.records.items() if version in wanted and known[0] > fresh}
        for version in sorted(wanted - set(records)):
            record = await self._registry.get_model_version(name, version)
            if record is not None:
                found = ModelVersion(
                    version=version, run_id=record.run_id, digest=record.digest, tags=dict(record.tags)
                )
                records[version] = (self._now(), found)
        entry.records = records
        return {version: record for version, (_, record) in sorted(records.items())}

    def _pause(self, restless: int) -> float:
        if restless == 0:
            return self._ttl * (1.0 + 0.05 * self._chance())
        soon: float = min(self._first_retry * 2.0 ** min(restless - 1, 16), self._ttl)
        return soon * (0.75 + self._chance() / 2)
