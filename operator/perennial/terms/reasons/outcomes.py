"""Of an SLO on outcomes, on the matured cohorts of the version that answers."""

from perennial.terms.reasons.reason import Reason

KEPT = Reason("Kept", "the newest matured cohort keeps the promise, however its missing labels turn out", None)
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
MORE_COHORTS_NEEDED = Reason(
    "MoreCohortsNeeded", "the newest matured cohort is above the limit, but one may be so by chance: days differ", None
)
NO_MATURED_COHORT = Reason(
    "NoMaturedCohort",
    "no matured cohort of this version has minSamples labelled predictions in the metric yet",
    "Wait; or see that labels arrive, lower minSamples, or lengthen monitoring.cohortSeconds.",
)
LABELS_INCOMPLETE = Reason(
    "LabelsIncomplete",
    "labels are missing, and whether the promise is kept depends on them; such a cohort is passed over",
    "See that all predictions of the kind get labels, or raise monitoring.maturity.maxLabelDelaySeconds.",
)
LABELS_CORRECTED = Reason(
    "LabelsCorrected",
    "labels of matured cohorts were corrected, and the verdict would have been another without that",
    "Look at what corrected them; the verdict goes by the newest labels.",
)
REFERENCE_INCOMPLETE = Reason(
    "ReferenceIncomplete", "the first complete cohorts, which later ones are compared with, are not all there yet", None
)
RETENTION_TOO_SHORT = Reason(
    "RetentionTooShort",
    "predictions are deleted for want of room before the longest label delay has passed",
    "Raise spec.storage, or lower monitoring.maturity.maxLabelDelaySeconds or monitoring.cohortSeconds.",
)
