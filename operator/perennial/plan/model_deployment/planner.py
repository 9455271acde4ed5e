"""Decides what a ModelDeployment needs next."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from perennial.api.model_deployment import Deployed, ModelDeploymentStatus
from perennial.manifests.deployments import rollout
from perennial.plan.actions import Apply, Call, Delete, Plan, PutPolicy
from perennial.plan.conditions import settle
from perennial.plan.model_deployment import canary
from perennial.plan.model_deployment.findings import on_cohorts
from perennial.plan.model_deployment.marks import marks
from perennial.plan.model_deployment.observe import SLOTS, ModelDeploymentSeen, set_champion
from perennial.plan.model_deployment.policy import policy
from perennial.plan.model_deployment.resources import desired_collector, desired_router, desired_run, desired_slot
from perennial.plan.model_deployment.retraining import eligible_in, retrain
from perennial.plan.model_deployment.wanted import Wanted, wanted
from perennial.plan.observed import delete_of

PROGRESS_SECONDS = 5.0
"""How often the evidence of a running trial is shown anew in status, if nothing else happens."""


def plan(seen: ModelDeploymentSeen, now: datetime) -> Plan:
    """Make the plan.

    In this order, the first that applies:

    1. The collector braked the candidate, or it lost for another reason: roll back.
    2. Nothing answers yet: the first version does, once it is ready.
    3. Something else is wanted than what is on trial: the trial ends; than what is stable: a trial begins.
    4. The candidate's pods are ready: it gets the first step. Every critical SLO passes: the next step, or promotion.
    5. The version that lost has been kept long enough: let it go.
    6. The stable version breaks a promise on matured cohorts: retrain, within the guardrails.

    And always: children, the collector's policy (of what is recorded), MLflow's champion, conditions.
    """
    want = wanted(seen)
    turn = _turn(seen, want if isinstance(want, Wanted) else None, now)
    status = turn.status if turn else canary.watch(seen)
    events = [turn.event] if turn and turn.event else []
    if turn is None:
        retrained = retrain(seen, want if isinstance(want, Wanted) else None, now)
        if retrained is not None:
            status = status.model_copy(update={"retraining": retrained.status})
            events += [retrained.event] if retrained.event else []
    status = _monitored(seen, _championed(seen, _counted(seen, status)))
    conditions = settle(seen.status.conditions, marks(seen, status, want), now=now, generation=seen.generation)
    status = status.model_copy(update={"observed_generation": seen.generation, "conditions": conditions})
    return Plan(
        applies=_children(seen, status),
        calls=_calls(seen),
        status=status.json_data(),
        events=tuple(events),
        deletes=_leftovers(seen, status),
        requeue_after=_next_look(seen, status, now),
    )


def _turn(seen: ModelDeploymentSeen, want: Wanted | None, now: datetime) -> canary.Turn | None:
    lost = canary.braked(seen, now)
    if lost is not None:
        return lost
    if want is not None:
        for decide in (canary.first, canary.supersede, canary.begin):
            decided = decide(seen, want, now)
            if decided is not None:
                return decided
    for advance in (canary.prepare, canary.judge, canary.retire):
        advanced = advance(seen, now)
        if advanced is not None:
            return advanced
    return None


def _counted(seen: ModelDeploymentSeen, status: ModelDeploymentStatus) -> ModelDeploymentStatus:
    if status.stable is None:
        return status
    found = rollout(seen.slots.get(status.stable.slot), seen.pods, version=status.stable.version)
    return status.model_copy(
        update={"stable": status.stable.model_copy(update={"ready_replicas": found.ready_replicas})}
    )


def _championed(seen: ModelDeploymentSeen, status: ModelDeploymentStatus) -> ModelDeploymentStatus:
    call = set_champion(seen.spec, seen.status)
    if call is None or seen.aliased is None or seen.aliased.value is None:
        return status
    return status.model_copy(update={"champion": call.version})


def _monitored(seen: ModelDeploymentSeen, status: ModelDeploymentStatus) -> ModelDeploymentStatus:
    """A collector that is silent changes nothing that is known."""
    state = seen.collector.value
    promised = {slo.name for slo in seen.spec.slos if slo.judges("cohorts")}
    if state is None:
        return status.model_copy(update={"slos": tuple(item for item in status.slos if item.name in promised)})
    return status.model_copy(
        update={"slos": tuple(on_cohorts(item) for item in state.monitoring if item.slo in promised)[:16]}
    )


def _in_use(status: ModelDeploymentStatus) -> tuple[Deployed, ...]:
    return tuple(item for item in (status.stable, status.canary, status.previous) if item is not None)


def _children(seen: ModelDeploymentSeen, status: ModelDeploymentStatus) -> tuple[Apply, ...]:
    if status.stable is None:
        return ()
    in_use, issuer = _in_use(status), seen.issuer.value
    made = [
        # Without knowing whom it may believe, the collector stays as it is, or waits to be made.
        *(desired_collector(seen, issuer, (*in_use, *_in_use(seen.status))) if issuer is not None else ()),
        *desired_router(seen, status.stable.slot),
        *(desired_slot(seen, item, seen.spec.server.replicas) for item in in_use),
    ]
    run = status.retraining.current_run if status.retraining else None
    if run is not None and seen.spec.retraining is not None and not any(found.name == run for found in seen.runs):
        made.append(desired_run(seen.owner, seen.spec.retraining, run))
    return tuple(Apply(manifest=manifest) for manifest in made)


def _calls(seen: ModelDeploymentSeen) -> tuple[Call, ...]:
    """The policy is told only to a collector that answers; one that does not is told when it is back."""
    calls: list[Call] = []
    will, state = policy(seen.spec, seen.status), seen.collector.value
    reachable = state if seen.collector.error is None else None
    if will is not None and reachable is not None and reachable.policy_revision != will.revision and seen.told is None:
        calls.append(PutPolicy(policy=will))
    champion = set_champion(seen.spec, seen.status)
    if champion is not None and seen.aliased is None:
        calls.append(champion)
    return tuple(calls)


def _leftovers(seen: ModelDeploymentSeen, status: ModelDeploymentStatus) -> tuple[Delete, ...]:
    """Slots that nothing is in any more, as it is recorded: a slot is emptied one plan after the status says so."""
    used = {item.slot for item in (*_in_use(status), *_in_use(seen.status))}
    return tuple(delete_of(seen.slots[slot]) for slot in SLOTS if slot in seen.slots and slot not in used)


def _next_look(seen: ModelDeploymentSeen, status: ModelDeploymentStatus, now: datetime) -> float | None:
    """Seconds until time alone may change the plan."""
    looks: list[float | None] = [eligible_in(seen, now)]
    if status.canary is not None:
        looks.append(PROGRESS_SECONDS)
        looks += _until(
            now, [status.canary.started_time + timedelta(seconds=seen.spec.canary.progress_deadline_seconds)]
        )
    if status.previous is not None:
        left = (status.previous.scale_down_time - now).total_seconds()
        looks.append(left if left > 0 else PROGRESS_SECONDS)
    known = [look for look in looks if look is not None]
    return min(known) if known else None


def _until(now: datetime, moments: Iterable[datetime]) -> list[float | None]:
    return [(moment - now).total_seconds() for moment in moments if moment > now]
