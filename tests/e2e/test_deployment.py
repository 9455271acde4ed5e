"""A ModelDeployment's life: it serves, brakes, rolls back, promotes, survives kills, and retrains itself."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import parcels
import pytest
from kube import Kube, until
from parcels import Traffic
from reapply import Reapplying

pytestmark = pytest.mark.e2e

NAME = parcels.DEPLOYMENT


@pytest.fixture(scope="module")
def traffic(kube: Kube, trained: str) -> Iterator[Traffic]:
    """The ModelDeployment, serving, under a hundred requests a second."""
    kube.apply(parcels.model_deployment(NAME))
    kube.wait_condition("modeldeployment", NAME, "Ready", "True", "Serving", seconds=240)
    flowing = Traffic(kube, NAME, rate=100)
    flowing.flows()
    yield flowing
    flowing.stop()


def collector(kube: Kube) -> dict[str, Any]:
    """What the collector says of itself."""
    said = kube.execute("toolbox", "python3", "/scripts/ask.py", f"http://{NAME}-collector:9900/v1/state")
    state: dict[str, Any] = json.loads(said)
    return state


def ended(kube: Kube, canaries: int) -> dict[str, Any]:
    """Wait until so many canaries have ended; return the last one's record."""

    def look() -> dict[str, Any] | None:
        status = kube.status("modeldeployment", NAME)
        over = status.get("canaries", 0) == canaries and "canary" not in status
        return dict(status["history"][0]) if over else None

    return until(f"canary {canaries} to end", look, 240)


def canary_steps(kube: Kube) -> Counter[str]:
    """How often the Events say which step was taken, by the beginning of their notes: `Step 1 of 2`."""
    taken: Counter[str] = Counter()
    for event in kube.events(NAME):
        if event["reason"] == "CanaryStep":
            taken[event["note"].partition(":")[0]] += (event.get("series") or {}).get("count", 1)
    return taken


def coloured(colour: str) -> dict[str, Any]:
    """A server that is as good as the default: another version, because it differs."""
    return {"replicas": 1, "env": [{"name": "COLOUR", "value": colour}], "resources": {"requests": {"cpu": "50m"}}}


def without_evidence(status: dict[str, Any]) -> str:
    """What a status says but for what was counted so far: it changes only when something happens."""

    def found(part: dict[str, Any]) -> list[dict[str, str]]:
        return [{key: slo[key] for key in ("name", "verdict", "reason")} for slo in part.get("slos", [])]

    kept = {**status, "slos": found(status)}
    if "canary" in kept:
        kept["canary"] = {**kept["canary"], "slos": found(kept["canary"])}
    return json.dumps(kept, sort_keys=True)


def test_the_first_version_serves_and_becomes_champion(
    kube: Kube, system: Kube, trained: str, traffic: Traffic
) -> None:
    status = until("the alias", lambda: (s := kube.status("modeldeployment", NAME)).get("champion") and s)
    assert status["stable"]["modelVersion"] == trained == status["champion"]
    model = system.proxy(
        "perennial-mlflow:5000", f"/api/2.0/mlflow/registered-models/get?name={kube.namespace}.{parcels.MODEL}"
    )
    aliases = {alias["alias"]: alias["version"] for alias in model["registered_model"]["aliases"]}
    assert aliases == {"champion": trained}
    assert set(traffic.counts()) == {"200"}
    joined = until("joined labels", lambda: collector(kube)["labels"]["joined"])
    assert joined > 0


@pytest.mark.usefixtures("until_healthy")
def test_a_bad_candidate_is_braked_without_an_operator_and_then_rolled_back(
    kube: Kube, system: Kube, images: dict[str, str], trained: str, traffic: Traffic
) -> None:
    kube.apply(parcels.model_deployment(NAME, server=parcels.flaky_server(images["flights"])))
    until(
        "the candidate's first step",
        lambda: kube.status("modeldeployment", NAME)["canary"]["step"] == 1,
        120,
    )
    system("scale", "deployment", "perennial", "--replicas=0")
    try:
        state = until("the brake", lambda: (s := collector(kube)).get("brake") and s, 120)
        until("weight 0 to be live", lambda: collector(kube)["weights"]["verified"]["b"] == 0, 10)
        assert state["weights"]["desired"] == {"a": 1000, "b": 0}
        assert "canary" in kube.status("modeldeployment", NAME), "nobody is there to record it yet"
    finally:
        system("scale", "deployment", "perennial", "--replicas=2")
    record = ended(kube, 1)
    assert (record["decision"], record["reason"]) == ("RolledBack", "Harmful")
    verdict = state["brake"]["verdict"]
    assert 0 < verdict["candidate"]["total"] <= 1000
    assert verdict["logEHarm"] >= verdict["logThresholdHarm"]
    assert f"{verdict['candidate']['total']} requests" in record["message"]
    assert "e-value" in record["message"]
    status = kube.status("modeldeployment", NAME)
    assert status["stable"]["modelVersion"] == trained
    assert kube.wait_condition("modeldeployment", NAME, "Stalled", "True", "RolledBack")["message"].endswith(
        "another one."
    )
    told = [event for event in kube.events(NAME) if event["reason"] == "RolledBack"]
    assert len(told) == 1
    until("the loser's pods to go", lambda: "previous" not in kube.status("modeldeployment", NAME), 120)


def test_a_good_candidate_is_promoted_through_every_step_while_things_die(
    kube: Kube, system: Kube, traffic: Traffic
) -> None:
    kube.apply(parcels.model_deployment(NAME, server=coloured("green")))
    until("the first step", lambda: kube.status("modeldeployment", NAME)["canary"]["step"] >= 1, 120)
    kube(
        "delete",
        "pod",
        "--selector",
        f"app.kubernetes.io/component=collector,perennial.dev/name={NAME}",
        "--grace-period=0",
        "--force",
    )
    system("delete", "pod", "--selector", "app.kubernetes.io/component=operator", "--grace-period=0", "--force")
    record = ended(kube, 2)
    assert record["decision"] == "Promoted"
    assert canary_steps(kube)["Step 2 of 2"] == 1, "each step is taken once, whoever is killed"
    status = kube.status("modeldeployment", NAME)
    assert status["stable"]["slot"] == "b"
    until(
        "all traffic on the promoted version", lambda: collector(kube)["weights"]["verified"] == {"a": 0, "b": 1000}, 30
    )
    assert set(traffic.counts()) <= {"200", "500"}, "500s are the flaky server's; no request was lost"
    assert kube.status("modeldeployment", NAME)["canaries"] == 2


def test_a_gitops_tool_that_applies_all_the_time_changes_nothing(
    kube: Kube, images: dict[str, str], trained: str, traffic: Traffic, audit: Any
) -> None:
    """The trial takes two minutes, and goes as one that nobody looks at."""
    steps = [{"weight": 10, "minSeconds": 55}, {"weight": 50, "minSeconds": 60}]
    manifests = [
        parcels.dataset(),
        parcels.training_run("first", parcels.training_spec(images["flights"])),
        parcels.model_deployment(NAME, server=coloured("blue"), canary={"steps": steps, "scaleDownDelaySeconds": 5}),
    ]
    since = time.time()
    with Reapplying(kube, *manifests) as tool:
        weights: list[int | None] = []
        seen: list[str] = []

        def over() -> bool:
            status = kube.status("modeldeployment", NAME)
            seen.append(without_evidence(status))
            canary = status.get("canary")
            weights.append(canary["weight"]["desired"] if canary else None)
            return canary is None and weights[0] is not None

        until("the trial to begin", lambda: "canary" in kube.status("modeldeployment", NAME), 30)
        until("the trial to end", over, 200)
    lasted = time.time() - since
    assert tool.rounds >= 100, f"{tool.rounds} rounds in {lasted:.0f} s"
    assert tool.diffs == []
    assert {subject: len(found) for subject, found in tool.contents.items()} == {
        ("Dataset", "parcels"): 1,
        ("TrainingRun", "first"): 1,
        ("ModelDeployment", NAME): 1,
    }
    for subject in (("Dataset", "parcels"), ("TrainingRun", "first")):
        assert len(tool.versions[subject]) <= 2, f"{subject} is written all the time"

    assert [weight for weight, _ in groupby(weights)] == [0, 10, 50, None], "each step is taken once"
    assert kube.status("modeldeployment", NAME)["history"][0]["decision"] == "Promoted"
    written = Counter(audit.writes(since))
    shown = written.pop(f"patch modeldeployments/{NAME} status")
    changes = sum(1 for _ in groupby(seen))
    quick = 6  # changes that came between two looks: pods get ready, routers learn of them
    assert shown <= lasted / 5 + changes + quick, f"evidence every five seconds, and {changes} changes beside it"
    assert max(written.values()) <= 3, f"a child is written again and again: {written}"


def test_decay_is_seen_on_matured_cohorts_and_cured_by_itself(
    kube: Kube, system: Kube, images: dict[str, str], trained: str, traffic: Traffic
) -> None:
    errors = {"name": "errors", "requests": {"max": "0.02"}}
    missed = {"name": "missed", "outcome": {"falseNegativeRate": {}, "max": "0.4", "minSamples": 50}}
    template = parcels.training_spec(
        images["flights"], gate={"metrics": [{"name": "errors", "errorRate": {}, "maxRegression": "0.02"}]}, seed=1
    )
    kube.apply(
        parcels.model_deployment(
            NAME,
            server=coloured("blue"),
            slos=[errors, missed],
            monitoring={"cohortSeconds": 5, "maturity": {"maxLabelDelaySeconds": 5, "minCoverage": "0.9"}},
            retraining={
                "template": template,
                "triggers": [{"name": "wrong", "slo": "missed"}],
                "guardrails": {"cooldownSeconds": 3600, "maxPerDay": 2},
            },
        )
    )
    trials = kube.status("modeldeployment", NAME)["canaries"]
    kube.wait_condition("modeldeployment", NAME, "SLOsMet", "True")
    traffic.turn_wrong()
    kube.wait_condition("modeldeployment", NAME, "SLOsMet", "False", "SLOBroken")
    retraining = until("the retraining", lambda: kube.status("modeldeployment", NAME)["retraining"])
    assert retraining["decisions"][-1]["decision"] == "Started"
    record = ended(kube, trials + 1)
    assert record["decision"] == "Promoted"
    status = until(
        "the alias",
        lambda: (s := kube.status("modeldeployment", NAME))["champion"] == s["stable"]["modelVersion"] and s,
    )
    assert int(status["stable"]["modelVersion"]) > int(trained)
    refused = until(
        "the refusal of another",
        lambda: next(
            (d for d in kube.status("modeldeployment", NAME)["retraining"]["decisions"] if d["decision"] == "Refused"),
            None,
        ),
        120,
    )
    assert refused["reason"] == "NothingNew", "the data is what it was when the last one was started"
    assert len(kube.list("trainingruns", "perennial.dev/name=" + NAME)) == 1


def test_a_steady_cluster_is_left_alone(kube: Kube, system: Kube, traffic: Traffic, audit: Any) -> None:
    traffic.stop()
    kube("patch", "modeldeployment", NAME, "--type=merge", "--patch", '{"spec":{"suspend":true}}')
    until("the status to settle", lambda: collector(kube)["revision"] == collector(kube)["revision"], 10)
    assert audit.quiet_writes(seconds=60) == []


def test_every_pod_of_the_operators_is_restricted(kube: Kube, traffic: Traffic) -> None:
    enforced = kube.get("namespace", kube.namespace)["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
    assert enforced == "restricted"
    pods = kube.list("pods", "app.kubernetes.io/managed-by=perennial")
    assert {pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in pods} >= {
        "server",
        "router",
        "collector",
        "training",
    }
    assert all(pod["spec"]["automountServiceAccountToken"] is False for pod in pods)


def test_no_child_carries_the_tracking_of_its_owner(kube: Kube, traffic: Traffic) -> None:
    kinds = ["pods", "jobs", "deployments", "replicasets", "services", "endpointslices", "configmaps"]
    kinds += ["persistentvolumeclaims", "datasets", "trainingruns", "modeldeployments"]
    found = kube.list(",".join(kinds))
    children = [each for each in found if each["metadata"].get("ownerReferences")]
    assert {each["kind"] for each in children} == {
        *("Pod", "Job", "Deployment", "ReplicaSet", "Service", "EndpointSlice", "ConfigMap"),
        *("PersistentVolumeClaim", "TrainingRun"),
    }
    ours = set(parcels.TRACKING["labels"]) - {"app.kubernetes.io/managed-by"} | set(parcels.TRACKING["annotations"])
    for child in children:
        metadata = child["metadata"]
        carried = ours & (metadata.get("labels", {}).keys() | metadata.get("annotations", {}).keys())
        assert not carried, f"{child['kind']} {metadata['name']}"
        assert metadata.get("labels", {}).get("app.kubernetes.io/managed-by") != "Helm"
    owners = [each for each in found if each["apiVersion"] == parcels.API and each not in children]
    assert {each["kind"] for each in owners} == {"Dataset", "TrainingRun", "ModelDeployment"}
    assert all(ours <= {*each["metadata"]["labels"], *each["metadata"]["annotations"]} for each in owners)
