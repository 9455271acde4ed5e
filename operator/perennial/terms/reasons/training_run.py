"""What a TrainingRun is at or waits for, its stages, and how it ended. Another attempt is another TrainingRun."""

from perennial.terms.reasons.reason import Reason

DATASET_NOT_FOUND = Reason(
    "DatasetNotFound",
    "there is no such Dataset in the namespace",
    "Create the Dataset in this namespace, or fix spec.datasetRef in a new TrainingRun.",
)
DATASET_NOT_READY = Reason(
    "DatasetNotReady",
    "the Dataset has no version that is ready, or can't be read",
    "Make the Dataset ready; the run then starts by itself.",
)
VERSION_NOT_FOUND = Reason(
    "VersionNotFound",
    "the Dataset keeps no such version",
    "Name a digest of the Dataset's status.versions in a new TrainingRun, or none.",
)
NOTHING_HELD_OUT = Reason(
    "NothingHeldOut",
    "the gate needs held-out rows, and the Dataset has no spec.split",
    "Add spec.split.byTime.lastSeconds to the Dataset, or leave out the gate in a new TrainingRun.",
)
NO_EVENT_TIME = Reason(
    "NoEventTime",
    "a window or split goes by event time, and the Dataset names no column or has none in it",
    "Name the column with the event time in the Dataset's spec.schema.time, or fill it.",
)
WINDOW_TOO_SHORT = Reason(
    "WindowTooShort",
    "nothing is left to learn from once the split has held out its rows",
    "Use a longer window, a shorter split, or wait for more data.",
)
TRAINING = Reason("Training", "the model is trained", None)
EVALUATING = Reason("Evaluating", "the model is evaluated on held-out rows", None)
RESUMED = Reason("Resumed", "spec.suspend is false again: the run goes on", None)
NOT_STARTED = Reason("NotStarted", "the training Job has not started", None)
STARTED = Reason("Started", "the training Job, or a retraining's TrainingRun, is started; nothing holds it up", None)
ENDED = Reason("Ended", "the training Job has ended", None)
NOT_EVALUATED = Reason("NotEvaluated", "the model has not been evaluated", None)
UNGATED = Reason("Ungated", "there is no gate", None)
REGISTERED = Reason("Registered", "the model is registered as a version", None)
NOT_REGISTERED = Reason("NotRegistered", "no version is registered", None)
SUCCEEDED = Reason("Succeeded", "the model is registered as a version", None)
GATE_PASSED = Reason(
    "GatePassed", "the model passed its gate; where a ModelDeployment asked for it, its version is put on trial", None
)
GATE_REJECTED = Reason(
    "GateRejected",
    "the model is shown to break a limit, or to be worse than the champion",
    "The model is not good enough, and the gate says in what: train on other data or parameters. The champion stays.",
)
GATE_UNDECIDED = Reason(
    "GateUndecided",
    "the held-out rows are too few to tell whether the model is good enough",
    "Hold out more rows (the Dataset's spec.split), or set gate.onUndecided in a new TrainingRun.",
)
SPEC_FAILURE = Reason(
    "SpecFailure",
    "the script cannot do what the spec asks (exit code 64)",
    "The script says that its arguments are wrong: fix them in a new TrainingRun.",
)
DATA_FAILURE = Reason(
    "DataFailure",
    "the data, or the model, is not what it must be (exit code 65), or no row was left to learn from",
    "Fix the data, the window or the script, then create a new TrainingRun.",
)
APP_FAILURE = Reason(
    "AppFailure",
    "the script failed, more often than spec.retryLimit",
    "Read its last words in status.failure.message, or read its log; fix it, and create a new TrainingRun.",
)
OUT_OF_MEMORY_FAILURE = Reason(
    "OutOfMemoryFailure",
    "the trainer was killed for its memory",
    "Raise spec.trainer.resources.limits.memory in a new TrainingRun.",
)
DEADLINE_FAILURE = Reason(
    "DeadlineFailure",
    "training took longer than spec.activeDeadlineSeconds, waiting included",
    "Raise spec.activeDeadlineSeconds in a new TrainingRun, or remove what made it wait.",
)
LOST_FAILURE = Reason(
    "LostFailure",
    "a pod or its result was lost: evicted, deleted, or its node gone",
    "See who deleted the Job or its pods, and create a new TrainingRun.",
)
GATE_FAILURE = Reason(
    "GateFailure", "a retraining's model did not pass its gate", "See the TrainingRun's status.gate.results."
)
