"""What a refusal of the API server means for whoever asked."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from perennial.runtime.client import _failure
from perennial.runtime.errors import Blocked, Conflict, PerennialError, Terminal, Unavailable

OWNER = (
    'persistentvolumeclaims "flights-snapshots" is forbidden: cannot set blockOwnerDeletion in this case because '
    "cannot find RESTMapping for APIVersion perennial.dev/v1alpha1 Kind Dataset: no matches for kind"
)
CASES: list[tuple[int, str, type[PerennialError]]] = [
    (403, OWNER, Unavailable),
    (403, "pods is forbidden: exceeded quota: compute", Blocked),
    (403, 'jobs.batch is forbidden: User "x" cannot create resource "jobs"', Blocked),
    (409, "the object has been modified", Conflict),
    (422, 'admission webhook "a.b" denied the request: no', Blocked),
    (422, "Job is invalid: spec.template: field is immutable", Terminal),
    (500, "etcdserver: request timed out", Unavailable),
]


@pytest.mark.parametrize(("code", "message", "meaning"), CASES, ids=[str(case[0]) + case[1][-12:] for case in CASES])
def test_what_a_refusal_means(code: int, message: str, meaning: type[PerennialError]) -> None:
    response: Any = SimpleNamespace(status=code, headers={})
    error = _failure("POST", "/x", response, json.dumps({"kind": "Status", "message": message}).encode())
    assert type(error) is meaning
    assert message in str(error)


def test_a_quota_is_named_and_tried_again_as_soon_as_any_other_trouble() -> None:
    """What is used of a quota is counted anew by and by, so the next try may find room."""
    response: Any = SimpleNamespace(status=403, headers={})
    said = 'persistentvolumeclaims "d-snapshots" is forbidden: exceeded quota: q, requested: persistentvolumeclaims=1'
    error = _failure("POST", "/x", response, json.dumps({"kind": "Status", "message": said}).encode())
    assert isinstance(error, Blocked)
    assert (error.reason, error.message, error.after) == ("QuotaExceeded", said, 0)
