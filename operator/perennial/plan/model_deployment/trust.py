"""Whom a collector believes: service accounts of the cluster, by tokens that are made for this collector alone."""

from collections.abc import Iterable
from typing import Any

from perennial.api.messages.trust import Trust
from perennial.api.model_deployment import Deployed, ModelDeploymentSpec
from perennial.manifests.build import Owner
from perennial.plan.observed import Issuer
from perennial.terms.names import GROUP

TOKEN_MOUNT = "/var/run/secrets/perennial.dev"  # noqa: S105 - a path
TOKEN_FILE = f"{TOKEN_MOUNT}/token"
TOKEN_SECONDS = 3600


def audience(namespace: str, name: str) -> str:
    """Return the audience that tokens for a ModelDeployment's collector are made for."""
    return f"{GROUP}/{namespace}/{name}"


def user(namespace: str, service_account: str) -> str:
    """Return the user name that Kubernetes gives to a service account."""
    return f"system:serviceaccount:{namespace}:{service_account}"


def token_volume(owner: Owner) -> dict[str, Any]:
    """Return a volume with a token of the pod's service account, good for the collector and nothing else.

    It is no credential of the cluster's API, which takes tokens of its own audience only. The kubelet renews it.
    """
    token = {
        "audience": audience(owner.namespace, owner.name),
        "expirationSeconds": TOKEN_SECONDS,
        "path": TOKEN_FILE.removeprefix(f"{TOKEN_MOUNT}/"),
    }
    return {"name": "token", "projected": {"sources": [{"serviceAccountToken": token}]}}


def trust(
    owner: Owner, spec: ModelDeploymentSpec, versions: Iterable[Deployed], issuer: Issuer, operator: str
) -> Trust:
    """Return whom the collector believes, while these versions may report predictions."""
    labellers = None
    if spec.labels is not None:
        named = {user(each.namespace or owner.namespace, each.service_account) for each in spec.labels.from_}
        labellers = tuple(sorted(named))
    return Trust(
        issuer=issuer.url,
        keys=tuple(dict(key) for key in issuer.keys),
        audience=audience(owner.namespace, owner.name),
        operator=operator,
        namespace=owner.namespace,
        labellers=labellers,
        unproven_predictions=any(not version.server.collector_token for version in versions),
    )
