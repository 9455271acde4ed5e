"""These show in the conditions of whoever waits for the pod."""

from perennial.terms.reasons.reason import Reason

STARTING = Reason(
    "Starting",
    "pods are being started, and none of them says what it waits for",
    "Wait; if it lasts, see the pods' events.",
)
READY = Reason("Ready", "all pods are ready", None)
POD_PENDING = Reason(
    "PodPending", "the pod is not there yet, or is being prepared", "Wait; if it lasts, see the pod's events."
)
RUNNING = Reason("Running", "the pod of a Job is running", None)
IMAGE_NOT_PULLED = Reason(
    "ImageNotPulled",
    "a container's image can't be pulled",
    "Fix the image's name, or the pull secret of the namespace's default service account.",
)
CONTAINER_NOT_CREATED = Reason(
    "ContainerNotCreated",
    "a container can't be created from what its pod refers to",
    "Create what the container refers to, or fix the reference.",
)
CONTAINER_FAILED = Reason("ContainerFailed", "a container ended with an error", "Read the container's log.")
CLAIM_NOT_FOUND = Reason(
    "ClaimNotFound",
    "a pod waits for a PersistentVolumeClaim that is not there",
    "Create the PersistentVolumeClaim that the message names, or fix the spec.",
)
CLAIM_NOT_BOUND = Reason(
    "ClaimNotBound",
    "a pod waits for a PersistentVolumeClaim that has no volume",
    "See why the claim is not bound: its StorageClass, its size, its access mode.",
)
NOT_SCHEDULED = Reason(
    "NotScheduled", "no node takes a pod", "Make room for the pod: smaller requests, or another node."
)
QUOTA_EXCEEDED = Reason(
    "QuotaExceeded",
    "a ResourceQuota of the namespace lets no further pod be created",
    "Raise the quota that the message names, or free some of it; it goes on by itself then.",
)
PODS_REFUSED = Reason(
    "PodsRefused",
    "a LimitRange, Pod Security or an admission webhook refuses the pods",
    "See the message: change what refuses, or the spec that is refused; it goes on by itself then.",
)
OUT_OF_MEMORY = Reason("OutOfMemory", "a container was killed for its memory", "Raise its memory limit.")
DEADLINE_EXCEEDED = Reason(
    "DeadlineExceeded", "a Job took longer than its deadline", "Raise the deadline, or remove what made it wait."
)
FAILED = Reason(
    "Failed",
    "a Job failed and does not say why, or a retraining's TrainingRun did",
    "See its pods, or `kubectl perennial why`.",
)
