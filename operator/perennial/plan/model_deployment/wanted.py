"""Which version is wanted: a registered model's version and a server, as the spec and the world have it now."""

from dataclasses import dataclass

from perennial.api.model_deployment import ServerRecord
from perennial.api.training_run import TerminalState
from perennial.manifests.build import hashed
from perennial.plan.model_deployment.seen import ModelDeploymentSeen
from perennial.terms import reasons


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A version: the hash tells two of them apart, the server is what its pods are made from."""

    version: str
    model_version: str
    digest: str | None
    server: ServerRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Why it is not known what is wanted, and what to do about it."""

    reason: str
    message: str


def wanted(seen: ModelDeploymentSeen) -> Wanted | Waiting:
    """Return the version that is wanted now.

    With `fromRetraining` that is the highest version that a TrainingRun of this namespace registered and that was not
    rolled back with this server; never one below the stable version, whose run may be long gone.
    """
    model = seen.spec.model
    if model.from_retraining is not None:
        return _from_retraining(seen)
    registry = seen.registry.value
    if registry is None:
        why = seen.registry.error or "it has not answered yet."
        return Waiting(
            reason=reasons.REGISTRY_UNAVAILABLE,
            message=f"MLflow can't say what model {_registered(seen)} is: {why} It is asked again.",
        )
    version = model.version or registry.aliases.get(model.alias or "")
    if not registry.exists or version is None or version not in registry.versions:
        what = f"version {model.version}" if model.version else f"alias {model.alias}"
        return Waiting(
            reason=reasons.MODEL_NOT_FOUND,
            message=(
                f"MLflow has no {what} of model {_registered(seen)}: register it, or fix spec.model. "
                "It is looked for again."
            ),
        )
    return _version(seen, version, registry.versions[version].digest)


def _from_retraining(seen: ModelDeploymentSeen) -> Wanted | Waiting:
    offers = {
        run.status.model_version: run.status.model.digest if run.status.model else None
        for run in seen.runs
        if run.status.terminal_state is TerminalState.SUCCEEDED and run.status.model_version is not None
    }
    if seen.status.stable is not None:
        offers[seen.status.stable.model_version] = seen.status.stable.digest
    candidates = [
        _version(seen, version, digest) for version, digest in sorted(offers.items(), key=lambda item: int(item[0]))
    ]
    serving = seen.status.stable.model_version if seen.status.stable else None
    accepted = [
        candidate
        for candidate in candidates
        if candidate.model_version == serving or candidate.version not in seen.status.rejected
    ]
    newer = [candidate for candidate in accepted if serving is None or int(candidate.model_version) >= int(serving)]
    if newer:
        return newer[-1]
    return Waiting(
        reason=reasons.NO_MODEL_VERSION,
        message=(
            f"No TrainingRun of model {seen.spec.model.name} has passed its gate in this namespace: create one, "
            "or see why with `kubectl get trainingruns`."
        ),
    )


def _version(seen: ModelDeploymentSeen, model_version: str, digest: str | None) -> Wanted:
    server, settings = seen.spec.server.json_data(), seen.settings
    identity = {key: value for key, value in server.items() if key != "replicas"}
    return Wanted(
        version=hashed(model_version, identity),
        model_version=model_version,
        digest=digest,
        server=ServerRecord(
            **{
                **dict(seen.spec.server),
                "image": seen.spec.server.image or settings.server_image,
                "fetch_image": settings.server_image,
                "collector_token": True,
                "registered_model": _registered(seen),
            }
        ),
    )


def _registered(seen: ModelDeploymentSeen) -> str:
    return seen.settings.registered_model(seen.owner.namespace, seen.spec.model.name)
