"""MLflow's champion: the alias of the version that answers."""

from perennial.api.model_deployment import Deployed, ModelDeploymentSpec, ModelDeploymentStatus
from perennial.plan.actions import SetAlias
from perennial.terms.names import CHAMPION


def set_champion(spec: ModelDeploymentSpec, status: ModelDeploymentStatus) -> SetAlias | None:
    """Return the call that makes the stable version MLflow's champion; None if it is, or there is none."""
    stable = status.stable
    if stable is None or stable.since is None or status.champion == stable.model_version:
        return None
    return SetAlias(model=registered_as(stable, spec), alias=CHAMPION, version=stable.model_version)


def registered_as(version: Deployed, spec: ModelDeploymentSpec) -> str:
    """Return the name in MLflow that a version was found under. Release 0.1 recorded none: it used the plain one."""
    return version.server.registered_model or spec.model.name
