"""What the operator records: what answers, what is on trial, and whether the promises are kept."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from perennial.api.model_deployment.spec import Server
from perennial.terms.finding import Finding
from perennial.terms.forms import Digest, ModelVersionName, Time
from perennial.terms.kube import Conditions
from perennial.terms.part import Part
from perennial.terms.words import Slot


class ServerRecord(Server):
    """A server's spec as a version was made with it, and what else its pods are made from: so it can be restored."""

    image: Annotated[str, Field(max_length=512, description="The image that serves.")]
    fetch_image: Annotated[str, Field(max_length=512, description="The image that fetches the model.")]
    collector_token: Annotated[
        bool, Field(description="Whether its pods prove themselves to the collector. Those of release 0.1 do not.")
    ] = False
    registered_model: Annotated[
        str | None,
        Field(max_length=256, description="What its model is called in MLflow; absent: as in the spec (release 0.1)."),
    ] = None

    @property
    def serves_itself(self) -> bool:
        """Whether the server is Perennial's own, which has a command of its own."""
        return self.image == self.fetch_image and not self.command


class Deployed(Part):
    """A version that has a slot: the pair of a registered model's version and a server."""

    version: Annotated[str, Field(max_length=16, description="Hash of the model's version and the server's spec.")]
    model_version: Annotated[ModelVersionName, Field(description="The registered model's version.")]
    slot: Annotated[Slot, Field(description="The slot whose Deployment serves it.")]
    digest: Annotated[
        Digest | None, Field(description="The digest of the model's files; absent: none was recorded.")
    ] = None
    server: Annotated[ServerRecord, Field(description="What its pods are made from, so that it can be restored.")]
    since: Annotated[Time | None, Field(description="When it became what it is.")] = None


class Stable(Deployed):
    """The version that answers."""

    ready_replicas: Annotated[int, Field(ge=0, description="Pods that are ready.")] = 0


class Previous(Deployed):
    """The version that answered before, or that was rolled back."""

    scale_down_time: Annotated[Time, Field(description="When its pods end.")]
    rollback_until: Annotated[
        Time | None, Field(description="Until when it can be gone back to; absent: it lost its trial.")
    ] = None
    scaled_down: Annotated[
        bool, Field(description="Whether its pods have ended; they are started to go back to it.")
    ] = False
    broken_alike: Annotated[
        tuple[Annotated[str, Field(max_length=63)], ...],
        Field(max_length=16, description="The SLOs that it broke itself when the next version was promoted."),
    ] = ()


class WeightStatus(Part):
    """The candidate's share, in per cent."""

    desired: Annotated[int, Field(ge=0, le=100, description="What the routers are told.")]
    verified: Annotated[
        int | None, Field(ge=0, le=100, description="What every router has confirmed; absent: not all have.")
    ] = None


class Candidate(Deployed):
    """The version on trial. Steps count from 1; 0 means that its pods are getting ready."""

    id: Annotated[str, Field(max_length=63, description="Unique for ever: evidence and brake belong to it.")]
    attempt: Annotated[
        int,
        Field(
            ge=1,
            description="Its number among the trials since the last promotion; a later one gets less of canary.risk.",
        ),
    ] = 1
    step: Annotated[int, Field(ge=0, le=20, description="The step of canary.steps, from 1; 0: pods are getting ready.")]
    weight: Annotated[WeightStatus, Field(description="Its share of the requests.")]
    started_time: Annotated[Time, Field(description="When the canary began.")]
    step_started_time: Annotated[Time, Field(description="When the step began.")]
    blocked_time: Annotated[
        Time | None,
        Field(
            description=(
                "Since when its pods may not be created (a quota or the like), have no node, or can't fetch the model "
                "since MLflow is away: its time stands still, and startedTime is set anew when that is over."
            )
        ),
    ] = None
    slos: Annotated[tuple[Finding, ...], Field(max_length=16, description="What the evidence says so far.")] = ()


class Decision(StrEnum):
    """How a canary ended."""

    PROMOTED = "Promoted"
    ROLLED_BACK = "RolledBack"
    SUPERSEDED = "Superseded"


class HistoryEntry(Part):
    """A canary that has ended."""

    id: Annotated[str, Field(max_length=63, description="The canary.")]
    version: Annotated[str, Field(max_length=16, description="The version that was on trial.")]
    model_version: Annotated[ModelVersionName, Field(description="Its registered model's version.")]
    decision: Annotated[Decision, Field(description="How it ended.")]
    reason: Annotated[str, Field(max_length=64, description="Why, in one word.")]
    message: Annotated[str, Field(max_length=1024, description="Why, with the evidence.")]
    findings: Annotated[
        tuple[Finding, ...], Field(max_length=16, description="What was found of each SLO by then.")
    ] = ()
    time: Annotated[Time, Field(description="When it was decided.")]


class RetrainingOutcome(StrEnum):
    """What was made of a trigger, or became of a run."""

    STARTED = "Started"
    REFUSED = "Refused"
    PASSED = "Passed"
    REJECTED = "Rejected"


class RetrainingDecision(Part):
    """A trigger, and what was made of it."""

    time: Annotated[Time, Field(description="When.")]
    trigger: Annotated[str, Field(max_length=128, description="What asked for a retraining.")]
    decision: Annotated[RetrainingOutcome, Field(description="What was made of it.")]
    reason: Annotated[str, Field(max_length=64, description="Why, in one word.")]
    message: Annotated[str, Field(max_length=1024, description="Why, with the evidence.")]
    run: Annotated[str | None, Field(max_length=63, description="The TrainingRun.")] = None


class RetrainingStatus(Part):
    """What has been retrained and why."""

    current_run: Annotated[str | None, Field(max_length=63, description="The TrainingRun that is running.")] = None
    started: Annotated[int, Field(ge=0, description="How many were started so far.")] = 0
    last_started_time: Annotated[Time | None, Field(description="When the last one was started.")] = None
    started_times: Annotated[
        tuple[Time, ...], Field(max_length=1000, description="Starts within the last 24 hours.")
    ] = ()
    last_cohort: Annotated[
        Time | None, Field(description="The last cohort of the alarm that the last one was started for.")
    ] = None
    last_dataset: Annotated[
        Digest | None, Field(description="The newest version of the data when the last one was started.")
    ] = None
    last_template: Annotated[
        str | None, Field(max_length=64, description="A hash of the template that the last one was started with.")
    ] = None
    next_eligible_time: Annotated[Time | None, Field(description="Before this, the guardrails refuse another.")] = None
    decisions: Annotated[
        tuple[RetrainingDecision, ...], Field(max_length=10, description="The last ten, newest first.")
    ] = ()


class Restoring(Part):
    """A way back to the previous version that has begun: its pods are being started."""

    reason: Annotated[str, Field(max_length=64, description="Why, in one word.")]
    message: Annotated[str, Field(max_length=1024, description="Why, with the evidence.")]
    started_time: Annotated[Time, Field(description="When it began.")]
    findings: Annotated[
        tuple[Finding, ...], Field(max_length=16, description="What was found of each SLO by then.")
    ] = ()


class LastRequest(Part):
    """What was asked by the annotation `perennial.dev/request: "<verb>@<token>"` last, and what was answered."""

    verb: Annotated[str, Field(max_length=64, description="What was asked for.")]
    token: Annotated[str, Field(max_length=128, description="What tells two requests apart; each is handled once.")]
    answer: Annotated[str, Field(max_length=1024, description="What was made of it.")]
    time: Annotated[Time, Field(description="When it was answered.")]


class ModelDeploymentStatus(Part):
    """What answers, what is on trial, and whether the promises are kept."""

    observed_generation: Annotated[
        int, Field(ge=-1, description="The generation that the status describes; -1: nobody has looked at it yet.")
    ] = -1
    stable: Annotated[Stable | None, Field(description="The version that answers.")] = None
    canary: Annotated[Candidate | None, Field(description="The version on trial.")] = None
    previous: Annotated[
        Previous | None, Field(description="The version before, or the one that lost; its pods stay for a while.")
    ] = None
    rejected: Annotated[
        tuple[Annotated[str, Field(max_length=16)], ...],
        Field(max_length=10, description="Versions that were rolled back: they get no second canary."),
    ] = ()
    restoring: Annotated[
        Restoring | None, Field(description="The way back to the previous version, once it has begun.")
    ] = None
    attempts: Annotated[int, Field(ge=0, description="Trials with requests that ended since the last promotion.")] = 0
    last_request: Annotated[
        LastRequest | None, Field(description="What was asked by annotation last, and the answer.")
    ] = None
    canaries: Annotated[int, Field(ge=0, description="Canaries begun so far.")] = 0
    champion: Annotated[
        ModelVersionName | None, Field(description="The version that MLflow's alias `champion` was pointed at last.")
    ] = None
    slos: Annotated[
        tuple[Finding, ...], Field(max_length=16, description="Whether the stable version is still right.")
    ] = ()
    retraining: Annotated[RetrainingStatus | None, Field(description="What has been retrained and why.")] = None
    history: Annotated[
        tuple[HistoryEntry, ...], Field(max_length=10, description="The last ten canaries, newest first.")
    ] = ()
    conditions: Annotated[
        Conditions, Field(description="Ready, Available, Progressing, SLOsMet, Reconciling, Stalled.")
    ] = ()
