"""Breaks since the last release that are meant, each with the reason. A release empties the list."""

from collections.abc import Mapping

from perennial.schema.compatibility import Break

_LISTED: Mapping[str, object] = {
    "Dataset spec.expectations[].severity": "Error",
    "Dataset spec.schema.columns[].nullable": True,
    "ModelDeployment spec.canary.steps[].minSeconds": 0,
    "ModelDeployment spec.retraining.template.gate.metrics[].threshold": "0.5",
    "ModelDeployment spec.retraining.template.trainer.env[].value": "",
    "ModelDeployment spec.server.env[].value": "",
    "ModelDeployment spec.slos[].outcome.minSamples": 100,
    "ModelDeployment spec.slos[].outcome.threshold": "0.5",
    "ModelDeployment spec.slos[].role": "Critical",
    "TrainingRun spec.gate.metrics[].threshold": "0.5",
    "TrainingRun spec.trainer.env[].value": "",
}
"""Defaults that were written into lists, and what they were."""

_REFUSED_EARLIER: Mapping[tuple[str, ...], Mapping[str, str]] = {
    ("Dataset",): {
        "spec.source must not be the Dataset's own snapshots": "it would have been copied into itself",
    },
    ("Dataset spec",): {
        "range needs a column of type Integer or Float": "the check failed on it",
    },
    ("Dataset spec.snapshots",): {
        "size must be more than 0": "Kubernetes refused the volume",
        "storageClassName must be a StorageClass's name": "Kubernetes refused the volume",
    },
    ("Dataset spec.source.uri",): {
        "the claim's name must have at most 253 letters, digits, '-' or '.', each part beginning and ending with a "
        "letter or digit": "there can't be such a claim",
    },
    ("ModelDeployment spec",): {
        "storage must be more than 0": "Kubernetes refused the volume",
        "storage must not become less: a volume can only grow": "Kubernetes refused the change",
    },
    ("ModelDeployment spec.canary",): {
        "maxSeconds must be more than minSeconds of all steps together, unless onUndecided is Hold": (
            "no trial could come to its last step"
        ),
    },
    ("ModelDeployment spec.model",): {
        "alias must not be latest or like v1: MLflow reserves these": "MLflow refuses such an alias",
    },
    ("ModelDeployment spec.server",): {
        "command needs an image of your own: Perennial's server has its command": "it was dropped without a word",
        "env must not set MODEL_DIR, MODEL_NAME, MODEL_VERSION, PORT or what begins with PERENNIAL_: Perennial sets "
        "them": "they were dropped without a word",
    },
    ("TrainingRun spec.gate", "ModelDeployment spec.retraining.template.gate"): {
        "with baseline None each metric needs max: there is nothing to compare with": "such a metric passed anything",
    },
    ("TrainingRun spec.trainer", "ModelDeployment spec.retraining.template.trainer"): {
        "env must not set MLFLOW_TRACKING_URI, MLFLOW_RUN_ID, MLFLOW_EXPERIMENT_ID or what begins with PERENNIAL_: "
        "Perennial sets them": "they were dropped without a word",
    },
    (
        "TrainingRun spec.trainer.image",
        "ModelDeployment spec.retraining.template.trainer.image",
        "ModelDeployment spec.server.image",
    ): {
        "must be an image's reference, such as registry.example/team/trainer:1.2": "no node could pull it",
    },
    (
        "TrainingRun spec.trainer.resources",
        "ModelDeployment spec.retraining.template.trainer.resources",
        "ModelDeployment spec.server.resources",
    ): {
        "requests and limits must not be negative": "Kubernetes refused the pod",
        "requests and limits are of cpu, memory, ephemeral-storage or hugepages-…, or have a domain's prefix": (
            "Kubernetes refused the pod"
        ),
        "requests of resources with a domain's prefix, such as nvidia.com/gpu, must be given as equal limits": (
            "Kubernetes refused the pod"
        ),
    },
}
"""What never worked, and is refused at once now: what must hold, and what became of it before."""

ARGUED: Mapping[Break, str] = {
    Break(
        "TrainingRun spec",
        "must hold, and need not: spec is immutable but for suspend: a TrainingRun is one training; create another one",
    ): "weaker than the rule that it replaces: suspend may change",
    Break(
        "ModelDeployment spec",
        "must hold, and need not: slos needs an errorRate of role Critical: nothing is promoted on no measurement",
    ): "the same rule, which knows that a role that is left out is Critical",
    **{
        Break(where, f"default was {default}, is none"): "the default holds as before; it is not written any more"
        for where, default in _LISTED.items()
    },
    **{
        Break(where, f"must hold, and need not: {what}"): why
        for places, rules in _REFUSED_EARLIER.items()
        for where in places
        for what, why in rules.items()
    },
}
