"""The plugin as people call it, `kubectl perennial`, against a real API server that has judged the objects."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
for folder in (REPOSITORY, REPOSITORY / "tests" / "unit" / "cli"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))  # neither `cluster` nor the CLI's story is an installed package

from story import NAMESPACE, Object, condition, dataset, on_trial, passed_run, ready_dataset, run  # noqa: E402

from cluster import tools  # noqa: E402
from cluster.apiserver import ControlPlane  # noqa: E402

pytestmark = pytest.mark.api
PLURALS = {"Dataset": "datasets", "TrainingRun": "trainingruns", "ModelDeployment": "modeldeployments"}
Plugin = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def plugin_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane(tmp_path_factory.mktemp("control-plane")) as running:
        for path in sorted((REPOSITORY / "crds").glob("*.yaml")):
            crd = yaml.safe_load(path.read_text())
            running.api.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
        for name in (NAMESPACE, "empty", "other"):
            namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            running.api.call("POST", "/api/v1/namespaces", namespace)
        yield running


def create(plugin_cluster: ControlPlane, obj: Object, namespace: str = NAMESPACE) -> None:
    """Create an object with its status, unknown fields refused."""
    base = f"/apis/perennial.dev/v1alpha1/namespaces/{namespace}/{PLURALS[obj['kind']]}"
    body = {**obj, "metadata": {"name": obj["metadata"]["name"]}}
    made = plugin_cluster.api.call("POST", f"{base}?fieldValidation=Strict", body)
    path = f"{base}/{obj['metadata']['name']}/status?fieldValidation=Strict"
    plugin_cluster.api.call("PUT", path, {**made, "status": obj["status"]})


@pytest.fixture(scope="module")
def plugin(plugin_cluster: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Plugin:
    folder = tmp_path_factory.mktemp("bin")
    script = folder / "kubectl-perennial"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m perennial.cli "$@"\n')
    script.chmod(0o755)
    for obj in (on_trial(), passed_run(), passed_run("june", "2"), ready_dataset()):
        create(plugin_cluster, obj)
    create(plugin_cluster, dataset(condition("Ready", "False", "ExpectationFailed", "The data is not fit.")), "other")
    create(plugin_cluster, run("january", condition("Succeeded", "Unknown", "DatasetNotReady")), "other")

    def call(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        variables = {
            **os.environ,
            "PATH": os.pathsep.join([str(folder), str(tools.kubectl().parent), os.environ["PATH"]]),
            "KUBECONFIG": str(plugin_cluster.kubeconfig),
            "PYTHONPATH": str(REPOSITORY / "operator"),
            "PYTHONIOENCODING": "utf-8",
            **environment,
        }
        command = ["kubectl", "perennial", *arguments]
        return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120, check=False)

    return call


def test_get_draws_the_namespace(plugin: Plugin) -> None:
    done = plugin("get", "-n", NAMESPACE)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("✔ Dataset flights")
    assert "│     ├─ ◐ Slot b" in done.stdout
    assert "model version 2 from june · step 1 of 2 · 10 %" in done.stdout
    assert "\x1b" not in done.stdout


def test_get_speaks_ascii_where_nothing_else_is_understood(plugin: Plugin) -> None:
    done = plugin("get", "-n", NAMESPACE, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    assert "+ Dataset flights" in done.stdout


def test_get_all_namespaces_says_where_and_that_something_is_not_ready(plugin: Plugin) -> None:
    done = plugin("get", "-A")
    assert done.returncode == 2
    assert "Dataset team/flights" in done.stdout
    assert "✗ Dataset other/flights" in done.stdout


@pytest.mark.parametrize(("form", "load"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_get_as_data(plugin: Plugin, form: str, load: Callable[[str], Any]) -> None:
    done = plugin("get", "mdep/flight-delay", "-n", NAMESPACE, "-o", form)
    assert done.returncode == 0, done.stderr
    (tree,) = load(done.stdout)["items"]
    assert (tree["kind"], tree["state"]) == ("Dataset", "Ok")
    (january,) = tree["children"]
    (deployment,) = january["children"]
    assert [child["reason"] for child in deployment["children"]] == ["stable", "canary", "Pass"]


def test_watch_draws_anew_until_it_is_interrupted(plugin: Plugin, plugin_cluster: ControlPlane) -> None:
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(tools.kubectl().parent), os.environ["PATH"]]),
        "KUBECONFIG": str(plugin_cluster.kubeconfig),
        "PYTHONPATH": str(REPOSITORY / "operator"),
        "PYTHONIOENCODING": "utf-8",
    }
    command = [sys.executable, "-m", "perennial.cli", "get", "-n", NAMESPACE, "--watch"]
    # As at a terminal, also where this run was put into the background, which ignores interrupts.
    interruptible = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=interruptible,  # noqa: PLW1509 - this process has one thread
    ) as watching:
        assert watching.stdout is not None
        roots = 0
        for line in watching.stdout:
            roots += line.startswith("✔ Dataset flights")
            if roots == 2:
                break
        watching.send_signal(signal.SIGINT)
        watching.stdout.read()
        assert (roots, watching.wait(timeout=60)) == (2, 0)


def test_get_nothing(plugin: Plugin) -> None:
    done = plugin("get", "-n", "empty")
    assert (done.returncode, done.stdout) == (
        0,
        "There is no Dataset, TrainingRun or ModelDeployment in namespace empty.\n",
    )


def test_why_walks_the_chain(plugin: Plugin) -> None:
    done = plugin("why", "trun/january", "-n", "other")
    assert done.returncode == 2, done.stderr
    assert "TrainingRun january: DatasetNotReady" in done.stdout
    assert "because Dataset flights: ExpectationFailed" in done.stdout
    assert "What to do: Fix the data" in done.stdout
    assert plugin("why", "mdep/flight-delay", "-n", NAMESPACE).returncode == 0


def test_why_as_data(plugin: Plugin) -> None:
    answer = json.loads(plugin("why", "dset/flights", "-n", "other", "-o", "json").stdout)
    assert answer["state"] == "Bad"
    assert [link["reason"] for link in answer["chain"]] == ["ExpectationFailed"]


def test_why_goes_on_without_the_right_to_see_pods(plugin: Plugin, plugin_cluster: ControlPlane) -> None:
    """A person who may only see the three kinds still gets the chain, and is told what was left out."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "viewer"}}
    plugin_cluster.api.call("POST", "/api/v1/namespaces/other/serviceaccounts", account)
    rules = [{"apiGroups": ["perennial.dev"], "resources": ["*"], "verbs": ["get", "list"]}]
    group = "rbac.authorization.k8s.io"
    role = {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": {"name": "viewer"}, "rules": rules}
    plugin_cluster.api.call("POST", f"/apis/{group}/v1/namespaces/other/roles", role)
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "viewer"},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": "viewer"},
        "subjects": [{"kind": "ServiceAccount", "name": "viewer", "namespace": "other"}],
    }
    plugin_cluster.api.call("POST", f"/apis/{group}/v1/namespaces/other/rolebindings", binding)
    kubeconfig = str(plugin_cluster.service_account_kubeconfig("other", "viewer"))
    done = plugin("why", "trun/january", "-n", "other", "--kubeconfig", kubeconfig)
    assert done.returncode == 2, done.stderr
    assert "Jobs and pods are not looked at" in done.stderr
    assert "because Dataset flights" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["get", "nobody", "-n", NAMESPACE], "error: There is no"),
        (["why", "pod/x", "-n", NAMESPACE], "error: 'pod' must be dataset, trainingrun or modeldeployment"),
        (["get", "--kubeconfig", "/nonexistent"], "error: "),
        (["get", "-w", "-o", "json"], "error: --watch draws for people"),
    ],
)
def test_errors_are_one_sentence(plugin: Plugin, arguments: list[str], message: str) -> None:
    done = plugin(*arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(message)
    assert len(done.stderr.splitlines()) == 1


def test_without_perennial_it_says_so(tmp_path_factory: pytest.TempPathFactory, plugin: Plugin) -> None:
    with ControlPlane(tmp_path_factory.mktemp("bare")) as bare:
        done = plugin("get", KUBECONFIG=str(bare.kubeconfig))
    assert done.returncode == 1
    assert "Perennial is not installed in this cluster" in done.stderr
