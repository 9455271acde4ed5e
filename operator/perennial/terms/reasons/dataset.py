"""What becomes of a Dataset."""

from perennial.terms.reasons.reason import Reason

VERSION_READY = Reason("VersionReady", "the newest version may be used", None)
VERSION_RECORDED = Reason("VersionRecorded", "a new version was recorded (an Event)", None)
NO_VERSION = Reason("NoVersion", "no check has recorded a version yet", "See the condition `Fetched`.")
NOT_CHECKED = Reason("NotChecked", "the first check has not ended", "Wait; `why` names its Job and pod.")
CHECKING = Reason("Checking", "a check is under way", "Wait; `why` names its Job and pod.")
FETCHED = Reason("Fetched", "the source could be read", None)
SOURCE_UNREADABLE = Reason(
    "SourceUnreadable",
    "the folder is missing, has no Parquet file, or one of them is broken",
    "Fix `spec.source.uri` or the files; it is tried again within a minute.",
)
CHECK_FAILED = Reason(
    "CheckFailed", "the check itself failed", "Its last words are in the message; it is tried again within a minute."
)
CHECK_REFUSED = Reason(
    "CheckRefused",
    "the check's image does not know something that the spec asks for",
    "Give operator and server images of one release.",
)
EXPECTATIONS_MET = Reason("ExpectationsMet", "all expectations of severity Error hold", None)
SCHEMA_VIOLATED = Reason(
    "SchemaViolated",
    "a column is missing, is there twice, has another type, lacks values, or has an event time that can't be one",
    "Fix the files, or `spec.schema`.",
)
EXPECTATION_FAILED = Reason(
    "ExpectationFailed",
    "an expectation of severity Error does not hold",
    "Fix the data, or give the expectation severity Warn if it only informs; it is checked again.",
)
VALUES_MISSING = Reason("ValuesMissing", "a column lacks values that it must have", "Fill them in at the source.")
OUT_OF_RANGE = Reason("OutOfRange", "a value or a number lies outside its bounds", "Fix the data, or the bounds.")
NO_ROWS = Reason("NoRows", "the data has no row at all", "Look at what writes the source.")
EVENT_TIMES_MISSING = Reason(
    "EventTimesMissing",
    "the column that `schema.time` names has no value in any row: no window or split could go by it",
    "Fill it in at the source, or take `schema.time` and `split` away.",
)
NO_TARGET = Reason(
    "NoTarget",
    "a TrainingRun's Dataset names no column that a model could learn to predict",
    "Set `spec.schema.target` there.",
)
