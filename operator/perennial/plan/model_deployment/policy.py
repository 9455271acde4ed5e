"""What the collector is told: a function of spec and of the status that is already written."""

from perennial.api.messages.policy import Arm, Canary, Monitoring, Policy, SloPolicy, Watch
from perennial.api.model_deployment import ModelDeploymentSpec, ModelDeploymentStatus
from perennial.families.slos import SLO
from perennial.manifests.build import hashed
from perennial.plan.model_deployment.router import ROUTE_TIMEOUT_SECONDS
from perennial.terms.words import Slot


def policy(spec: ModelDeploymentSpec, status: ModelDeploymentStatus) -> Policy | None:
    """Return the operator's will, or None while nothing answers. Only what is recorded in status is ever told."""
    stable, canary = status.stable, status.canary
    if stable is None:
        return None
    arms: dict[Slot, Arm] = {
        item.slot: Arm(version=item.version, model_version=item.model_version)
        for item in (status.previous, canary, stable)
        if item is not None
    }
    trial = None
    if canary is not None and canary.step > 0:
        trial = Canary(
            id=canary.id,
            slot=canary.slot,
            step=canary.step,
            weight=canary.weight.desired * 10,
            started_time=canary.started_time,
            step_started_time=canary.step_started_time,
            alpha=float(spec.canary.risk.false_rollback),
            beta=float(spec.canary.risk.false_promotion),
            attempt=canary.attempt,
            warmup_seconds=spec.canary.warmup_seconds,
            timeout_seconds=ROUTE_TIMEOUT_SECONDS,
        )
    watch = None
    if stable.since is not None:
        watch = Watch(since=stable.since, alpha=float(spec.canary.risk.false_rollback))
    monitoring = Monitoring(
        cohort_seconds=spec.monitoring.cohort_seconds,
        max_label_delay_seconds=spec.monitoring.maturity.max_label_delay_seconds,
        min_coverage=float(spec.monitoring.maturity.min_coverage),
        false_alarm=float(spec.monitoring.false_alarm),
    )
    will = Policy(
        revision="",
        stable=stable.slot,
        arms=arms,
        canary=trial,
        watch=watch,
        slos=tuple(_slo(slo) for slo in spec.slos),
        monitoring=monitoring,
    )
    return Policy(**{**dict(will), "revision": hashed(will.model_dump(mode="json"), length=16)})


def _slo(slo: SLO) -> SloPolicy:
    return SloPolicy(name=slo.name, role=slo.role, requests=slo.requests, outcome=slo.outcome)
