"""TrainingRun: pin the data, train in a Job, evaluate against the champion, judge, register."""

from perennial.plan.training_run.observe import TrainingRunSeen, observe
from perennial.plan.training_run.planner import plan

__all__ = ["TrainingRunSeen", "observe", "plan"]
