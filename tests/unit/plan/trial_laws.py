"""What must hold of every plan for a trial: laws that take the world and the plan, and say which case it was."""

from datetime import datetime

from given import World
from given_deployment import NAME

from perennial.api.messages.state import State
from perennial.api.model_deployment import (
    CanaryOnUndecided,
    Candidate,
    ModelDeploymentSpec,
    ModelDeploymentStatus,
    Previous,
)
from perennial.plan.actions import Plan
from perennial.plan.model_deployment.policy import policy
from perennial.terms.words import Role, Verdict


def recorded(world: World) -> tuple[ModelDeploymentSpec, ModelDeploymentStatus]:
    found = world.subject_of("ModelDeployment", NAME)
    spec = ModelDeploymentSpec.model_validate(found["spec"])
    return spec, ModelDeploymentStatus.model_validate(found.get("status", {}))


def after(plan: Plan) -> ModelDeploymentStatus:
    return ModelDeploymentStatus.model_validate(plan.status)


def heard(world: World) -> State | None:
    """Return what the collector says of exactly the recorded policy, if it speaks now."""
    told, said = policy(*recorded(world)), world.state.value
    if told is None or said is None or world.state.error is not None or said.policy_revision != told.revision:
        return None
    return said


def proven(spec: ModelDeploymentSpec, state: State | None) -> bool:
    """Return whether every critical SLO passes and nothing says otherwise of it."""
    critical = {slo.name for slo in spec.slos if slo.decides("trial")}
    found = [item for item in state.verdicts if item.slo in critical] if state else []
    return {item.slo for item in found} == critical and {item.verdict for item in found} == {Verdict.PASS}


def in_force(trial: Candidate, state: State | None) -> bool:
    weights = state.weights.verified if state else None
    return weights is not None and weights.get(trial.slot) == trial.weight.desired * 10


def harmed(trial: Candidate, world: World) -> bool:
    said, state = world.state.value, heard(world)
    braked = said is not None and said.brake is not None and said.brake.canary_id == trial.id
    return braked or any(
        item.role is Role.CRITICAL and item.verdict is Verdict.FAIL for item in (state.verdicts if state else ())
    )


def grows_by_proof(world: World, plan: Plan, at: datetime) -> str:
    """A step at a time, and only on Pass of every critical SLO at confirmed weights; or as onUndecided has it, late."""
    spec, before = recorded(world)
    trial, state, now = before.canary, heard(world), after(plan)
    assert trial is not None
    promoted = now.stable is not None and now.stable.version == trial.version
    grown = now.canary is not None and now.canary.step > trial.step
    if now.canary is not None:
        assert now.canary.id == trial.id
        assert now.canary.step - trial.step in {0, 1}
        assert grown or now.canary.weight.desired == trial.weight.desired
    if trial.step == 0:
        assert not promoted
        assert not grown or not spec.suspend
        return "prepared"
    held = in_force(trial, state) and not harmed(trial, world) and not spec.suspend
    late = (at - trial.started_time).total_seconds() >= spec.canary.max_seconds
    assert (held and proven(spec, state)) or not grown
    assert (
        held and (proven(spec, state) or (late and spec.canary.on_undecided is CanaryOnUndecided.PROMOTE))
    ) or not promoted
    return "promoted" if promoted else "grown" if grown else "held"


def ends_by_harm(world: World, plan: Plan) -> str:
    trial, now = recorded(world)[1].canary, after(plan)
    assert trial is not None
    if trial.step == 0 or not harmed(trial, world):
        return "harmless"
    assert now.canary is None
    assert now.stable is not None
    assert now.stable.version != trial.version
    return "harmed"


def keeps_slots(world: World, plan: Plan) -> str:
    """A slot that may get requests is neither emptied nor given away, and no two versions share one."""
    before, now = recorded(world)[1], after(plan)
    in_use = {item.slot for item in (before.stable, before.canary, warm(before)) if item is not None}
    assert not {delete.name[-1] for delete in plan.deletes} & in_use
    kept = {item.slot: item.version for item in (now.previous, now.canary, now.stable) if item is not None}
    assert len(kept) == sum(item is not None for item in (now.previous, now.canary, now.stable))
    if before.stable is not None and before.stable.since is not None:
        assert kept.get(before.stable.slot) == before.stable.version
    left = warm(before)
    if left is None or warm(now) is not None:
        return "kept"
    state = heard(world)
    assert state is not None
    assert state.weights.verified is not None
    assert state.weights.verified.get(left.slot, 0) == 0
    return "let go"


def warm(status: ModelDeploymentStatus) -> Previous | None:
    """Return the version before while it has pods, or they are being started."""
    return status.previous if status.previous is not None and not status.previous.scaled_down else None


def goes_back_by_right(world: World, plan: Plan, at: datetime) -> str:
    """Nobody answers but who won a trial, or who answered before: inside the window, shown or asked for, and ready."""
    (spec, before), now = recorded(world), after(plan)
    if now.restoring is not None and before.restoring is None:
        assert before.previous is not None
        assert before.previous.rollback_until is not None
        assert at < before.previous.rollback_until
        assert before.canary is None
        critical = {slo.name for slo in spec.slos if slo.decides("stable")} - {*before.previous.broken_alike}
        state = heard(world)
        failed = {item.slo for item in (state.watch if state else ()) if item.verdict is Verdict.FAIL}
        asked = now.last_request is not None and now.last_request != before.last_request
        assert asked or failed & critical
        return "going back"
    changed = before.stable is not None and now.stable is not None and now.stable.version != before.stable.version
    if not changed or before.stable is None or before.stable.since is None or now.stable is None:
        return "stays"
    if before.canary is not None and before.canary.version == now.stable.version:
        return "promoted"
    assert before.restoring is not None
    assert before.previous is not None
    assert now.stable.version == before.previous.version
    assert before.stable.version in now.rejected
    return "went back"


def retrains_one_at_a_time(world: World, plan: Plan) -> str:
    before, now = recorded(world)[1].retraining, after(plan).retraining
    made = {item.manifest["metadata"]["name"] for item in plan.applies if item.manifest["kind"] == "TrainingRun"}
    assert len(made) <= 1
    if before is not None and before.current_run is not None:
        assert made <= {before.current_run}
        assert now is not None
        assert now.current_run in {before.current_run, None}
    return "retrained" if made else "not retrained"
