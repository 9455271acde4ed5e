"""ModelDeployment: serve, put candidates on trial, watch the outcomes, retrain.

seen ──▶ situation ──▶ turns ──▶ record ──▶ planner ──▶ children, policy, conditions
what is observed       what follows from it   what may happen, one list   what is written of it
"""

from perennial.plan.model_deployment.observe import observe
from perennial.plan.model_deployment.planner import plan
from perennial.plan.model_deployment.seen import ModelDeploymentSeen
from perennial.plan.model_deployment.situation import Situation, situation

__all__ = ["ModelDeploymentSeen", "Situation", "observe", "plan", "situation"]
