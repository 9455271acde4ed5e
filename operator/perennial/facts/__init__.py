"""The operator's clients of the world outside the cluster's API: MLflow and the collectors.

What is read becomes a `perennial.plan.observed.Fact`: an outage is a fact too, and keeps the value that was read last.
`Outside` is all of it behind the planners' `Facts`.
"""

from perennial.facts.collector import Collectors
from perennial.facts.errors import OutsideError, Refused, Unavailable
from perennial.facts.mlflow import MLflow
from perennial.facts.models import ModelFacts
from perennial.facts.outside import Outside
from perennial.facts.refusals import Refusals
from perennial.facts.tokens import Tokens
from perennial.facts.transport import Transport, client_session

__all__ = [
    "Collectors",
    "MLflow",
    "ModelFacts",
    "Outside",
    "OutsideError",
    "Refusals",
    "Refused",
    "Tokens",
    "Transport",
    "Unavailable",
    "client_session",
]
