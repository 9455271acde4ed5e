"""Why an object is not as it should be: from condition to condition along references, to the first cause. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from perennial.cli.advice import ADVICE
from perennial.cli.snapshot import (
    DATASET,
    MODEL_DEPLOYMENT,
    SUMMARY,
    TRAINING_RUN,
    Condition,
    Object,
    Snapshot,
    State,
    condition,
    name,
    namespace,
    state,
    status,
    summary,
    trouble,
)
from perennial.manifests import pods
from perennial.terms import reasons
from perennial.terms.words import Verdict

ABOUT_DATA = {
    reasons.DATASET_NOT_READY,
    reasons.DATASET_NOT_FOUND,
    reasons.NOTHING_HELD_OUT,
    reasons.NO_EVENT_TIME,
    reasons.WINDOW_TOO_SHORT,
}
AT_WORK: dict[str, str] = {reasons.TRAINING: "train", reasons.EVALUATING: "evaluate"}
ABOUT_PODS = {*pods.STUCK, reasons.CONTAINER_FAILED, reasons.POD_PENDING, reasons.STARTING}
"""Reasons of ModelDeployments and runs that a pod can say more about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One link of the chain: what is wrong with one object, in its own words."""

    kind: str
    name: str
    reason: str
    message: str

    def json_data(self) -> dict[str, str]:
        """Return the link as plain data."""
        return {"kind": self.kind, "name": self.name, "reason": self.reason, "message": self.message}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Whether all is well; if not, the links from the object to the first cause, and what to do about that."""

    kind: str
    name: str
    namespace: str
    state: State
    chain: tuple[Link, ...]
    advice: str = ""
    look: str = ""
    """A command that shows more of the first cause."""
    trial: str = ""
    """What the canary says, if there is one: it is no trouble, and worth knowing."""
    promises: tuple[Link, ...] = ()
    """What is found of promises that aren't simply kept: why nothing is known yet, what corrected labels changed."""

    def json_data(self) -> dict[str, Any]:
        """Return the answer as plain data, as `-o json` prints it."""
        return {
            "kind": self.kind,
            "name": self.name,
            "namespace": self.namespace,
            "state": self.state.value,
            "chain": [link.json_data() for link in self.chain],
            "advice": self.advice,
            "look": self.look,
            "trial": self.trial,
            "promises": [link.json_data() for link in self.promises],
        }


def why(snapshot: Snapshot, obj: Object) -> Answer:
    """Return why an object is as it is."""
    found = state(obj)
    chain = tuple(_links(snapshot, obj)) if found is not State.OK else (_link(obj, summary(obj)),)
    cause = chain[-1]
    moving = condition(obj, "Progressing")
    done = found is State.OK
    return Answer(
        kind=obj["kind"],
        name=name(obj),
        namespace=namespace(obj),
        state=found,
        chain=chain,
        advice="" if done else _advice(chain),
        look="" if done else _look(cause, obj),
        trial=moving.message if moving is not None and moving.status == "True" else "",
        promises=tuple(_promises(obj)),
    )


def _promises(obj: Object) -> Iterator[Link]:
    """Yield what is found of the version that answers, but for promises that are kept and were never found broken."""
    found = status(obj).get("slos") or () if obj["kind"] == MODEL_DEPLOYMENT else ()
    for each in found:
        if each["verdict"] != Verdict.PASS or each.get("reason") == reasons.LABELS_CORRECTED:
            said = " · ".join((each["verdict"], *filter(None, [each.get("reason")])))
            more = f"; about {each['needed']:,} more samples decide" if each.get("needed") is not None else ""
            yield Link(kind="SLO", name=each["name"], reason=said, message=each.get("message", "") + more)


def _links(snapshot: Snapshot, obj: Object) -> Iterator[Link]:
    found = trouble(obj)
    yield _link(obj, found)
    if found.reason in pods.REFUSALS:
        return  # There is no pod that could say more: the API server has said why.
    match obj["kind"]:
        case "ModelDeployment":
            yield from _below_deployment(snapshot, obj, found)
        case "TrainingRun":
            yield from _below_run(snapshot, obj, found)
        case _:
            yield from _below_dataset(snapshot, obj, found)


def _below_deployment(snapshot: Snapshot, deployment: Object, cause: Condition) -> Iterator[Link]:
    if cause.reason == reasons.NO_MODEL_VERSION:
        runs = snapshot.runs_of_model(deployment)
        if runs:
            yield from _links(snapshot, runs[-1])
        return
    if cause.reason == reasons.SLO_BROKEN:
        yield from _below_broken_promise(snapshot, deployment)
    elif cause.reason == reasons.ROUTER_NOT_READY:
        yield from _pod(snapshot, deployment, "router")
    elif cause.reason in ABOUT_PODS:
        yield from _pod(snapshot, deployment, "server")


def _below_broken_promise(snapshot: Snapshot, deployment: Object) -> Iterator[Link]:
    told = status(deployment).get("retraining") or {}
    run = snapshot.get(TRAINING_RUN, namespace(deployment), told.get("currentRun") or "")
    if run is not None and state(run) is not State.OK:
        yield from _links(snapshot, run)
        return
    for decision in (told.get("decisions") or ())[:1]:
        yield Link(
            kind="Retraining", name=decision["trigger"], reason=decision["reason"], message=decision.get("message", "")
        )


def _below_run(snapshot: Snapshot, run: Object, cause: Condition) -> Iterator[Link]:
    if cause.reason in ABOUT_DATA:
        dataset = snapshot.get(DATASET, namespace(run), run["spec"]["datasetRef"]["name"])
        if dataset is not None and state(dataset) is not State.OK:
            yield from _links(snapshot, dataset)
        return
    component = {"train": "training", "evaluate": "evaluation"}
    for job in reversed(snapshot.jobs(run)):
        suffix = name(job).rsplit("-", 1)[-1]
        if AT_WORK.get(cause.reason, suffix) == suffix:
            yield from _job(snapshot, run, job, component.get(suffix, suffix))
            return


def _below_dataset(snapshot: Snapshot, dataset: Object, cause: Condition) -> Iterator[Link]:
    if cause.reason in {reasons.SCHEMA_VIOLATED, reasons.EXPECTATION_FAILED}:
        return
    for job in reversed(snapshot.jobs(dataset)):
        yield from _job(snapshot, dataset, job, "dataset-check")
        return


def _job(snapshot: Snapshot, owner: Object, job: Object, component: str) -> Iterator[Link]:
    ended = [item for item in status(job).get("conditions") or () if item["status"] == "True"]
    last = next((item for item in ended if item["type"] in {"Failed", "Complete"}), None)
    if last is not None and last["type"] == "Complete":
        return
    reason = reasons.RUNNING if last is None else last.get("reason", reasons.FAILED)
    message = "It has not ended." if last is None else last.get("message", "")
    yield Link(kind="Job", name=name(job), reason=reason, message=message)
    yield from _pod(snapshot, job, None if snapshot.pods(job) else component, fallback=owner)


def _pod(snapshot: Snapshot, owner: Object, component: str | None, *, fallback: Object | None = None) -> Iterator[Link]:
    found_pods = snapshot.pods(owner, component) or (snapshot.pods(fallback, component) if fallback is not None else ())
    for pod in reversed(found_pods):
        found = pods.trouble(pod) or pods.waits(pod)
        if found is not None:
            yield Link(kind="Pod", name=name(pod), reason=found.reason, message=found.message)
            return


def _advice(chain: tuple[Link, ...]) -> str:
    """Return what to do: about the last link that something can be done about; about a pod only as its owner's."""
    told = [link for link in reversed(chain) if link.reason in ADVICE]
    return next((ADVICE[link.reason] for link in (*(each for each in told if each.kind != "Pod"), *told)), "")


def _link(obj: Object, said: Condition) -> Link:
    return Link(kind=obj["kind"], name=name(obj), reason=said.reason, message=said.message)


def _look(cause: Link, obj: Object) -> str:
    """Return the command that shows most of a cause."""
    prefix = f"kubectl -n {namespace(obj)}"
    if cause.kind == "Pod":
        logs = cause.reason == reasons.CONTAINER_FAILED
        return f"{prefix} logs {cause.name} --all-containers" if logs else f"{prefix} describe pod {cause.name}"
    if cause.kind in SUMMARY or cause.kind == "Job":
        return f"{prefix} describe {cause.kind.lower()} {cause.name}"
    return f"{prefix} describe {obj['kind'].lower()} {name(obj)}"
