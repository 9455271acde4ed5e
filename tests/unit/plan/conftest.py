"""Lets these tests use the judge of schemas, which is their neighbours'."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "schema"))
