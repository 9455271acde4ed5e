"""Given that no pods may be created for a Job, then this is said of it, and nothing is held against anybody."""

import samples
from given import READY_STATUS, World, conditions, dataset, given, job, message, planned, pod, training_run

QUOTA = 'pods "run-1-train-7xk2p" is forbidden: exceeded quota: q, requested: pods=1, used: pods=5, limited: pods=5'
SAID = "exceeded quota: q, requested: pods=1, used: pods=5, limited: pods=5"


def run_without_pods(**how: object) -> World:
    subject = training_run(samples.WITH_RUN)
    return given(subject, dataset(READY_STATUS), job(subject, "run-1-train"), refused={"run-1-train": QUOTA}, **how)


def test_a_training_waits_for_the_quota_and_names_it() -> None:
    plan = planned(run_without_pods(), "TrainingRun", "run-1")
    assert SAID in message(plan, "Running")
    assert conditions(plan)["Running"] == "False QuotaExceeded"
    assert plan.status is not None
    assert "terminalState" not in plan.status


def test_a_training_that_has_its_pod_says_nothing_of_what_was() -> None:
    world = run_without_pods()
    made = world.subject_of("Job", "run-1-train")
    plan = planned(world.but(pod(made)), "TrainingRun", "run-1")
    assert conditions(plan)["Running"] == "True Started"


def test_a_check_waits_for_the_quota_and_names_it() -> None:
    due = samples.DUE
    plan = planned(given(due, job(due, samples.CHECK), refused={samples.CHECK: QUOTA}), "Dataset", "flights")
    assert SAID in message(plan, "Fetched")
    assert "QuotaExceeded" in conditions(plan)["Fetched"]
