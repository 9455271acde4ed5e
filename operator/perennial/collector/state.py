"""What the operator is told: the state, and a revision that changes when something in it matters."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from json import dumps
from time import monotonic
from typing import Any

from perennial.api.messages.policy import Policy
from perennial.api.messages.state import Brake, SloVerdict, State, Weights
from perennial.collector.joining import Tally
from perennial.collector.monitoring import Monitored, shown_cohorts, verdicts
from perennial.terms.words import Slot

PROGRESS_SECONDS = 5.0
"""Numbers that change with each request make a new revision only so often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """All that a state is made of."""

    policy: Policy | None
    weights: Weights
    members: dict[Slot, tuple[str, ...]] | None
    brake: Brake | None
    verdicts: tuple[SloVerdict, ...]
    watch: tuple[SloVerdict, ...]
    monitored: Monitored
    tally: Tally


def build_state(known: Known, now: datetime) -> State:
    """Return the state with an empty revision (see `revision`)."""
    policy, monitored = known.policy, known.monitored
    return State(
        revision="",
        policy_revision=None if policy is None else policy.revision,
        time=now,
        weights=known.weights,
        members=known.members,
        brake=known.brake,
        verdicts=known.verdicts,
        watch=known.watch,
        cohorts=() if policy is None else shown_cohorts(policy, monitored.cohorts, now),
        monitoring=() if policy is None else verdicts(policy, monitored, now),
        predictions=known.tally.predictions,
        repeated=known.tally.repeated,
        dropped=known.tally.dropped,
        labels=known.tally.labels(),
        retention_seconds=monitored.retention_seconds,
    )


def matter(state: State) -> Any:
    """Return what the operator must hear of at once, as JSON data."""
    return [
        state.policy_revision,
        state.weights.model_dump(mode="json"),
        state.members,
        None if state.brake is None else state.brake.canary_id,
        [[(v.slo, v.verdict, v.reason) for v in found] for found in (state.verdicts, state.watch)],
        [(c.start.timestamp(), c.version, c.matured) for c in state.cohorts],
        [
            (m.finding.name, m.finding.verdict, m.finding.reason, m.version, m.cohort and m.cohort.timestamp())
            for m in state.monitoring
        ],
        state.retention_seconds,
    ]


def progress(state: State) -> Any:
    """Return what is nice to know now and then: it changes with each request, prediction and label."""
    return [
        [(v.candidate.total, v.candidate.bad, v.stable.total, v.stable.bad) for v in (*state.verdicts, *state.watch)],
        [(c.predictions, c.labelled) for c in state.cohorts],
        [state.predictions, state.repeated, state.dropped],
        state.labels.model_dump(),
    ]


def revision(what: Any) -> str:
    """Return a short hash of JSON data."""
    return hashlib.sha256(dumps(what, sort_keys=True).encode()).hexdigest()[:16]


class Revisions:
    """Gives states their revisions. What changes with each request makes a new one only so often.

    What matters makes one at once, and shows the rest with it: the time until that is shown again begins anew.
    """

    def __init__(self, steady: Callable[[], float] = monotonic) -> None:
        self._steady = steady
        self._matters: Any = None
        self._progress: Any = None
        self._shown_at = 0.0

    def revised(self, state: State) -> State:
        """Return a state with its revision."""
        matters, now = matter(state), self._steady()
        if matters != self._matters or now - self._shown_at >= PROGRESS_SECONDS:
            self._matters, self._progress, self._shown_at = matters, progress(state), now
        return state.but(revision=revision([self._matters, self._progress]))
