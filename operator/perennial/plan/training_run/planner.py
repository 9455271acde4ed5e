"""Decides what a TrainingRun needs next."""

from collections.abc import Callable
from datetime import datetime

from perennial.plan.actions import Plan
from perennial.plan.training_run.beginning import await_data, make_run
from perennial.plan.training_run.comparing import choose_baseline, evaluate, judge_evaluation
from perennial.plan.training_run.ending import close, register
from perennial.plan.training_run.observe import TrainingRunSeen
from perennial.plan.training_run.suspension import hold_still, resume
from perennial.plan.training_run.training import end_training, train

Decision = Callable[[TrainingRunSeen, datetime], Plan | None]
"""Looks at a run and says what it needs, or None: that is another's affair."""

DECISIONS: tuple[Decision, ...] = (
    close,  # it has ended: only the MLflow run is still to be closed
    hold_still,  # it is suspended: a Job that runs is suspended, too; nothing begins
    resume,  # it no longer is: the Job goes on
    await_data,  # nothing is pinned, and nothing can be: say what it waits for
    make_run,  # there is no MLflow run: make it, and record it with the pinned data
    train,  # training is under way: there is a Job, which is not changed otherwise; say what holds it up
    end_training,  # training has ended: it failed, and so has the run; or it is recorded
    choose_baseline,  # the champion to compare with is not known: hold until the registry answers
    evaluate,  # evaluation is under way: there is a Job
    judge_evaluation,  # evaluation has ended: it failed, or the gate refused, and so has the run; or it passed
    register,  # the version is not registered: register it; the run has succeeded
)
"""In this order; the first that says something decides."""


def plan(seen: TrainingRunSeen, now: datetime) -> Plan:
    """Make the plan.

    What must be known before something begins is recorded before: the pinned data and the MLflow run before training,
    the champion and the attempt's number before the comparison. What follows at once is recorded at once, so a run that
    nothing holds up costs three statuses: under way, trained, ended.

    Raises:
        LookupError: no decision is about the run, which cannot be.
    """
    for decision in DECISIONS:
        decided = decision(seen, now)
        if decided is not None:
            return decided
    raise LookupError(f"no decision is about TrainingRun {seen.owner.namespace}/{seen.owner.name}")
