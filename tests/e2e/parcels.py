"""The made-up business of the end-to-end tests: parcels that come late, and the manifests of a model of them."""

import json
from pathlib import Path
from typing import Any

from kube import Kube, until

SCRIPTS = Path(__file__).parent / "scripts"
MODEL = "parcels"
DEPLOYMENT = "shop"
API = "perennial.dev/v1alpha1"
SAFE = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}
SAFE_POD = {"runAsNonRoot": True, "runAsUser": 10001, "fsGroup": 10001, "seccompProfile": {"type": "RuntimeDefault"}}

TRACKING = {
    "labels": {
        "app.kubernetes.io/instance": MODEL,
        "app.kubernetes.io/managed-by": "Helm",
        "argocd.argoproj.io/instance": MODEL,
        "helm.sh/chart": "parcels-1.2.3",
        "kustomize.toolkit.fluxcd.io/name": MODEL,
        "kustomize.toolkit.fluxcd.io/namespace": "flux-system",
    },
    "annotations": {
        "argocd.argoproj.io/sync-wave": "1",
        "argocd.argoproj.io/tracking-id": "parcels:perennial.dev/parcels",
        "helm.sh/resource-policy": "keep",
        "kustomize.toolkit.fluxcd.io/prune": "disabled",
        "meta.helm.sh/release-name": MODEL,
    },
}
"""What Argo CD, Flux and Helm put on what they apply. It is theirs: a child that carried it would be pruned."""


def namespace(kube: Kube) -> None:
    """Make the namespace, with Pod Security `restricted` enforced: a pod that needs more is refused."""
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": kube.namespace, "labels": labels}})


def toolbox(kube: Kube, image: str) -> None:
    """Start the pod that stands for the world outside: it owns the lake, holds the scripts and sends the traffic."""
    scripts = {path.name: path.read_text() for path in sorted(SCRIPTS.iterdir()) if path.suffix == ".py"}
    kube.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "scripts"}, "data": scripts},
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "lake"},
            "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}},
        },
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "toolbox"},
            "spec": {
                "automountServiceAccountToken": False,
                "enableServiceLinks": False,
                "terminationGracePeriodSeconds": 1,
                "securityContext": SAFE_POD,
                "containers": [
                    {
                        "name": "toolbox",
                        "image": image,
                        "command": ["python3", "-c", "import signal; signal.pause()"],
                        "securityContext": SAFE,
                        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "1Gi"}},
                        "volumeMounts": [
                            {"name": "lake", "mountPath": "/lake"},
                            {"name": "scripts", "mountPath": "/scripts"},
                            {"name": "tmp", "mountPath": "/tmp"},
                            {"name": "collector", "mountPath": "/var/run/collector", "readOnly": True},
                        ],
                    }
                ],
                "volumes": [
                    {"name": "lake", "persistentVolumeClaim": {"claimName": "lake"}},
                    {"name": "scripts", "configMap": {"name": "scripts"}},
                    {"name": "tmp", "emptyDir": {}},
                    {"name": "collector", "projected": {"sources": [{"serviceAccountToken": token_for(kube)}]}},
                ],
            },
        },
    )
    kube("wait", "--for=condition=Ready", "pod/toolbox", "--timeout=120s")


def token_for(kube: Kube) -> dict[str, Any]:
    """Return the projection of a token for the namespace's collector: it proves who sends labels."""
    return {"audience": f"perennial.dev/{kube.namespace}/{DEPLOYMENT}", "expirationSeconds": 3600, "path": "token"}


def fill_lake(kube: Kube, first: int, last: int, *more: str, folder: str = "days") -> None:
    """Add days of parcels to the lake."""
    kube.execute("toolbox", "python3", "/scripts/make_lake.py", f"/lake/{folder}", str(first), str(last), *more)


def dataset(name: str = "parcels", *, folder: str = "days", interval: int = 3600) -> dict[str, Any]:
    """Return a Dataset of a folder of the lake; the newest five days are held out: the gate goes by days."""
    return {
        "apiVersion": API,
        "kind": "Dataset",
        "metadata": {"name": name, **TRACKING},
        "spec": {
            "source": {"uri": f"pvc://lake/{folder}"},
            "refresh": {"intervalSeconds": interval},
            "schema": {
                "target": "late",
                "time": "sent",
                "columns": [
                    {"name": "sent", "type": "Timestamp", "nullable": False},
                    {"name": "distance", "type": "Float", "nullable": False},
                    {"name": "rain", "type": "Float"},
                    {"name": "late", "type": "Boolean", "nullable": False},
                ],
            },
            "expectations": [
                {"name": "enough", "rowCount": {"min": 400}},
                {"name": "distances", "column": "distance", "range": {"min": "0", "max": "1"}},
                {"name": "labelled", "column": "late", "notNull": {}},
            ],
            "split": {"byTime": {"lastSeconds": 5 * 86_400}},
        },
    }


def training_spec(image: str, *arguments: str, data: str = "parcels", **more: Any) -> dict[str, Any]:
    """Return a TrainingRun's spec. The script is the user's, mounted in no way but through his image's shell."""
    script = (SCRIPTS / "train.py").read_text()
    return {
        "datasetRef": {"name": data},
        "model": {"name": MODEL},
        "trainer": {
            "image": image,
            "command": ["python3", "-c", script, "--data", "$(PERENNIAL_DATA)", *arguments],
            "resources": {"requests": {"cpu": "200m", "memory": "256Mi"}, "limits": {"memory": "2Gi"}},
        },
        "retryLimit": 1,
        "activeDeadlineSeconds": 300,
        "gate": {"metrics": [{"name": "errors", "errorRate": {}, "max": "0.2", "maxRegression": "0.02"}]},
        **more,
    }


def training_run(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Return a TrainingRun."""
    return {"apiVersion": API, "kind": "TrainingRun", "metadata": {"name": name, **TRACKING}, "spec": spec}


def model_deployment(name: str, **more: Any) -> dict[str, Any]:
    """Return a ModelDeployment with a short canary."""
    return {
        "apiVersion": API,
        "kind": "ModelDeployment",
        "metadata": {"name": name, **TRACKING},
        "spec": {
            "model": {"name": MODEL, "fromRetraining": {}},
            "server": {"replicas": 1, "resources": {"requests": {"cpu": "50m"}}},
            "canary": {"steps": [{"weight": 10}, {"weight": 50}], "scaleDownDelaySeconds": 5},
            "slos": [{"name": "errors", "requests": {"max": "0.02"}}],
            **more,
        },
    }


def flaky_server(image: str) -> dict[str, Any]:
    """Return a server spec of the user's own, which fails 15 % of its requests."""
    script = (SCRIPTS / "flaky_server.py").read_text()
    return {
        "replicas": 1,
        "image": image,
        "command": ["python3", "-c", script],
        "resources": {"requests": {"cpu": "50m"}},
    }


class Traffic:
    """Requests and labels for a ModelDeployment, sent from the toolbox until `stop`."""

    def __init__(self, kube: Kube, name: str, rate: int = 100) -> None:
        self.kube, self.name = kube, name
        url, collector = f"http://{name}", f"http://{name}-collector:9900"
        command = (
            f"nohup python3 -u /scripts/traffic.py {url} {collector} --rate {rate} > /tmp/{name}.log 2>&1 & echo $!"
        )
        self.pid = kube.execute("toolbox", "sh", "-c", command).strip()

    def counts(self) -> dict[str, Any]:
        """Return how many requests were answered with which status so far."""
        found: dict[str, Any] = json.loads(self.kube.execute("toolbox", "tail", "-n", "1", f"/tmp/{self.name}.log"))
        return found

    def flows(self) -> None:
        """Wait until requests are answered."""
        until("answered requests", lambda: self.counts().get("200", 0) > 50, 60)

    def turn_wrong(self) -> None:
        """From now on every parcel is late, whatever was predicted."""
        self.kube.execute("toolbox", "touch", "/tmp/wrong")

    def stop(self) -> None:
        """Stop sending."""
        self.kube.execute("toolbox", "sh", "-c", f"kill {self.pid}; rm -f /tmp/wrong")
