"""Every rule and bound of the three kinds on a real API server: once kept, once broken, with the sentence that says so.

A file in `manifests/` is a story of one object: its first document is created, the others replace it. In `valid/` all
are accepted; in `invalid/` the last is refused, for the reasons in the file's first lines and no other.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.apiserver import ControlPlane

pytestmark = pytest.mark.api
MANIFESTS = Path(__file__).parent / "manifests"
PLURALS = {"Dataset": "datasets", "TrainingRun": "trainingruns", "ModelDeployment": "modeldeployments"}
NAMESPACE = "crd-rules"
UNCHECKED = "some validation rules were not checked because the object was invalid"
"""What the server adds where a value's type or size is wrong: it then leaves out the rules in CEL."""


def stories(folder: str) -> list[Any]:
    return [pytest.param(path, id=path.stem) for path in sorted((MANIFESTS / folder).glob("*.yaml"))]


@pytest.fixture(scope="module")
def server(control_plane: ControlPlane) -> ControlPlane:
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    control_plane.api.call("POST", "/api/v1/namespaces", manifest)
    return control_plane


@pytest.fixture
def told(server: ControlPlane, request: pytest.FixtureRequest) -> Iterator["Story"]:
    story = Story(server, request.param)
    yield story
    story.forget()


class Story:
    """One object's manifests, submitted one after the other; the last is only tried (dry run)."""

    def __init__(self, server: ControlPlane, path: Path) -> None:
        self._server = server
        self.text = path.read_text()
        self.documents: list[dict[str, Any]] = list(yaml.safe_load_all(self.text))
        first = self.documents[0]
        self._all = f"/apis/{first['apiVersion']}/namespaces/{NAMESPACE}/{PLURALS[first['kind']]}"
        self._one = f"{self._all}/{first['metadata']['name']}"
        self._created = False

    def submit(self) -> tuple[int, dict[str, Any]]:
        """Return the answer to the last document; the ones before must be accepted."""
        *before, last = self.documents
        for document in before:
            status, answer = self._send(document)
            assert status in {200, 201}, answer
            self._created = True
        return self._send(last, "&dryRun=All")

    def _send(self, document: dict[str, Any], more: str = "") -> tuple[int, dict[str, Any]]:
        query = f"?fieldValidation=Strict{more}"
        if not self._created:
            return self._request("POST", self._all + query, document)
        known = self._server.api.get(self._one)["metadata"]["resourceVersion"]
        changed = {**document, "metadata": {**document["metadata"], "resourceVersion": known}}
        return self._request("PUT", self._one + query, changed)

    def _request(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        status, text = self._server.api._request(method, path, body, "application/json")
        return status, json.loads(text)

    def forget(self) -> None:
        if self._created:
            self._server.api.call("DELETE", self._one)


@pytest.mark.parametrize("told", stories("valid"), indirect=True)
def test_accepted_as_it_is_written(told: Story) -> None:
    status, answer = told.submit()
    assert status in {200, 201}, answer
    assert_kept(answer["spec"], told.documents[-1]["spec"], "spec")


def assert_kept(stored: Any, written: Any, where: str) -> None:
    """Defaults may be fields beside the user's, but a list stays as it is: GitOps tools compare it as a whole."""
    if not isinstance(written, dict):
        assert stored == written, where
        return
    for name, value in written.items():
        assert_kept(stored[name], value, f"{where}.{name}")


@pytest.mark.parametrize("told", stories("invalid"), indirect=True)
def test_refused(told: Story) -> None:
    reasons = [line.removeprefix("# message: ") for line in told.text.splitlines() if line.startswith("# message: ")]
    status, answer = told.submit()
    assert status == 422, answer
    causes = [cause["message"] for cause in answer["details"]["causes"] if UNCHECKED not in cause["message"]]
    assert len(causes) == len(reasons), answer["message"]
    for reason in reasons:
        assert reason in answer["message"]


def test_there_are_stories() -> None:
    """A folder that was moved would make the others pass on nothing."""
    assert len(stories("valid")) >= 16
    assert len(stories("invalid")) >= 165
