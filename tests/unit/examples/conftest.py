"""The flights example's scripts are importable, and the year is read once."""

import sys
from pathlib import Path

import pandas as pd
import pytest

EXAMPLE = Path(__file__).parents[3] / "examples" / "flights"
sys.path.append(str(EXAMPLE))

import lake  # noqa: E402


@pytest.fixture(scope="session")
def year() -> pd.DataFrame:
    return lake.flights()


@pytest.fixture(scope="session")
def example() -> Path:
    return EXAMPLE
