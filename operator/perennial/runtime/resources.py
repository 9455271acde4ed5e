"""The kinds that the operator reads or writes, and where the Kubernetes API keeps them."""

from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import quote

from perennial.runtime.errors import Terminal


class Key(NamedTuple):
    """What is reconciled: one object of one kind, by name. It says nothing about what happened to it."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Resource:
    """A namespaced kind. `owned`: watched only where it carries the operator's label; otherwise every object is."""

    group: str
    version: str
    plural: str
    kind: str
    owned: bool = True

    @property
    def api_version(self) -> str:
        """Return `group/version`, or the version alone for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None, name: str = "", subresource: str = "") -> str:
        """Return the URL path of the collection (all namespaces if None), the object, or its subresource."""
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        if namespace is not None:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        parts += [part for part in (name, subresource) if part]
        return "/" + "/".join(quote(part, safe="") for part in parts)


MANAGED_BY: Final = "app.kubernetes.io/managed-by"
SELECTOR: Final = f"{MANAGED_BY}=perennial"
"""The label selector of the watches on children."""

DATASET: Final = Resource("perennial.dev", "v1alpha1", "datasets", "Dataset", owned=False)
TRAINING_RUN: Final = Resource("perennial.dev", "v1alpha1", "trainingruns", "TrainingRun", owned=False)
MODEL_DEPLOYMENT: Final = Resource("perennial.dev", "v1alpha1", "modeldeployments", "ModelDeployment", owned=False)
JOB: Final = Resource("batch", "v1", "jobs", "Job")
POD: Final = Resource("", "v1", "pods", "Pod")
DEPLOYMENT: Final = Resource("apps", "v1", "deployments", "Deployment")
SERVICE: Final = Resource("", "v1", "services", "Service")
CONFIG_MAP: Final = Resource("", "v1", "configmaps", "ConfigMap")
CLAIM: Final = Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")

WATCHED: Final = (
    DATASET,
    TRAINING_RUN,
    MODEL_DEPLOYMENT,
    JOB,
    POD,
    DEPLOYMENT,
    SERVICE,
    CONFIG_MAP,
    CLAIM,
)
LEASE: Final = Resource("coordination.k8s.io", "v1", "leases", "Lease")
EVENT: Final = Resource("events.k8s.io", "v1", "events", "Event")
SERVICE_ACCOUNT: Final = Resource("", "v1", "serviceaccounts", "ServiceAccount")

_BY_KIND: Final = {(each.api_version, each.kind): each for each in (*WATCHED, LEASE, EVENT)}


def resource_of(api_version: str, kind: str) -> Resource:
    """Return where objects of this kind are kept.

    Raises:
        Terminal: the operator does not handle this kind.
    """
    found = _BY_KIND.get((api_version, kind))
    if found is None:
        raise Terminal("UnknownKind", f"the operator does not handle {api_version} {kind}")
    return found


class Right(NamedTuple):
    """What the operator may do with a resource. `name`: with the one object of this name only."""

    resource: Resource
    verbs: tuple[str, ...]
    subresource: str = ""
    name: str = ""


_APPLIED: Final = (TRAINING_RUN, JOB, DEPLOYMENT, SERVICE, CONFIG_MAP, CLAIM)
_OWNERS: Final = (DATASET, TRAINING_RUN, MODEL_DEPLOYMENT)

RIGHTS: Final = (
    *(Right(each, ("list", "watch")) for each in WATCHED),
    # A look at whose it is, then server-side apply: a patch that may create.
    *(Right(each, ("get", "create", "patch")) for each in _APPLIED),
    # Nothing else is deleted by the operator, and data least of all: it goes with the object that owns it.
    Right(JOB, ("delete",)),
    Right(DEPLOYMENT, ("delete",)),
    *(Right(each, ("patch",), "status") for each in _OWNERS),
    # Owner references that block deletion need it where OwnerReferencesPermissionEnforcement is on (OpenShift).
    *(Right(each, ("update",), "finalizers") for each in _OWNERS),
    Right(EVENT, ("create", "patch")),
)
"""All that the operator does in the namespaces it works in. The chart's roles are generated from it."""

ITSELF: Final = '{{ include "perennial.serviceAccount" . }}'
"""The name of the operator's service account, as the chart's templates have it."""
OWN_RIGHTS: Final = (
    Right(LEASE, ("get", "create", "update")),
    # To prove itself to collectors, by tokens that are good for nothing else.
    Right(SERVICE_ACCOUNT, ("create",), "token", name=ITSELF),
)
"""All that it does in its own namespace besides."""
