"""Of a candidate's requests, and of those of the version that answers."""

from perennial.terms.reasons.reason import Reason

NO_REQUESTS = Reason(
    "NoRequests",
    "no request has reached the version yet",
    "Send traffic through the router's Service; a canary without traffic decides nothing.",
)
NO_REQUESTS_IN_STEP = Reason(
    "NoRequestsInStep", "no request has reached the candidate in this step, under a weight that all routers had", None
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
SHOWN_SAFE = Reason("ShownSafe", "all that the SLO states is shown to hold in this step", None)
MORE_REQUESTS_NEEDED = Reason("MoreRequestsNeeded", "what was counted decides nothing yet", None)
REQUESTS_LIMIT_KEPT = Reason(
    "RequestsLimitKept", "the version's share of failed requests is not shown to exceed max", None
)
NOT_LIMITED = Reason("NotLimited", "the SLO has no max that could be judged without a version beside", None)
