"""Objects that the last release wrote: what cannot be followed is said and left alone, what it recorded is read."""

import copy
import logging
from collections.abc import Mapping
from typing import Any

import pytest
from memory_api import MemoryApi, Request
from virtual_time import VirtualClock, run

from perennial.app import plan_settings, reconcilers
from perennial.manifests.manifest import Manifest
from perennial.plan.actions import Call, Emit
from perennial.plan.kinds import DATASET, KINDS, MODEL_DEPLOYMENT, TRAINING_RUN
from perennial.plan.observed import Fact
from perennial.runtime.applier import Applier
from perennial.runtime.controller import Controller
from perennial.runtime.queue import WorkQueue
from perennial.runtime.resources import Key
from perennial.runtime.results import CallResults
from perennial.runtime.store import Store
from perennial.settings import from_environment

ENVIRONMENT = {f"PERENNIAL_{name}": "x" for name in ("IMAGE_OPERATOR", "IMAGE_SERVER", "IMAGE_ROUTER", "MLFLOW_URL")}
THEN = "2026-10-01T00:00:00Z"
GATE = {"metrics": [{"name": "falseNegativeRate", "max": "0.3", "maxRegression": "0.02"}]}
"""A gate of 0.2, as the API server shows it under today's CRD: `threshold` is not known to it."""
RUN: dict[str, Any] = {
    "datasetRef": {"name": "flights"},
    "model": {"name": "delay"},
    "trainer": {"image": "registry.test/trainer:1"},
    "gate": GATE,
}
DEPLOYMENT: dict[str, Any] = {
    "model": {"name": "delay", "fromRetraining": {}},
    "slos": [{"name": "errors"}, {"name": "misses", "outcome": {"max": "0.3"}}],
    "retraining": {"template": RUN, "triggers": [{"slo": "misses"}]},
}
NEW_RUN = {**RUN, "gate": {"metrics": [{"name": "misses", "falseNegativeRate": {"threshold": "0.4"}, "max": "0.3"}]}}
NEW_DEPLOYMENT = {
    **DEPLOYMENT,
    "slos": [
        {"name": "errors", "requests": {"max": "0.01"}},
        {"name": "misses", "outcome": {"falseNegativeRate": {"threshold": "0.4"}, "max": "0.3"}},
    ],
    "retraining": {"template": NEW_RUN, "triggers": [{"name": "wrong", "slo": "misses"}]},
}
SERVER = {"image": "x", "fetchImage": "x", "collectorToken": True, "registeredModel": "ns.delay", "replicas": 2}
STABLE = {"version": "v3", "modelVersion": "3", "slot": "a", "server": SERVER, "since": THEN, "readyReplicas": 2}
SERVING: dict[str, Any] = {
    "observedGeneration": 1,
    "stable": STABLE,
    "canary": {
        **STABLE,
        "version": "v4",
        "modelVersion": "4",
        "slot": "b",
        "id": "1-c",
        "step": 1,
        "weight": {"desired": 10, "verified": 10},
        "startedTime": THEN,
        "stepStartedTime": THEN,
        "slos": [{"name": "errors", "verdict": "Undecided", "message": "4 bad of 900", "needed": 100}],
    },
    "champion": "3",
    "canaries": 2,
    "slos": [{"name": "misses", "verdict": "Pass", "message": "low enough", "value": "0.1", "low": "0", "high": "0.2"}],
    "retraining": {
        "started": 1,
        "startedTimes": [THEN],
        "decisions": [
            {
                "time": THEN,
                "trigger": "misses",
                "decision": "Started",
                "reason": "SLOBroken",
                "message": "x",
                "run": "r",
            }
        ],
    },
    "history": [
        {
            "id": "0-c",
            "version": "v3",
            "modelVersion": "3",
            "decision": "Promoted",
            "reason": "Safe",
            "message": "x",
            "time": THEN,
        }
    ],
    "conditions": [
        {
            "type": "Ready",
            "status": "True",
            "reason": "Serving",
            "message": "It answers.",
            "observedGeneration": 1,
            "lastTransitionTime": THEN,
        }
    ],
}
"""A status of 0.2 under today's CRD, with a canary on trial."""
JUDGED = {"gate": {"verdict": "Pass", "results": [{"verdict": "Pass", "message": "x", "samples": 9, "low": "0"}]}}


def of(kind: str, spec: Mapping[str, Any], status: Mapping[str, Any] | None = None) -> Manifest:
    metadata = {"namespace": "ns", "name": "delay", "uid": f"uid-{kind}", "generation": 1, "resourceVersion": "7"}
    made = {"apiVersion": "perennial.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": copy.deepcopy(spec)}
    return made if status is None else {**made, "status": copy.deepcopy(status)}


class Room:
    """The runtime of one kind over one object; nobody answers outside the cluster."""

    def __init__(self, manifest: Manifest) -> None:
        self.key = Key(manifest["kind"], "ns", "delay")
        self.api, self.store = MemoryApi(), Store()
        self.store.put(self.key.kind, self.api.seed(manifest))
        self.outcomes: list[str] = []
        self.events: list[Emit] = []
        self.calls: list[Call] = []
        clock = VirtualClock()
        kinds = reconcilers(self.store, self, plan_settings(from_environment(ENVIRONMENT)))  # type: ignore[arg-type]
        results = CallResults(clock)
        self.controller = Controller(
            next(each for each in kinds if each.resource.kind == self.key.kind),
            queue=WorkQueue(base_delay=1, max_delay=8, jitter=lambda: 0.0),
            store=self.store,
            results=results,
            applier=Applier(
                client=self.api.client(),
                store=self.store,
                results=results,
                events=self,
                calls=self._call,
                clock=clock,
                take=lambda resource, seen: self.store.put(resource.kind, seen),
            ),
            clock=clock,
            metrics=self,
        )

    async def reconcile(self) -> None:
        await self.controller.reconcile(self.key)

    def write(self, spec: Mapping[str, Any]) -> None:
        """Apply another spec, as the object's user does."""
        self.store.put(self.key.kind, self.api.seed({**self.api.objects[self.key], "spec": copy.deepcopy(spec)}))

    def conditions(self) -> dict[str, tuple[str, str]]:
        found = self.api.objects[self.key]["status"]["conditions"]
        return {each["type"]: (each["status"], each["reason"]) for each in found}

    def message(self) -> str:
        found = self.api.objects[self.key]["status"]["conditions"]
        return next(str(each["message"]) for each in found if each["type"] == "Stalled")

    async def _call(self, _: Key, call: Call) -> Mapping[str, str]:
        self.calls.append(call)
        return {}

    async def emit(self, _: Manifest, event: Emit) -> None:
        self.events.append(event)

    def collector(self, *_: str) -> Fact[Any]:
        return Fact()

    def model(self, *_: str | None) -> Fact[Any]:
        return Fact()

    def issuer(self) -> Fact[Any]:
        return Fact()

    def forget(self, *_: str) -> None: ...

    def reconciled(self, _: str, result: str, __: float) -> None:
        self.outcomes.append(result)

    def failed(self, _: str, why: str) -> None:
        self.outcomes.append(why)


@pytest.mark.parametrize(
    ("manifest", "summary", "fields", "instead"),
    [
        (
            of("ModelDeployment", DEPLOYMENT, SERVING),
            ("Ready", "False"),
            ("spec.slos[0]: exactly one of ", "spec.slos[1].outcome: exactly one of"),
            ('`requests: {max: "0.01"}`', "falseNegativeRate", "`name: wrong`"),
        ),
        (
            of("TrainingRun", RUN, {"startTime": THEN}),
            ("Succeeded", "Unknown"),
            ("spec.gate.metrics[0].name: must match pattern",),
            ('`{name: missed, falseNegativeRate: {threshold: "0.5"}', "create another one"),
        ),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else "",
)
def test_what_the_last_release_wrote_is_named_and_left_alone(
    manifest: Manifest,
    summary: tuple[str, str],
    fields: tuple[str, ...],
    instead: tuple[str, ...],
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def story() -> Room:
        room = Room(manifest)
        await room.reconcile()
        await room.reconcile()
        return room

    with caplog.at_level(logging.DEBUG, "perennial"):
        room = run(story())
    type_, status = summary
    assert room.conditions()[type_] == (status, "SpecOutdated")
    assert room.conditions()["Stalled"] == ("True", "SpecOutdated")
    assert "at least 1 item" not in room.message()
    for part in (*fields, *instead, "Nothing is touched meanwhile.", "docs/upgrading.md"):
        assert part in room.message()
    assert room.api.writes == [Request("status", manifest["kind"], "delay")], "said once, and nothing else written"
    assert [(each.type, each.reason) for each in room.events] == [("Warning", "SpecOutdated")]
    assert room.calls == []
    assert room.outcomes == ["terminal", "error"] * 2
    assert [record for record in caplog.records if record.exc_info] == [], "a stack trace says nothing to a user"
    kept = {key: value for key, value in room.api.objects[room.key]["status"].items() if key != "conditions"}
    assert kept.items() >= {key: value for key, value in manifest["status"].items() if key != "conditions"}.items()


def test_with_the_new_shape_a_deployment_goes_on_from_what_is_on_record() -> None:
    async def story() -> None:
        serving = {key: value for key, value in SERVING.items() if key != "canary"}
        room = Room(of("ModelDeployment", DEPLOYMENT, serving))
        await room.reconcile()
        room.write(NEW_DEPLOYMENT)
        await room.reconcile()
        assert "SpecOutdated" not in {reason for _, reason in room.conditions().values()}
        assert room.conditions()["Stalled"][0] == "False"
        status = room.api.objects[room.key]["status"]
        assert status["stable"]["version"] == "v3"
        assert [each["decision"] for each in status["history"]] == ["Promoted"]
        applied = {request.name for request in room.api.writes if request.verb == "apply"}
        assert {"delay-router", "delay-routers"} <= applied

    run(story())


@pytest.mark.parametrize("state", ["Succeeded", "Failed", "Rejected"])
def test_a_run_of_the_last_release_that_has_ended_is_left_as_it_is(state: str) -> None:
    async def story() -> None:
        room = Room(of("TrainingRun", RUN, {**JUDGED, "terminalState": state, "startTime": THEN}))
        await room.reconcile()
        assert room.api.writes == []
        assert room.outcomes == ["success"]

    run(story())


def test_a_field_that_no_release_knew_is_said_to_be_wrong_and_not_outdated() -> None:
    async def story() -> None:
        room = Room(of("TrainingRun", {**RUN, "gate": None, "seed": -1}))
        await room.reconcile()
        assert room.conditions() == {"Stalled": ("True", "SpecInvalid"), "Succeeded": ("Unknown", "SpecInvalid")}
        assert room.message().startswith("spec.seed: must be greater than or equal to 0.")
        assert "upgrading" not in room.message()

    run(story())


def test_statuses_of_the_last_release_are_read() -> None:
    deployment = MODEL_DEPLOYMENT.status.model_validate(SERVING)
    assert deployment.model_dump(mode="json", exclude_unset=True)["stable"]["server"]["registeredModel"] == "ns.delay"
    judged = TRAINING_RUN.status.model_validate({**JUDGED, "terminalState": "Succeeded"})
    assert judged.model_dump(mode="json")["gate"]["verdict"] == "Pass"
    checked = {"checks": 3, "expectations": {"passed": 2, "failed": [{"name": "known", "severity": "Error"}]}}
    assert DATASET.status.model_validate(checked).model_dump()["expectations"]["passed"] == 2
    assert {kind.name for kind in KINDS} == {"Dataset", "TrainingRun", "ModelDeployment"}, "and those are all"
