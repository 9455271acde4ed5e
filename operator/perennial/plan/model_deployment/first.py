"""The first version: it has nothing to be compared with, so it answers as soon as it is ready."""

from datetime import datetime

from perennial.plan.model_deployment import record
from perennial.plan.model_deployment.record import Transition
from perennial.plan.model_deployment.situation import Situation
from perennial.plan.model_deployment.wanted import Wanted


def starts(situation: Situation, now: datetime) -> Transition | None:  # noqa: ARG001 - the one signature of turns
    """Start the version that is wanted, or start it in the place of one that has not answered yet."""
    stable, want = situation.status.stable, situation.want
    if not isinstance(want, Wanted) or situation.spec.suspend:
        return None
    if stable is not None and (stable.since is not None or stable.version == want.version):
        return None
    return record.started(situation.status, want)


def serves(situation: Situation, now: datetime) -> Transition | None:
    """Let it answer once its pods are ready and every router knows them, if it is still what is wanted."""
    stable, want = situation.status.stable, situation.want
    if stable is None or stable.since is not None or not isinstance(want, Wanted):
        return None
    if not situation.rollout(stable).ready or not situation.routed(stable):
        return None
    message = f"Model version {stable.model_version} answers; it is the first, so there was nothing to compare it with."
    return record.serves(situation.status, stable, message, now)
