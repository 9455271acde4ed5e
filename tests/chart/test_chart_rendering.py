"""What the chart renders, with helm 4 and helm 3. Value by value: test_chart_values.py."""

import re
import shutil
from pathlib import Path

import pytest
import yaml
from rendering import CHART, EVERYTHING, IMAGES, RELEASE, SYSTEM, Helm, Rendered, documents, render, run_helm

from cluster import tools
from perennial.settings import from_environment, unknown
from perennial.terms.names import COLLECTOR_PORT

NAMESPACED = {"watchNamespaces": ["team-a", "team-b"]}
MONITORING = ("ServiceMonitor", "PodMonitor", "PrometheusRule")


@pytest.mark.parametrize("files", [[IMAGES], [IMAGES, EVERYTHING]], ids=["defaults", "everything"])
def test_lint_has_nothing_to_say(helm: Helm, files: list[Path]) -> None:
    done = helm("lint", "--strict", str(CHART), *(argument for file in files for argument in ("-f", str(file))))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("values", [{}, NAMESPACED], ids=["all-namespaces", "some"])
@pytest.mark.parametrize("files", [(), (EVERYTHING,)], ids=["defaults", "everything"])
def test_both_helms_render_the_same(files: tuple[Path, ...], values: dict[str, list[str]]) -> None:
    four, three = (render(values, files=files, program=program()) for program in (tools.helm, tools.helm3))
    assert len(four.objects) > 15
    order = lambda one: (one["kind"], one["metadata"]["name"])  # noqa: E731
    assert sorted(four.objects, key=order) == sorted(three.objects, key=order)


def test_every_generated_crd_is_rendered_and_kept() -> None:
    rendered = {one["metadata"]["name"]: one for one in render().of("CustomResourceDefinition")}
    sources = [yaml.safe_load(path.read_text()) for path in sorted((CHART / "crds-files").glob("*.yaml"))]
    assert len(sources) == 3
    assert sorted(rendered) == sorted(source["metadata"]["name"] for source in sources)
    for source in sources:
        crd = rendered[source["metadata"]["name"]]
        assert crd["spec"] == source["spec"]
        assert crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_the_operator_is_told_what_it_needs() -> None:
    rendered = render()
    assert rendered.container["command"] == ["python3", "-m", "perennial.app"]
    assert rendered.environment["PERENNIAL_MLFLOW_URL"] == f"http://perennial-mlflow.{SYSTEM}.svc.cluster.local:5000"
    namespace = next(item for item in rendered.container["env"] if item["name"] == "PERENNIAL_NAMESPACE")
    assert namespace["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.namespace"}}


def test_the_operator_takes_every_setting_it_is_given() -> None:
    rendered = render({**NAMESPACED, "settings.env": {"PERENNIAL_WORKERS": 3}})
    settings = from_environment(rendered.environment)
    assert unknown(rendered.environment) == []
    assert (settings.namespaces, settings.workers) == (("team-a", "team-b"), 3)
    assert from_environment(render().environment).namespaces == ()
    ports = {port["name"]: port["containerPort"] for port in rendered.container["ports"]}
    assert ports == {"health": settings.health_port, "metrics": settings.metrics_port}


def test_what_the_chart_sets_itself_is_not_set_a_second_time() -> None:
    for name in (*render(NAMESPACED).environment, "PERENNIAL_METRICS_PORT"):
        again = ["--set", f"settings.env.{name}=x", "-s", "templates/operator-deployment.yaml"]
        done = run_helm(tools.helm(), "template", RELEASE, str(CHART), "-f", str(IMAGES), *again)
        assert f"settings.env.{name} must not be set: " in done.stderr


def test_named_namespaces_are_the_only_ones_with_rights() -> None:
    rendered = render(NAMESPACED)
    assert [one["metadata"]["name"] for one in rendered.objects if one["kind"].startswith("ClusterRole")] == []
    roles = {one["metadata"]["namespace"]: one for one in rendered.of("Role")}
    bound = {one["metadata"]["namespace"]: one["roleRef"] for one in rendered.of("RoleBinding")}
    assert sorted(bound) == sorted(roles) == [SYSTEM, "team-a", "team-b"]
    for namespace, role in roles.items():
        assert (bound[namespace]["kind"], bound[namespace]["name"]) == ("Role", role["metadata"]["name"])
    rules = render().get("ClusterRole", f"perennial-{SYSTEM}")["rules"]
    assert roles["team-a"]["rules"] == roles["team-b"]["rules"] == rules


def test_an_installation_for_some_namespaces_is_namespaced_whole() -> None:
    """But for the CRDs, and they may come from somebody else."""
    rendered = render({**NAMESPACED, "crds.enabled": False}, files=(EVERYTHING,))
    assert {one["metadata"].get("namespace", SYSTEM) for one in rendered.objects} == {SYSTEM, "team-a", "team-b"}
    kinds = {one["kind"] for one in rendered.objects}
    assert not kinds & {"CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding", "Namespace", "PriorityClass"}


def test_no_role_can_read_secrets_or_has_a_wildcard() -> None:
    for rendered in (render(), render(NAMESPACED)):
        roles = [one for one in rendered.objects if one["kind"] in {"Role", "ClusterRole"}]
        rules = [(one["metadata"]["name"], rule) for one in roles for rule in one["rules"]]
        assert len(rules) >= 8
        for name, rule in rules:
            assert "*" not in rule["apiGroups"] + rule["resources"] + rule["verbs"], name
            assert "secrets" not in rule["resources"], name
            assert not {"bind", "escalate", "impersonate"} & set(rule["verbs"]), name


def test_a_new_version_of_the_chart_alone_restarts_nothing(tmp_path: Path) -> None:
    shutil.copytree(CHART, tmp_path / "perennial")
    about = tmp_path / "perennial" / "Chart.yaml"
    about.write_text(re.sub(r"(?m)^(version|appVersion): .*$", r"\1: 99.0.0", about.read_text()))
    done = run_helm(tools.helm(), "template", RELEASE, str(about.parent), "-n", SYSTEM, "-f", str(IMAGES))
    newer = Rendered(tuple(documents(done.stdout)))
    assert newer.get("Deployment")["metadata"]["labels"]["app.kubernetes.io/version"] == "99.0.0"
    assert newer.operator == render().operator
    assert newer.mlflow == render().mlflow


def test_mlflow_runs_alone_on_a_volume_that_stays() -> None:
    rendered = render()
    deployment = rendered.get("Deployment", "perennial-mlflow")["spec"]
    assert (deployment["replicas"], deployment["strategy"]) == (1, {"type": "Recreate"})
    claim = rendered.get("PersistentVolumeClaim", "perennial-mlflow")
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert rendered.mlflow["spec"]["enableServiceLinks"] is False
    assert {"name": "data", "persistentVolumeClaim": {"claimName": "perennial-mlflow"}} in rendered.mlflow["spec"][
        "volumes"
    ]


def test_one_replica_has_no_disruption_budget() -> None:
    assert render({"replicas": 1}).of("PodDisruptionBudget") == []
    assert render().get("PodDisruptionBudget")["spec"]["minAvailable"] == 1


def test_replicas_are_spread_over_nodes() -> None:
    (constraint,) = render().pod["topologySpreadConstraints"]
    assert constraint["labelSelector"]["matchLabels"] == render().operator["selector"]["matchLabels"]
    ours, theirs = render(files=(EVERYTHING,)).pod["topologySpreadConstraints"]
    assert ours["labelSelector"] == constraint["labelSelector"]
    assert theirs["labelSelector"] == {"matchLabels": {"team": "ml"}}


def test_the_operator_may_talk_to_those_it_needs_and_to_nobody_else() -> None:
    settings = from_environment(render().environment)
    spec = render().get("NetworkPolicy")["spec"]
    assert spec["podSelector"]["matchLabels"] == render().operator["selector"]["matchLabels"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert [rule["ports"][0]["port"] for rule in spec["ingress"]] == ["health", "metrics"]
    _, _, mlflow, collectors = spec["egress"]
    assert f":{mlflow['ports'][0]['port']}" in settings.mlflow_url
    (peer,) = mlflow["to"]
    assert peer["podSelector"]["matchLabels"].items() <= render().mlflow["metadata"]["labels"].items()
    assert [port["port"] for port in collectors["ports"]] == [COLLECTOR_PORT]
    assert collectors["to"][0]["namespaceSelector"] == {}
    (some,) = render(NAMESPACED).get("NetworkPolicy")["spec"]["egress"][3]["to"]
    (expression,) = some["namespaceSelector"]["matchExpressions"]
    assert (expression["key"], expression["values"]) == ("kubernetes.io/metadata.name", ["team-a", "team-b"])


@pytest.mark.parametrize(
    ("url", "port"),
    [("https://mlflow.example/team", 443), ("http://mlflow.example", 80), ("http://[fd00::1]:5001", 5001)],
)
def test_ones_own_mlflow_is_reached_at_its_port(url: str, port: int) -> None:
    rendered = render({"mlflow.enabled": False, "mlflow.trackingUri": url})
    assert rendered.get("NetworkPolicy")["spec"]["egress"][2] == {"ports": [{"port": port, "protocol": "TCP"}]}
    assert [one["metadata"]["name"] for one in rendered.of("NetworkPolicy")] == ["perennial"]


def test_mlflow_talks_to_nobody() -> None:
    spec = render().get("NetworkPolicy", "perennial-mlflow")["spec"]
    assert (spec["egress"], spec["policyTypes"]) == ([], ["Ingress", "Egress"])
    spec = render(files=(EVERYTHING,)).get("NetworkPolicy", "perennial-mlflow")["spec"]
    operator, own = spec["ingress"][0]["from"]
    assert operator["podSelector"]["matchLabels"] == render().operator["selector"]["matchLabels"], "always let in"
    assert own["namespaceSelector"] == {}


def test_monitors_come_where_the_cluster_knows_them(helm: Helm) -> None:
    def kinds(*arguments: str) -> set[str]:
        done = helm("template", RELEASE, str(CHART), "-f", str(IMAGES), *arguments)
        return {one["kind"] for one in documents(done.stdout)} & set(MONITORING)

    known = [argument for kind in MONITORING for argument in ("--api-versions", f"monitoring.coreos.com/v1/{kind}")]
    assert kinds() == set()
    assert kinds(*known) == set(MONITORING)
    assert kinds(*known[:2]) == {"ServiceMonitor"}
    assert kinds(*known, "--set", "prometheus.rules.renderMode=Never") == {"ServiceMonitor", "PodMonitor"}


def test_a_podmonitor_looks_where_the_operator_works() -> None:
    given = {"prometheus.podMonitor.renderMode": "Always"}
    everywhere, some = (render({**given, **more}).of("PodMonitor")[0]["spec"] for more in ({}, NAMESPACED))
    assert everywhere["namespaceSelector"] == {"any": True}
    assert some["namespaceSelector"] == {"matchNames": ["team-a", "team-b"]}


def test_two_releases_share_no_name() -> None:
    names = []
    for release in ("one", "two"):
        done = run_helm(tools.helm(), "template", release, str(CHART), "-n", "ml", "-f", str(IMAGES))
        made = [one for one in documents(done.stdout) if one["kind"] != "CustomResourceDefinition"]
        names.append({(one["kind"], one["metadata"]["name"]) for one in made})
    assert names[0] & names[1] == set()


def test_the_notes_say_how_to_go_on() -> None:
    def notes(*arguments: str) -> str:
        # `template` leaves the notes out; a dry run prints them, which helm 3 can't do without a cluster.
        done = run_helm(
            tools.helm(),
            "install",
            RELEASE,
            str(CHART),
            "-n",
            SYSTEM,
            "-f",
            str(IMAGES),
            "--dry-run=client",
            *arguments,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.partition("NOTES:\n")[2]

    assert "for all namespaces" in notes()
    assert f"helm test -n {SYSTEM} {RELEASE}" in notes()
    assert "Uninstalling keeps the CRDs and MLflow's volume" in notes()
    some = notes("--set", "watchNamespaces={team-a,team-b},crds.keep=false,helmTest.enabled=false")
    assert "for the namespaces team-a, team-b" in some
    assert "Uninstalling deletes the CRDs, and with them every Dataset" in some
    assert "helm test" not in some


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "replica=3"], "'?replica'? .*not allowed"),
        (["--set", "mlflow.enable=false"], "'?enable'? .*not allowed"),
        (["--set", "prometheus.rules.rendermode=Never"], "'?rendermode'? .*not allowed"),
        (["--set", "replicas=many"], "replicas.*integer"),
        (["--set", "settings.logLevel=LOUD"], "logLevel.*must be one of"),
        (["--set", "prometheus.rules.renderMode=Sometimes"], "renderMode.*must be one of"),
        (["--set", "prometheus.rules.disabled={NoSuchAlert}"], "rules.disabled.*must be one of"),
        (["--set", "images.server=registry.example/server:latest"], "images.server"),
        (["--set", "images.operator="], "images.operator must be set"),
        (["--set", "mlflow.enabled=false"], "mlflow.trackingUri must be set"),
        (["--set", "settings.env.HOME=/root"], "(?i)does not match pattern"),
        (["--set", "settings.env.PERENNIAL_LOG_LEVEL=INFO"], "must not be set: settings.logLevel decides that"),
        (["--set", "serviceAccount.create=false"], "serviceAccount.name must be set"),
        (["--set", "networkPolicy.apiServer.cidrs={everywhere}"], "(?i)cidrs.*does not match pattern"),
        (["--set", "podDisruptionBudget.minAvailable=half"], "(?i)minAvailable.*"),
        (["--set", "livenessProbe.path=/"], "'?path'? .*not allowed"),
    ],
)
def test_a_wrong_value_is_refused_with_what_must_hold(helm: Helm, arguments: list[str], message: str) -> None:
    done = helm("template", RELEASE, str(CHART), "-f", str(IMAGES), *arguments)
    assert done.returncode != 0
    assert re.search(message, done.stderr.replace("/", "."), re.DOTALL), done.stderr
