"""The operator's rights as Kubernetes' RBAC rules, from what `perennial.plan.rights` says that it does."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from perennial.plan.rights import Right

Rule = dict[str, Any]

_ORDER = ("get", "list", "watch", "create", "update", "patch", "delete")


ITSELF = '{{ include "perennial.serviceAccount" . }}'
"""The name of the operator's service account, as the chart's templates have it."""


def rules(rights: Iterable[Right]) -> list[Rule]:
    """Return the rules that grant exactly these rights: one for resources of a group that allow the same."""
    verbs: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for right in rights:
        resource = "/".join(filter(None, (right.resource.plural, right.subresource)))
        verbs[right.resource.group, resource, ITSELF if right.itself else ""] |= set(right.verbs)
    resources: dict[tuple[str, str, tuple[str, ...]], list[str]] = defaultdict(list)
    for (group, resource, name), allowed in verbs.items():
        resources[group, name, tuple(sorted(allowed, key=_ORDER.index))].append(resource)
    return [
        {
            "apiGroups": [group],
            "resources": sorted(together),
            **({"resourceNames": [name]} if name else {}),
            "verbs": list(allowed),
        }
        for (group, name, allowed), together in sorted(resources.items())
    ]
