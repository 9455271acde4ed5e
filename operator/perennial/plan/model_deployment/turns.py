"""What may happen to a ModelDeployment next: one list, in the order in which it is asked, the first that applies.

Each of them takes the situation and the time, and returns a transition, or None where it has nothing to say. At most
one is made in a plan; it is recorded before the collector or MLflow hears of it.
"""

from collections.abc import Callable
from datetime import datetime

from perennial.plan.model_deployment import back, canary, first, retraining
from perennial.plan.model_deployment.record import Transition
from perennial.plan.model_deployment.situation import Situation

Turn = Callable[[Situation, datetime], Transition | None]

TURNS: tuple[Turn, ...] = (
    # A candidate that does harm is rolled back, whatever else is going on.
    canary.braked,  # The collector has taken its traffic away.
    canary.harmed,  # It fails a Critical SLO, though nothing braked it.
    # The first version.
    first.starts,  # Nothing answers yet: the version that is wanted is started.
    first.serves,  # Its pods are ready and every router knows them: it answers.
    # The way back to the version before.
    back.is_back,  # Its pods are ready and every router knows them: it answers again.
    back.is_asked,  # Somebody asks by annotation: done if it can be, answered in any case.
    back.breaks,  # Soon after its promotion, stable breaks a Critical promise about requests: the way back begins.
    # A trial.
    canary.supersedes,  # Another version is wanted than the one on trial: the trial ends without a verdict.
    canary.begins,  # Another version is wanted than stable: it is put on trial in the slot that is free.
    canary.is_blocked,  # Its pods may not be created, have no node, or lack MLflow: its time stands still.
    canary.is_unblocked,  # The shortage is over: its time begins anew.
    canary.is_late,  # Its pods are not ready in time: it is rolled back.
    canary.takes_traffic,  # They are, and every router knows them: the first step.
    canary.steps,  # Nothing holds it (canary.HOLDS): the next step.
    canary.is_promoted,  # Nothing holds it at the last step: it becomes stable.
    canary.is_undecided,  # maxSeconds are over: hold, promote or roll back, as onUndecided says.
    # The version that is kept.
    back.cools,  # It was kept warm long enough: its pods end.
    back.is_let_go,  # It can't be gone back to any more: it is forgotten.
    # Retraining.
    retraining.ends,  # The run has ended: what it brought is recorded.
    retraining.is_refused,  # A trigger asks, and a guardrail refuses.
    retraining.starts,  # A trigger asks, and none refuses: a run is started.
)


def turn(situation: Situation, now: datetime) -> Transition | None:
    """Return the first transition of `TURNS` that applies; None: nothing happens."""
    return next((made for each in TURNS if (made := each(situation, now)) is not None), None)
