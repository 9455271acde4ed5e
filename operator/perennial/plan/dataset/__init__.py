"""Dataset: look at the source when it is due, record what fulfils everything as a version."""

from perennial.plan.dataset.observe import DatasetSeen, observe
from perennial.plan.dataset.planner import plan

__all__ = ["DatasetSeen", "observe", "plan"]
