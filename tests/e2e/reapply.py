"""A GitOps tool as the cluster sees it: the same manifests, applied server-side again and again by another manager."""

import json
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from kube import Kube

MANAGER = "argocd-controller"
Subject = tuple[str, str]
"""Kind and name."""


class Reapplying:
    """Every second, until the end of the `with`: `kubectl diff`, then `kubectl apply`, both by the server.

    Attributes:
        rounds: How often everything was compared and applied.
        diffs: What `kubectl diff` had to show, if anything.
        contents: What each object was as applies returned it: generation, labels, annotations, spec; not its status.
        versions: Each object's resource versions, likewise; the first apply adds the manager, later ones nothing.
    """

    def __init__(self, kube: Kube, *manifests: Mapping[str, Any]) -> None:
        self.rounds = 0
        self.diffs: list[str] = []
        self.contents: dict[Subject, set[str]] = defaultdict(set)
        self.versions: dict[Subject, set[str]] = defaultdict(set)
        self._kube = kube
        self._text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifests)})
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._error: BaseException | None = None

    def __enter__(self) -> Self:
        self._apply()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()
        if self._error is not None and error is None:
            raise self._error

    def _run(self) -> None:
        try:
            while not self._end.is_set():
                began = time.monotonic()
                self._compare()
                self._apply()
                self.rounds += 1
                self._end.wait(max(0.0, 1 - (time.monotonic() - began)))
        except (AssertionError, OSError, ValueError) as error:
            self._error = error

    def _apply(self) -> None:
        told = self._kube(
            *("apply", "--server-side", f"--field-manager={MANAGER}", "--force-conflicts", "--validate=strict"),
            *("--output", "json", "--filename", "-"),
            text=self._text,
        )
        for item in json.loads(told)["items"]:
            subject = item["kind"], item["metadata"]["name"]
            kept = {key: item["metadata"][key] for key in ("generation", "labels", "annotations")}
            self.contents[subject].add(json.dumps([kept, item["spec"]], sort_keys=True))
            self.versions[subject].add(item["metadata"]["resourceVersion"])

    def _compare(self) -> None:
        """Note a difference that is there whenever one looks.

        `kubectl diff` reads an object twice. A status that is written in between is a difference, too, but only once.
        """
        shown = [self._diff() for _ in range(3)] if self._diff() else []
        if shown and all(shown):
            self.diffs.append(shown[-1])

    def _diff(self) -> str:
        done = subprocess.run(
            [
                *("kubectl", "--kubeconfig", str(self._kube.kubeconfig), "--namespace", self._kube.namespace),
                *("diff", "--server-side", f"--field-manager={MANAGER}", "--force-conflicts", "--filename", "-"),
            ],
            input=self._text,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in {0, 1}, f"kubectl diff: {done.stderr}"
        return done.stdout
