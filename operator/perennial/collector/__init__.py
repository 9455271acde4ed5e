"""The collector of one ModelDeployment: weights for its routers, counts of its requests, labels of its predictions.

    router_stats ─▶ ticks ─▶ brake (judges each tick, may only set the candidate's weight to 0)
    api: policy from the operator, predictions from servers, labels from anyone ─▶ cohorts
    rtds: weights to the routers, and their acknowledgement

Everything needed to judge is in one SQLite database (`database`); `service` holds the parts together, `state` tells the
operator. Nothing here may raise a weight: that is the operator's will, put as a policy.
"""
