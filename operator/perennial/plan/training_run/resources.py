"""The children of a TrainingRun."""

import json
import re
from collections.abc import Sequence
from typing import Any

from perennial.api.messages.evaluation import AskedMetric, EvaluationRequest
from perennial.api.training_run import MLflowRun, PinnedDataset
from perennial.manifests.build import claim_volume, container, env, job, literal, pod, resources
from perennial.plan.training_run.observe import TrainingRunSeen, evaluation_name, registered_model, training_name
from perennial.terms.kube import Resources
from perennial.terms.names import snapshots_claim

DATA = "/perennial/data"
EVALUATION_SECONDS = 3600
EVALUATION_RETRIES = 4


def parameter_variable(name: str) -> str:
    """Return the environment variable of a parameter: `numLeaves` → `PERENNIAL_PARAMETER_NUM_LEAVES`."""
    return "PERENNIAL_PARAMETER_" + re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).upper()


def _materialise(seen: TrainingRunSeen, data: PinnedDataset, part: str) -> dict[str, Any]:
    begin, end = (data.train_from, data.train_until) if part == "train" else (data.test_from, data.test_until)
    bounds: list[str] = []
    if data.time and begin and end:
        bounds = ["--time", literal(data.time), "--from", begin.isoformat(), "--until", end.isoformat()]
    return container(
        "data",
        seen.settings.server_image,
        pull_policy=seen.settings.image_pull_policy,
        command=["python3", "-m", "perennial.worker", "materialise"],
        args=["--snapshots", "/snapshots", "--digest", data.digest, "--to", DATA, *bounds, "--part", part],
        env=env({"PERENNIAL_DATASET_NAME": seen.spec.dataset_ref.name, "PERENNIAL_TARGET": data.target}),
        mounts={"data": DATA},
        read_only_mounts={"snapshots": "/snapshots"},
        resources=resources(Resources(), cpu="100m", memory="256Mi", memory_limit="2Gi"),
    )


def _volumes(seen: TrainingRunSeen) -> list[dict[str, Any]]:
    return [
        {"name": "data", "emptyDir": {}},
        claim_volume("snapshots", snapshots_claim(seen.spec.dataset_ref.name)),
    ]


def _pinned(seen: TrainingRunSeen) -> tuple[PinnedDataset, MLflowRun]:
    """Return what a Job is made from.

    Raises:
        LookupError: it is not recorded, which cannot be where a Job is to be made.
    """
    if seen.status.dataset is None or seen.status.mlflow is None:
        raise LookupError(f"TrainingRun {seen.owner.namespace}/{seen.owner.name} has no pinned data or MLflow run")
    return seen.status.dataset, seen.status.mlflow


def desired_training(seen: TrainingRunSeen) -> dict[str, Any]:
    """Return the Job that runs the user's container on the pinned rows, logging to the operator's MLflow run."""
    spec, (data, run) = seen.spec, _pinned(seen)
    values = {
        "MLFLOW_TRACKING_URI": seen.settings.mlflow_url,
        "MLFLOW_RUN_ID": run.run_id,
        "MLFLOW_EXPERIMENT_ID": run.experiment_id,
        "PERENNIAL_DATA": DATA,
        "PERENNIAL_TARGET": data.target,
        "PERENNIAL_SEED": str(spec.seed),
        "PERENNIAL_PARAMETERS": json.dumps(dict(spec.parameters), sort_keys=True),
        **{parameter_variable(name): value for name, value in sorted(spec.parameters.items())},
    }
    trainer = container(
        "trainer",
        spec.trainer.image,
        pull_policy=seen.settings.image_pull_policy,
        command=spec.trainer.command,
        args=spec.trainer.args,
        env=env(values, spec.trainer.env),
        read_only_mounts={"data": DATA},
        resources=resources(spec.trainer.resources, cpu="500m", memory="1Gi", memory_limit="4Gi"),
    )
    return job(
        training_name(seen.owner.name),
        seen.owner,
        "training",
        pod_spec=pod(containers=[trainer], init_containers=[_materialise(seen, data, "train")], volumes=_volumes(seen)),
        retry_limit=spec.retry_limit,
        deadline_seconds=spec.active_deadline_seconds,
    )


def evaluation_request(seen: TrainingRunSeen, data: PinnedDataset) -> EvaluationRequest:
    """Return what is to be measured: the gate's metrics as they are written, without the limits."""
    metrics = seen.spec.gate.metrics if seen.spec.gate else ()
    return EvaluationRequest(
        target=data.target,
        time=data.time,
        logged_as=seen.spec.model.logged_as,
        metrics=tuple(
            AskedMetric.model_validate({"name": each.name, each.chosen(): each.metric()}) for each in metrics
        ),
    )


def desired_evaluation(seen: TrainingRunSeen) -> dict[str, Any]:
    """Return the Job that takes the model's digest and compares it with the champion on the held-out rows."""
    data, run = _pinned(seen)
    baseline = seen.status.gate.baseline if seen.status.gate else None
    asked = evaluation_request(seen, data)
    metrics = asked.metrics
    held_out: Sequence[str] = ["--data", DATA] if metrics else []
    champion: list[str] = []
    if baseline is not None:
        champion = [
            "--baseline-version",
            baseline.version,
            "--model",
            registered_model(seen.owner, seen.spec, seen.settings),
        ]
        champion += ["--baseline-digest", baseline.digest] if baseline.digest else []
    evaluate = container(
        "evaluate",
        seen.settings.server_image,
        pull_policy=seen.settings.image_pull_policy,
        command=["python3", "-m", "perennial.worker", "evaluate"],
        args=[*held_out, "--run-id", run.run_id, *champion, "--spec", "$(PERENNIAL_EVALUATION)"],
        env=env(
            {
                "MLFLOW_TRACKING_URI": seen.settings.mlflow_url,
                "MLFLOW_EXPERIMENT_ID": run.experiment_id,
                "PERENNIAL_EVALUATION": asked.written(),
            }
        ),
        read_only_mounts={"data": DATA},
        resources=resources(seen.spec.trainer.resources, cpu="200m", memory="512Mi", memory_limit="4Gi"),
    )
    return job(
        evaluation_name(seen.owner.name),
        seen.owner,
        "evaluation",
        pod_spec=pod(
            containers=[evaluate],
            init_containers=[_materialise(seen, data, "test")] if metrics else [],
            volumes=_volumes(seen),
        ),
        retry_limit=EVALUATION_RETRIES,
        deadline_seconds=EVALUATION_SECONDS,
    )
