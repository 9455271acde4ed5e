"""The situation of a ModelDeployment: what is seen, and what follows from it. Made once for each plan.

    seen ──▶ want       which version is wanted, or why nobody knows
      │ ───▶ policy     the operator's will, of what status records ──▶ report: what the collector says of exactly that
      └────▶ rollouts   how far the pods of each recorded version, of the router and of the collector are

Everything that decides (`turns`) and everything that is shown (`marks`) reads this, and nothing is worked out twice.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from perennial.api.messages.policy import Policy
from perennial.api.messages.state import State
from perennial.api.model_deployment import Deployed, ModelDeploymentSpec, ModelDeploymentStatus
from perennial.manifests.deployments import Rollout, ready_addresses, rollout
from perennial.plan.model_deployment.policy import policy
from perennial.plan.model_deployment.seen import ModelDeploymentSeen
from perennial.plan.model_deployment.wanted import Waiting, Wanted, wanted
from perennial.terms import reasons
from perennial.terms.words import Slot


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """All that a decision about a ModelDeployment goes by."""

    seen: ModelDeploymentSeen
    """What was observed, as it was."""
    want: Wanted | Waiting
    """The version that is wanted now, or why it is not known which."""
    policy: Policy | None
    """The operator's will as far as status records it; None while nothing answers."""
    report: State | None
    """What the collector says of that policy; None while it is silent or behind."""
    versions: Mapping[tuple[Slot, str], Rollout]
    """How far the pods of each recorded version are, by slot and version."""
    router: Rollout
    """How far the routers are."""
    collector: Rollout
    """How far the collector is."""

    @property
    def spec(self) -> ModelDeploymentSpec:
        """What is asked for."""
        return self.seen.spec

    @property
    def status(self) -> ModelDeploymentStatus:
        """What is recorded."""
        return self.seen.status

    def rollout(self, deployed: Deployed) -> Rollout:
        """Return how far the pods of a version are; one that is not recorded yet has none."""
        return self.versions.get((deployed.slot, deployed.version), NO_PODS)

    def routed(self, deployed: Deployed) -> bool:
        """Return whether every router would send a slot's requests to the ready pods of this version and nobody else.

        Routers learn of pods by DNS, seconds late. Without this, the first requests of a candidate would fail for want
        of a pod, or be answered by the pods that had the slot before, and count against (or for) the wrong version.
        """
        addresses = ready_addresses(self.seen.pods, deployed.slot, deployed.version)
        known = self.report.members if self.report is not None else None
        return bool(addresses) and known is not None and known.get(deployed.slot) == addresses

    def share(self, slot: Slot) -> int | None:
        """Return the thousandths of the requests that every router has confirmed for a slot; None: not all have."""
        verified = self.report.weights.verified if self.report is not None else None
        return verified.get(slot, 0) if verified is not None else None

    def slot_is_free(self) -> bool:
        """Return whether every router has confirmed that it sends nothing to the version that is kept."""
        previous = self.status.previous
        return previous is None or self.share(previous.slot) == 0


NO_PODS = Rollout(ready=False, ready_replicas=0, reason=reasons.STARTING, message="The Deployment is not there yet.")


def situation(seen: ModelDeploymentSeen) -> Situation:
    """Return the situation that is seen."""
    will = policy(seen.spec, seen.status)
    recorded = (seen.status.stable, seen.status.canary, seen.status.previous)
    return Situation(
        seen=seen,
        want=wanted(seen),
        policy=will,
        report=_report(seen, will),
        versions={
            (item.slot, item.version): rollout(seen.slots.get(item.slot), seen.pods, version=item.version)
            for item in recorded
            if item is not None
        },
        router=rollout(seen.router, seen.pods),
        collector=rollout(seen.collector_pods, seen.pods),
    )


def _report(seen: ModelDeploymentSeen, will: Policy | None) -> State | None:
    said = seen.collector.value
    if seen.collector.error is not None or said is None or will is None or said.policy_revision != will.revision:
        return None
    return said
