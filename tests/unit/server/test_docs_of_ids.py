"""The documentation names the header that answers really have."""

from pathlib import Path

import pytest

from perennial.terms.names import PREDICTION_ID

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize("page", ["troubleshooting.md", "runbooks/PerennialLabelsUnknown.md"])
def test_people_are_sent_to_the_header_that_is_there(page: str) -> None:
    assert PREDICTION_ID in (DOCS / page).read_text()
