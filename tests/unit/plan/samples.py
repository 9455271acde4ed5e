"""A few worlds of each kind whose plans, taken together, make every child and fill every part of every status."""

from collections.abc import Mapping

from given import (
    DIGEST,
    EVALUATED,
    MLFLOW,
    MODEL,
    OTHER_DIGEST,
    PINNED,
    READY_STATUS,
    RUN_SPEC,
    TRAINED,
    World,
    check_result,
    dataset,
    evaluation,
    given,
    job,
    pod,
    registry,
    training_run,
)
from given_deployment import (
    AT_10,
    AT_50,
    GOOD,
    LAST_STEP,
    ON_TRIAL,
    RETRAINING,
    STABLE,
    braked,
    deployment,
    monitored,
    passed_run,
    running,
)

from perennial.manifests.build import hashed
from perennial.plan.actions import RegisterVersion
from perennial.plan.observed import CallResult
from perennial.terms.words import Verdict

BIG = {"requests": {"memory": "16Gi", "cpu": 4}, "limits": {"nvidia.com/gpu": 1}}
SMALL = {"limits": {"cpu": "100m", "memory": "200Mi"}}
OWN_IMAGE = {
    "replicas": 3,
    "image": "registry.test/own-server:7",
    "command": ["serve"],
    "args": ["--port", "$(PORT)", "--dir", "$(MODEL_DIR)"],
    "env": [{"name": "THREADS", "value": "2"}, {"name": "URL", "value": "http://localhost:$(PORT)"}],
    "resources": SMALL,
}
WITH_RUN = {"dataset": PINNED, "startTime": "2026-03-01T11:00:00Z", "mlflow": MLFLOW}
COMPARED = {**WITH_RUN, "training": TRAINED, "gate": {"baseline": {"version": "3", "digest": OTHER_DIGEST}}}
PASSED = {**WITH_RUN, "training": TRAINED, "evaluation": EVALUATED, "model": MODEL, "gate": {"verdict": "Pass"}}
DUE = dataset(READY_STATUS)
CHECK = f"flights-check-{hashed(DUE['metadata']['uid'], 1, 1)}"


def checked(said: object) -> World:
    run = job(DUE, CHECK, ended="Complete")
    return given(DUE, run, pod(run, said=said, exit_code=0))


def judged(said: object) -> World:
    subject = training_run(COMPARED)
    run = job(subject, "run-1-evaluate", ended="Complete")
    return given(subject, DUE, run, pod(run, said=said, exit_code=0))


def trains(**trainer: object) -> World:
    return given(
        training_run(WITH_RUN, trainer={**RUN_SPEC["trainer"], **trainer}, parameters={"a": "$(HOME) $$"}), DUE
    )


SAMPLES: Mapping[str, tuple[str, World]] = {
    "a first check": ("Dataset", given(dataset(source={"uri": "pvc://lake"}, snapshots={"size": 1073741824}))),
    "a later check": ("Dataset", given(DUE)),
    "a new version": ("Dataset", checked(check_result(digest=OTHER_DIGEST, failed={"far": "Warn"}))),
    "data that is not fit": ("Dataset", checked(check_result(failed={"labelled": "Error"}))),
    "a run is pinned": ("TrainingRun", given(training_run(), DUE)),
    "a run trains": ("TrainingRun", trains()),
    "a big run trains": ("TrainingRun", trains(resources=BIG, env=[{"name": "A", "value": "$(PERENNIAL_DATA)"}])),
    "a small run trains": ("TrainingRun", trains(resources=SMALL, args=["--data", "$(PERENNIAL_DATA)"])),
    "a run is evaluated": ("TrainingRun", given(training_run(COMPARED), DUE)),
    "an ungated run is evaluated": (
        "TrainingRun",
        given(training_run({**WITH_RUN, "training": TRAINED}, gate=None), DUE),
    ),
    "a run passes": ("TrainingRun", judged(evaluation(1000, 300, 400))),
    "a run is refused": ("TrainingRun", judged(evaluation(1000, 450, 300))),
    "a run succeeds": (
        "TrainingRun",
        given(training_run(PASSED), results=((RegisterVersion, CallResult(value={"version": "4"})),)),
    ),
    "a first version starts": (
        "ModelDeployment",
        given(deployment(storage=5368709120), registry=registry(versions=["4"], digest=DIGEST)),
    ),
    "a server of one's own": (
        "ModelDeployment",
        given(deployment(server=OWN_IMAGE), registry=registry(versions=["4"])),
    ),
    "a trial": (
        "ModelDeployment",
        running(ON_TRIAL, {"errors": Verdict.UNDECIDED, "flaky": Verdict.NO_DATA}, weights=AT_10),
    ),
    "a promotion": ("ModelDeployment", running(LAST_STEP, GOOD, weights=AT_50)),
    "a roll back": ("ModelDeployment", running(ON_TRIAL, brake=braked())),
    "a retraining": (
        "ModelDeployment",
        running(
            STABLE,
            wants=None,
            spec={**RETRAINING, "retraining": {**RETRAINING["retraining"], "template": {**RUN_SPEC}}},
            others=[passed_run("first-run", "3")],
            monitoring=[monitored("3")],
        ),
    ),
}
KINDS_OF_CHILDREN = {
    "Dataset": {"PersistentVolumeClaim", "Job"},
    "TrainingRun": {"Job"},
    "ModelDeployment": {"ConfigMap", "Deployment", "PersistentVolumeClaim", "Service", "TrainingRun"},
}
