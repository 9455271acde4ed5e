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


# Why a retraining was started, or not.
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
