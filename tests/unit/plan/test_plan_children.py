"""How every child is made: names that fit, resources that are possible, texts that arrive as they are."""

import json
import re
from decimal import Decimal
from typing import Any

import pytest
import samples
from given import (
    NAMESPACE,
    READY_STATUS,
    RUN_SPEC,
    applied,
    dataset,
    planned,
    registry,
    training_run,
)
from given import given as world_of
from given_deployment import RETRAINING, deployment
from hypothesis import given
from hypothesis import strategies as st

from perennial.api.messages.check import CheckRequest
from perennial.api.model_deployment import Server
from perennial.api.training_run import Trainer
from perennial.manifests.build import env, hashed, literal, resources
from perennial.manifests.manifest import Manifest
from perennial.schema.structural import structural
from perennial.terms.kube import EnvVar, Resources

LONGEST = "l" * 46
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
"""A label of RFC 1123. The names of ModelDeployments begin with a letter, so their Services fit RFC 1035, too."""


def made(kind: str, name: str, **metadata: Any) -> list[Manifest]:
    """Return every child that the samples of a kind make, when the owner has this name and this further metadata."""
    found = []
    for owner, world in samples.SAMPLES.values():
        if owner != kind:
            continue
        old = {"Dataset": "flights", "TrainingRun": "run-1", "ModelDeployment": "delay"}[kind]
        subject = world.subject_of(kind, old)
        renamed = {**subject, "metadata": {**subject["metadata"], **metadata, "name": name}}
        found += [item.manifest for item in planned(world.without(kind, old).but(renamed), kind, name).applies]
    assert found
    return found


@pytest.mark.parametrize("kind", ["Dataset", "TrainingRun", "ModelDeployment"])
@pytest.mark.parametrize("name", [LONGEST, "a", "a-1"])
def test_names_of_children_fit(kind: str, name: str) -> None:
    for manifest in made(kind, name):
        child = manifest["metadata"]["name"]
        assert LABEL.fullmatch(child), child
        assert child.startswith(name[:36])
        if manifest["kind"] == "TrainingRun":
            assert len(child) <= 46
        for value in manifest["metadata"]["labels"].values():
            assert re.fullmatch(r"([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9]", value)


@pytest.mark.parametrize("kind", ["Dataset", "TrainingRun", "ModelDeployment"])
def test_no_two_children_share_a_name(kind: str) -> None:
    by_world: dict[tuple[str, str], str] = {}
    for manifest in made(kind, "x"):
        key = (manifest["kind"], manifest["metadata"]["name"])
        component = manifest["metadata"]["labels"]["app.kubernetes.io/component"]
        assert by_world.setdefault(key, component) == component


@pytest.mark.parametrize("kind", ["Dataset", "TrainingRun", "ModelDeployment"])
def test_nothing_of_the_owners_metadata_is_copied(kind: str) -> None:
    """GitOps tools know their own by labels and annotations, and prune what they did not apply."""
    tracking = {
        "app.kubernetes.io/instance": "copied",
        "app.kubernetes.io/managed-by": "copied",
        "argocd.argoproj.io/instance": "copied",
        "argocd.argoproj.io/tracking-id": "copied",
        "helm.sh/chart": "copied",
        "kustomize.toolkit.fluxcd.io/name": "copied",
    }
    children = made(kind, "x", labels=tracking, annotations=tracking, finalizers=["copied"])
    assert children == made(kind, "x")
    assert "copied" not in json.dumps(children)


def test_services_select_the_pods_of_their_deployments() -> None:
    manifests = made("ModelDeployment", "m")
    pods = {
        item["metadata"]["name"]: item["spec"]["template"]["metadata"]["labels"]
        for item in manifests
        if item["kind"] == "Deployment"
    }
    services = {item["metadata"]["name"]: item["spec"] for item in manifests if item["kind"] == "Service"}
    expected = {"m": "m-router", "m-routers": "m-router", "m-a": "m-a", "m-b": "m-b", "m-collector": "m-collector"}
    assert services.keys() == expected.keys()
    for service, target in expected.items():
        chosen = {name for name, labels in pods.items() if services[service]["selector"].items() <= labels.items()}
        assert chosen == {target}, service


def test_a_deployments_selector_never_changes_with_its_version() -> None:
    slots = [item for item in made("ModelDeployment", "m") if item["metadata"]["name"] in {"m-a", "m-b"}]
    selectors = {
        (item["metadata"]["name"], str(item["spec"]["selector"])) for item in slots if item["kind"] == "Deployment"
    }
    assert len(selectors) == 2


def test_the_router_restarts_for_a_change_of_structure_alone() -> None:
    """Not when the stable version changes slots: only its file follows."""
    both = {}
    for slot in ("a", "b"):
        status = {"stable": {**samples.ON_TRIAL["stable"], "slot": slot}, "champion": "3"}
        plan = planned(world_of(deployment(status), registry=registry(versions=["3"])), "ModelDeployment", "delay")
        both[slot] = (applied(plan, "ConfigMap")["delay-router"], applied(plan, "Deployment")["delay-router"])
    assert both["a"][0]["data"] != both["b"][0]["data"]
    assert both["a"][1] == both["b"][1]


@pytest.mark.parametrize(
    ("asked", "requests", "limits"),
    [
        pytest.param({}, {"cpu": "500m", "memory": "1Gi"}, {"memory": "4Gi"}, id="nothing asked"),
        pytest.param(
            {"limits": {"cpu": "250m"}},
            {"cpu": "250m", "memory": "1Gi"},
            {"cpu": "250m", "memory": "4Gi"},
            id="a CPU limit below the default request",
        ),
        pytest.param(
            {"requests": {"memory": "16Gi"}},
            {"cpu": "500m", "memory": "16Gi"},
            {"memory": "16Gi"},
            id="a memory request above the default limit",
        ),
        pytest.param(
            {"requests": {"memory": "4096Mi"}},
            {"cpu": "500m", "memory": "4096Mi"},
            {"memory": "4Gi"},
            id="just the limit",
        ),
        pytest.param(
            {"limits": {"memory": "512Mi"}},
            {"cpu": "500m", "memory": "512Mi"},
            {"memory": "512Mi"},
            id="a memory limit below the default request",
        ),
        pytest.param(
            {"requests": {"cpu": 2, "nvidia.com/gpu": 1}, "limits": {"cpu": "4", "nvidia.com/gpu": 1}},
            {"cpu": "2", "memory": "1Gi", "nvidia.com/gpu": "1"},
            {"cpu": "4", "memory": "4Gi", "nvidia.com/gpu": "1"},
            id="what is asked stays",
        ),
    ],
)
def test_resources(asked: dict[str, Any], requests: dict[str, str], limits: dict[str, str]) -> None:
    found = resources(Resources.model_validate(asked), cpu="500m", memory="1Gi", memory_limit="4Gi")
    assert found == {"requests": requests, "limits": limits}


UNITS = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    "k": Decimal(10) ** 3,
    "M": Decimal(10) ** 6,
    "G": Decimal(10) ** 9,
    "Ki": Decimal(2) ** 10,
    "Mi": Decimal(2) ** 20,
    "Gi": Decimal(2) ** 30,
    "Ti": Decimal(2) ** 40,
    "e3": Decimal(10) ** 3,
    "E2": Decimal(10) ** 2,
}
quantities = st.builds(lambda number, unit: f"{number}{unit}", st.integers(1, 2000), st.sampled_from(sorted(UNITS)))


def amount(quantity: str) -> Decimal:
    number = re.match(r"[0-9]+", quantity)
    assert number is not None
    return Decimal(number[0]) * UNITS[quantity[number.end() :]]


@given(
    asked=st.dictionaries(st.sampled_from(["cpu", "memory"]), quantities),
    allowed=st.dictionaries(st.sampled_from(["cpu", "memory"]), quantities),
)
def test_a_container_never_asks_for_more_than_it_may_use(asked: dict[str, str], allowed: dict[str, str]) -> None:
    """Where the user's own are possible, which the CRD holds."""
    if any(amount(asked[name]) > amount(allowed[name]) for name in asked.keys() & allowed.keys()):
        return
    found = resources(Resources(requests=asked, limits=allowed), cpu="500m", memory="1Gi", memory_limit="4Gi")
    for name, limit in found["limits"].items():
        assert amount(found["requests"][name]) <= amount(limit)
    assert asked.items() <= found["requests"].items()
    assert allowed.items() <= found["limits"].items()
    assert "memory" in found["limits"]


def test_the_users_variables_come_last_and_replace_none() -> None:
    extra = [EnvVar(name="OWN", value="1"), EnvVar(name="B", value="$(OWN)")]
    assert env({"OWN": "a$b"}, extra) == [{"name": "OWN", "value": "a$$b"}, {"name": "B", "value": "$(OWN)"}]


@given(st.text(alphabet="$()aA_", max_size=12))
def test_a_literal_arrives_as_it_is(text: str) -> None:
    """Expanded as Kubernetes does it: https://pkg.go.dev/k8s.io/kubernetes/third_party/forked/golang/expansion."""
    assert expanded(literal(text), {"A": "!", "a": "?"}) == text


def expanded(text: str, values: dict[str, str]) -> str:
    def one(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        return values.get(found[1], found[0])

    return re.sub(r"\$\$|\$\(([^()]*)\)", one, text)


def test_columns_and_folders_with_dollars_arrive_as_they_are() -> None:
    odd = "$(HOME) $$"
    columns = [{"name": "late", "type": "Boolean"}, {"name": odd, "type": "Timestamp"}]
    subject = dataset(schema={"target": "late", "time": odd, "columns": columns}, source={"uri": "pvc://lake/$(HOME)"})
    (check,) = applied(planned(world_of(subject), "Dataset", "flights"), "Job").values()
    (container,) = check["spec"]["template"]["spec"]["containers"]
    assert expanded(container["args"][1], {"HOME": "!"}) == "/source/$(HOME)"
    told = {item["name"]: expanded(item["value"], {"HOME": "!"}) for item in container["env"]}
    assert CheckRequest.read(told["PERENNIAL_DATASET"]).schema_.time == odd


def test_hashes_are_equal_for_equal_data_in_any_order() -> None:
    assert hashed({"a": 1, "b": 2}, "x") == hashed({"b": 2, "a": 1}, "x")
    assert hashed("a", "b") != hashed("ab", "")
    assert len(hashed("a", length=8)) == 8
    assert hashed("flights", 1, 0) == "114844fba8"


def test_a_retrained_run_is_the_template() -> None:
    """With defaults written out, so that it stays what it is when they change."""
    (manifest,) = (item for item in made("ModelDeployment", "m") if item["kind"] == "TrainingRun")
    assert manifest["spec"].items() >= {"seed": 7, "retryLimit": 2, "activeDeadlineSeconds": 3600}.items()
    assert manifest["spec"]["gate"]["metrics"][0]["maxRegression"] == RUN_SPEC["gate"]["metrics"][0]["maxRegression"]
    assert manifest["metadata"]["namespace"] == NAMESPACE
    assert RETRAINING["retraining"]["template"]["model"] == manifest["spec"]["model"]


def test_a_training_learns_from_the_snapshots_and_changes_none() -> None:
    subject = training_run(samples.WITH_RUN)
    plan = planned(world_of(subject, dataset(READY_STATUS)), "TrainingRun", "run-1")
    spec = applied(plan, "Job")["run-1-train"]["spec"]["template"]["spec"]
    mounts = [
        mount for container in [*spec["initContainers"], *spec["containers"]] for mount in container["volumeMounts"]
    ]
    assert [mount.get("readOnly") for mount in mounts if mount["name"] == "snapshots"] == [True]
    (trainer,) = spec["containers"]
    assert {mount["name"]: mount.get("readOnly", False) for mount in trainer["volumeMounts"]} == {
        "data": True,
        "tmp": False,
    }


@pytest.mark.parametrize(("name", "container"), [("a run trains", "trainer"), ("a server of one's own", "server")])
def test_users_may_set_no_variable_that_is_ours(name: str, container: str) -> None:
    """It would be dropped: the API refuses it (`own_variables`)."""
    kind, world = samples.SAMPLES[name]
    spec = {"TrainingRun": Trainer, "ModelDeployment": Server}[kind]
    ((rule, _), *_) = [
        (item["rule"], item["message"])
        for item in structural(spec)["x-kubernetes-validations"]
        if item["message"].startswith("env must not set")
    ]
    plan = planned(world, kind, {"TrainingRun": "run-1", "ModelDeployment": "delay"}[kind])
    children = [child.manifest.get("spec", {}) for child in plan.applies]
    specs = [child["template"]["spec"] for child in children if "spec" in child.get("template", {})]
    (made,) = (each for spec in specs for each in spec["containers"] if each["name"] == container)
    ours = {item["name"] for item in made["env"]} - {"THREADS", "URL"}
    assert ours
    assert {name for name in ours if not name.startswith("PERENNIAL_") and f"'{name}'" not in rule} == set()
