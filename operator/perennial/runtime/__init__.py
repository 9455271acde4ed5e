"""The operator's runtime: what watches, queues, reconciles and writes, for any planner."""
