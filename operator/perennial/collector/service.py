"""The collector itself: the policy in force, the tick of each second, and who must be told when something changes."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from sqlite3 import Connection
from time import monotonic, time
from typing import Any

from perennial.api.messages.policy import Canary, Policy
from perennial.api.messages.state import Brake, Labels, SloVerdict, State, Weights
from perennial.collector import cohorts, ticks
from perennial.collector.bodies import BadInputError
from perennial.collector.brake import Trial
from perennial.collector.cohorts import CohortRow, Label, Plan, Prediction, Tally
from perennial.collector.database import Database
from perennial.collector.router_stats import Counted, Requests, Routers, Snapshot, count
from perennial.collector.rtds import WeightServer
from perennial.collector.state import Known, build_state, matter, progress, revision
from perennial.stats.evidence import Tick
from perennial.terms.words import Permille, Slot

WHOLE = 1000
PROGRESS_SECONDS = 5.0
"""Numbers that change with each request make a new revision only so often."""
PRUNE_SECONDS = 30.0

log = logging.getLogger("perennial.collector")


class Collector:
    """One ModelDeployment's collector, without its HTTP shell. All methods run on one event loop."""

    def __init__(self, database: Database, routers: Routers, weights: WeightServer) -> None:
        self._database = database
        self.routers = routers
        self.weights = weights
        self.policy: Policy | None = None
        self.trial: Trial | None = None
        self.brake: Brake | None = None
        self.tally = Tally()
        self.requests: dict[Slot, Requests] = {"a": Requests(), "b": Requests()}
        self._members: Mapping[Slot, tuple[str, ...]] | None = None
        self._cohorts: tuple[CohortRow, ...] = ()
        self._stale_cohorts = True
        self._baselines: Mapping[str, Snapshot] = {}
        self._last_look: float | None = None
        self._last_canary: Canary | None = None
        self._last_weight: Permille | None = None
        self._lock = asyncio.Lock()
        self._changed = asyncio.Event()
        self._shown_progress: Any = None
        self._progress_time = 0.0
        self._pruned_time = time()
        self._closed = False
        weights.on_acknowledged = self._wake

    async def start(self) -> None:
        """Read what an earlier life has written, and go on from there."""
        policy, baselines, tally = await self._database.run(_read_all)
        self.tally = tally
        self._baselines = baselines
        if policy is not None:
            if policy.canary is not None and baselines:
                # Counting goes on across the restart; whether the weight stayed verified meanwhile, nobody knows.
                self._last_canary = policy.canary
            await self._adopt(policy)

    async def put_policy(self, policy: Policy) -> State:
        """Take the operator's will, durably, and answer with the state under it. Raises BadInputError."""
        check_policy(policy)
        async with self._lock:
            if policy != self.policy:
                began = policy.canary is not None and policy.canary.id != _id(self._canary())
                if began:
                    # What was answered before the canary began is not the canary's.
                    self._count(await self.routers.look())
                await self._database.run_durably(_write_policy, policy, self._baselines if began else None)
                await self._adopt(policy)
                if began:
                    self._last_canary, self._last_weight = policy.canary, None
                log.info("policy adopted", extra={"revision": policy.revision, "canary": _id(policy.canary)})
        self._wake()
        return await self.state()

    async def tick(self) -> None:
        """Count the requests since the last tick, judge the canary by them, and brake if it does harm."""
        async with self._lock:
            seen = await self.routers.look()
            canary = self._canary()
            await self._judge(canary, self._count_since(seen))
            self._count(seen)
            self._last_canary, self._last_weight = canary, self._live_weight(canary)
        self._members = await self.routers.members()
        if self._stale_cohorts:
            await self._refresh_cohorts()
        if time() - self._pruned_time >= PRUNE_SECONDS:
            await self._prune()
        self._wake()

    async def record_predictions(self, version: str, model_version: str, predictions: Sequence[Prediction]) -> None:
        """Store predictions, durably; those that are known already change nothing."""
        self.tally = await self._database.run_durably(cohorts.record_predictions, version, model_version, predictions)
        self._stale_cohorts = True

    async def record_labels(self, labels: Sequence[Label]) -> Labels:
        """Store labels, durably, and tell what became of them."""
        became, self.tally = await self._database.run_durably(cohorts.record_labels, labels, time())
        self._stale_cohorts = True
        return became

    async def state(self, after: str | None = None, wait: float = 0.0) -> State:
        """Return the state; while its revision is `after`, wait for up to `wait` seconds."""
        deadline = asyncio.get_running_loop().time() + wait
        while True:
            changed = self._changed
            if self._stale_cohorts:
                await self._refresh_cohorts()
            state = self._state_now()
            left = deadline - asyncio.get_running_loop().time()
            if state.revision != after or left <= 0 or self._closed:
                return state
            try:
                await asyncio.wait_for(changed.wait(), left)
            except TimeoutError:
                return self._state_now()

    def verdicts(self) -> tuple[SloVerdict, ...]:
        """Return the verdicts on the canary's promises; none without a canary."""
        return () if self.trial is None else self.trial.verdicts(_now())

    def close(self) -> None:
        """Let go of everyone who waits."""
        self._closed = True
        self.weights.close()
        self._wake()

    async def _judge(self, canary: Canary | None, counted: Counted) -> None:
        """Add a tick to the trial, and write it down. Ticks without any request change nothing."""
        if canary is None or self.trial is None or _id(self._last_canary) != canary.id:
            return
        tick = self._tick_of(canary, counted)
        if tick.candidate_total + tick.stable_total == 0:
            if counted.changed:
                await self._database.run(ticks.write_baselines, counted.baselines)
            return
        trial = self.trial.after_tick(tick)
        pulled = self.brake is None
        brake = trial.brake(_now()) if self.brake is None else self.brake
        write = self._database.run_durably if pulled and brake is not None else self._database.run
        try:
            await write(ticks.write_tick, canary.id, tick, counted.baselines, brake)
            self.trial = trial
        finally:
            # A broken disk must not keep the brake from working; the tick is then counted with the next one.
            if pulled and brake is not None:
                self.brake = brake
                self._set_weights()
                log.warning("brake pulled", extra={"canary": canary.id, "reason": brake.verdict.message})

    def _count(self, seen: Mapping[str, Snapshot]) -> None:
        """Take what the routers have answered for counted."""
        counted = self._count_since(seen)
        self.requests["a"] += counted.a
        self.requests["b"] += counted.b
        self._baselines, self._last_look = counted.baselines, monotonic()

    def _count_since(self, seen: Mapping[str, Snapshot]) -> Counted:
        elapsed = 0.0 if self._last_look is None else monotonic() - self._last_look
        return count(self._baselines, seen, elapsed)

    def _tick_of(self, canary: Canary, counted: Counted) -> Tick:
        arms = {"a": counted.a, "b": counted.b}
        candidate = arms[canary.slot]
        stable = arms["a" if canary.slot == "b" else "b"]
        before = self._last_canary
        same_step = before is not None and before.step == canary.step
        weight = self._last_weight if same_step and self._last_weight == self._live_weight(canary) else None
        return Tick(time(), canary.step, weight, candidate.total, candidate.bad, stable.total, stable.bad)

    def _live_weight(self, canary: Canary | None) -> Permille | None:
        """Return the candidate's weight if all routers have acknowledged it."""
        verified = self.weights.verified(len(self.routers.addresses))
        return None if canary is None or verified is None else verified[canary.slot]

    async def _adopt(self, policy: Policy) -> None:
        """Put a written policy in force."""
        canary = policy.canary
        brake, trial = None, None
        if canary is not None:
            brake = await self._database.run(ticks.read_brake, canary.id)
            trial = Trial.of(policy, canary, await self._database.run(ticks.read_ticks, canary.id))
        self.policy, self.brake, self.trial = policy, brake, trial
        self._stale_cohorts = True
        self._set_weights()

    def _canary(self) -> Canary | None:
        return None if self.policy is None else self.policy.canary

    def _set_weights(self) -> None:
        if self.policy is not None:
            self.weights.set(desired_weights(self.policy, self.brake))

    def _state_now(self) -> State:
        verified = self.weights.verified(len(self.routers.addresses))
        weights = Weights(
            desired=dict(self.weights.desired or {}),
            verified=None if verified is None else dict(verified),
            routers=self.weights.alive(),
        )
        now = _now()
        known = Known(
            policy=self.policy,
            weights=weights,
            members=None if self._members is None else dict(self._members),
            brake=self.brake,
            verdicts=self.verdicts(),
            cohorts=self._cohorts,
            tally=self.tally,
        )
        state = build_state(known, now)
        return state.model_copy(update={"revision": revision([matter(state), self._progress(state)])})

    def _progress(self, state: State) -> Any:
        if self._shown_progress is None or time() - self._progress_time >= PROGRESS_SECONDS:
            self._shown_progress, self._progress_time = progress(state), time()
        return self._shown_progress

    async def _refresh_cohorts(self) -> None:
        self._stale_cohorts = False
        self._cohorts = await self._database.run(cohorts.read_cohorts)

    async def _prune(self) -> None:
        self._pruned_time = time()
        await self._database.run(ticks.prune_ticks, _id(self._canary()))
        while await self._database.run(cohorts.prune, time()) >= cohorts.PRUNE_BATCH:
            self._stale_cohorts = True

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def desired_weights(policy: Policy, brake: Brake | None) -> dict[Slot, Permille]:
    """Return the weights under a policy: a candidate that was braked gets nothing, whatever the policy says."""
    candidate = policy.canary
    weight = 0 if candidate is None or brake is not None else candidate.weight
    weights: dict[Slot, Permille] = {"a": 0, "b": 0}
    weights[policy.stable] = WHOLE - weight
    if candidate is not None:
        weights[candidate.slot] = weight
    return weights


def check_policy(policy: Policy) -> None:
    """Raise BadInputError if a policy's parts do not fit together."""
    if policy.stable not in policy.arms:
        raise BadInputError("arms: must tell what the stable slot runs")
    if policy.canary is not None:
        if policy.canary.slot == policy.stable:
            raise BadInputError("canary.slot: must not be the stable slot")
        if policy.canary.slot not in policy.arms:
            raise BadInputError("arms: must tell what the canary's slot runs")
    names = [slo.name for slo in policy.slos]
    if len(set(names)) < len(names):
        raise BadInputError("slos: names must be unique")
    for i, slo in enumerate(policy.slos):
        if (slo.error_rate is None) == (slo.outcome is None):
            raise BadInputError(f"slos[{i}]: must have exactly one of errorRate and outcome")
        if slo.error_rate is not None and slo.error_rate.max is None and slo.error_rate.max_ratio is None:
            raise BadInputError(f"slos[{i}].errorRate: must have max or maxRatio")


def _read_all(connection: Connection) -> tuple[Policy | None, dict[str, Snapshot], Tally]:
    return ticks.read_policy(connection), ticks.read_baselines(connection), cohorts.read_tally(connection)


def _write_policy(connection: Connection, policy: Policy, baselines: Mapping[str, Snapshot] | None) -> None:
    ticks.write_policy(connection, policy, baselines)
    cohorts.configure(connection, Plan.of(policy))


def _id(canary: Canary | None) -> str | None:
    return None if canary is None else canary.id


def _now() -> datetime:
    return datetime.now(UTC)
