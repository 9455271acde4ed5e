"""The operator as the process it is: settings, signals, crashes, two of them, and the planners it is built with."""

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from operator_process import Start
from waiting import until
from widgets import WIDGET, widget

from cluster import tools
from cluster.apiserver import ControlPlane
from perennial.manifests.resources import CLAIM, CONFIG_MAP, JOB, LEASE, Resource
from perennial.runtime.resources import resource_of

pytestmark = pytest.mark.api
MANIFESTS = Path(__file__).parent / "manifests" / "valid"
QUICK_LEASE = {
    "PERENNIAL_LEASE_DURATION_SECONDS": "6",
    "PERENNIAL_LEASE_RENEW_DEADLINE_SECONDS": "4",
    "PERENNIAL_LEASE_RETRY_PERIOD_SECONDS": "0.5",
}


def create(control_plane: ControlPlane, namespace: str, manifest: dict[str, Any]) -> Any:
    """Create an object; return its spec as the API server keeps it, defaults included."""
    resource = resource_of(manifest["apiVersion"], manifest["kind"])
    return control_plane.api.call("POST", resource.path(namespace), manifest)["spec"]


def smallest(kind: str) -> dict[str, Any]:
    manifest: dict[str, Any] = yaml.safe_load((MANIFESTS / f"{kind.lower()}-smallest.yaml").read_text())
    return manifest


def conditions(control_plane: ControlPlane, path: str) -> dict[str, dict[str, Any]]:
    status = control_plane.api.get(path).get("status", {})
    return {each["type"]: each for each in status.get("conditions", [])}


def holder(control_plane: ControlPlane, namespace: str) -> str:
    lease = control_plane.api.get(LEASE.path(namespace, "perennial-operator"))
    return str(lease["spec"].get("holderIdentity", ""))


def test_the_three_kinds_are_taken_up_and_nothing_breaks(
    control_plane: ControlPlane, namespace: str, start_operator: Start
) -> None:
    specs = {
        kind: create(control_plane, namespace, smallest(kind)) for kind in ("Dataset", "TrainingRun", "ModelDeployment")
    }
    operator = start_operator()
    for kind, summary in (("Dataset", "Ready"), ("TrainingRun", "Succeeded"), ("ModelDeployment", "Ready")):
        manifest = smallest(kind)
        resource = resource_of(manifest["apiVersion"], kind)
        path = resource.path(namespace, manifest["metadata"]["name"])
        until(f"{kind} has a status", lambda path=path, summary=summary: summary in conditions(control_plane, path))
        seen = control_plane.api.get(path)
        assert "finalizers" not in seen["metadata"]
        assert seen["spec"] == specs[kind], "the user's spec was written"
        assert conditions(control_plane, path)[summary]["observedGeneration"] == 1
        managers = {each["manager"]: each.get("subresource") for each in seen["metadata"]["managedFields"]}
        assert managers["perennial"] == "status", "more than the status was written"
    until("the Dataset is checked", lambda: control_plane.api.get(JOB.path(namespace))["items"])
    assert control_plane.api.get(CLAIM.path(namespace))["items"]
    assert operator.stop() == 0
    assert operator.lines("reconciling failed unexpectedly") == []


def test_it_answers_its_probes_and_ends_at_once_when_asked_giving_the_lease_back(
    control_plane: ControlPlane, namespace: str, start_operator: Start
) -> None:
    operator = start_operator()
    operator.said("leading")
    assert operator.ask("health", "/healthz") == (200, "ok\n")
    assert operator.ask("health", "/readyz") == (200, "ok\n")
    status, figures = operator.ask("metrics", "/metrics")
    assert status == 200
    for kind in ("Dataset", "TrainingRun", "ModelDeployment"):
        assert f'controller_runtime_reconcile_total{{controller="{kind}",result="error"}} 0.0' in figures
        assert f'workqueue_depth{{controller="{kind}",name="{kind}",priority="0"}} 0.0' in figures
    assert 'leader_election_master_status{name="perennial-operator"} 1.0' in figures
    assert "process_resident_memory_bytes" in figures
    assert holder(control_plane, namespace)
    started = time.monotonic()
    assert operator.stop() == 0
    assert time.monotonic() - started < 10
    assert not holder(control_plane, namespace)


def test_settings_that_cannot_be_used_are_all_named_in_one_line_and_nothing_starts(start_operator: Start) -> None:
    operator = start_operator(PERENNIAL_WORKERS="many", PERENNIAL_LOG_LEVEL="loud", PERENNIAL_RESYNC_SECONDS="-1")
    assert operator.popen.wait(60) == 64
    (line,) = operator.text().splitlines()
    assert "PERENNIAL_WORKERS='many' must be a whole number" in line
    assert "PERENNIAL_LOG_LEVEL='loud' must be one of DEBUG, INFO, WARNING, ERROR" in line
    assert "PERENNIAL_RESYNC_SECONDS='-1' must be at least 1" in line


def test_without_a_cluster_it_says_what_is_missing(start_operator: Start, tmp_path: Path) -> None:
    operator = start_operator(kubeconfig=tmp_path / "nowhere")
    assert operator.popen.wait(60) == 1
    (line,) = operator.lines("the operator ends")
    assert "neither a service account nor a usable kubeconfig" in line["error"]


def test_a_variable_that_is_no_setting_is_named_and_does_no_harm(start_operator: Start) -> None:
    operator = start_operator(PERENNIAL_WROKERS="3", PERENNIAL_OPERATOR_SERVICE_HOST="10.0.0.1")
    assert operator.said("this variable is no setting")["variable"] == "PERENNIAL_WROKERS"
    operator.said("leading")
    assert len(operator.lines("this variable is no setting")) == 1


def test_a_crashed_leader_is_replaced_when_its_lease_has_run_out(
    control_plane: ControlPlane, namespace: str, start_operator: Start, widgets: Resource, tmp_path: Path
) -> None:
    registry = str(tmp_path / "registry")
    first = start_operator("widgets", WIDGETS_REGISTRY=registry, **QUICK_LEASE)
    first.said("leading")
    second = start_operator("widgets", WIDGETS_REGISTRY=registry, **QUICK_LEASE)
    second.said("the cache is filled")
    control_plane.api.call("POST", WIDGET.path(namespace), widget(namespace, "before", parts=1))
    until("the first works", lambda: ready(control_plane, namespace, "before"))
    assert second.lines("leading") == []
    first.stop(signal.SIGKILL)
    crashed = time.monotonic()
    control_plane.api.call("POST", WIDGET.path(namespace), widget(namespace, "after", parts=1))
    second.said("leading")
    assert time.monotonic() - crashed >= 3.5, "it did not wait until the first must have stopped writing"
    until("the second works", lambda: ready(control_plane, namespace, "after"))
    uids = Path(registry).read_text().splitlines()
    assert len(uids) == len(set(uids)) == 2


def test_a_frozen_leader_writes_nothing_when_it_thaws_and_ends(
    control_plane: ControlPlane, namespace: str, start_operator: Start, widgets: Resource, tmp_path: Path
) -> None:
    """SIGSTOP for longer than the lease: another leads by then, and the thawed one has a key to reconcile."""
    frozen = start_operator("widgets", WIDGETS_REGISTRY=str(tmp_path / "one"), **QUICK_LEASE)
    frozen.said("leading")
    frozen.popen.send_signal(signal.SIGSTOP)
    other = start_operator("widgets", WIDGETS_REGISTRY=str(tmp_path / "two"), **QUICK_LEASE)
    other.said("leading")
    control_plane.api.call("POST", WIDGET.path(namespace), widget(namespace, "w", parts=1))
    until("the other works", lambda: ready(control_plane, namespace, "w"))
    before = versions(control_plane, namespace)
    frozen.popen.send_signal(signal.SIGCONT)
    assert frozen.popen.wait(30) == 1
    assert not (tmp_path / "one").exists(), "it made a call"
    assert versions(control_plane, namespace) == before, "it wrote"
    assert other.popen.poll() is None


def test_asked_to_stop_it_ends_the_work_at_hand_and_hands_over_within_two_seconds(
    control_plane: ControlPlane, namespace: str, start_operator: Start, widgets: Resource, tmp_path: Path
) -> None:
    registry = tmp_path / "registry"
    one = start_operator("widgets", WIDGETS_REGISTRY=str(registry), WIDGETS_SECONDS="0.4")
    one.said("leading")
    two = start_operator("widgets", WIDGETS_REGISTRY=str(tmp_path / "other"))
    two.said("the cache is filled")
    control_plane.api.call("POST", WIDGET.path(namespace), widget(namespace, "w", parts=1))
    until("a reconciliation is in the middle of a call", registry.exists)
    asked = time.monotonic()
    one.popen.send_signal(signal.SIGTERM)
    two.said("leading")
    took = time.monotonic() - asked
    assert one.popen.wait(10) == 0
    assert registry.with_suffix(".answered").exists(), "the call was cut off"
    assert took <= 2.0 + 0.3, "the drain, the lease and a look; and the time to read two logs"
    assert one.lines("reconciling failed unexpectedly") == []
    until("the other goes on", lambda: ready(control_plane, namespace, "w"))


def test_killed_again_and_again_at_any_moment_it_still_gets_there_and_does_nothing_twice(
    control_plane: ControlPlane, namespace: str, start_operator: Start, widgets: Resource, tmp_path: Path
) -> None:
    registry = tmp_path / "registry"
    for number in range(12):
        control_plane.api.call("POST", WIDGET.path(namespace), widget(namespace, f"w{number}", parts=3))
    for pause in (0.0, 0.03, 0.1):
        operator = start_operator("widgets", WIDGETS_REGISTRY=str(registry), **QUICK_LEASE)
        operator.said("leading")
        moment = time.monotonic() + pause
        until("it is in the middle of it", lambda moment=moment: time.monotonic() >= moment)
        operator.stop(signal.SIGKILL)
    last = start_operator("widgets", WIDGETS_REGISTRY=str(registry), **QUICK_LEASE)
    for number in range(12):
        until(f"w{number} is ready", lambda name=f"w{number}": ready(control_plane, namespace, name))
    uids = registry.read_text().splitlines()
    assert len(uids) == len(set(uids)) == 12
    maps = control_plane.api.get(CONFIG_MAP.path(namespace))["items"]
    assert sum(each["metadata"]["name"].startswith("w") for each in maps) == 36
    assert last.lines("reconciling failed unexpectedly") == []


def test_the_charts_rights_are_enough_and_none_is_missed(
    control_plane: ControlPlane, namespace: str, start_operator: Start
) -> None:
    """In two named namespaces, where the operator has no rights anywhere else: the narrowest way to install it."""
    other = f"{namespace}-other"
    control_plane.api.call("POST", "/api/v1/namespaces", {"metadata": {"name": other}})
    account = install_rights(control_plane, namespace, other)
    for kind in ("Dataset", "TrainingRun", "ModelDeployment"):
        create(control_plane, namespace, smallest(kind))
        create(control_plane, other, smallest(kind))
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    foreign = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "taken-snapshots"},
        "spec": claim,
    }
    create(control_plane, namespace, foreign)
    create(control_plane, namespace, smallest("Dataset") | {"metadata": {"name": "taken"}})
    operator = start_operator(
        kubeconfig=control_plane.service_account_kubeconfig(namespace, account),
        PERENNIAL_NAMESPACES=f"{namespace},{other}",
    )
    operator.said("leading")
    for where in (namespace, other):
        for kind in ("Dataset", "TrainingRun", "ModelDeployment"):
            manifest = smallest(kind)
            path = resource_of(manifest["apiVersion"], kind).path(where, manifest["metadata"]["name"])
            until(f"{kind} has a status in {where}", lambda path=path: conditions(control_plane, path))
        until("the Dataset is checked", lambda where=where: control_plane.api.get(JOB.path(where))["items"])
    (event,) = until("a Dataset has an Event", lambda: events(control_plane, namespace, "taken"))
    assert event["reason"] == "NameTaken"
    assert operator.stop() == 0
    user = f"system:serviceaccount:{namespace}:{account}"
    audited = [json.loads(line) for line in control_plane.audit_log.read_text().splitlines()]
    ours = [event for event in audited if event["user"].get("username") == user]
    assert len(ours) > 20
    assert [event["requestURI"] for event in ours if event["responseStatus"]["code"] == 403] == []
    assert not [event for event in ours if event.get("objectRef", {}).get("resource") == "secrets"]
    asked = [event["objectRef"] for event in ours if "objectRef" in event]
    assert {about.get("namespace", "") for about in asked} == {namespace, other}, "something was asked cluster-wide"
    control_plane.api.call("DELETE", f"/api/v1/namespaces/{other}")


def install_rights(control_plane: ControlPlane, namespace: str, other: str) -> str:
    """Install the chart's account, roles and bindings for two namespaces; return the account's name."""
    chart = Path(__file__).parents[2] / "charts" / "perennial"
    values = ["-f", str(chart / "ci" / "images.yaml"), "--set", f"watchNamespaces={{{namespace},{other}}}"]
    rendered = subprocess.run(
        [tools.helm(), "template", "perennial", str(chart), "-n", namespace, *values],
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    group = "/apis/rbac.authorization.k8s.io/v1"
    places = {
        "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
        "Role": f"{group}/namespaces/{{}}/roles",
        "RoleBinding": f"{group}/namespaces/{{}}/rolebindings",
    }
    rights = [each for each in yaml.safe_load_all(rendered) if each and each["apiVersion"].startswith("rbac")]
    operators = [each for each in rights if "aggregate" not in json.dumps(each["metadata"].get("labels", {}))]
    assert {each["kind"] for each in operators} == {"Role", "RoleBinding"}, "more than Roles"
    manifests = [each for each in yaml.safe_load_all(rendered) if each and each["kind"] in places]
    for manifest in manifests:
        if "helm.sh/hook" not in manifest["metadata"].get("annotations", {}):
            where = places[manifest["kind"]].format(manifest["metadata"]["namespace"])
            # Applied, since the fixture has made the service account already.
            control_plane.api.apply(f"{where}/{manifest['metadata']['name']}", manifest, manager="helm")
    (account,) = {
        subject["name"] for each in manifests if each["kind"] == "RoleBinding" for subject in each["subjects"]
    }
    return str(account)


def events(control_plane: ControlPlane, namespace: str, name: str) -> list[dict[str, Any]]:
    items = control_plane.api.get(f"/apis/events.k8s.io/v1/namespaces/{namespace}/events")["items"]
    return [
        each
        for each in items
        if each["regarding"]["name"] == name and each["reportingController"].startswith("perennial")
    ]


def ready(control_plane: ControlPlane, namespace: str, name: str) -> bool:
    status = control_plane.api.get(WIDGET.path(namespace, name)).get("status", {})
    return bool(status.get("runId")) and status["conditions"][0]["status"] == "True"


def versions(control_plane: ControlPlane, namespace: str) -> dict[str, str]:
    items = [
        *control_plane.api.get(WIDGET.path(namespace))["items"],
        *control_plane.api.get(CONFIG_MAP.path(namespace))["items"],
    ]
    return {each["metadata"]["name"]: each["metadata"]["resourceVersion"] for each in items}
