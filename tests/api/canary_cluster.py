"""A ModelDeployment's side of the API server: what users apply, what operators wrote, and a node that is played."""

import asyncio
import contextlib
import itertools
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cluster.apiserver import ControlPlane
from cluster.errors import ClusterError
from cluster.rest import Api
from perennial.api.model_deployment import ModelDeploymentStatus
from perennial.manifests.resources import CONFIG_MAP, DEPLOYMENT, EVENT, LEASE, POD, SERVICE_ACCOUNT
from perennial.plan.kinds import MODEL_DEPLOYMENT, TRAINING_RUN
from perennial.terms.words import Slot

NAME = "delay"
LEASE_NAME = "perennial-operator"
WEIGHTS = (20, 50)
DEPLOYED = {
    "apiVersion": MODEL_DEPLOYMENT.resource.api_version,
    "kind": MODEL_DEPLOYMENT.name,
    "metadata": {"name": NAME},
    "spec": {
        "model": {"name": "flight-delay", "fromRetraining": {}},
        # About 23 requests without a failure show a rate below 0.2, about 6 failures one above.
        "slos": [{"name": "errors", "requests": {"max": "0.2"}}],
        "canary": {"steps": [{"weight": weight} for weight in WEIGHTS], "scaleDownDelaySeconds": 0},
    },
}
_MERGE = "application/merge-patch+json"
_news = itertools.count(1)


def run_of(version: str) -> dict[str, Any]:
    """Return the TrainingRun that registers a version of the model."""
    return {
        "apiVersion": TRAINING_RUN.resource.api_version,
        "kind": TRAINING_RUN.name,
        "metadata": {"name": f"flights-{version}"},
        "spec": {
            "datasetRef": {"name": "flights"},
            "model": {"name": "flight-delay"},
            "trainer": {"image": "registry.test/trainer:1"},
        },
    }


class Accounts:
    """The namespace's service accounts. Their tokens are real, and so is the file by which the collector knows them."""

    def __init__(self, api: Api, namespace: str, directory: Path, home: str) -> None:
        self.operator = f"system:serviceaccount:{home}:perennial"
        self.neighbour = f"system:serviceaccount:{namespace}:somebody"
        self.trust = directory / "trust.json"
        self._api = api
        self._audience = f"perennial.dev/{namespace}/{NAME}"
        make_account(api, namespace, "somebody")
        self._kept: dict[str, str] = {}

    def token(self, user: str) -> str:
        """Return a token of a service account for the collector."""
        if user not in self._kept:
            self._kept[user] = token(self._api, user, self._audience)
        return self._kept[user]


def make_account(api: Api, namespace: str, name: str) -> None:
    """Make a service account."""
    manifest = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
    api.call("POST", SERVICE_ACCOUNT.path(namespace), manifest)


def token(api: Api, user: str, audience: str) -> str:
    """Return a token of a service account, by its user name."""
    namespace, name = user.split(":")[2:]
    asked = {"spec": {"audiences": [audience], "expirationSeconds": 3600}}
    answer = api.call("POST", SERVICE_ACCOUNT.path(namespace, name, "token"), asked)
    return str(answer["status"]["token"])


class Node:
    """Plays the kubelet: every pod of the namespace gets ready at 127.0.0.1, but for slots that are held back.

    What the collector's ConfigMap says is brought to the file that the collector reads.
    """

    def __init__(self, api: Api, namespace: str, trust: Path) -> None:
        self.held: set[Slot] = set()
        self._api = api
        self._pods = POD.path(namespace)
        self._config = CONFIG_MAP.path(namespace, f"{NAME}-collector")
        self._trust = trust

    async def run(self) -> None:
        """Play until cancelled."""
        while True:
            await asyncio.to_thread(self._bring_trust)
            pods = await asyncio.to_thread(self._api.get, self._pods)
            for pod in pods["items"]:
                waits = not pod.get("status", {}).get("podIP") and not pod["metadata"].get("deletionTimestamp")
                if waits and pod["metadata"]["labels"].get("perennial.dev/slot") not in self.held:
                    await asyncio.to_thread(self._start, pod["metadata"]["name"])
            await asyncio.sleep(0.2)

    def _bring_trust(self) -> None:
        with contextlib.suppress(ClusterError):  # it is not there yet
            draft = self._trust.with_suffix(".new")
            draft.write_text(self._api.get(self._config)["data"]["trust.json"])
            draft.replace(self._trust)

    def _start(self, name: str) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": now}
        status = {"phase": "Running", "podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}], "conditions": [ready]}
        with contextlib.suppress(ClusterError):  # it was deleted meanwhile; one that is still there is tried again
            self._api.call("PATCH", f"{self._pods}/{name}/status", {"status": status}, content_type=_MERGE)


class CanaryCluster:
    """The test's namespace, seen without any cache."""

    def __init__(self, control_plane: ControlPlane, namespace: str) -> None:
        self.api = control_plane.api
        self.namespace = namespace
        self._audit_log = control_plane.audit_log

    def apply(self, manifest: dict[str, Any], *, manager: str = "somebody") -> dict[str, Any]:
        """Apply one of the manifests that users write."""
        resource = {each.kind: each for each in (MODEL_DEPLOYMENT.resource, TRAINING_RUN.resource)}[manifest["kind"]]
        return self.api.apply(resource.path(self.namespace, manifest["metadata"]["name"]), manifest, manager=manager)

    def offer(self, version: str) -> None:
        """Let a TrainingRun have registered a version of the model."""
        made = self.apply(run_of(version))
        path = TRAINING_RUN.resource.path(self.namespace, made["metadata"]["name"], "status")
        status = {"terminalState": "Succeeded", "modelVersion": version}
        self.api.call("PATCH", path, {"status": status}, content_type=_MERGE)

    def label_run(self, version: str) -> None:
        """Give the TrainingRun of a version a label that it never had: news that changes nothing."""
        name = run_of(version)["metadata"]["name"]
        label = {f"test/news-{next(_news)}": "true"}
        path = TRAINING_RUN.resource.path(self.namespace, name)
        self.api.call("PATCH", path, {"metadata": {"labels": label}}, content_type=_MERGE)

    def get(self) -> dict[str, Any]:
        return self.api.get(MODEL_DEPLOYMENT.resource.path(self.namespace, NAME))

    def status(self) -> ModelDeploymentStatus:
        """Return what is recorded, by a read of its own."""
        return ModelDeploymentStatus.model_validate(self.get().get("status", {}))

    def version(self) -> str | None:
        """Return from where on a watch sees everything; None while the API server still gets a new kind ready."""
        try:
            listed = self.api.get(MODEL_DEPLOYMENT.resource.path(self.namespace))
        except ClusterError:
            return None
        return str(listed["metadata"]["resourceVersion"])

    def ready_pods(self, slot: Slot) -> int:
        """Return how many pods of a slot its Deployment counts as ready; -1 without a Deployment."""
        items = self.api.get(DEPLOYMENT.path(self.namespace))["items"]
        found = next((each for each in items if each["metadata"]["name"] == f"{NAME}-{slot}"), None)
        return -1 if found is None else int(found["status"].get("readyReplicas", 0))

    def events(self, reason: str) -> list[str]:
        """Return the notes of the Events of a reason, once for each time they were said, in order of their time."""
        items = [each for each in self.api.get(EVENT.path(self.namespace))["items"] if each["reason"] == reason]
        items.sort(key=lambda each: each["eventTime"])
        return [each["note"] for each in items for _ in range((each.get("series") or {}).get("count", 1))]

    def writes(self) -> list[tuple[str, str, str]]:
        """Return all that operators wrote in this namespace (verb, resource, name), but for their lease and tokens."""
        found = []
        for line in self._audit_log.read_text().splitlines():
            event = json.loads(line)
            about = event.get("objectRef", {})
            ours = event.get("userAgent", "").startswith("perennial") and about.get("namespace") == self.namespace
            aside = about.get("resource") in {LEASE.plural, SERVICE_ACCOUNT.plural}
            if ours and event["verb"] not in {"get", "list", "watch"} and not aside:
                resource = "/".join(filter(None, (about["resource"], about.get("subresource"))))
                found.append((event["verb"], resource, about.get("name", "")))
        return found

    def lease(self) -> dict[str, Any]:
        """Return the spec of the operators' lease."""
        spec: dict[str, Any] = self.api.get(LEASE.path(self.namespace, LEASE_NAME))["spec"]
        return spec

    def take_lease_away(self) -> None:
        self.api.call("DELETE", LEASE.path(self.namespace, LEASE_NAME))
