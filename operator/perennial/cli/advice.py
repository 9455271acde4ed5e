"""What to do about a reason: one sentence each, for those that need a person. docs/troubleshooting.md says more."""

from typing import Final

from perennial.terms import reasons

ADVICE: Final = {
    # the operator
    "NotSeen": "See whether the operator runs: `kubectl get pods -A -l app.kubernetes.io/name=perennial`.",
    "Suspended": "Set spec.suspend to false when work may go on.",
    # Dataset
    "SourceUnreadable": "Fix spec.source.uri, or put readable Parquet files there; it is checked again in a minute.",
    "CheckFailed": "Read the check's last words above; it is repeated in a minute.",
    "SchemaViolated": "Fix the files, or spec.schema if it is the schema that is wrong; then the check is repeated.",
    "ExpectationFailed": "Fix the data, or give the expectation severity Warn if it only informs; it is checked again.",
    "NoVersion": "Wait for the first check to end, or see why it does not: its Job is named above.",
    # TrainingRun
    "DatasetNotFound": "Create the Dataset in this namespace, or fix spec.datasetRef in a new TrainingRun.",
    "DatasetNotReady": "Make the Dataset ready; the run then starts by itself.",
    "VersionNotFound": "Name a digest of the Dataset's status.versions in a new TrainingRun, or none.",
    "NothingHeldOut": "Add spec.split.byTime.lastSeconds to the Dataset, or leave out the gate in a new TrainingRun.",
    "NoEventTime": "Name the column with the event time in the Dataset's spec.schema.time.",
    "WindowTooShort": "Use a longer window, a shorter split, or wait for more data.",
    "RegistryUnavailable": "Bring MLflow back, or fix the URL the operator was given; everything holds meanwhile.",
    "SpecFailure": "The script says that its arguments are wrong: fix them in a new TrainingRun.",
    "DataFailure": "The data does not fit the script: fix the data or the script, then create a new TrainingRun.",
    "AppFailure": "The script failed: read its log, fix it, and create a new TrainingRun.",
    "OutOfMemoryFailure": "Raise spec.trainer.resources.limits.memory in a new TrainingRun.",
    "DeadlineFailure": "Raise spec.activeDeadlineSeconds in a new TrainingRun, or remove what made it wait.",
    "LostFailure": "The Job or its pods vanished: see who deleted them, and create a new TrainingRun.",
    "GateRejected": "The model is not good enough, and the gate says in what: train on other data or parameters.",
    "GateUndecided": "Hold out more rows (the Dataset's spec.split), or set gate.onUndecided in a new TrainingRun.",
    # pods
    "ImageNotPulled": "Fix the image's name, or the pull secret of the namespace's default service account.",
    "ContainerNotCreated": "Create what the container refers to, or fix the reference.",
    "ContainerFailed": "Read the container's log.",
    "ClaimNotFound": "Create the PersistentVolumeClaim that the message names, or fix the spec.",
    "ClaimNotBound": "See why the claim is not bound: its StorageClass, its size, its access mode.",
    "NotScheduled": "Make room for the pod: smaller requests, or another node.",
    reasons.QUOTA_EXCEEDED: reasons.QUOTA_EXCEEDED.remedy,
    reasons.PODS_REFUSED: reasons.PODS_REFUSED.remedy,
    "PodPending": "Wait; if it lasts, see the pod's events.",
    # ModelDeployment
    "NoModelVersion": "Create a TrainingRun for this model, or fix the one that failed.",
    "ModelNotFound": "Register the version in MLflow (or point the alias at one), or fix spec.model.",
    "RouterNotReady": "See the router's pods.",
    "CollectorNotReady": "See the collector's pod; requests are answered meanwhile, but nothing is judged.",
    "CollectorUnavailable": "See the collector's pod, or why the operator gets no token; the canary holds meanwhile.",
    "IssuerUnknown": "Let the API server publish its keys: `kubectl get --raw /openid/v1/jwks` must answer.",
    "RolledBack": "Read the evidence; then change spec to another version, or go back to the stable one.",
    "SLOBroken": "Add spec.retraining, or deploy a better version.",
    "Starting": "Wait; if it lasts, see the pods' events.",
}
"""By reason. A reason that is missing here waits for nobody."""
