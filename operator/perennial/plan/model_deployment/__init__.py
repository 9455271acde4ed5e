"""ModelDeployment: serve, put candidates on trial, watch the outcomes, retrain."""

from perennial.plan.model_deployment.observe import ModelDeploymentSeen, observe
from perennial.plan.model_deployment.planner import plan

__all__ = ["ModelDeploymentSeen", "observe", "plan"]
