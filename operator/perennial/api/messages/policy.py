"""What the operator asks of a ModelDeployment's collector: PUT to `/v1/policy`.

Weights are thousandths of the requests. Times are RFC 3339 in UTC.
"""

from typing import Annotated, Final

from pydantic import AwareDatetime, Field

from perennial.api.messages.wire import Asked, Permille
from perennial.families.objective import Counted
from perennial.families.slos import Outcome
from perennial.families.slos.requests import Requests
from perennial.terms.words import Role, Slot

LONGEST: Final = 10**9
"""Seconds: nothing that is asked for takes 30 years."""
Named = Annotated[str, Field(max_length=128)]
Risk = Annotated[float, Field(ge=1e-18, lt=1)]
"""A probability of being wrong."""


class SloPolicy(Asked):
    """One promise. Exactly one of `requests` (judged on canaries) and `outcome` (judged on matured cohorts)."""

    name: Named
    role: Role = Role.CRITICAL
    requests: Requests | None = None
    outcome: Outcome | None = None

    def counted(self) -> Counted | None:
        """Return what is promised of requests, if anything is."""
        return self.requests


class Arm(Asked):
    """What a slot runs: the ModelDeployment's version (a hash) and the registered model's version."""

    version: Named
    model_version: Named


class Canary(Asked):
    """A candidate on trial. `id` is unique for ever: evidence and the brake belong to it.

    Harm is judged on all ticks of the canary, safety on the ticks since `step_started_time` alone.
    `alpha` bounds the probability of a false rollback, `beta` that of a false promotion, over all trials of a lineage:
    `attempt` is this one's number among them, from 1. For `warmup_seconds` after the first request errors belong to no
    test but that of a candidate which fails wholly. `timeout_seconds` is how long a router waits for an answer.
    """

    id: Named
    slot: Slot
    step: Annotated[int, Field(ge=0, le=10**6)]
    weight: Permille
    started_time: AwareDatetime
    step_started_time: AwareDatetime
    alpha: Risk = 0.05
    beta: Risk = 0.05
    attempt: Annotated[int, Field(ge=1, le=10**6)] = 1
    warmup_seconds: Annotated[int, Field(ge=0, le=LONGEST)] = 0
    timeout_seconds: Annotated[float, Field(gt=0, le=LONGEST)] = 10.0


class Watch(Asked):
    """The version that answers, whose requests go on being judged by the promises that need no comparison.

    `since` is when it became stable, `alpha` how likely a sound version may ever be blamed.
    """

    since: AwareDatetime
    alpha: Risk = 0.05


class Monitoring(Asked):
    """How cohorts of predictions ripen, and how often a healthy model may raise an alarm (per cohort)."""

    cohort_seconds: Annotated[int, Field(ge=1, le=LONGEST)]
    max_label_delay_seconds: Annotated[int, Field(ge=0, le=LONGEST)]
    min_coverage: Annotated[float, Field(ge=0, le=1)] = 0.9
    false_alarm: Risk = 0.01


class Policy(Asked):
    """The operator's whole will for one ModelDeployment. `revision` is its content hash and is echoed in the state."""

    revision: Named
    stable: Slot
    arms: dict[Slot, Arm]
    canary: Canary | None = None
    watch: Watch | None = None
    slos: tuple[SloPolicy, ...] = ()
    monitoring: Monitoring | None = None
