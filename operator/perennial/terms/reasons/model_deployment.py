"""What answers, what is on trial, the way back to the version before, and retrainings."""

from perennial.terms.names import REQUEST
from perennial.terms.reasons.reason import Reason

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
SERVING = Reason("Serving", "requests are answered", None)
ROUTING = Reason(
    "Routing",
    "the routers are learning the addresses of the first version's pods",
    "Wait; if it lasts, see the collector and the routers.",
)
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
FIRST_VERSION_SERVES = Reason("FirstVersionServes", "the first version answers", None)
NO_CANARY = Reason("NoCanary", "no version is on trial", None)
CANARY = Reason("Canary", "a version is on trial", None)
CANARY_STARTED = Reason("CanaryStarted", "a version is put on trial", None)
CANARY_STEP = Reason("CanaryStep", "a candidate gets a share of the requests", None)
STEP_NOT_OVER = Reason("StepNotOver", "the step has not lasted for its minSeconds", None)
WEIGHT_NOT_CONFIRMED = Reason(
    "WeightNotConfirmed",
    "not every router has confirmed the candidate's weight",
    "Wait; if it lasts, see the routers' pods.",
)
NO_MEASUREMENT = Reason(
    "NoMeasurement",
    "a critical SLO that judges canaries has no measurement",
    "Send traffic; see the collector's `/v1/state`.",
)
UNDECIDED = Reason(
    "Undecided",
    "the evidence decides nothing yet, or had not by canary.maxSeconds",
    "More traffic, wider limits or more time decide; see `kubectl perennial get`.",
)
SAFE = Reason("Safe", "every critical SLO was shown to be kept", None)
PROMOTED = Reason("Promoted", "the candidate was promoted", None)
HARMFUL = Reason(
    "Harmful",
    "a critical SLO was shown to be broken",
    "Read the evidence in the message; the version gets no second canary: change the spec.",
)
PROGRESS_DEADLINE_EXCEEDED = Reason(
    "ProgressDeadlineExceeded",
    "the candidate's pods were not ready within canary.progressDeadlineSeconds",
    "See the pods' logs; raise it if they are just slow.",
)
ROLLED_BACK = Reason(
    "RolledBack",
    "the version that is wanted was rolled back",
    "Read the evidence; then change spec to another version, or go back to the stable one.",
)
SUPERSEDED = Reason("Superseded", "another version was wanted before the trial had a verdict", None)
BROKEN_AFTER_PROMOTION = Reason(
    "BrokenAfterPromotion",
    "a critical SLO was shown to be broken within canary.rollbackWindowSeconds of the promotion",
    "Read the evidence in the message; the version before answers again.",
)
ROLLING_BACK = Reason("RollingBack", "the pods of the version before are started, to go back to it", None)
REQUESTED = Reason("Requested", f"somebody asked for it by the annotation {REQUEST}", None)
REQUEST_ANSWERED = Reason("RequestAnswered", f"what the annotation {REQUEST} asks for has its answer", None)
SLOS_MET = Reason("SLOsMet", "the matured cohorts keep every critical promise", None)
NO_OUTCOME_SLO = Reason("NoOutcomeSLO", "no critical SLO goes by outcomes", None)
SLO_BROKEN = Reason("SLOBroken", "matured cohorts break a promise", "Add spec.retraining, or deploy a better version.")
RETRAINING_STARTED = Reason("RetrainingStarted", "a TrainingRun was started because a trigger asked", None)
RETRAINING_REFUSED = Reason(
    "RetrainingRefused",
    "a trigger asked, and a guardrail refused",
    "See status.retraining.decisions: the message says which guardrail and until when.",
)
RETRAINING_PASSED = Reason("RetrainingPassed", "the TrainingRun of a retraining passed its gate", None)
RETRAINING_REJECTED = Reason(
    "RetrainingRejected",
    "the TrainingRun of a retraining brought nothing",
    "See the TrainingRun that the message names.",
)
COOLDOWN = Reason(
    "Cooldown",
    "a retraining is asked for sooner than guardrails.cooldownSeconds after the last one",
    "Wait, or widen spec.retraining.guardrails.",
)
DAILY_LIMIT = Reason(
    "DailyLimit",
    "a retraining is asked for, but guardrails.maxPerDay were started within 24 hours",
    "Wait, or widen spec.retraining.guardrails.",
)
NOTHING_NEW = Reason(
    "NothingNew",
    "a retraining is asked for on cohorts or data that the last one was started on already",
    "Wait for new data and later cohorts; or change the template: another one is tried once.",
)
