"""A ModelDeployment through any weather: kills anywhere, silence, brakes, changed minds. It stays safe and arrives.

`Journey` plays the world around the planner: a collector that follows the policy it was told, routers that confirm
weights late, pods that get ready or break, a person. Hypothesis plays the weather.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, get_args

import hypothesis
from given import NAMESPACE, NOW, World, carried_out, child_of, conditions, given, planned, recorded, registry
from given_deployment import NAME, deployment, slo_verdict
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from kstatus import Status, kstatus
from openapi import violations
from trial_laws import ends_by_harm, goes_back_by_right, grows_by_proof, keeps_slots

from perennial.api.messages.policy import Policy
from perennial.api.messages.state import Brake, State, Weights
from perennial.api.model_deployment import ModelDeploymentStatus
from perennial.plan.actions import Apply, Delete, Plan, PutPolicy, SetAlias
from perennial.plan.observed import CallResult, Fact
from perennial.schema.structural import structural
from perennial.terms.words import Slot, Verdict

SLOTS: tuple[Slot, ...] = get_args(Slot)
SCHEMA = structural(ModelDeploymentStatus)
VERSIONS = ["3", "4", "5"]


class Journey:
    """The world around one ModelDeployment."""

    def __init__(self, undecided: str) -> None:
        trial = {"steps": [{"weight": 10}, {"weight": 50, "minSeconds": 60}], "maxSeconds": 3600}
        subject = deployment(
            canary={**trial, "onUndecided": undecided, "scaleDownDelaySeconds": 30, "rollbackWindowSeconds": 1800}
        )
        self.now: datetime = NOW
        self.world: World = given(subject, registry=registry(versions=VERSIONS))
        self.policy: Policy | None = None
        self.braked: set[str] = set()
        self.verdict = Verdict.UNDECIDED
        self.watched = Verdict.UNDECIDED
        self.requests = 0
        self.speaks = True
        self.confirmed = True
        self.weights: dict[Slot, int] = {"a": 1000, "b": 0}
        self.trials: list[str] = []
        self.served: set[str] = set()
        self.mlflow = True
        self.ways: Counter[str] = Counter()
        self.stories: list[str] = []

    # --- the operator ---

    def it_is_killed(self, carries: str) -> None:
        """Before its calls, before its status, or before its deletions."""
        self.reconcile(carries)

    def reconcile(self, carries: str) -> None:
        """Make a plan and carry it out, or a part of it."""
        seen = replace(self.world, state=self.said())
        plan = planned(seen, "ModelDeployment", NAME, self.now)
        self.judge(seen, plan)
        self.must_not_pass_for_done(plan)
        for apply in plan.applies:
            self.must_not_replace(apply)
        self.world = carried_out(self.world, replace(plan, deletes=()))
        if carries == "applies":
            return
        self.make_calls(plan)
        if carries == "calls":
            return
        self.world = recorded(self.world, "ModelDeployment", NAME, plan)
        self.remember(plan)
        if carries == "status":
            return
        for delete in plan.deletes:
            self.must_not_empty(delete)
        self.world = carried_out(self.world, replace(plan, applies=()))

    def make_calls(self, plan: Plan) -> None:
        self.world = self.world.but(results=())
        for call in plan.calls:
            match call:
                case PutPolicy(policy=told):
                    assert self.speaks
                    if self.policy is None or told.revision != self.policy.revision:
                        self.policy, self.verdict, self.confirmed = told, Verdict.UNDECIDED, False
                        self.watched = Verdict.UNDECIDED
                case SetAlias(version=version):
                    assert version in self.served
                    done = CallResult(value={}) if self.mlflow else CallResult(error="MLflow does not answer.")
                    self.world = self.world.but(results=((SetAlias, done),))

    def judge(self, seen: World, plan: Plan) -> None:
        assert plan.status is not None
        assert list(violations(plan.status, SCHEMA)) == []
        keeps_slots(seen, plan)
        self.ways[goes_back_by_right(seen, plan, self.now)] += 1
        if self.status().canary is not None:
            grows_by_proof(seen, plan, self.now)
            ends_by_harm(seen, plan)

    def remember(self, plan: Plan) -> None:
        status = self.status()
        if status.canary is not None and status.canary.id not in self.trials:
            self.trials.append(status.canary.id)
        if status.canary is not None:
            assert status.canary.id == self.trials[-1], "a trial that ended began again"
        if status.stable is not None and status.stable.since is not None:
            self.served.add(status.stable.model_version)
        assert len(plan.events) <= 1
        self.stories += [event.reason for event in plan.events]

    # --- what must never happen ---

    def must_not_replace(self, apply: Apply) -> None:
        """A slot that the routers send requests to keeps its version, once the first one answers."""
        name = apply.manifest["metadata"]["name"]
        live = self.world.get("Deployment", NAMESPACE, name)
        stable = self.status().stable
        serves = stable is not None and stable.since is not None
        if apply.manifest["kind"] != "Deployment" or name not in slots() or live is None or not serves:
            return
        same = version_of(live) == version_of(apply.manifest)
        assert same or self.weights[name[-1]] == 0, f"{name} is replaced while it gets requests"

    def must_not_pass_for_done(self, plan: Plan) -> None:
        """To kstatus, unless what is wanted answers and nothing is on trial."""
        subject = recorded(self.world, "ModelDeployment", NAME, plan).subject_of("ModelDeployment", NAME)
        if kstatus(subject)[0] is Status.CURRENT:
            status = subject["status"]
            assert (status["stable"]["modelVersion"], "canary" in status) == (
                subject["spec"]["model"]["version"],
                False,
            )
            assert "since" in status["stable"]
            assert not subject["spec"].get("suspend", False)

    def must_not_empty(self, delete: Delete) -> None:
        if delete.name in slots():
            assert self.weights[delete.name[-1]] == 0, f"{delete.name} is deleted while it gets requests"

    # --- the world ---

    def status(self) -> ModelDeploymentStatus:
        return ModelDeploymentStatus.model_validate(self.world.subject_of("ModelDeployment", NAME).get("status", {}))

    def wanted_weights(self) -> dict[Slot, int]:
        """Return what the collector tells the routers: the policy's weights, but nothing to a canary it has braked."""
        if self.policy is None:
            return self.weights
        trial = self.policy.canary
        share = 0 if trial is None or trial.id in self.braked else trial.weight
        return {slot: 1000 - share if slot == self.policy.stable else share for slot in SLOTS}

    def said(self) -> Fact[State]:
        if not self.speaks:
            return Fact(error="The collector does not answer.")
        trial = self.policy.canary if self.policy else None
        harm = slo_verdict("errors", Verdict.FAIL)
        brake = Brake(canary_id=trial.id, time=self.now, verdict=harm) if trial and trial.id in self.braked else None
        state = State(
            revision="1",
            policy_revision=self.policy.revision if self.policy else None,
            time=self.now,
            weights=Weights(desired=self.wanted_weights(), verified=dict(self.weights) if self.confirmed else None),
            members={slot: self.addresses(slot) for slot in SLOTS},
            brake=brake,
            verdicts=(slo_verdict("errors", self.verdict),) if trial else (),
            watch=(slo_verdict("errors", self.watched),) if self.policy and self.policy.watch else (),
        )
        return Fact(value=state)

    def addresses(self, slot: Slot) -> tuple[str, ...]:
        pods = self.world.list("Pod", NAMESPACE)
        return tuple(pod["status"]["podIP"] for pod in pods if pod["metadata"]["labels"]["perennial.dev/slot"] == slot)

    # --- the weather ---

    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    def pods_change(self, ready: bool) -> None:
        for name in [*slots(), f"{NAME}-router", f"{NAME}-collector"]:
            live = self.world.get("Deployment", NAMESPACE, name)
            if live is not None:
                self.roll(live, ready=ready or not name.endswith(("a", "b")))

    def roll(self, live: dict[str, Any], *, ready: bool) -> None:
        name, count = live["metadata"]["name"], live["spec"]["replicas"]
        status = {"observedGeneration": live["metadata"]["generation"], "replicas": count, "updatedReplicas": count}
        self.world = self.world.but({**live, "status": {**status, "readyReplicas": count if ready else 0}})
        if name not in slots():
            return
        for number in range(2):
            self.world = self.world.without("Pod", f"{name}-{number}")
            if ready:
                labels = live["spec"]["template"]["metadata"]["labels"]
                address = f"10.0.{'ab'.index(name[-1])}.{number}-{version_of(live)}"
                told = {"podIP": address, "conditions": [{"type": "Ready", "status": "True"}]}
                self.world = self.world.but(child_of(live, "v1", "Pod", f"{name}-{number}", labels=labels, status=told))

    def routers_follow(self) -> None:
        self.weights, self.confirmed = self.wanted_weights(), True

    def a_router_is_lost(self) -> None:
        self.confirmed = False

    def the_verdict_changes(self, verdict: Verdict) -> None:
        self.verdict = verdict

    def the_collector_brakes(self) -> None:
        if self.policy is not None and self.policy.canary is not None:
            self.braked.add(self.policy.canary.id)

    def what_answers_breaks_its_promise(self) -> None:
        self.watched = Verdict.FAIL

    def somebody_asks_for_the_version_before(self) -> None:
        subject = self.world.subject_of("ModelDeployment", NAME)
        self.requests += 1
        asked = {"perennial.dev/request": f"rollback@{self.requests}"}
        metadata = {**subject["metadata"], "annotations": {**subject["metadata"]["annotations"], **asked}}
        self.world = self.world.but({**subject, "metadata": metadata})

    def a_promotion_is_regretted(self) -> None:
        """A version is promoted, and breaks its promise at once."""
        for _ in range(4):
            self.all_is_well(Verdict.PASS)
            self.reconcile("all")
        self.routers_follow()
        self.what_answers_breaks_its_promise()

    def the_collector_falls_silent_or_speaks(self, speaks: bool) -> None:
        self.speaks = speaks

    def mlflow_goes_or_comes(self, answers: bool) -> None:
        self.mlflow = answers
        known = registry(versions=VERSIONS, error=None if answers else "MLflow does not answer.")
        self.world = self.world.but(registry=known)

    def another_version_is_wanted(self, version: str) -> None:
        self.change(model={"name": "flight-delay", "version": version})

    def it_is_suspended_or_not(self, suspend: bool) -> None:
        self.change(suspend=suspend)

    def change(self, **spec: Any) -> None:
        subject = self.world.subject_of("ModelDeployment", NAME)
        metadata = {**subject["metadata"], "generation": subject["metadata"]["generation"] + 1}
        self.world = self.world.but({**subject, "metadata": metadata, "spec": {**subject["spec"], **spec}})

    # --- the end ---

    def arrive(self) -> None:
        """In good weather, it arrives where the spec wants it, wherever it was: at yet another version."""
        known = self.status().stable
        self.another_version_is_wanted(VERSIONS[known is not None and known.model_version == VERSIONS[0]])
        self.the_collector_falls_silent_or_speaks(speaks=True)
        self.mlflow_goes_or_comes(answers=True)
        self.it_is_suspended_or_not(suspend=False)
        self.watched = Verdict.PASS
        for _ in range(16):
            self.good_weather()
        status, spec = self.status(), self.world.subject_of("ModelDeployment", NAME)["spec"]
        assert status.stable is not None
        assert (status.canary, status.previous) == (None, None)
        rejected = {entry.model_version for entry in status.history if entry.version in status.rejected}
        assert status.stable.model_version == spec["model"]["version"] or spec["model"]["version"] in rejected
        assert status.champion == status.stable.model_version
        plan = planned(replace(self.world, state=self.said()), "ModelDeployment", NAME, self.now)
        assert conditions(plan)["Ready"] == "True Serving"
        subject = recorded(self.world, "ModelDeployment", NAME, plan).subject_of("ModelDeployment", NAME)
        stuck = spec["model"]["version"] in rejected
        assert kstatus(subject)[0] is (Status.FAILED if stuck else Status.CURRENT)
        assert self.weights == {slot: 1000 if slot == status.stable.slot else 0 for slot in SLOTS}
        assert {name[-1] for name in deployments(self.world) if name in slots()} == {status.stable.slot}

    def all_is_well(self, verdict: Verdict) -> None:
        """But for the candidate, perhaps."""
        self.time_passes(60)
        self.pods_change(ready=True)
        self.routers_follow()
        self.the_verdict_changes(verdict)

    def a_trial_gets_under_way(self) -> None:
        """Of another version, with its first requests, if nothing is in its way."""
        stable = self.status().stable
        self.another_version_is_wanted(VERSIONS[stable is not None and stable.model_version == VERSIONS[0]])
        for _ in range(4):
            self.all_is_well(Verdict.UNDECIDED)
            self.reconcile("all")

    def good_weather(self) -> None:
        self.time_passes(600)
        self.pods_change(ready=True)
        for _ in range(2):
            self.reconcile("all")
            self.routers_follow()
            self.the_verdict_changes(Verdict.PASS)


def slots() -> Iterable[str]:
    return [f"{NAME}-{slot}" for slot in SLOTS]


def deployments(world: World) -> list[str]:
    return [item["metadata"]["name"] for item in world.list("Deployment", NAMESPACE)]


def version_of(manifest: Any) -> str:
    return str(manifest["spec"]["template"]["metadata"]["labels"]["perennial.dev/version"])


WEATHER: list[tuple[str, tuple[Any, ...]]] = [
    *[("all_is_well", (Verdict.PASS,))] * 8,
    ("all_is_well", (Verdict.FAIL,)),
    *(("time_passes", (seconds,)) for seconds in (1, 60, 600, 3600)),
    *(("pods_change", (ready,)) for ready in (True, True, False)),
    *[("routers_follow", ())] * 3,
    ("a_router_is_lost", ()),
    *(("the_verdict_changes", (verdict,)) for verdict in Verdict),
    *[("the_collector_brakes", ())] * 3,
    *[("a_trial_gets_under_way", ())] * 6,
    *[("what_answers_breaks_its_promise", ())] * 2,
    *[("a_promotion_is_regretted", ())] * 4,
    *[("somebody_asks_for_the_version_before", ())] * 3,
    *(("the_collector_falls_silent_or_speaks", (speaks,)) for speaks in (True, True, True, False)),
    *(("mlflow_goes_or_comes", (answers,)) for answers in (True, False)),
    *(("another_version_is_wanted", (version,)) for version in VERSIONS * 2),
    *(("it_is_suspended_or_not", (suspend,)) for suspend in (True, False, False, False)),
    *(("it_is_killed", (before,)) for before in ("applies", "calls", "status") * 2),
]


def test_it_stays_safe_and_arrives() -> None:
    stories: Counter[str] = Counter()
    ways: Counter[str] = Counter()

    @settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
    @hypothesis.given(
        undecided=st.sampled_from(["Hold", "Promote", "Rollback"]),
        weather=st.lists(st.sampled_from(WEATHER), min_size=20, max_size=50),
    )
    def hold(undecided: str, weather: list[tuple[str, tuple[Any, ...]]]) -> None:
        journey = Journey(undecided)
        journey.pods_change(ready=True)
        journey.good_weather()
        journey.another_version_is_wanted(VERSIONS[0])
        for event, arguments in weather:
            getattr(journey, event)(*arguments)
            journey.reconcile("all")
        journey.arrive()
        stories.update(journey.stories)
        ways.update(journey.ways)

    hold()
    told = ("CanaryStarted", "CanaryStep", "Promoted", "RolledBack", "Superseded")
    assert min(stories[reason] for reason in told) >= 5, f"the weather was too calm to prove anything: {stories}"
    assert min(ways[way] for way in ("going back", "went back")) >= 5, f"the weather was too calm: {ways}"
