"""For each value of the chart, what changes with it. `test_chart_values.py` runs them and fails if a value has none."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rendering import Rendered

SAME = object()


@dataclass(frozen=True)
class Case:
    """With `value` at `path`, `look` finds `expected` (the value itself, if nothing is said), and nothing else would.

    `given` are other values that must be set for this one to matter.
    """

    path: str
    value: Any
    look: Callable[[Rendered], Any]
    expected: Any = SAME
    given: Mapping[str, Any] = field(default_factory=dict)


OWN_MLFLOW = {"mlflow.enabled": False, "mlflow.trackingUri": "https://mlflow.example/team"}
EXTRA = [{"name": "own", "emptyDir": {}}]
MOUNT = [{"name": "own", "mountPath": "/own"}]
TOLERATIONS = [{"key": "example.org/ml", "operator": "Exists"}]
AFFINITY = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}
PEERS = [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}]
RELABELINGS = [{"targetLabel": "cluster", "replacement": "one"}]


def crds(rendered: Rendered) -> int:
    return len(rendered.of("CustomResourceDefinition"))


def kept(rendered: dict[str, Any]) -> bool:
    return rendered["metadata"].get("annotations", {}).get("helm.sh/resource-policy") == "keep"


def policy(rendered: Rendered, name: str = "perennial") -> dict[str, Any]:
    spec: dict[str, Any] = rendered.get("NetworkPolicy", name)["spec"]
    return spec


def ports(rendered: Rendered, rule: int) -> list[int]:
    return sorted({each["port"] for each in policy(rendered)["egress"][rule]["ports"]})


def monitor(kind: str) -> Callable[[Rendered], dict[str, Any]]:
    name = {"PodMonitor": "perennial-collectors"}.get(kind, "perennial")
    return lambda rendered: rendered.get(kind, name)


def endpoint(kind: str) -> Callable[[Rendered], dict[str, Any]]:
    key = {"PodMonitor": "podMetricsEndpoints", "ServiceMonitor": "endpoints"}[kind]
    return lambda rendered: dict(monitor(kind)(rendered)["spec"][key][0])


def placed(path: str, look: Callable[[Rendered], dict[str, Any]], given: Mapping[str, Any]) -> list[Case]:
    """The cases of an object that may be placed elsewhere."""
    return [
        Case(f"{path}.namespace", "monitoring", lambda r: look(r)["metadata"]["namespace"], given=given),
        Case(f"{path}.labels", {"release": "x"}, lambda r: look(r)["metadata"]["labels"]["release"], "x", given=given),
        Case(f"{path}.annotations", {"a": "b"}, lambda r: look(r)["metadata"]["annotations"], given=given),
    ]


def monitored(path: str, kind: str) -> list[Case]:
    """The cases of a ServiceMonitor or a PodMonitor."""
    given = {f"{path}.renderMode": "Always"}
    target = endpoint(kind)
    return [
        Case(f"{path}.renderMode", "Always", lambda r: len(r.of(kind)), 1),
        *placed(path, monitor(kind), given),
        Case(f"{path}.interval", "15s", lambda r: target(r)["interval"], given=given),
        Case(f"{path}.scrapeTimeout", "5s", lambda r: target(r)["scrapeTimeout"], given=given),
        Case(f"{path}.relabelings", RELABELINGS, lambda r: target(r)["relabelings"][-1:], given=given),
        Case(f"{path}.metricRelabelings", RELABELINGS, lambda r: target(r)["metricRelabelings"], given=given),
    ]


def alerts(rendered: Rendered) -> dict[str, dict[str, Any]]:
    groups = rendered.get("PrometheusRule")["spec"]["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


RULES = {"prometheus.rules.renderMode": "Always"}
DASHBOARD = {"dashboard.enabled": True}

CASES = [
    Case(
        "nameOverride",
        "ml",
        lambda r: r.get("Deployment", "perennial-ml")["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"],
    ),
    Case(
        "fullnameOverride", "ml", lambda r: r.get("Deployment", "ml")["spec"]["template"]["spec"]["serviceAccountName"]
    ),
    Case("commonLabels", {"team": "ml"}, lambda r: {one["metadata"]["labels"]["team"] for one in r.objects}, {"ml"}),
    Case(
        "commonLabels",
        {"team": "ml"},
        lambda r: (r.operator["template"]["metadata"]["labels"]["team"], r.mlflow["metadata"]["labels"]["team"]),
        ("ml", "ml"),
    ),
    Case(
        "images.operator",
        "example/operator:2",
        lambda r: (r.container["image"], r.environment["PERENNIAL_IMAGE_OPERATOR"]),
        ("example/operator:2",) * 2,
    ),
    Case("images.server", "example/server:2", lambda r: r.environment["PERENNIAL_IMAGE_SERVER"]),
    Case("images.router", "example/router:2", lambda r: r.environment["PERENNIAL_IMAGE_ROUTER"]),
    Case("images.mlflow", "example/mlflow:2", lambda r: r.mlflow_container["image"]),
    Case(
        "imagePullPolicy",
        "Always",
        lambda r: {
            r.container["imagePullPolicy"],
            r.mlflow_container["imagePullPolicy"],
            r.environment["PERENNIAL_IMAGE_PULL_POLICY"],
        },
        {"Always"},
    ),
    Case(
        "imagePullSecrets",
        [{"name": "registry"}],
        lambda r: (r.pod["imagePullSecrets"], r.mlflow["spec"]["imagePullSecrets"]),
        ([{"name": "registry"}],) * 2,
    ),
    Case("crds.enabled", False, crds, 0),
    Case("crds.keep", False, lambda r: {kept(one) for one in r.of("CustomResourceDefinition")}, {False}),
    Case("watchNamespaces", ["team-a"], lambda r: r.environment["PERENNIAL_NAMESPACES"], "team-a"),
    Case(
        "watchNamespaces", ["team-a"], lambda r: [one for one in r.objects if one["kind"].startswith("ClusterRole")], []
    ),
    Case("settings.logLevel", "DEBUG", lambda r: r.environment["PERENNIAL_LOG_LEVEL"]),
    Case("settings.logFormat", "text", lambda r: r.environment["PERENNIAL_LOG_FORMAT"]),
    Case(
        "settings.clusterDomain",
        "example.internal",
        lambda r: (r.environment["PERENNIAL_CLUSTER_DOMAIN"], r.environment["PERENNIAL_MLFLOW_URL"]),
        ("example.internal", "http://perennial-mlflow.perennial-system.svc.example.internal:5000"),
    ),
    Case(
        "settings.env",
        {"PERENNIAL_RESYNC_SECONDS": 1200000},
        lambda r: r.environment["PERENNIAL_RESYNC_SECONDS"],
        "1200000",
    ),
    Case("replicas", 3, lambda r: r.operator["replicas"]),
    Case("deploymentStrategy", {"type": "Recreate"}, lambda r: r.operator["strategy"]),
    Case("revisionHistoryLimit", 1, lambda r: r.operator["revisionHistoryLimit"]),
    Case("terminationGracePeriodSeconds", 60, lambda r: r.pod["terminationGracePeriodSeconds"]),
    Case("deploymentAnnotations", {"a": "b"}, lambda r: r.get("Deployment")["metadata"]["annotations"]),
    Case("podAnnotations", {"a": "b"}, lambda r: r.operator["template"]["metadata"]["annotations"]["a"], "b"),
    Case("podLabels", {"a": "b"}, lambda r: r.operator["template"]["metadata"]["labels"]["a"], "b"),
    Case("resources.requests", {"cpu": "1"}, lambda r: r.container["resources"]["requests"]["cpu"], "1"),
    Case("resources.limits", {"memory": "1Gi"}, lambda r: r.container["resources"]["limits"]["memory"], "1Gi"),
    Case("podSecurityContext", {"runAsUser": None}, lambda r: "runAsUser" in r.pod["securityContext"], False),
    Case(
        "securityContext",
        {"readOnlyRootFilesystem": False},
        lambda r: r.container["securityContext"]["readOnlyRootFilesystem"],
        False,
    ),
    Case("startupProbe", {"failureThreshold": 9}, lambda r: r.container["startupProbe"]["failureThreshold"], 9),
    Case("livenessProbe", {"failureThreshold": 9}, lambda r: r.container["livenessProbe"]["failureThreshold"], 9),
    Case("readinessProbe", {"failureThreshold": 9}, lambda r: r.container["readinessProbe"]["failureThreshold"], 9),
    Case(
        "extraEnv",
        [{"name": "HTTPS_PROXY", "value": "http://proxy"}],
        lambda r: r.environment["HTTPS_PROXY"],
        "http://proxy",
    ),
    Case("extraVolumes", EXTRA, lambda r: r.pod["volumes"][-1:]),
    Case("extraVolumeMounts", MOUNT, lambda r: r.container["volumeMounts"][-1:]),
    Case("nodeSelector", {"disk": "ssd"}, lambda r: r.pod["nodeSelector"]),
    Case("tolerations", TOLERATIONS, lambda r: r.pod["tolerations"]),
    Case("affinity", AFFINITY, lambda r: r.pod["affinity"]),
    Case("topologySpreadConstraints", [], lambda r: r.pod["topologySpreadConstraints"] or []),
    Case("priorityClassName", "high", lambda r: r.pod["priorityClassName"]),
    Case("podDisruptionBudget.enabled", False, lambda r: len(r.of("PodDisruptionBudget")), 0),
    Case("podDisruptionBudget.minAvailable", "60%", lambda r: r.get("PodDisruptionBudget")["spec"]["minAvailable"]),
    Case(
        "podDisruptionBudget.maxUnavailable",
        0,
        lambda r: (
            "minAvailable" in r.get("PodDisruptionBudget")["spec"],
            r.get("PodDisruptionBudget")["spec"]["maxUnavailable"],
        ),
        (False, 0),
    ),
    Case(
        "serviceAccount.create", False, lambda r: len(r.of("ServiceAccount")), 0, given={"serviceAccount.name": "own"}
    ),
    Case(
        "serviceAccount.name",
        "own",
        lambda r: {
            r.get("ServiceAccount", "own")["metadata"]["name"],
            r.pod["serviceAccountName"],
            r.of("ClusterRoleBinding")[0]["subjects"][0]["name"],
        },
        {"own"},
    ),
    Case("serviceAccount.annotations", {"a": "b"}, lambda r: r.get("ServiceAccount")["metadata"]["annotations"]),
    Case("serviceAccount.labels", {"a": "b"}, lambda r: r.get("ServiceAccount")["metadata"]["labels"]["a"], "b"),
    Case("rbac.create", False, lambda r: [one["kind"] for one in r.objects if one["kind"].endswith("Binding")], []),
    Case("rbac.aggregate", False, lambda r: len(r.of("ClusterRole")), 1),
    Case("networkPolicy.enabled", False, lambda r: len(r.of("NetworkPolicy")), 0),
    Case("networkPolicy.metricsFrom", PEERS, lambda r: policy(r)["ingress"][1]["from"]),
    Case("networkPolicy.apiServer.ports", [16443], lambda r: ports(r, 0)),
    Case(
        "networkPolicy.apiServer.cidrs",
        ["192.0.2.1/32"],
        lambda r: policy(r)["egress"][0]["to"],
        [{"ipBlock": {"cidr": "192.0.2.1/32"}}],
    ),
    Case("networkPolicy.dns.ports", [1053], lambda r: ports(r, 1)),
    Case("networkPolicy.extraEgress", [{"to": PEERS}], lambda r: policy(r)["egress"][4:]),
    Case(
        "metricsService.annotations",
        {"a": "b"},
        lambda r: r.get("Service", "perennial-metrics")["metadata"]["annotations"],
    ),
    *monitored("prometheus.serviceMonitor", "ServiceMonitor"),
    *monitored("prometheus.podMonitor", "PodMonitor"),
    Case("prometheus.rules.renderMode", "Always", lambda r: len(r.of("PrometheusRule")), 1),
    *placed("prometheus.rules", monitor("PrometheusRule"), RULES),
    Case(
        "prometheus.rules.disabled",
        ["PerennialNoLeader"],
        lambda r: "PerennialNoLeader" in alerts(r),
        False,
        given=RULES,
    ),
    Case(
        "prometheus.rules.alertLabels",
        {"team": "ml"},
        lambda r: {rule["labels"]["team"] for rule in alerts(r).values()},
        {"ml"},
        given=RULES,
    ),
    Case(
        "prometheus.rules.runbookUrl",
        "https://runbooks.example/",
        lambda r: alerts(r)["PerennialNoLeader"]["annotations"]["runbook_url"],
        "https://runbooks.example/PerennialNoLeader.md",
        given=RULES,
    ),
    Case("dashboard.enabled", True, lambda r: len(r.of("ConfigMap")), 1),
    *placed("dashboard", lambda r: r.get("ConfigMap", "perennial-dashboard"), DASHBOARD),
    Case(
        "mlflow.enabled",
        False,
        lambda r: [one["metadata"]["name"] for one in r.objects if "mlflow" in one["metadata"]["name"]],
        [],
        given={"mlflow.trackingUri": "http://mlflow.example"},
    ),
    Case(
        "mlflow.trackingUri",
        "http://mlflow.example:5001",
        lambda r: (r.environment["PERENNIAL_MLFLOW_URL"], ports(r, 2)),
        ("http://mlflow.example:5001", [5001]),
        given=OWN_MLFLOW,
    ),
    Case(
        "mlflow.storage.existingClaim",
        "own",
        lambda r: (
            len(r.of("PersistentVolumeClaim")),
            r.mlflow["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"],
        ),
        (0, "own"),
    ),
    Case(
        "mlflow.storage.size",
        "1Gi",
        lambda r: r.of("PersistentVolumeClaim")[0]["spec"]["resources"]["requests"]["storage"],
    ),
    Case(
        "mlflow.storage.storageClassName",
        "fast",
        lambda r: r.of("PersistentVolumeClaim")[0]["spec"]["storageClassName"],
    ),
    Case("mlflow.storage.keep", False, lambda r: "annotations" in r.of("PersistentVolumeClaim")[0]["metadata"], False),
    Case(
        "mlflow.allowedHosts",
        ["mlflow.example"],
        lambda r: r.mlflow_container["args"][-1].endswith(",mlflow.example"),
        True,
    ),
    Case("mlflow.networkPolicy.from", PEERS, lambda r: policy(r, "perennial-mlflow")["ingress"][0]["from"][1:]),
    Case("mlflow.networkPolicy.egress", [{"to": PEERS}], lambda r: policy(r, "perennial-mlflow")["egress"]),
    Case("mlflow.podAnnotations", {"a": "b"}, lambda r: r.mlflow["metadata"]["annotations"]),
    Case("mlflow.podLabels", {"a": "b"}, lambda r: r.mlflow["metadata"]["labels"]["a"], "b"),
    Case("mlflow.resources.requests", {"cpu": "1"}, lambda r: r.mlflow_container["resources"]["requests"]["cpu"], "1"),
    Case(
        "mlflow.resources.limits",
        {"memory": "1Gi"},
        lambda r: r.mlflow_container["resources"]["limits"]["memory"],
        "1Gi",
    ),
    Case(
        "mlflow.podSecurityContext",
        {"runAsUser": None},
        lambda r: "runAsUser" in r.mlflow["spec"]["securityContext"],
        False,
    ),
    Case(
        "mlflow.securityContext",
        {"readOnlyRootFilesystem": False},
        lambda r: r.mlflow_container["securityContext"]["readOnlyRootFilesystem"],
        False,
    ),
    Case("mlflow.extraEnv", [{"name": "A", "value": "b"}], lambda r: r.mlflow_container["env"][-1:]),
    Case("mlflow.extraVolumes", EXTRA, lambda r: r.mlflow["spec"]["volumes"][-1:]),
    Case("mlflow.extraVolumeMounts", MOUNT, lambda r: r.mlflow_container["volumeMounts"][-1:]),
    Case("mlflow.nodeSelector", {"disk": "ssd"}, lambda r: r.mlflow["spec"]["nodeSelector"]),
    Case("mlflow.tolerations", TOLERATIONS, lambda r: r.mlflow["spec"]["tolerations"]),
    Case("mlflow.affinity", AFFINITY, lambda r: r.mlflow["spec"]["affinity"]),
    Case("mlflow.priorityClassName", "high", lambda r: r.mlflow["spec"]["priorityClassName"]),
    Case("helmTest.enabled", False, lambda r: len(r.of("Pod")), 0),
    Case(
        "extraObjects",
        [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "own"}, "data": {"a": "{{ b }}"}}],
        lambda r: r.get("ConfigMap", "own")["data"]["a"],
        "{{ b }}",
    ),
    Case(
        "extraObjects",
        ["apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Release.Name }}-own'}\n"],
        lambda r: r.get("ConfigMap", "perennial-own")["kind"],
        "ConfigMap",
    ),
]
