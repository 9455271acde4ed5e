"""What holds of every plan in every world."""

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from given import KIND, NAMESPACE, NOW, World, identity, planned, recorded
from given_deployment import NAME
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kstatus import Status, kstatus
from openapi import violations
from restricted import refusals
from worlds import SUBJECTS, dataset_worlds, deployment_worlds, run_worlds

from perennial.manifests.deployments import rollout
from perennial.manifests.jobs import ENDED, job_outcome
from perennial.manifests.manifest import Manifest
from perennial.plan.actions import Change, EnsureRun, Plan, RegisterVersion
from perennial.plan.kinds import KINDS, MODEL_DEPLOYMENT
from perennial.plan.model_deployment.wanted import Wanted
from perennial.schema.structural import structural

WORLDS = {"Dataset": dataset_worlds(), "TrainingRun": run_worlds(), "ModelDeployment": deployment_worlds()}
SCHEMAS = {kind.name: structural(kind.status) for kind in KINDS}
PROMISED = {kind.name: kind.status.model_fields["conditions"].description or "" for kind in KINDS}
ROUNDS = {"Dataset": 3, "TrainingRun": 8, "ModelDeployment": 4}
"""After how many plans nothing may change any more. All seven stages of a TrainingRun may be through at once."""
VARIETY = {"Dataset": 2, "TrainingRun": 3, "ModelDeployment": 4}
"""How many different events and calls must come up."""
LABELS = {
    *("app.kubernetes.io/managed-by", "app.kubernetes.io/component"),
    *("perennial.dev/kind", "perennial.dev/name", "perennial.dev/slot", "perennial.dev/version"),
}


def settles(kind: str, world: World, _plan: Plan) -> None:
    """Recording plans leads to one that changes nothing, tells nothing, and makes no call whose outcome is known."""
    name = SUBJECTS[kind]
    for _ in range(ROUNDS[kind]):
        world = recorded(world, kind, name, planned(world, kind, name))
    plan = planned(world, kind, name)
    assert recorded(world, kind, name, plan).subject_of(kind, name) == world.subject_of(kind, name)
    assert plan.events == ()
    assert [call for call in plan.calls if world.result(call) is not None] == []
    assert planned(world, kind, name) == plan


def survives_json(kind: str, _world: World, plan: Plan) -> None:
    """A status is read back as it was written, fits the CRD, and is small."""
    if plan.status is None:
        return
    text = json.dumps(plan.status)
    assert KIND[kind].status.model_validate_json(text).json_data() == json.loads(text) == plan.status
    assert list(violations(json.loads(text), SCHEMAS[kind])) == []
    assert len(text) < 32 * 1024


def says_the_whole(kind: str, world: World, plan: Plan) -> None:
    """Each of the kind's conditions once, sorted, of this generation; kstatus' two never both."""
    subject = world.subject_of(kind, SUBJECTS[kind])
    if plan.status is None or "terminalState" in subject.get("status", {}):
        return
    conditions = {item["type"]: item for item in plan.status["conditions"]}
    assert [item["type"] for item in plan.status["conditions"]] == sorted(PROMISED[kind].removesuffix(".").split(", "))
    generations = {plan.status["observedGeneration"], *(item["observedGeneration"] for item in conditions.values())}
    assert generations == {subject["metadata"]["generation"]}
    assert (conditions["Reconciling"]["status"], conditions["Stalled"]["status"]) != ("True", "True")
    assert all(item["message"].strip() for item in conditions.values())


def starts_one_job(_kind: str, world: World, plan: Plan) -> None:
    """At most one, under a new name, and none of a component that has an active one. Others are (un)suspended only."""
    known, pods = world.list("Job", NAMESPACE), world.list("Pod", NAMESPACE)
    specs = {job["metadata"]["name"]: job["spec"] for job in known}
    started = [made["metadata"]["name"] for made in children(plan) if made["kind"] == "Job"]
    for fields in (item.manifest for item in plan.applies if isinstance(item, Change)):
        assert fields["kind"] == "Job"
        assert fields["spec"].keys() <= {"suspend", "activeDeadlineSeconds"}
        assert fields["spec"]["suspend"] is not specs[fields["metadata"]["name"]]["suspend"]
    active = {component(job["metadata"]["name"]) for job in known if job_outcome(job, pods).phase not in ENDED}
    assert len(started) <= 1
    assert not {component(name) for name in started} & active
    assert not {*started} & {job["metadata"]["name"] for job in known}


def children(plan: Plan) -> list[Manifest]:
    """Return what a plan makes or brings to its intent, whole."""
    return [item.manifest for item in plan.applies if not isinstance(item, Change)]


def component(job: str) -> str:
    return next(part for part in ("check", "train", "evaluate") if f"-{part}" in job)


def owns_its_children(kind: str, world: World, plan: Plan) -> None:
    """Children are the owner's and carry nothing of its: tracking labels made GitOps tools prune them.

    https://github.com/Altinity/clickhouse-operator/issues/487
    """
    owner = world.subject_of(kind, SUBJECTS[kind])["metadata"]
    names = [identity(item.manifest) for item in plan.applies]
    assert len(set(names)) == len(names)
    for manifest in children(plan):
        (reference,) = manifest["metadata"]["ownerReferences"]
        assert (reference["uid"], reference["controller"]) == (owner["uid"], True)
        assert manifest["metadata"]["namespace"] == NAMESPACE
        assert manifest["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "perennial"
        for metadata in (manifest["metadata"], template(manifest).get("metadata", {})):
            assert {*metadata.get("labels", {})} <= LABELS
            assert not {*metadata.get("labels", {}).items()} & {*owner["labels"].items()}
            assert {*metadata.get("annotations", {})} <= {"perennial.dev/structure"}


def makes_restricted_pods(_kind: str, _world: World, plan: Plan) -> None:
    """Pod Security's strictest level; and no token, a memory limit, a read-only root."""
    specs = [template(made)["spec"] for made in children(plan) if "spec" in template(made)]
    for spec in specs:
        assert refusals(spec) == []
        assert spec["automountServiceAccountToken"] is False
        for container in [*spec.get("initContainers", ()), *spec["containers"]]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert "memory" in container["resources"]["limits"]


def template(manifest: Manifest) -> Mapping[str, Any]:
    """Return the pod template of a child, if it has one."""
    found: Mapping[str, Any] = manifest.get("spec", {}).get("template", {})
    return found if "containers" in found.get("spec", {}) else {}


def holds_while_suspended(kind: str, world: World, plan: Plan) -> None:
    """Nothing begins, and nobody takes it for done."""
    if plan.status is None or not suspended(world, kind) or "terminalState" in plan.status:
        return
    known = {job["metadata"]["name"] for job in world.list("Job", NAMESPACE)}
    begun = [item.manifest for item in plan.applies if item.manifest["kind"] in {"Job", "TrainingRun"}]
    assert {made["metadata"]["name"] for made in begun} <= known
    assert not {type(call) for call in plan.calls} & {EnsureRun, RegisterVersion}
    stories = {event.reason for event in plan.events}
    assert not stories & {"CanaryStarted", "CanaryStep", "Promoted", "RetrainingStarted", "Succeeded"}


def is_never_current_too_early(kind: str, world: World, plan: Plan) -> None:
    """Flux and its like go on when kstatus says Current: it does so only of what is as its spec wants it."""
    subject = recorded(world, kind, SUBJECTS[kind], plan).subject_of(kind, SUBJECTS[kind])
    if plan.status is None or kstatus(subject)[0] is not Status.CURRENT:
        return
    status = plan.status
    match kind:
        case "Dataset":
            known = {item["type"]: item["status"] for item in status["conditions"]}
            assert status["checkedGeneration"] == subject["metadata"]["generation"]
            assert ("version" in status, known["Valid"]) == (True, "True")
            assert status["fetchedGeneration"] == subject["metadata"]["generation"]
        case "TrainingRun":
            assert status["terminalState"] == "Succeeded"
        case _:
            wanted_by(world, status)
    assert not suspended(world, kind) or "terminalState" in status


def wanted_by(world: World, status: Mapping[str, Any]) -> None:
    """The version that is wanted answers, all of it, and nothing is on trial."""
    seen = MODEL_DEPLOYMENT.observe(world.view(), NAMESPACE, NAME)
    assert seen is not None
    want = seen.want
    assert isinstance(want, Wanted)
    assert (status["stable"]["version"], "canary" in status) == (want.version, False)
    assert "since" in status["stable"]
    works = (world.get("Deployment", NAMESPACE, f"{NAME}-{each}") for each in (status["stable"]["slot"], "router"))
    assert all(work is not None and rollout(work, ()).ready for work in works)


def suspended(world: World, kind: str) -> bool:
    return bool(world.subject_of(kind, SUBJECTS[kind])["spec"].get("suspend", False))


LAWS: tuple[Callable[[str, World, Plan], None], ...] = (
    *(settles, survives_json, says_the_whole, starts_one_job, owns_its_children, makes_restricted_pods),
    holds_while_suspended,
    is_never_current_too_early,
)


@pytest.mark.parametrize("kind", ["Dataset", "TrainingRun", "ModelDeployment"])
def test_the_laws_of_plans(kind: str) -> None:
    stories: Counter[str] = Counter()
    arrived: Counter[Status] = Counter()

    @settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
    @given(world=WORLDS[kind])
    def hold(world: World) -> None:
        plan = planned(world, kind, SUBJECTS[kind])
        stories.update(event.reason for event in plan.events)
        stories.update(type(call).__name__ for call in plan.calls)
        for law in LAWS:
            law(kind, world, plan)
        arrived.update([kstatus(recorded(world, kind, SUBJECTS[kind], plan).subject_of(kind, SUBJECTS[kind]))[0]])

    hold()
    assert min(arrived[status] for status in (Status.CURRENT, Status.IN_PROGRESS, Status.FAILED)) >= 1, arrived
    assert len(stories) >= VARIETY[kind], f"the worlds are not various enough to prove anything: {stories}"


@dataclasses.dataclass(frozen=True)
class Unsorted:
    """A cache that shows objects in the order in which they were put in."""

    objects: Sequence[Manifest]

    def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        return next((item for item in self.list(kind, namespace) if item["metadata"]["name"] == name), None)

    def list(self, kind: str, namespace: str) -> Sequence[Manifest]:
        return [item for item in self.objects if (item["kind"], item["metadata"]["namespace"]) == (kind, namespace)]

    def children(self, uid: str, kind: str) -> Sequence[Manifest]:
        def owned(item: Manifest) -> bool:
            return any(owner["uid"] == uid for owner in item["metadata"].get("ownerReferences", ()))

        return [item for item in self.list(kind, NAMESPACE) if owned(item)]


def test_the_order_of_what_is_seen_does_not_matter() -> None:
    @settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
    @given(kind=st.sampled_from(sorted(WORLDS)), data=st.data())
    def hold(kind: str, data: st.DataObject) -> None:
        world = data.draw(WORLDS[kind])
        objects = data.draw(st.permutations(world.objects))
        plans = []
        for cache in (world, Unsorted(objects)):
            view = dataclasses.replace(world.view(), cache=cache)
            plans.append(KIND[kind].plan(KIND[kind].observe(view, NAMESPACE, SUBJECTS[kind]), NOW))
        assert plans[0] == plans[1]

    hold()


def test_nothing_moves_a_run_that_has_ended() -> None:
    ended: Counter[str] = Counter()

    @settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
    @given(world=run_worlds())
    def hold(world: World) -> None:
        status = world.subject("TrainingRun").get("status", {})
        if "terminalState" not in status:
            return
        ended[status["terminalState"]] += 1
        plan = planned(world, "TrainingRun", "run-1")
        assert (plan.applies, plan.events, plan.deletes) == ((), (), ())
        before = {**status, "mlflow": None}
        after = {key: value for key, value in (plan.status or before).items() if key in before}
        assert {**after, "mlflow": None} == before

    hold()
    assert ended.keys() == {"Succeeded", "Failed"}


def test_the_subject_of_each_kind_is_in_its_worlds() -> None:
    assert SUBJECTS["ModelDeployment"] == NAME
    assert set(SUBJECTS) == set(WORLDS) == set(KIND)
