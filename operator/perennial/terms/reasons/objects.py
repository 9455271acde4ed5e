"""Reasons that objects of all three kinds may have: of `Stalled`, `Reconciling` and of Events."""

from perennial.terms.reasons.reason import Reason

SPEC_OUTDATED = Reason(
    "SpecOutdated",
    "the spec was written for an earlier release, and a field must be written in another way now",
    "Write the field that the message names as it says; docs/upgrading.md shows both ways.",
)
SPEC_INVALID = Reason(
    "SpecInvalid", "the spec has a field that can't be followed", "Write the field that the message names as it says."
)
SUSPENDED = Reason(
    "Suspended",
    "spec.suspend is true: nothing new begins; what answers goes on answering, under the brake",
    "Set spec.suspend to false when work may go on.",
)
SETTLED = Reason("Settled", "nothing is on its way (`Reconciling` is false)", None)
FREE = Reason("Free", "nothing is in the way (`Stalled` is false)", None)
NOT_SEEN = Reason(
    "NotSeen",
    "the operator has not looked at the object, or not at its latest change",
    "See whether the operator runs: `kubectl get pods -A -l app.kubernetes.io/name=perennial`.",
)
NAME_TAKEN = Reason(
    "NameTaken",
    "an object of a child's name exists and belongs to somebody else",
    "Delete it, or give yours another name; it is looked at every 30 s.",
)
FORBIDDEN = Reason(
    "Forbidden", "the operator lacks a right", "Compare its Role with the chart's; it is looked at every 30 s."
)
DENIED = Reason(
    "Denied",
    "a policy or a webhook refuses a child",
    "See the message, which is the policy's; it is looked at every 30 s.",
)
INVALID = Reason(
    "Invalid", "the API server refuses a child or a status as it is", "Change the object: the same is not sent again."
)
INVALID_OBJECT = Reason(
    "InvalidObject",
    "what was recorded does not fit this operator's models",
    "See whether the CRDs are of another release than the operator.",
)
NAMESPACE_TERMINATING = Reason("NamespaceTerminating", "the namespace is being deleted", None)
REFUSED = Reason("Refused", "a service outside the cluster said no", "See the message.")
NO_CLUSTER = Reason(
    "NoCluster",
    "neither a service account nor a usable kubeconfig says where Kubernetes is",
    "Set KUBECONFIG, or run the operator in a pod.",
)
