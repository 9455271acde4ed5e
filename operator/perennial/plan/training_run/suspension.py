"""Holding still while `spec.suspend` is true, and going on."""

from datetime import datetime

from perennial.manifests.build import changed_job
from perennial.manifests.jobs import ENDED
from perennial.manifests.manifest import Manifest
from perennial.plan.actions import Change, Emit, Plan
from perennial.plan.conditions import mark, progress
from perennial.plan.training_run import record
from perennial.plan.training_run.marks import in_progress, settled, stages
from perennial.plan.training_run.observe import TrainingRunSeen
from perennial.terms import reasons

HOLDS_STILL = "spec.suspend is true: set it to false to go on."
GOES_ON = "spec.suspend is false again: the run goes on."


def hold_still(seen: TrainingRunSeen, now: datetime) -> Plan | None:
    """Hold still, but let what has ended be recorded anyway.

    A suspended Job forgets when it started, and its deadline begins anew. So the time that training has used up is
    recorded before its Job is suspended, and what is left is the Job's deadline when it goes on.
    """
    under_way = seen.under_way
    job = under_way.job
    if not seen.spec.suspend or under_way.outcome.phase in ENDED:
        return None
    applies: tuple[Change, ...] = ()
    events: tuple[Emit, ...] = ()
    status = seen.status
    if status.suspended_time is None:
        used = status.active_seconds + (_active_seconds(job, now) if under_way.component == "training" else 0)
        status = record.suspended(status, used, now)
        events = (Emit(type="Normal", reason=reasons.SUSPENDED, message=HOLDS_STILL, action="Suspend"),)
    elif job is not None and not _is_suspended(job):
        applies = (Change(manifest=changed_job(job, suspend=True)),)
    running = mark("Running", False, reasons.SUSPENDED, f"The {under_way.component} Job is suspended.") if job else None
    marks = (
        mark("Succeeded", "Unknown", reasons.SUSPENDED, HOLDS_STILL),
        *stages(status, running),
        *progress(stalled=(reasons.SUSPENDED, HOLDS_STILL)),
    )
    return Plan(applies=applies, status=settled(seen, now, status, marks), events=events)


def resume(seen: TrainingRunSeen, now: datetime) -> Plan | None:
    """Go on: recorded before it happens, so that a suspension that follows at once counts the Job's time anew."""
    if seen.spec.suspend:
        return None
    if seen.status.suspended_time is not None:
        event = Emit(type="Normal", reason=reasons.RESUMED, message=GOES_ON, action="Resume")
        return in_progress(seen, now, record.resumed(seen.status), reasons.RESUMED, GOES_ON, events=(event,))
    job = seen.under_way.job
    if job is None or not _is_suspended(job):
        return None
    left = max(1, seen.spec.active_deadline_seconds - seen.status.active_seconds)
    deadline = {"activeDeadlineSeconds": left} if seen.under_way.component == "training" else {}
    change = Change(manifest=changed_job(job, suspend=False, **deadline))
    return in_progress(seen, now, seen.status, reasons.RESUMED, GOES_ON, applies=(change,))


def _is_suspended(job: Manifest) -> bool:
    return bool(job["spec"].get("suspend", False))


def _active_seconds(job: Manifest | None, now: datetime) -> int:
    """Return how much of its deadline a Job has used up since it was started or resumed."""
    started = (job or {}).get("status", {}).get("startTime")
    return max(0, int((now - datetime.fromisoformat(started)).total_seconds())) if started else 0
