"""Training: from a folder of files to a registered version, and what happens when something is wrong on the way."""

import parcels
import pytest
from kube import Kube, until

pytestmark = pytest.mark.e2e


def test_a_run_trains_passes_its_gate_and_is_registered_once(kube: Kube, system: Kube, trained: str) -> None:
    status = kube.status("trainingrun", "first")
    assert status["terminalState"] == "Succeeded"
    assert trained == "1", "other namespaces' models of this name are others"
    assert status["gate"]["verdict"] == "Pass"
    assert status["dataset"]["digest"] == kube.status("dataset", "parcels")["version"]["digest"]
    service, api = "perennial-mlflow:5000", "/api/2.0/mlflow"
    run = system.proxy(service, f"{api}/runs/get?run_id={status['mlflow']['runId']}")["run"]
    assert run["info"]["status"] == "FINISHED"
    assert {item["key"] for item in run["data"]["params"]} == {"rows"}
    registered = f"{kube.namespace}.{parcels.MODEL}"
    version = system.proxy(service, f"{api}/model-versions/get?name={registered}&version={trained}")["model_version"]
    tags = {tag["key"]: tag["value"] for tag in version["tags"]}
    assert version["run_id"] == status["mlflow"]["runId"]
    assert tags["perennial.dev/digest"] == status["model"]["digest"]
    assert tags["perennial.dev/dataset"] == status["dataset"]["digest"]
    assert len(kube.list("pods", "job-name=first-train")) == 1


def test_exit_code_65_is_the_datas_fault_and_never_retried(kube: Kube, images: dict[str, str], trained: str) -> None:
    kube.apply(parcels.training_run("miles", parcels.training_spec(images["flights"], "--fail", "65")))
    condition = kube.wait_condition("trainingrun", "miles", "Succeeded", "False")
    assert condition["reason"] == "DataFailure"
    assert "miles, not in kilometres" in condition["message"]
    assert kube.status("trainingrun", "miles")["failure"]["exitCode"] == 65
    assert len(kube.list("pods", "job-name=miles-train")) == 1


def test_an_image_that_does_not_exist_is_named(kube: Kube, trained: str) -> None:
    kube.apply(parcels.training_run("nowhere", parcels.training_spec("perennial.dev/nowhere:1")))
    condition = kube.wait_condition("trainingrun", "nowhere", "Succeeded", "Unknown", "ImageNotPulled")
    assert "perennial.dev/nowhere:1" in condition["message"]
    kube("patch", "trainingrun", "nowhere", "--type=merge", "--patch", '{"spec":{"suspend":true}}')
    until("its Job to be suspended", lambda: kube.get("job", "nowhere-train")["spec"].get("suspend"), 60)
    kube("delete", "trainingrun", "nowhere")
    until("its Job to be gone", lambda: not kube.list("jobs", "perennial.dev/name=nowhere"), 90)


def test_a_job_of_somebody_elses_is_left_alone(kube: Kube, images: dict[str, str], trained: str) -> None:
    pod = {"restartPolicy": "Never", "containers": [{"name": "theirs", "image": images["flights"]}]}
    theirs = {"suspend": True, "template": {"spec": pod}}
    kube.apply({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "taken-train"}, "spec": theirs})
    kube.apply(parcels.training_run("taken", parcels.training_spec(images["flights"])))
    kube.wait_condition("trainingrun", "taken", "Stalled", "True", "NameTaken")
    assert "ownerReferences" not in kube.get("job", "taken-train")["metadata"]
    kube("delete", "trainingrun/taken", "job/taken-train")


def test_data_that_does_not_fit_blocks_runs_until_it_is_mended(kube: Kube, images: dict[str, str]) -> None:
    alone = {"baseline": "None", "metrics": [{"name": "errors", "errorRate": {}, "max": "0.2"}]}
    parcels.fill_lake(kube, 1, 6, folder="other")
    parcels.fill_lake(kube, 7, 7, "--broken", folder="other")
    kube.apply(
        parcels.dataset("other", folder="other", interval=5),
        parcels.training_run("waits", parcels.training_spec(images["flights"], data="other", gate=alone)),
    )
    condition = kube.wait_condition("dataset", "other", "Ready", "False", "SchemaViolated")
    assert "late" in condition["message"]
    waiting = kube.wait_condition("trainingrun", "waits", "Succeeded", "Unknown", "DatasetNotReady")
    assert "SchemaViolated" in waiting["message"]
    assert kube.list("jobs", "perennial.dev/name=waits") == []
    parcels.fill_lake(kube, 7, 7, folder="other")
    kube.wait_condition("dataset", "other", "Ready", "True")
    kube.wait_condition("trainingrun", "waits", "Succeeded", "True", seconds=240)
    kube("delete", "dataset", "other")


def test_a_reference_to_nothing_waits_and_heals(kube: Kube, images: dict[str, str], trained: str) -> None:
    kube.apply(parcels.training_run("early", parcels.training_spec(images["flights"], data="late-comer")))
    condition = kube.wait_condition("trainingrun", "early", "Succeeded", "Unknown", "DatasetNotFound")
    assert "late-comer" in condition["message"]
    kube.apply(parcels.dataset("late-comer"))
    kube.wait_condition("trainingrun", "early", "Succeeded", "True", seconds=240)


def test_a_claim_that_is_not_there_or_has_no_volume_is_named_and_its_coming_heals(kube: Kube) -> None:
    def claim(**more: str) -> dict[str, object]:
        spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}, **more}
        return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "shelf"}, "spec": spec}

    shelved = parcels.dataset("shelved")
    shelved["spec"]["source"]["uri"] = "pvc://shelf/days"
    kube.apply(shelved)
    assert "shelf" in kube.wait_condition("dataset", "shelved", "Fetched", "False", "ClaimNotFound")["message"]
    kube.apply(claim(storageClassName="of-nobody"))
    kube.wait_condition("dataset", "shelved", "Fetched", "False", "ClaimNotBound")
    kube("delete", "persistentvolumeclaim", "shelf")
    kube.wait_condition("dataset", "shelved", "Fetched", "False", "ClaimNotFound")
    kube.apply(claim())
    # The check has its volume, and looks into it: it is empty.
    kube.wait_condition("dataset", "shelved", "Fetched", "False", "SourceUnreadable")
    kube("delete", "dataset/shelved", "persistentvolumeclaim/shelf")


@pytest.mark.usefixtures("until_healthy")
def test_mlflow_down_for_a_minute_holds_and_trains_once(
    kube: Kube, system: Kube, images: dict[str, str], trained: str
) -> None:
    with system.scaled("perennial-mlflow", 0, back_to=1):
        until("MLflow to be gone", lambda: not system.list("pods", "app.kubernetes.io/component=mlflow"), 90)
        kube.apply(parcels.training_run("patient", parcels.training_spec(images["flights"])))
        condition = kube.wait_condition("trainingrun", "patient", "Succeeded", "Unknown", "RegistryUnavailable")
        assert "MLflow" in condition["message"]
        assert kube.list("jobs", "perennial.dev/name=patient") == []
    kube.wait_condition("trainingrun", "patient", "Succeeded", "True", seconds=240)
    run = kube.status("trainingrun", "patient")["mlflow"]
    assert len(kube.list("pods", "job-name=patient-train")) == 1
    found = system.proxy(
        "perennial-mlflow:5000", f"/api/2.0/mlflow/model-versions/search?filter=run_id%3D%27{run['runId']}%27"
    )
    assert len(found["model_versions"]) == 1
