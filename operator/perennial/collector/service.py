"""The collector itself: the policy in force, the tick of each look, and who must be told when something changes."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from time import monotonic

from perennial.api.messages.policy import Canary, Policy
from perennial.api.messages.state import Brake, SloVerdict, State, Weights
from perennial.api.messages.wire import Permille
from perennial.collector.bodies import BadInputError
from perennial.collector.brake import Trial
from perennial.collector.clock import Clock
from perennial.collector.counting import Counted, Counting, Setting
from perennial.collector.journal import Journal
from perennial.collector.pods import Halves, Listed, members
from perennial.collector.predictions import Predictions
from perennial.collector.router_stats import Routers
from perennial.collector.rtds import WeightServer
from perennial.collector.standing import Standing, series_of
from perennial.collector.state import Known, Revisions, build_state
from perennial.collector.ticks import rows_of
from perennial.collector.watched import Watched
from perennial.stats.dispersion import Dispersion
from perennial.stats.ticks import Tick, Ticks
from perennial.terms.words import Slot

WHOLE = 1000
TRIAL_SECONDS = 0.25
"""Between two looks while a candidate gets requests: what fails is braked the sooner."""
SLOW_SECONDS = 0.9
"""Between two looks at what does not hurry: at who is behind the routers."""
PRUNE_SECONDS = 30.0

log = logging.getLogger("perennial.collector")


class Collector:
    """One ModelDeployment's collector, without its HTTP shell. All methods run on one event loop.

    Its parts: `counting`, where each router's counting goes on from; the journal, which outlives a restart; `trial`,
    the evidence on the candidate, with the brake; `watched`, that on the version that answers; what is known of bursts
    of failures, which a trial must take from before it; `predictions`, with labels and cohorts.
    """

    def __init__(self, journal: Journal, predictions: Predictions, routers: Routers, weights: WeightServer) -> None:
        self.routers, self.weights, self.predictions = routers, weights, predictions
        self.counting = Counting()
        self.policy: Policy | None = None
        self.trial: Trial | None = None
        self.brake: Brake | None = None
        self.watched: Watched | None = None
        self.bursts = Dispersion()
        self._halves = Halves()
        self._brake_is_kept = False
        self._journal = journal
        self._clock = Clock()
        self._standing = Standing()
        self._revisions = Revisions()
        self._members: Mapping[Slot, tuple[str, ...]] | None = None
        self._slow_due = 0.0
        self._prune_due = monotonic() + PRUNE_SECONDS
        self._lock = asyncio.Lock()
        self._changed = asyncio.Event()
        self._closed = False
        weights.on_acknowledged = self._wake

    async def start(self) -> None:
        """Read what an earlier life has written, and go on from there."""
        await self.predictions.start()
        policy, self.counting.baselines, self.bursts = await self._journal.read()
        if policy is not None:
            await self._adopt(policy)

    async def put_policy(self, policy: Policy) -> State:
        """Take the operator's will, durably, and answer with the state under it. Raises BadInputError."""
        check_policy(policy)
        async with self._lock:
            if policy != self.policy:
                if self.policy is None or (policy.stable, _id(policy.canary)) != (self.policy.stable, self._canary_id):
                    # What was counted until now was under another canary, or for another version.
                    await self._begin(policy.canary)
                if self.policy is None or desired_weights(policy, None) != self.weights.desired:
                    self.counting.forget_weights()
                await self._journal.put(policy, self.counting.baselines, self.bursts)
                await self._adopt(policy)
                log.info("policy adopted", extra={"revision": policy.revision, "canary": _id(policy.canary)})
        self._wake()
        return await self.state()

    async def tick(self) -> None:
        """Count the requests since the last look, judge the canary by them, and brake if it does harm."""
        async with self._lock:
            before = self._setting()
            seen = await self.routers.look()
            counted = self.counting.since(seen, self.routers.addresses, before, self._setting())
            await self._judge(counted, self._clock.now())
        if monotonic() >= self._slow_due:
            self._slow_due = monotonic() + SLOW_SECONDS
            listed = await self.routers.pods()
            self._members = members(listed.values())
            self._learn(listed)
            await self.predictions.refresh(self.policy)
        if monotonic() >= self._prune_due:
            self._prune_due = monotonic() + PRUNE_SECONDS
            await self._journal.prune(self._canary_id)
            await self._journal.learn(self.bursts)
            await self.predictions.prune()
        self._wake()

    def pace(self, usual: float) -> float:
        """Return how many seconds there should be between two looks now, `usual` if nothing is pressing."""
        canary = self._canary()
        pressing = canary is not None and canary.weight > 0 and self.brake is None
        return min(usual, TRIAL_SECONDS) if pressing else usual

    async def state(self, after: str | None = None, wait: float = 0.0) -> State:
        """Return the state; while its revision is `after`, wait for up to `wait` seconds."""
        deadline = asyncio.get_running_loop().time() + wait
        while True:
            changed = self._changed
            await self.predictions.refresh(self.policy)
            state = self._state_now()
            left = deadline - asyncio.get_running_loop().time()
            if state.revision != after or left <= 0 or self._closed:
                return state
            try:
                async with asyncio.timeout(left):
                    await changed.wait()
            except TimeoutError:
                return self._state_now()

    def verdicts(self) -> tuple[SloVerdict, ...]:
        """Return the verdicts on the canary's promises; none without a canary."""
        return () if self.trial is None else self.trial.verdicts(_now())

    def watch(self) -> tuple[SloVerdict, ...]:
        """Return the verdicts on the version that answers, by itself; none while it isn't watched."""
        return () if self.watched is None else self.watched.verdicts()

    def close(self) -> None:
        """Let go of everyone who waits."""
        self._closed = True
        self.weights.close()
        self._wake()

    async def _begin(self, canary: Canary | None) -> None:
        """Let what is counted from now on be another canary's."""
        seen = await self.routers.look()
        self.counting.take(self.counting.since(seen, self.routers.addresses, Setting(), Setting()))
        self.counting.begin(None if canary is None else canary.step, set(seen))
        self._standing = Standing()

    async def _judge(self, counted: Counted, moment: float) -> None:
        """Add what was counted to what is judged, brake if it shows harm, write it down, and take it for past."""
        taken: dict[str, Sequence[Tick]] = {}
        standing, watched, trial, brake = self._standing, self.watched, self.trial, self.brake
        if self.policy is not None and watched is not None and (series := series_of(self.policy)):
            standing, tick = standing.after(counted, self.policy.stable, moment)
            if tick is not None:
                taken[series] = [tick]
                watched = watched.after(Ticks.of([tick]))
        canary = self._canary()
        if canary is not None and trial is not None and (ticks := _ticks_of(canary, counted, moment)):
            taken[canary.id] = ticks
            trial = trial.after(Ticks.of(ticks))
            brake = brake or trial.brake(_now())
        if brake is not None and self.brake is None:
            # At once: neither a slow disk nor a broken one must keep the brake from working.
            self.brake = brake
            self._set_weights()
            log.warning("brake pulled", extra={"canary": brake.canary_id, "reason": brake.verdict.message})
        if taken or (canary is not None and counted.changed):
            await self._journal.write(taken, counted.baselines, None if self._brake_is_kept else brake)
            self._brake_is_kept = brake is not None
        self._standing, self.watched, self.trial = standing, watched, trial
        self.counting.take(counted)

    def _setting(self) -> Setting:
        """Return what is in force: the canary's step, and its weight if all routers have acknowledged it."""
        canary = self._canary()
        if canary is None:
            return Setting()
        verified = self.weights.verified(len(self.routers.addresses))
        return Setting(canary.step, None if verified is None else verified[canary.slot])

    async def _adopt(self, policy: Policy) -> None:
        """Put a written policy in force."""
        canary = policy.canary
        brake, trial = None, None
        if canary is not None:
            ticks, brake = await self._journal.trial(canary.id)
            trial = Trial.of(policy, canary, ticks, phi=self.bursts.phi)
            self._go_on_from(ticks)
        watched = await self._watched_under(policy)
        self.policy, self.brake, self.trial, self.watched = policy, brake, trial, watched
        self._brake_is_kept = brake is not None
        self.predictions.counted_anew()
        self._set_weights()

    async def _watched_under(self, policy: Policy) -> Watched | None:
        """Return what is known of the version that answers: what is known already, if the policy asks the same."""
        series = series_of(policy)
        if series is None or policy.watch is None:
            return None
        if self.watched is not None and self.watched.terms == Watched.terms_of(policy):
            return self.watched
        ticks = await self._journal.ticks(series, policy.watch.since.timestamp())
        self._go_on_from(ticks)
        return Watched.of(policy, ticks)

    def _go_on_from(self, ticks: Ticks) -> None:
        if len(ticks):
            self._clock.not_before(float(ticks.time[-1]))

    def _learn(self, listed: Mapping[str, Listed | None]) -> None:
        """Learn of bursts from the pods of the version that answers, while no trial is judged by what is known."""
        if self.policy is not None:
            halves = self._halves.since(listed, self.policy.stable)
            if halves is not None and self.policy.canary is None:
                self.bursts = self.bursts.after(self._clock.now(), halves)

    def _canary(self) -> Canary | None:
        return None if self.policy is None else self.policy.canary

    @property
    def _canary_id(self) -> str | None:
        return _id(self._canary())

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
        known = Known(
            policy=self.policy,
            weights=weights,
            members=None if self._members is None else dict(self._members),
            brake=self.brake,
            verdicts=self.verdicts(),
            watch=self.watch(),
            monitored=self.predictions.monitored,
            tally=self.predictions.tally,
        )
        return self._revisions.revised(build_state(known, _now()))

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
        if (slo.requests is None) == (slo.outcome is None):
            raise BadInputError(f"slos[{i}]: must have exactly one of requests and outcome")


def _ticks_of(canary: Canary, counted: Counted, moment: float) -> list[Tick]:
    return [
        Tick(moment, setting.step, setting.weight, rows_of(rows, canary.slot))
        for setting, rows in counted.portions.items()
        if setting.step is not None
    ]


def _id(canary: Canary | None) -> str | None:
    return None if canary is None else canary.id


def _now() -> datetime:
    return datetime.now(UTC)
