"""What ails a pod, or keeps it from being there: the same words for the same, wherever it is asked."""

from typing import Any

import pytest

from perennial.manifests.jobs import JobPhase, job_outcome, lacks_pods
from perennial.manifests.pods import REFUSALS, STUCK, refusal, trouble, waits
from perennial.terms.reasons import Reason

QUOTA = 'pods "a-x7k2p" is forbidden: exceeded quota: q, requested: pods=1, used: pods=5, limited: pods=5'


def pod(state: dict[str, Any], *, last: dict[str, Any] | None = None, init: bool = False) -> dict[str, Any]:
    container = {"name": "main", "image": "registry.test/any:1", "state": state, "lastState": last or {}}
    statuses = "initContainerStatuses" if init else "containerStatuses"
    return {"metadata": {"name": "a-1"}, "status": {"phase": "Pending", statuses: [container]}}


def unplaced(said: str) -> dict[str, Any]:
    condition = {"type": "PodScheduled", "status": "False", "message": said}
    return {"metadata": {"name": "a-1"}, "status": {"phase": "Pending", "conditions": [condition]}}


ENDED = {"terminated": {"exitCode": 65, "message": "first\nlast", "reason": "Error"}}


@pytest.mark.parametrize(
    ("seen", "reason", "says"),
    [
        (pod({"waiting": {"reason": "ErrImagePull", "message": "no such image"}}), "ImageNotPulled", "no such image"),
        (pod({"waiting": {"reason": "InvalidImageName"}}), "ImageNotPulled", "registry.test/any:1: InvalidImageName"),
        (pod({"waiting": {"reason": "CreateContainerConfigError"}}), "ContainerNotCreated", "CreateContainerConfig"),
        (pod(ENDED, init=True), "ContainerFailed", "ended with exit code 65: last"),
        (pod({"waiting": {"reason": "CrashLoopBackOff"}}, last=ENDED), "ContainerFailed", "exit code 65: last"),
        (pod({"terminated": {"exitCode": 1}}), "ContainerFailed", "exit code 1: it said nothing"),
        (unplaced("0/3 nodes are available"), "NotScheduled", "waits for a node: 0/3 nodes are available"),
        (unplaced('persistentvolumeclaim "lake" not found'), "ClaimNotFound", "waits for a volume"),
        (unplaced("pod has unbound immediate PersistentVolumeClaims"), "ClaimNotBound", "waits for a volume"),
    ],
)
def test_what_ails_a_pod(seen: dict[str, Any], reason: str, says: str) -> None:
    found = trouble(seen)
    assert found is not None
    assert found.reason == reason
    assert isinstance(found.reason, Reason)
    assert says in found.message


@pytest.mark.parametrize("seen", [pod({"running": {}}), pod({"waiting": {"reason": "PodInitializing"}}), {}])
def test_a_pod_that_is_being_prepared_is_no_trouble(seen: dict[str, Any]) -> None:
    assert trouble(seen) is None


def test_what_a_pod_that_should_run_waits_for() -> None:
    """A container that ended is the Job's affair: it may be tried again."""
    assert [each and each.reason for each in (waits(None), waits(pod(ENDED)), waits(unplaced("0/3 nodes")))] == [
        *("PodPending", "PodPending", "NotScheduled")
    ]
    assert waits({"status": {"phase": "Running"}}) is None


@pytest.mark.parametrize(
    ("said", "reason", "message"),
    [
        (QUOTA, "QuotaExceeded", "exceeded quota: q, requested: pods=1, used: pods=5, limited: pods=5"),
        (
            'pods "a-x" is forbidden: failed quota: q: must specify limits.cpu for: server',
            "QuotaExceeded",
            "failed quota: q: must specify limits.cpu for: server",
        ),
        (
            'pods "a-x" is forbidden: violates PodSecurity "restricted:latest": seccompProfile',
            "PodsRefused",
            'violates PodSecurity "restricted:latest": seccompProfile',
        ),
        (
            'admission webhook "policy.test" denied the request: no owner label',
            "PodsRefused",
            'admission webhook "policy.test" denied the request: no owner label',
        ),
    ],
)
def test_a_refusal_is_said_in_the_api_servers_words(said: str, reason: str, message: str) -> None:
    """Without the name of the pod that will never be: it is another one each time."""
    found = refusal(said)
    assert (found.reason, found.message) == (reason, f"The pods may not be created: {message}")
    assert found.reason in REFUSALS <= STUCK


JOB = {"metadata": {"name": "a", "uid": "u"}, "spec": {}, "status": {}}
FAILED = {"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "message": "Job was active too long"}


def test_a_job_whose_pods_are_refused_waits_and_says_why() -> None:
    outcome = job_outcome(JOB, [], {"u": QUOTA})
    assert (outcome.phase, outcome.reason) == (JobPhase.WAITING, "QuotaExceeded")
    other = job_outcome(JOB, [], {"another": QUOTA})
    assert (other.phase, other.reason) == (JobPhase.WAITING, "PodPending")
    ended = job_outcome({**JOB, "status": {"conditions": [FAILED]}}, [], {"u": QUOTA})
    assert (ended.phase, ended.reason) == (JobPhase.FAILED, "DeadlineExceeded")
    assert ended.message.startswith("Job was active too long. The pods may not be created: exceeded quota: q")


def test_which_jobs_lack_pods() -> None:
    own = {"metadata": {"name": "a-1", "ownerReferences": [{"uid": "u"}]}}
    assert lacks_pods(JOB, [])
    assert lacks_pods(JOB, [{"metadata": {"name": "b-1", "ownerReferences": [{"uid": "v"}]}}])
    assert not lacks_pods(JOB, [own])
    assert not lacks_pods({**JOB, "spec": {"suspend": True}}, [])
    assert not lacks_pods({**JOB, "status": {"conditions": [FAILED]}}, [])
