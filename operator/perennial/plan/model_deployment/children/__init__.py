"""The children of a ModelDeployment, each a file: what it is made of, and nothing of when."""

from perennial.plan.model_deployment.children.collector import desired_collector
from perennial.plan.model_deployment.children.router import desired_router
from perennial.plan.model_deployment.children.run import desired_run
from perennial.plan.model_deployment.children.server import desired_slot

__all__ = ["desired_collector", "desired_router", "desired_run", "desired_slot"]
