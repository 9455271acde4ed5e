"""What the server's tests know of a logged model."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Logged:
    """A logged model, rows it can predict, and the scores that its library gives them."""

    directory: Path
    frame: Any
    scores: Any
