"""The cluster as the end-to-end tests see it: through kubectl, like anybody else."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


class NotYet(AssertionError):
    """Something awaited did not happen in time; the message says what was seen last."""


def until(what: str, look: Callable[[], T | None], seconds: float = 120, every: float = 0.3) -> T:
    """Return the first thing that `look` returns which is neither None nor False. A failing look counts as not yet."""
    deadline = time.monotonic() + seconds
    seen: object = None
    while time.monotonic() < deadline:
        try:
            found = look()
        except (AssertionError, LookupError, TypeError, ValueError) as error:
            seen = error
            found = None
        if found is not None and found is not False:
            return found
        time.sleep(every)
    raise NotYet(f"waited {seconds:.0f} s for {what}; last seen: {seen}")


@dataclass(frozen=True)
class Kube:
    """kubectl for one namespace."""

    kubeconfig: Path
    namespace: str

    def __call__(self, *arguments: str, text: str | None = None, check: bool = True) -> str:
        """Run kubectl and return what it printed."""
        done = subprocess.run(
            ["kubectl", "--namespace", self.namespace, *arguments],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig)},
        )
        if check and done.returncode:
            raise AssertionError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def at(self, namespace: str) -> Kube:
        """Return the same cluster, another namespace."""
        return Kube(self.kubeconfig, namespace)

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """Return an object; AssertionError if there is none."""
        found: dict[str, Any] = json.loads(self("get", kind, name, "--output", "json"))
        return found

    def list(self, kind: str, selector: str = "") -> list[dict[str, Any]]:
        """Return the objects of a kind."""
        found: list[dict[str, Any]] = json.loads(self("get", kind, "--selector", selector, "--output", "json"))["items"]
        return found

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Apply objects, strictly validated, as a user does."""
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        self("apply", "--server-side", "--force-conflicts", "--validate=strict", "--filename", "-", text=text)

    def status(self, kind: str, name: str) -> dict[str, Any]:
        """Return an object's status."""
        found: dict[str, Any] = self.get(kind, name).get("status", {})
        return found

    def condition(self, kind: str, name: str, type_: str) -> dict[str, Any]:
        """Return a condition; KeyError while there is none."""
        for condition in self.status(kind, name)["conditions"]:
            if condition["type"] == type_:
                return dict(condition)
        raise KeyError(type_)

    def wait_condition(
        self, kind: str, name: str, type_: str, status: str, reason: str | None = None, seconds: float = 150
    ) -> dict[str, Any]:
        """Wait until a condition has a status (and a reason) for the newest generation."""

        def look() -> dict[str, Any] | None:
            seen = self.get(kind, name)
            known = {item["type"]: item for item in seen["status"]["conditions"]}
            found = known[type_]
            fits = found["status"] == status and (reason is None or found["reason"] == reason)
            if not fits or found["observedGeneration"] != seen["metadata"]["generation"]:
                raise AssertionError(json.dumps(seen["status"].get("conditions")))
            return dict(found)

        return until(f"{kind}/{name} {type_}={status} {reason or ''}", look, seconds)

    def proxy(self, service: str, path: str) -> Any:
        """Return the JSON that a Service answers to a GET, by way of the API server."""
        return json.loads(self("get", "--raw", f"/api/v1/namespaces/{self.namespace}/services/{service}/proxy{path}"))

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the Events on an object, by time."""
        found = self.list("events.events.k8s.io")
        own = [event for event in found if event["regarding"].get("name") == name]
        return sorted(own, key=lambda event: event["metadata"]["creationTimestamp"])

    def execute(self, pod: str, *command: str, text: str | None = None) -> str:
        """Run a command in a pod's first container."""
        return self("exec", "--stdin", pod, "--", *command, text=text)

    @contextmanager
    def scaled(self, deployment: str, replicas: int, back_to: int) -> Iterator[None]:
        """Scale a Deployment for a while."""
        self("scale", "deployment", deployment, f"--replicas={replicas}")
        try:
            yield
        finally:
            self("scale", "deployment", deployment, f"--replicas={back_to}")
