"""Decides what a ModelDeployment needs next."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from perennial.api.model_deployment import Deployed, ModelDeploymentStatus
from perennial.plan.actions import Apply, Call, Delete, Plan, PutPolicy
from perennial.plan.conditions import settle
from perennial.plan.model_deployment import record
from perennial.plan.model_deployment.champion import set_champion
from perennial.plan.model_deployment.children import desired_collector, desired_router, desired_run, desired_slot
from perennial.plan.model_deployment.findings import on_cohorts, on_stable, on_trial
from perennial.plan.model_deployment.marks import marks
from perennial.plan.model_deployment.retraining import eligible_in
from perennial.plan.model_deployment.seen import SLOTS
from perennial.plan.model_deployment.situation import Situation
from perennial.plan.model_deployment.turns import turn
from perennial.plan.observed import delete_of

PROGRESS_SECONDS = 5.0
"""How often the evidence of a running trial is shown anew in status, if nothing else happens."""


def plan(situation: Situation, now: datetime) -> Plan:
    """Make the plan: the first of `turns.TURNS` that applies, and what is always done.

    That is: what is known is shown, children are as they are recorded, the collector is told the policy (of what is
    recorded), MLflow its champion, and the conditions say the whole of it.
    """
    made = turn(situation, now)
    status = made.status if made is not None else _trial_shown(situation)
    status = _promises_shown(situation, _champion_shown(situation, _ready_shown(situation, status)))
    conditions = settle(
        situation.status.conditions, marks(situation, status), now=now, generation=situation.seen.generation
    )
    status = record.concluded(status, conditions, situation.seen.generation)
    return Plan(
        applies=_children(situation, status),
        calls=_calls(situation),
        status=status.json_data(),
        events=(made.event,) if made is not None and made.event is not None else (),
        deletes=_leftovers(situation, status),
        requeue_after=_next_look(situation, status, now),
    )


def _trial_shown(situation: Situation) -> ModelDeploymentStatus:
    candidate, report = situation.status.canary, situation.report
    if candidate is None or report is None or candidate.step == 0:
        return situation.status
    share = situation.share(candidate.slot)
    findings = [on_trial(item) for item in report.verdicts]
    verified = share // 10 if share is not None else None
    return record.trial_shown(situation.status, candidate, verified=verified, findings=findings)


def _ready_shown(situation: Situation, status: ModelDeploymentStatus) -> ModelDeploymentStatus:
    if status.stable is None:
        return status
    return record.ready_shown(status, status.stable, situation.rollout(status.stable).ready_replicas)


def _champion_shown(situation: Situation, status: ModelDeploymentStatus) -> ModelDeploymentStatus:
    call, result = set_champion(situation.spec, situation.status), situation.seen.alias_result
    if call is None or result is None or result.value is None:
        return status
    return record.champion_shown(status, call.version)


def _promises_shown(situation: Situation, status: ModelDeploymentStatus) -> ModelDeploymentStatus:
    """A collector that is silent changes nothing that is known."""
    state = situation.seen.collector.value
    promised = {slo.name for slo in situation.spec.slos if slo.judges("cohorts") or slo.judges("stable")}
    if state is None:
        found = status.slos
    else:
        found = (*(on_cohorts(item) for item in state.monitoring), *(on_stable(item) for item in state.watch))
    return record.promises_shown(status, [item for item in found if item.name in promised])


def _in_use(status: ModelDeploymentStatus) -> tuple[Deployed, ...]:
    """Return the versions that have pods, or should."""
    previous = status.previous if status.previous is not None and not status.previous.scaled_down else None
    return tuple(item for item in (status.stable, status.canary, previous) if item is not None)


def _children(situation: Situation, status: ModelDeploymentStatus) -> tuple[Apply, ...]:
    if status.stable is None:
        return ()
    seen, spec = situation.seen, situation.spec
    in_use, issuer = _in_use(status), seen.issuer.value
    made = [
        # Without knowing whom it may believe, the collector stays as it is, or waits to be made.
        *(desired_collector(seen, issuer, (*in_use, *_in_use(situation.status))) if issuer is not None else ()),
        *desired_router(seen.owner, seen.settings, status.stable.slot),
        *(desired_slot(seen, item, spec.server.replicas) for item in in_use),
    ]
    run = status.retraining.current_run if status.retraining else None
    if run is not None and spec.retraining is not None and not any(found.name == run for found in seen.runs):
        made.append(desired_run(seen.owner, spec.retraining, run))
    return tuple(Apply(manifest=manifest) for manifest in made)


def _calls(situation: Situation) -> tuple[Call, ...]:
    """The policy is told only to a collector that answers; one that does not is told when it is back."""
    calls: list[Call] = []
    seen, will = situation.seen, situation.policy
    answers = seen.collector.value if seen.collector.error is None else None
    if will is not None and answers is not None and situation.report is None and seen.put_result is None:
        calls.append(PutPolicy(policy=will))
    champion = set_champion(situation.spec, situation.status)
    if champion is not None and seen.alias_result is None:
        calls.append(champion)
    return tuple(calls)


def _leftovers(situation: Situation, status: ModelDeploymentStatus) -> tuple[Delete, ...]:
    """Slots that nothing is in any more, as it is recorded: a slot is emptied one plan after the status says so."""
    used = {item.slot for item in (*_in_use(status), *_in_use(situation.status))}
    live = situation.seen.slots
    return tuple(delete_of(live[slot]) for slot in SLOTS if slot in live and slot not in used)


def _next_look(situation: Situation, status: ModelDeploymentStatus, now: datetime) -> float | None:
    """Seconds until time alone may change the plan."""
    return min(_looks(situation, status, now), default=None)


def _looks(situation: Situation, status: ModelDeploymentStatus, now: datetime) -> Iterator[float]:
    eligible = eligible_in(situation, now)
    if eligible is not None:
        yield eligible
    if status.canary is not None:
        yield PROGRESS_SECONDS
        deadline = timedelta(seconds=situation.spec.canary.progress_deadline_seconds)
        left = (status.canary.started_time + deadline - now).total_seconds()
        if left > 0:
            yield left
    if status.previous is not None:
        kept = status.previous
        end = kept.rollback_until if kept.scaled_down and kept.rollback_until is not None else kept.scale_down_time
        left = (end - now).total_seconds()
        yield left if left > 0 else PROGRESS_SECONDS
