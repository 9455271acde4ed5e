"""What a planner may ask for. All here is data; `perennial.runtime` carries it out, in the order of `Plan`'s fields."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from perennial.api.messages.policy import Policy
from perennial.manifests.manifest import Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Apply:
    """Server-side apply of one child: the complete intent that Perennial owns, its owner reference included."""

    manifest: Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Create:
    """Makes a child that is not applied again: a Job. One request, which the server refuses where the name is taken."""

    manifest: Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Changes some fields of a child that was created, by a merge patch.

    `manifest` has those fields, and the uid and resourceVersion that were observed, which are preconditions.
    """

    manifest: Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Deletes exactly the object that was observed: uid and resourceVersion are preconditions."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str
    resource_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Emit:
    """A Kubernetes Event on the reconciled object. `action` is what the operator did, in CamelCase."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    action: str = "Reconcile"


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsureRun:
    """An MLflow run for a TrainingRun: found by its tag `UID_TAG`, created only if there is none."""

    experiment: str
    uid: str
    run_name: str
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishRun:
    """Ends an MLflow run that the operator owns."""

    run_id: str
    status: Literal["FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterVersion:
    """A version of a registered model for a run: found by its run id, created (once) if there is none."""

    model: str
    run_id: str
    source: str
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAlias:
    """Points an alias of a registered model at a version."""

    model: str
    alias: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PutPolicy:
    """Tells a ModelDeployment's collector the operator's will. Idempotent."""

    policy: Policy


Call = EnsureRun | FinishRun | RegisterVersion | SetAlias | PutPolicy
"""Something to be done outside the cluster's API. Each is idempotent; its result is observed, never returned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One reconciliation's whole effect.

    Children first, then calls, then `/status` (only if it differs from what was observed), then Events; deletions last,
    so that nothing is deleted whose outcome is not yet recorded. An effect that fails stops what follows it, and the
    key is tried again with back-off. A call that failed has its error in `Results` for a while: the next plan tells it
    in status and does not make the call, the one after that makes it again.
    """

    applies: tuple[Apply | Create | Change, ...] = ()
    calls: tuple[Call, ...] = ()
    status: Manifest | None = None
    events: tuple[Emit, ...] = ()
    deletes: tuple[Delete, ...] = ()
    requeue_after: float | None = None
    """Seconds until the plan is worth making again without any event; None: only events matter."""
