"""What the chart renders, with helm 4 and helm 3."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from rendering import Helm

from perennial.settings import from_environment, unknown

Manifests = list[dict[str, Any]]


def render(helm: Helm, chart: Path, *arguments: str) -> Manifests:
    images = str(chart / "ci" / "images.yaml")
    done = helm("template", "perennial", str(chart), "-n", "perennial-system", "-f", images, *arguments)
    assert done.returncode == 0, done.stderr
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


def of(manifests: Manifests, kind: str, name: str) -> dict[str, Any]:
    (found,) = [one for one in manifests if one["kind"] == kind and one["metadata"]["name"] == name]
    return found


def container(deployment: dict[str, Any]) -> dict[str, Any]:
    (only,) = deployment["spec"]["template"]["spec"]["containers"]
    return dict(only)


def environment(deployment: dict[str, Any]) -> dict[str, str]:
    return {item["name"]: item.get("value", "") for item in container(deployment)["env"]}


def test_lint_has_nothing_to_say(helm: Helm, chart: Path) -> None:
    done = helm("lint", "--strict", str(chart), "-f", str(chart / "ci" / "images.yaml"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_generated_crd_is_rendered_and_kept(helm: Helm, chart: Path) -> None:
    rendered = {
        one["metadata"]["name"]: one for one in render(helm, chart) if one["kind"] == "CustomResourceDefinition"
    }
    sources = [yaml.safe_load(path.read_text()) for path in sorted((chart / "crds-files").glob("*.yaml"))]
    assert len(sources) == 3
    assert sorted(rendered) == sorted(source["metadata"]["name"] for source in sources)
    for source in sources:
        crd = rendered[source["metadata"]["name"]]
        assert crd["spec"] == source["spec"]
        assert crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_the_operator_is_told_what_it_needs(helm: Helm, chart: Path) -> None:
    operator = of(render(helm, chart), "Deployment", "perennial")
    assert operator["spec"]["replicas"] == 2
    assert container(operator)["command"] == ["python3", "-m", "perennial.app"]
    told = environment(operator)
    assert (
        told["PERENNIAL_IMAGE_OPERATOR"] == container(operator)["image"] == "registry.example/perennial/operator:test"
    )
    assert told["PERENNIAL_IMAGE_SERVER"] == "registry.example/perennial/server:test"
    assert told["PERENNIAL_IMAGE_ROUTER"] == "registry.example/perennial/router:test"
    assert told["PERENNIAL_MLFLOW_URL"] == "http://perennial-mlflow.perennial-system.svc.cluster.local:5000"
    namespace = next(item for item in container(operator)["env"] if item["name"] == "PERENNIAL_NAMESPACE")
    assert namespace["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.namespace"}}


def test_settings_reach_the_environment_as_text(helm: Helm, chart: Path) -> None:
    arguments = ["--set", "settings.logLevel=DEBUG", "--set", "settings.env.PERENNIAL_RESYNC_SECONDS=1200000"]
    told = environment(of(render(helm, chart, *arguments), "Deployment", "perennial"))
    assert told["PERENNIAL_LOG_LEVEL"] == "DEBUG"
    assert told["PERENNIAL_RESYNC_SECONDS"] == "1200000"


def test_the_operator_takes_every_setting_it_is_given(helm: Helm, chart: Path) -> None:
    operator = of(render(helm, chart), "Deployment", "perennial")
    settings = from_environment(environment(operator))
    assert unknown(environment(operator)) == []
    assert settings.namespaces == ()
    ports = {port["name"]: port["containerPort"] for port in container(operator)["ports"]}
    assert ports == {"health": settings.health_port, "metrics": settings.metrics_port}
    arguments = ["--set", "watchNamespaces={team-a,team-b},settings.env.PERENNIAL_WORKERS=3"]
    chosen = from_environment(environment(of(render(helm, chart, *arguments), "Deployment", "perennial")))
    assert (chosen.namespaces, chosen.workers) == (("team-a", "team-b"), 3)


def test_named_namespaces_are_the_only_ones_with_rights(helm: Helm, chart: Path) -> None:
    everywhere = render(helm, chart)
    manifests = render(helm, chart, "--set", "watchNamespaces={team-a,team-b}")
    assert [one["metadata"]["name"] for one in manifests if one["kind"].startswith("ClusterRole")] == []
    roles = {one["metadata"]["namespace"]: one for one in manifests if one["kind"] == "Role"}
    bound = {one["metadata"]["namespace"]: one["roleRef"] for one in manifests if one["kind"] == "RoleBinding"}
    assert sorted(bound) == sorted(roles) == ["perennial-system", "team-a", "team-b"]
    for namespace, role in roles.items():
        assert (bound[namespace]["kind"], bound[namespace]["name"]) == ("Role", role["metadata"]["name"])
    rules = of(everywhere, "ClusterRole", "perennial-perennial-system")["rules"]
    assert roles["team-a"]["rules"] == roles["team-b"]["rules"] == rules
    assert len([one for one in everywhere if one["kind"] == "ClusterRoleBinding"]) == 1


def test_no_role_can_read_secrets_or_has_a_wildcard(helm: Helm, chart: Path) -> None:
    rules = [
        (manifest["metadata"]["name"], rule)
        for manifest in render(helm, chart)
        if manifest["kind"] in {"Role", "ClusterRole"}
        for rule in manifest["rules"]
    ]
    assert len(rules) >= 10
    for name, rule in rules:
        assert "*" not in rule["apiGroups"] + rule["resources"] + rule["verbs"], name
        assert "secrets" not in rule["resources"], name
        assert not {"bind", "escalate", "impersonate"} & set(rule["verbs"]), name


def test_ones_own_mlflow(helm: Helm, chart: Path) -> None:
    manifests = render(helm, chart, "--set", "mlflow.enabled=false,mlflow.trackingUri=https://mlflow.example/team")
    assert (
        environment(of(manifests, "Deployment", "perennial"))["PERENNIAL_MLFLOW_URL"] == "https://mlflow.example/team"
    )
    assert [one["metadata"]["name"] for one in manifests if "mlflow" in one["metadata"]["name"]] == []


def test_mlflow_runs_alone_on_a_volume_that_stays(helm: Helm, chart: Path) -> None:
    manifests = render(helm, chart)
    mlflow = of(manifests, "Deployment", "perennial-mlflow")
    assert (mlflow["spec"]["replicas"], mlflow["spec"]["strategy"]) == (1, {"type": "Recreate"})
    claim = of(manifests, "PersistentVolumeClaim", "perennial-mlflow")
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    pod = mlflow["spec"]["template"]["spec"]
    assert pod["enableServiceLinks"] is False
    assert {"name": "data", "persistentVolumeClaim": {"claimName": "perennial-mlflow"}} in pod["volumes"]
    forgotten = render(helm, chart, "--set", "mlflow.storage.keep=false,mlflow.storage.storageClassName=fast")
    claim = of(forgotten, "PersistentVolumeClaim", "perennial-mlflow")
    assert "annotations" not in claim["metadata"]
    assert claim["spec"]["storageClassName"] == "fast"


def test_one_replica_has_no_disruption_budget(helm: Helm, chart: Path) -> None:
    assert [one for one in render(helm, chart, "--set", "replicas=1") if one["kind"] == "PodDisruptionBudget"] == []
    assert of(render(helm, chart), "PodDisruptionBudget", "perennial")["spec"]["minAvailable"] == 1


def test_two_releases_share_no_name(helm: Helm, chart: Path) -> None:
    names = []
    for release in ("one", "two"):
        images = str(chart / "ci" / "images.yaml")
        done = helm("template", release, str(chart), "-n", "ml", "-f", images)
        manifests = [
            one for one in yaml.safe_load_all(done.stdout) if one and one["kind"] != "CustomResourceDefinition"
        ]
        names.append({(one["kind"], one["metadata"]["name"]) for one in manifests})
    assert names[0] & names[1] == set()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "replica=3"], "'?replica'? .*not allowed"),
        (["--set", "mlflow.enable=false"], "'?enable'? .*not allowed"),
        (["--set", "replicas=many"], "replicas.*integer"),
        (["--set", "settings.logLevel=LOUD"], "logLevel.*must be one of"),
        (["--set", "images.server=registry.example/server:latest"], "images.server"),
        (["--set", "images.operator="], "images.operator must be set"),
        (["--set", "mlflow.enabled=false"], "mlflow.trackingUri must be set"),
        (["--set", "settings.env.HOME=/root"], "(?i)does not match pattern"),
        (["--set", "serviceAccount.create=false"], "serviceAccount.name must be set"),
    ],
)
def test_a_wrong_value_is_refused_with_what_must_hold(
    helm: Helm, chart: Path, arguments: list[str], message: str
) -> None:
    done = helm("template", "perennial", str(chart), "-f", str(chart / "ci" / "images.yaml"), *arguments)
    assert done.returncode != 0
    assert re.search(message, done.stderr.replace("/", ".")), done.stderr
