"""How a candidate is put on trial: prepared, given steps, promoted or rolled back.

Every function takes what was seen and returns the next status with its story, or None where it has nothing to say.
At most one transition is made in a plan; it is recorded before the collector hears of it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import exp

from perennial.api.messages.state import Brake, State
from perennial.api.model_deployment import (
    CanaryOnUndecided,
    Candidate,
    Decision,
    Deployed,
    HistoryEntry,
    ModelDeploymentStatus,
    Previous,
    Stable,
    Step,
    WeightStatus,
)
from perennial.manifests.build import hashed
from perennial.manifests.deployments import ready_addresses, rollout
from perennial.manifests.jobs import sentence
from perennial.plan.actions import Emit
from perennial.plan.model_deployment.findings import on_trial
from perennial.plan.model_deployment.observe import ModelDeploymentSeen
from perennial.plan.model_deployment.policy import policy
from perennial.plan.model_deployment.wanted import Wanted
from perennial.terms.words import Role, Slot, Verdict

KEPT = 10
PRINTABLE_LOG = 600
"""e^600 is still a float; beyond, an e-value is written as a power of ten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A transition: the status after it, and what is told of it."""

    status: ModelDeploymentStatus
    event: Emit | None = None


def heard(seen: ModelDeploymentSeen) -> State | None:
    """Return what the collector says of the policy that is recorded; None while it is silent or behind."""
    state, told = seen.collector.value, policy(seen.spec, seen.status)
    if seen.collector.error is not None or state is None or told is None or state.policy_revision != told.revision:
        return None
    return state


def first(seen: ModelDeploymentSeen, want: Wanted, now: datetime) -> Turn | None:
    """The first version has nothing to be compared with: it answers once it is ready, and may be replaced till then."""
    stable = seen.status.stable
    another = stable is None or (stable.since is None and stable.version != want.version)
    if another and not seen.spec.suspend:
        fresh = Stable(
            version=want.version, model_version=want.model_version, slot="a", digest=want.digest, server=want.server
        )
        return Turn(status=seen.status.model_copy(update={"stable": fresh}))
    if stable is None:
        return None
    ready = rollout(seen.slots.get(stable.slot), seen.pods, version=stable.version).ready
    if stable.since is None and ready and routed(seen, stable):
        message = (
            f"Model version {stable.model_version} answers; it is the first, so there was nothing to compare it with."
        )
        return Turn(
            status=seen.status.model_copy(update={"stable": stable.model_copy(update={"since": now})}),
            event=Emit(type="Normal", reason="FirstVersionServes", message=message, action="Promote"),
        )
    return None


def begin(seen: ModelDeploymentSeen, want: Wanted, now: datetime) -> Turn | None:
    """A version that is neither stable nor already rolled back gets a trial, in the slot that does not answer."""
    stable = seen.status.stable
    if (
        seen.spec.suspend
        or seen.status.canary is not None
        or stable is None
        or stable.since is None
        or want.version == stable.version
        or want.version in seen.status.rejected
        or not _slot_is_free(seen)
    ):
        return None
    count = seen.status.canaries + 1
    canary = Candidate(
        id=f"{count}-{hashed(seen.owner.uid, count, want.version)}",
        version=want.version,
        model_version=want.model_version,
        digest=want.digest,
        server=want.server,
        slot=_other(stable.slot),
        step=0,
        weight=WeightStatus(desired=0),
        started_time=now,
        step_started_time=now,
    )
    against = f"{stable.model_version} ({stable.version})"
    message = f"Model version {want.model_version} ({want.version}) is put on trial against {against}."
    return Turn(
        status=seen.status.model_copy(update={"canary": canary, "canaries": count, "previous": None}),
        event=Emit(type="Normal", reason="CanaryStarted", message=message, action="Canary"),
    )


def supersede(seen: ModelDeploymentSeen, want: Wanted, now: datetime) -> Turn | None:
    """What is wanted has changed: the trial ends without a verdict."""
    canary = seen.status.canary
    if canary is None or seen.spec.suspend or want.version == canary.version:
        return None
    return _end(
        seen,
        canary,
        now,
        decision=Decision.SUPERSEDED,
        reason="Superseded",
        why=f"Version {want.version} is wanted instead.",
    )


def braked(seen: ModelDeploymentSeen, now: datetime) -> Turn | None:
    """The collector has already taken the traffic away: record why."""
    canary, state = seen.status.canary, seen.collector.value
    if canary is None or state is None or state.brake is None or state.brake.canary_id != canary.id:
        return None
    return _end(seen, canary, now, decision=Decision.ROLLED_BACK, reason="Harmful", why=_evidence(state.brake))


def prepare(seen: ModelDeploymentSeen, now: datetime) -> Turn | None:
    """The candidate's pods become ready in time; once every router means exactly them, they get the first traffic."""
    canary = seen.status.canary
    if canary is None or canary.step > 0:
        return None
    found = rollout(seen.slots.get(canary.slot), seen.pods, version=canary.version)
    deadline = canary.started_time + timedelta(seconds=seen.spec.canary.progress_deadline_seconds)
    if not found.ready and now >= deadline:
        message = f"The pods were not ready within {seen.spec.canary.progress_deadline_seconds} s: {found.message}"
        return _end(seen, canary, now, decision=Decision.ROLLED_BACK, reason="ProgressDeadlineExceeded", why=message)
    if not found.ready or seen.spec.suspend or not routed(seen, canary):
        return None
    return _step(seen, canary, 1, now)


def routed(seen: ModelDeploymentSeen, deployed: Deployed) -> bool:
    """Whether every router would send a slot's requests to the ready pods of this version and to nobody else.

    Routers learn of pods by DNS, seconds late. Without this, the first requests of a candidate would fail for want of a
    pod, or be answered by the pods that had the slot before, and count against (or for) the wrong version.
    """
    state = heard(seen)
    addresses = ready_addresses(seen.pods, deployed.slot, deployed.version)
    return bool(addresses) and state is not None and (state.members or {}).get(deployed.slot) == addresses


def judge(seen: ModelDeploymentSeen, now: datetime) -> Turn | None:
    """Step or promote when every critical SLO passes, at live weights and after the step's least time; else wait."""
    canary = seen.status.canary
    if canary is None or canary.step == 0:
        return None
    state = heard(seen)
    if state is not None:
        failed = next(
            (item for item in state.verdicts if item.role is Role.CRITICAL and item.verdict is Verdict.FAIL), None
        )
        if failed is not None:
            return _end(
                seen,
                canary,
                now,
                decision=Decision.ROLLED_BACK,
                reason="Harmful",
                why=f"{failed.slo}: {failed.message}",
            )
        if not seen.spec.suspend and _passes(seen, canary, state, now):
            last = canary.step >= len(seen.spec.canary.steps)
            return _promote(seen, canary, state, now) if last else _step(seen, canary, canary.step + 1, now)
    return _give_up(seen, canary, state, now)


def watch(seen: ModelDeploymentSeen) -> ModelDeploymentStatus:
    """Return the status with what is known of the trial so far: weights and evidence."""
    canary, state = seen.status.canary, heard(seen)
    if canary is None or state is None or canary.step == 0:
        return seen.status
    verified = state.weights.verified
    shown = canary.model_copy(
        update={
            "weight": canary.weight.model_copy(
                update={"verified": verified.get(canary.slot, 0) // 10 if verified is not None else None}
            ),
            "slos": tuple(on_trial(item) for item in state.verdicts)[:16],
        }
    )
    return seen.status.model_copy(update={"canary": shown})


def retire(seen: ModelDeploymentSeen, now: datetime) -> Turn | None:
    """The version that lost is let go when its time is over and no router sends it anything."""
    previous = seen.status.previous
    if previous is None or now < previous.scale_down_time:
        return None
    return Turn(status=seen.status.model_copy(update={"previous": None})) if _slot_is_free(seen) else None


def _slot_is_free(seen: ModelDeploymentSeen) -> bool:
    """Whether every router has confirmed that it sends nothing to the version that lost."""
    previous, state = seen.status.previous, heard(seen)
    if previous is None:
        return True
    verified = state.weights.verified if state else None
    return verified is not None and verified.get(previous.slot, 0) == 0


def _other(slot: Slot) -> Slot:
    return "b" if slot == "a" else "a"


def _passes(seen: ModelDeploymentSeen, canary: Candidate, state: State, now: datetime) -> bool:
    promised = {slo.name for slo in seen.spec.slos if slo.role is Role.CRITICAL and slo.judges("trial")}
    passed = {item.slo for item in state.verdicts if item.verdict is Verdict.PASS}
    unsure = {item.slo for item in state.verdicts if item.verdict is not Verdict.PASS}
    lasted = canary.step_started_time + timedelta(seconds=_current(seen, canary).min_seconds)
    return bool(promised) and promised <= passed - unsure and _in_force(canary, state) and now >= lasted


def _in_force(canary: Candidate, state: State) -> bool:
    """Whether every router has confirmed the candidate's weight."""
    verified = state.weights.verified
    return verified is not None and verified.get(canary.slot) == canary.weight.desired * 10


def _current(seen: ModelDeploymentSeen, canary: Candidate) -> Step:
    return seen.spec.canary.steps[min(canary.step, len(seen.spec.canary.steps)) - 1]


def _step(seen: ModelDeploymentSeen, canary: Candidate, number: int, now: datetime) -> Turn:
    weight = seen.spec.canary.steps[number - 1].weight
    stepped = canary.model_copy(
        update={"step": number, "step_started_time": now, "weight": WeightStatus(desired=weight), "slos": ()}
    )
    share = f"model version {canary.model_version} gets {weight} % of the requests"
    message = f"Step {number} of {len(seen.spec.canary.steps)}: {share}."
    return Turn(
        status=seen.status.model_copy(update={"canary": stepped}),
        event=Emit(type="Normal", reason="CanaryStep", message=message, action="Canary"),
    )


def _promote(
    seen: ModelDeploymentSeen, canary: Candidate, state: State | None, now: datetime, *, why: str = "Safe"
) -> Turn:
    old = seen.status.stable
    shared = {"version", "model_version", "slot", "digest", "server"}
    new = Stable(**canary.model_dump(include=shared), since=now)
    leave = now + timedelta(seconds=seen.spec.canary.scale_down_delay_seconds)
    previous = Previous(**old.model_dump(include=shared), scale_down_time=leave) if old else None
    told = "; ".join(f"{item.slo}: {item.message}" for item in state.verdicts) if state else ""
    message = f"Model version {canary.model_version} is promoted: {told}"[:1024]
    status = seen.status.model_copy(
        update={
            "stable": new,
            "previous": previous,
            "canary": None,
            "rejected": (),
            "history": _history(seen, canary, now, decision=Decision.PROMOTED, reason=why, message=message),
        }
    )
    return Turn(status=status, event=Emit(type="Normal", reason="Promoted", message=message[:1000], action="Promote"))


def _end(
    seen: ModelDeploymentSeen, canary: Candidate, now: datetime, *, decision: Decision, reason: str, why: str
) -> Turn:
    """The candidate loses: route first (the next policy has no canary), then scale."""
    leave = now + timedelta(seconds=seen.spec.canary.scale_down_delay_seconds)
    shared = {"version", "model_version", "slot", "digest", "server"}
    rolled_back = decision is Decision.ROLLED_BACK
    verb = "is rolled back" if rolled_back else "is taken off trial"
    message = f"Model version {canary.model_version} ({canary.version}) {verb}: {why}"[:1024]
    rejected = (canary.version, *(item for item in seen.status.rejected if item != canary.version))[:KEPT]
    status = seen.status.model_copy(
        update={
            "canary": None,
            "previous": Previous(**canary.model_dump(include=shared), scale_down_time=leave),
            "rejected": rejected if rolled_back else seen.status.rejected,
            "history": _history(seen, canary, now, decision=decision, reason=reason, message=message),
        }
    )
    event = Emit(
        type="Warning" if rolled_back else "Normal",
        reason="RolledBack" if rolled_back else "Superseded",
        message=message[:1000],
        action="Rollback",
    )
    return Turn(status=status, event=event)


def _history(
    seen: ModelDeploymentSeen, canary: Candidate, now: datetime, *, decision: Decision, reason: str, message: str
) -> tuple[HistoryEntry, ...]:
    entry = HistoryEntry(
        id=canary.id,
        version=canary.version,
        model_version=canary.model_version,
        decision=decision,
        reason=reason,
        message=message,
        time=now,
    )
    return (entry, *seen.status.history)[:KEPT]


def _give_up(seen: ModelDeploymentSeen, canary: Candidate, state: State | None, now: datetime) -> Turn | None:
    """At the deadline, `onUndecided` decides. A promotion still needs measurements, at weights that are in force."""
    if seen.spec.suspend or now < canary.started_time + timedelta(seconds=seen.spec.canary.max_seconds):
        return None
    why = f"Undecided after {seen.spec.canary.max_seconds} s."
    match seen.spec.canary.on_undecided:
        case CanaryOnUndecided.ROLLBACK:
            return _end(seen, canary, now, decision=Decision.ROLLED_BACK, reason="Undecided", why=why)
        case CanaryOnUndecided.PROMOTE if state is not None and _measured(seen, state) and _in_force(canary, state):
            return _promote(seen, canary, state, now, why="Undecided")
        case _:
            return None


def _measured(seen: ModelDeploymentSeen, state: State) -> bool:
    promised = {slo.name for slo in seen.spec.slos if slo.role is Role.CRITICAL and slo.judges("trial")}
    measured = {
        item.slo
        for item in state.verdicts
        if item.verdict in {Verdict.PASS, Verdict.UNDECIDED} and item.candidate.total > 0
    }
    return promised <= measured


def _evidence(brake: Brake) -> str:
    verdict = brake.verdict
    e_value = f"e-value {e_value_text(verdict.log_e_harm)} (needed {exp(verdict.log_threshold_harm):.0f})"
    return (
        f"SLO {verdict.slo} failed after {verdict.candidate.total} requests on the candidate, "
        f"{verdict.candidate.bad} of them bad (stable: {verdict.stable.bad} of {verdict.stable.total}), {e_value}. "
        f"{sentence(verdict.message)} The collector set its weight to 0 at {brake.time:%H:%M:%S} UTC."
    )


def e_value_text(log_e: float | None) -> str:
    """Return an e-value for people: three digits, however large."""
    if log_e is None:
        return "unknown"
    return f"{exp(log_e):.3g}" if log_e < PRINTABLE_LOG else f"10^{log_e / 2.302585:.0f}"
