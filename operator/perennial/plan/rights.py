"""What the operator watches, and all that it may do: what plans need, and no more. Roles are generated from it."""

from typing import NamedTuple

from perennial.manifests.resources import (
    CLAIM,
    CONFIG_MAP,
    CORE_EVENT,
    DEPLOYMENT,
    EVENT,
    JOB,
    LEASE,
    POD,
    SERVICE,
    SERVICE_ACCOUNT,
    Resource,
)
from perennial.plan.kinds import KINDS, TRAINING_RUN

_OWNERS = tuple(kind.resource for kind in KINDS)
WATCHED = (*_OWNERS, JOB, POD, DEPLOYMENT, SERVICE, CONFIG_MAP, CLAIM)


class Right(NamedTuple):
    """What the operator may do with a resource. `itself`: with the one object that stands for the operator only."""

    resource: Resource
    verbs: tuple[str, ...]
    subresource: str = ""
    itself: bool = False


_APPLIED = (TRAINING_RUN.resource, JOB, DEPLOYMENT, SERVICE, CONFIG_MAP, CLAIM)

RIGHTS = (
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
    # Why a Job has no pods is said in Events alone; asked for by name, for Jobs that have none.
    Right(CORE_EVENT, ("list",)),
)
"""All that the operator does in the namespaces it works in."""

OWN_RIGHTS = (
    Right(LEASE, ("get", "create", "update")),
    # To prove itself to collectors, by tokens that are good for nothing else.
    Right(SERVICE_ACCOUNT, ("create",), "token", itself=True),
)
"""All that it does in its own namespace besides."""
