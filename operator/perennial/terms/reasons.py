"""Every reason that a condition, a finding, an Event or a decision may have: its name, its meaning, what to do.

The documentation's tables and the plugin's advice are generated from this list, so a reason that is not here can't be
given, and one that is here is explained.
"""

from typing import Self


class Reason(str):  # noqa: SLOT000 - few, and they have attributes
    """A CamelCase word with its meaning and, where people can do something, what."""

    meaning: str
    remedy: str

    def __new__(cls, name: str, meaning: str, remedy: str = "") -> Self:
        """Make the word; `meaning` and `remedy` are sentences without a subject that only code knows."""
        self = super().__new__(cls, name)
        self.meaning, self.remedy = meaning, remedy
        return self

    def __deepcopy__(self, _: object) -> Self:
        """Be the same in a copy of what contains it."""
        return self


# Objects that this release can't follow, of all three kinds.
SPEC_OUTDATED = Reason(
    "SpecOutdated",
    "the spec was written for an earlier release, and a field must be written in another way now",
    "Write the field that the message names as it says; docs/upgrading.md shows both ways.",
)
SPEC_INVALID = Reason(
    "SpecInvalid", "the spec has a field that can't be followed", "Write the field that the message names as it says."
)

# Pods, of all three kinds.
STARTING = Reason(
    "Starting",
    "pods are being started, and none of them says what it waits for",
    "Wait; if it lasts, see the pods' events.",
)
READY = Reason("Ready", "all pods are ready")
POD_PENDING = Reason(
    "PodPending", "the pod is not there yet, or is being prepared", "Wait; if it lasts, see the pod's events."
)
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

# ModelDeployment: what answers.
REGISTRY_UNAVAILABLE = Reason(
    "RegistryUnavailable",
    "MLflow does not answer",
    "Bring MLflow back, or fix the URL the operator was given; everything holds meanwhile.",
)
MODEL_NOT_FOUND = Reason(
    "ModelNotFound",
    "MLflow has no such version of the model",
    "Register the version in MLflow (or point the alias at one), or fix spec.model.",
)
NO_MODEL_VERSION = Reason(
    "NoModelVersion",
    "no TrainingRun of the model has passed its gate",
    "Create a TrainingRun for this model, or fix the one that failed.",
)
SUSPENDED = Reason("Suspended", "spec.suspend is true", "Set spec.suspend to false when work may go on.")
SERVING = Reason("Serving", "requests are answered")
ROUTING = Reason("Routing", "the routers are learning the addresses of the first version's pods")
ROUTER_NOT_READY = Reason("RouterNotReady", "no router is ready", "See the router's pods.")
COLLECTOR_NOT_READY = Reason(
    "CollectorNotReady",
    "the collector is not ready: requests are answered, nothing is judged",
    "See the collector's pod; requests are answered meanwhile, but nothing is judged.",
)
COLLECTOR_UNAVAILABLE = Reason(
    "CollectorUnavailable",
    "the collector does not answer: requests are answered, nothing is judged",
    "See the collector's pod, or why the operator gets no token; the canary holds meanwhile.",
)
ISSUER_UNKNOWN = Reason(
    "IssuerUnknown",
    "it is not known who signs the cluster's tokens, so no collector can be made",
    "Let the API server publish its keys: `kubectl get --raw /openid/v1/jwks` must answer.",
)
FIRST_VERSION_SERVES = Reason("FirstVersionServes", "the first version answers")

# ModelDeployment: trials.
NO_CANARY = Reason("NoCanary", "no version is on trial")
CANARY = Reason("Canary", "a version is on trial")
CANARY_STARTED = Reason("CanaryStarted", "a version is put on trial")
CANARY_STEP = Reason("CanaryStep", "a candidate gets a share of the requests")
PROMOTED = Reason("Promoted", "the candidate was promoted")
ROLLED_BACK = Reason(
    "RolledBack",
    "the version that is wanted was rolled back",
    "Read the evidence; then change spec to another version, or go back to the stable one.",
)
SUPERSEDED = Reason("Superseded", "another version was wanted before the trial had a verdict")
SAFE = Reason("Safe", "every critical SLO was shown to be kept")
HARMFUL = Reason("Harmful", "a critical SLO was shown to be broken")
UNDECIDED = Reason("Undecided", "the evidence decides nothing yet, or had not by canary.maxSeconds")
PROGRESS_DEADLINE_EXCEEDED = Reason(
    "ProgressDeadlineExceeded", "the candidate's pods were not ready within canary.progressDeadlineSeconds"
)
SAMPLE_RATIO_MISMATCH = Reason(
    "SampleRatioMismatch",
    "the requests are not split as they were told to be: a comparison means nothing, and nothing is promoted",
    "See whether something besides the Service sends requests to the pods, or a router is not one of ours.",
)
SHARED_INCIDENT = Reason("SharedIncident", "stable breaks the same promise, so it says nothing of the candidate")
WEIGHT_NOT_CONFIRMED = Reason("WeightNotConfirmed", "not every router has confirmed the candidate's weight")
NO_MEASUREMENT = Reason("NoMeasurement", "a critical SLO that judges canaries has no measurement")
STEP_NOT_OVER = Reason("StepNotOver", "the step has not lasted for its minSeconds")

# ModelDeployment: the way back to the version before.
ROLLING_BACK = Reason("RollingBack", "the pods of the version before are started, to go back to it")
BROKEN_AFTER_PROMOTION = Reason(
    "BrokenAfterPromotion", "a critical SLO was shown to be broken within canary.rollbackWindowSeconds of the promotion"
)
REQUESTED = Reason("Requested", "somebody asked for it by the annotation perennial.dev/request")
REQUEST_ANSWERED = Reason("RequestAnswered", "what the annotation perennial.dev/request asks for has its answer")

# ModelDeployment: whether the version that answers is still right.
SLOS_MET = Reason("SLOsMet", "the matured cohorts keep every critical promise")
NO_OUTCOME_SLO = Reason("NoOutcomeSLO", "no critical SLO goes by outcomes")
NO_MATURED_COHORT = Reason("NoMaturedCohort", "no matured cohort has enough labelled rows yet")
RETRAINING_STARTED = Reason("RetrainingStarted", "a TrainingRun was started because a trigger asked")
RETRAINING_REFUSED = Reason("RetrainingRefused", "a trigger asked, and a guardrail refused")
RETRAINING_PASSED = Reason("RetrainingPassed", "the TrainingRun of a retraining passed its gate")
RETRAINING_REJECTED = Reason("RetrainingRejected", "the TrainingRun of a retraining brought nothing")
SLO_BROKEN = Reason(
    "SLOBroken",
    "matured cohorts break a promise",
    "Add spec.retraining, or deploy a better version.",
)
COOLDOWN = Reason("Cooldown", "a retraining is asked for sooner than guardrails.cooldownSeconds after the last one")
DAILY_LIMIT = Reason("DailyLimit", "a retraining is asked for, but guardrails.maxPerDay were started within 24 hours")
NOTHING_NEW = Reason(
    "NothingNew",
    "a retraining is asked for on cohorts or data that the last one was started on already",
    "Wait for new data and later cohorts; or create a TrainingRun by hand with other parameters.",
)
FAILED = Reason("Failed", "the TrainingRun of a retraining failed")
GATE_PASSED = Reason("GatePassed", "a retraining passed its gate; its model version is put on trial")

# What a gate finds on held-out rows.
CANDIDATE_NOT_WORSE = Reason(
    "CandidateNotWorse", "the candidate is shown to be worse than the champion by no more than maxRegression"
)
CANDIDATE_WORSE = Reason(
    "CandidateWorse",
    "the candidate is shown to be worse than the champion by more than maxRegression",
    "Train on newer or more data, or improve the script. The champion stays.",
)
CHAMPION_NOT_MEASURED = Reason(
    "ChampionNotMeasured",
    "there is a champion to compare with, but its losses on the held-out rows were not reported",
    "Create another TrainingRun; see the evaluation pod's log.",
)
LIMIT_EXCEEDED = Reason(
    "LimitExceeded", "the value is shown to be above its limit", "Improve the model, or its data, or raise the limit."
)
LIMIT_KEPT = Reason("LimitKept", "the value is shown to be within its limit")
NO_CHAMPION = Reason("NoChampion", "there is no champion to compare with, and no limit: nothing is asked of the value")
NO_HELD_OUT_ROWS = Reason(
    "NoHeldOutRows",
    "no held-out row counts for the metric: none has a label that it is asked of",
    "Hold out more: make the Dataset's spec.split longer, or wait for labels.",
)
TOO_FEW_ROWS = Reason(
    "TooFewRows",
    "the held-out rows, or the days that they are of, are too few to tell",
    "Hold out more (the Dataset's spec.split), allow more (max, maxRegression), or set gate.onUndecided to Pass.",
)

# What is found of an outcome SLO on the matured cohorts of the version that answers.
ABOVE_LIMIT = Reason(
    "AboveLimit",
    "the value is shown to be above max, over cohorts that differ as days do",
    "See why: data that changed, or labels. spec.retraining trains anew by itself.",
)
ABOVE_REFERENCE = Reason(
    "AboveReference",
    "the value is shown to be more than maxIncrease above what it was at this version's beginning",
    "See why: data that changed, or labels. spec.retraining trains anew by itself.",
)
KEPT = Reason("Kept", "the newest matured cohort keeps the promise, however its missing labels turn out")
LABELS_CORRECTED = Reason(
    "LabelsCorrected",
    "labels of matured cohorts were corrected, and the verdict would have been another without that",
    "Look at what corrected them; the verdict goes by the newest labels.",
)
LABELS_INCOMPLETE = Reason(
    "LabelsIncomplete",
    "labels are missing, and whether the promise is kept depends on them; such a cohort is passed over",
    "See that all predictions of the kind get labels, or raise monitoring.maturity.maxLabelDelaySeconds.",
)
MORE_COHORTS_NEEDED = Reason(
    "MoreCohortsNeeded", "the newest matured cohort is above the limit, but one may be so by chance: days differ"
)
NO_MATURED_COHORT = Reason(
    "NoMaturedCohort",
    "no matured cohort of this version has minSamples labelled predictions in the metric yet",
    "Wait; or see that labels arrive, lower minSamples, or lengthen monitoring.cohortSeconds.",
)
REFERENCE_INCOMPLETE = Reason(
    "ReferenceIncomplete", "the first complete cohorts, which later ones are compared with, are not all there yet"
)
RETENTION_TOO_SHORT = Reason(
    "RetentionTooShort",
    "predictions are deleted for want of room before the longest label delay has passed",
    "Raise spec.storage, or lower monitoring.maturity.maxLabelDelaySeconds or monitoring.cohortSeconds.",
)


# What a TrainingRun is at, or waits for.
DATASET_NOT_FOUND = Reason("DatasetNotFound", "there is no such Dataset", "Create it, or fix spec.datasetRef.")
DATASET_NOT_READY = Reason(
    "DatasetNotReady", "the Dataset has no version that is ready", "See the Dataset's condition Ready."
)
EVALUATING = Reason("Evaluating", "the model is evaluated on held-out rows")
NOTHING_HELD_OUT = Reason(
    "NothingHeldOut",
    "the gate needs held-out rows, and the Dataset has no spec.split",
    "Add spec.split to the Dataset.",
)
NO_EVENT_TIME = Reason(
    "NoEventTime",
    "rows are chosen by event time, and there is none",
    "Name the column in the Dataset's spec.schema.time, or fill it.",
)
RESUMED = Reason("Resumed", "spec.suspend is false again: the run goes on")
TRAINING = Reason("Training", "the model is trained")
VERSION_NOT_FOUND = Reason(
    "VersionNotFound", "the Dataset keeps no such version", "Name one of the Dataset's status.versions."
)
WINDOW_TOO_SHORT = Reason(
    "WindowTooShort",
    "nothing is left to learn from once the split has held out its rows",
    "Make the window longer or the split shorter, or wait for more data.",
)

# Stages of a TrainingRun, as its conditions Running, Evaluated and Registered have them.
ENDED = Reason("Ended", "the training Job has ended")
NOT_EVALUATED = Reason("NotEvaluated", "the model has not been evaluated")
NOT_REGISTERED = Reason("NotRegistered", "no version is registered")
NOT_STARTED = Reason("NotStarted", "the training Job has not started")
REGISTERED = Reason("Registered", "the model is registered as a version")
STARTED = Reason("Started", "the training Job is started; nothing holds it up")
UNGATED = Reason("Ungated", "there is no gate")

# How a TrainingRun ended.
APP_FAILURE = Reason("AppFailure", "the script failed", "Read the end of the trainer's log in status.failure.message.")
DATA_FAILURE = Reason(
    "DataFailure", "the data, or the model, is not what it must be (exit code 65)", "Fix it, and create another run."
)
DEADLINE_EXCEEDED = Reason("DeadlineExceeded", "a Job took longer than its deadline")
DEADLINE_FAILURE = Reason(
    "DeadlineFailure",
    "training took longer than spec.activeDeadlineSeconds",
    "Raise it, or remove what kept it waiting.",
)
GATE_REJECTED = Reason(
    "GateRejected", "the model is shown not to be good enough", "See status.gate.results. The champion stays."
)
GATE_UNDECIDED = Reason(
    "GateUndecided",
    "the held-out rows are too few to tell whether the model is good enough",
    "Hold out more, or set spec.gate.onUndecided to Pass.",
)
LOST_FAILURE = Reason(
    "LostFailure", "a pod or its result was lost: evicted, deleted, or its node gone", "Create another run."
)
OUT_OF_MEMORY = Reason("OutOfMemory", "a container was killed for its memory")
OUT_OF_MEMORY_FAILURE = Reason(
    "OutOfMemoryFailure", "the trainer was killed for its memory", "Raise spec.trainer.resources.limits.memory."
)
SPEC_FAILURE = Reason(
    "SpecFailure", "the script cannot do what the spec asks (exit code 64)", "Fix the spec, and create another run."
)
SUCCEEDED = Reason("Succeeded", "the model is registered as a version")

# What is found of a candidate's requests, and of those of the version that answers.
NO_REQUESTS = Reason(
    "NoRequests",
    "no request has reached the version yet",
    "Send traffic through the router's Service; a canary without traffic decides nothing.",
)
NO_REQUESTS_IN_STEP = Reason(
    "NoRequestsInStep", "no request has reached the candidate in this step, under a weight that all routers had"
)
ALL_FAILED = Reason(
    "AllFailed",
    "every request that the candidate has answered has failed, also while it warms up",
    "Read the candidate's log; try the model by itself before it is put on trial again.",
)
WORSE_THAN_STABLE = Reason(
    "WorseThanStable",
    "more of the candidate's requests fail than of stable's, beside it",
    "Read the candidate's log for 5xx and timeouts; compare its resources with stable's.",
)
REQUESTS_LIMIT_EXCEEDED = Reason(
    "RequestsLimitExceeded",
    "the version's share of failed requests is above the SLO's max",
    "Read its log for 5xx and timeouts, or raise max.",
)
MORE_REJECTED = Reason(
    "MoreRejectedThanStable",
    "the candidate answers more requests with 4xx than stable does, beside it",
    "Compare both models' signatures: clients send what stable takes and the candidate refuses.",
)
SAMPLE_RATIO_MISMATCH = Reason(
    "SampleRatioMismatch",
    "the candidate gets a share of the requests that its weight does not explain",
    "Look for clients that go past the router and for routers that do not take their weights; nothing is promoted.",
)
SHARED_INCIDENT = Reason(
    "SharedIncident",
    "the candidate breaks the SLO's max, but is not shown to be worse than stable, which fails as well",
    "Look for what both have in common; the candidate is not blamed for it.",
)
OVER_DISPERSED = Reason(
    "OverDispersed",
    "failures come in bursts, as stable's own pods have shown, and what was counted does not decide in spite of it",
    "Wait for more requests; find out why pods fail in bursts.",
)
SHOWN_SAFE = Reason("ShownSafe", "all that the SLO states is shown to hold in this step")
MORE_REQUESTS_NEEDED = Reason("MoreRequestsNeeded", "what was counted decides nothing yet")
REQUESTS_LIMIT_KEPT = Reason("RequestsLimitKept", "the version's share of failed requests is not shown to exceed max")
NOT_LIMITED = Reason("NotLimited", "the SLO has no max that could be judged without a version beside")


# What becomes of a Dataset.
CHECK_FAILED = Reason(
    "CheckFailed", "the check itself failed", "Its last words are in the message; it is tried again within a minute."
)
CHECK_REFUSED = Reason(
    "CheckRefused",
    "the check's image does not know something that the spec asks for",
    "Give operator and server images of one release.",
)
CHECKING = Reason("Checking", "a check is under way", "Wait; `why` names its Job and pod.")
EVENT_TIMES_MISSING = Reason(
    "EventTimesMissing",
    "the column that `schema.time` names has no value in any row: no window or split could go by it",
    "Fill it in at the source, or take `schema.time` and `split` away.",
)
EXPECTATION_FAILED = Reason(
    "ExpectationFailed",
    "an expectation of severity Error does not hold",
    "Fix the data; or make it `Warn` if it only informs. New runs wait, unless they name an older version's digest.",
)
EXPECTATIONS_MET = Reason("ExpectationsMet", "all expectations of severity Error hold")
FETCHED = Reason("Fetched", "the source could be read")
NO_ROWS = Reason("NoRows", "the data has no row at all", "Look at what writes the source.")
NO_TARGET = Reason(
    "NoTarget",
    "a TrainingRun's Dataset names no column that a model could learn to predict",
    "Set `spec.schema.target` there.",
)
NO_VERSION = Reason("NoVersion", "no check has recorded a version yet", "See the condition `Fetched`.")
NOT_CHECKED = Reason("NotChecked", "the first check has not ended", "Wait; `why` names its Job and pod.")
OUT_OF_RANGE = Reason("OutOfRange", "a value or a number lies outside its bounds", "Fix the data, or the bounds.")
SCHEMA_VIOLATED = Reason(
    "SchemaViolated",
    "a column is missing, is there twice, has another type, lacks values, or has an event time that can't be one",
    "Fix the files, or `spec.schema`.",
)
SOURCE_UNREADABLE = Reason(
    "SourceUnreadable",
    "the folder is missing, has no Parquet file, or one of them is broken",
    "Fix `spec.source.uri` or the files; it is tried again within a minute.",
)
VALUES_MISSING = Reason("ValuesMissing", "a column lacks values that it must have", "Fill them in at the source.")
VERSION_READY = Reason("VersionReady", "the newest version may be used")
VERSION_RECORDED = Reason("VersionRecorded", "a new version was recorded (an Event)")
