"""An object as the API server has it."""

from collections.abc import Mapping
from typing import Any

Manifest = Mapping[str, Any]
"""A Kubernetes object as plain JSON data."""


def name_of(seen: Manifest) -> str:
    """Return an object's name."""
    return str(seen["metadata"]["name"])
