"""The port of kstatus that other tests rely on answers as the original does."""

from typing import Any

import pytest
from kstatus import Status, kstatus


def custom(
    *conditions: str, generation: int | None = 2, observed: int | None = 2, deleted: bool = False
) -> dict[str, Any]:
    """Return an object; a condition is `Type=Status`."""
    metadata = {"generation": generation, "deletionTimestamp": "2026-03-01T12:00:00Z" if deleted else None}
    said = [dict(zip(("type", "status"), each.split("="), strict=True)) for each in conditions]
    status = {"observedGeneration": observed, "conditions": [{**each, "message": "said"} for each in said]}
    return {"kind": "Thing", "metadata": metadata, "status": status}


@pytest.mark.parametrize(
    ("obj", "status", "message"),
    [
        (custom("Ready=True", deleted=True), Status.TERMINATING, "Resource scheduled for deletion"),
        (
            custom("Ready=True", observed=1),
            Status.IN_PROGRESS,
            "Thing generation is 2, but latest observed generation is 1",
        ),
        (
            custom(observed=-1),
            Status.IN_PROGRESS,
            "Thing generation is 2, but latest observed generation is -1",
        ),
        (custom("Ready=True", observed=None), Status.CURRENT, "Resource is Ready"),
        (custom("Ready=True", generation=None), Status.CURRENT, "Resource is Ready"),
        (custom("Ready=True", "Reconciling=True"), Status.IN_PROGRESS, "said"),
        (custom("Ready=True", "Stalled=True"), Status.FAILED, "said"),
        (custom("Reconciling=True", "Stalled=True"), Status.IN_PROGRESS, "said"),
        (custom("Stalled=True", "Reconciling=True"), Status.FAILED, "said"),
        (custom("Reconciling=False", "Stalled=Unknown", "Ready=False"), Status.IN_PROGRESS, "said"),
        (custom("Ready=Unknown"), Status.IN_PROGRESS, "said"),
        (custom("Ready=True"), Status.CURRENT, "Resource is Ready"),
        (custom("Succeeded=False"), Status.CURRENT, "Resource is current"),
        (custom(), Status.CURRENT, "Resource is current"),
        ({"kind": "Thing", "metadata": {"generation": 1}}, Status.CURRENT, "Resource is current"),
    ],
)
def test_the_port_answers_as_the_original(obj: dict[str, Any], status: Status, message: str) -> None:
    assert kstatus(obj) == (status, message)
