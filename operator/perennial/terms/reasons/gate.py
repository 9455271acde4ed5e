"""Of each metric on held-out rows, in `status.gate.results`."""

from perennial.terms.reasons.reason import Reason

LIMIT_KEPT = Reason("LimitKept", "the value is shown to be within its limit", None)
LIMIT_EXCEEDED = Reason(
    "LimitExceeded", "the value is shown to be above its limit", "Improve the model, or its data, or raise the limit."
)
CANDIDATE_NOT_WORSE = Reason(
    "CandidateNotWorse", "the candidate is shown to be worse than the champion by no more than maxRegression", None
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
NO_CHAMPION = Reason(
    "NoChampion", "there is no champion to compare with, and no limit: nothing is asked of the value", None
)
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
