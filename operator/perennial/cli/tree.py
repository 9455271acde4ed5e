"""The tree: Dataset → TrainingRuns → ModelDeployments → slots, SLOs and retraining. Pure: a snapshot in, nodes out."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from perennial.cli.snapshot import (
    DATASET,
    MODEL_DEPLOYMENT,
    TRAINING_RUN,
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
from perennial.terms import reasons
from perennial.terms.words import Verdict

VERDICTS: Mapping[str, State] = {
    Verdict.PASS: State.OK,
    Verdict.FAIL: State.BAD,
    Verdict.UNDECIDED: State.WAITING,
    Verdict.NO_DATA: State.WAITING,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A line of the tree. `kind` is one of the three, or `Slot`, `SLO`, `Retraining`."""

    kind: str
    name: str
    state: State
    reason: str = ""
    text: str = ""
    namespace: str = ""
    children: tuple["Node", ...] = field(default=())

    def json_data(self) -> dict[str, Any]:
        """Return the node as plain data, as `-o json` prints it."""
        data: dict[str, Any] = {"kind": self.kind, "name": self.name, "state": self.state.value}
        if self.namespace:
            data["namespace"] = self.namespace
        data |= {"reason": self.reason, "text": self.text}
        return data | {"children": [child.json_data() for child in self.children]}

    def walk(self) -> Iterator["Node"]:
        """Yield the node and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()


def forest(snapshot: Snapshot) -> tuple[Node, ...]:
    """Return one tree for each Dataset, then those whose Dataset or TrainingRun is not there.

    A ModelDeployment hangs below the run that its stable version comes from, else below the newest run of its model,
    else below the Dataset that it would be retrained on.
    """
    placed = {_key(deployment): _parent(snapshot, deployment) for deployment in snapshot.of_kind(MODEL_DEPLOYMENT)}
    roots = [_dataset(snapshot, dataset, placed) for dataset in snapshot.of_kind(DATASET)]
    known = {(namespace(dataset), name(dataset)) for dataset in snapshot.of_kind(DATASET)}
    roots += [
        _run(snapshot, run, placed)
        for run in snapshot.of_kind(TRAINING_RUN)
        if (namespace(run), run["spec"]["datasetRef"]["name"]) not in known
    ]
    roots += [_deployment(snapshot, one) for one in snapshot.of_kind(MODEL_DEPLOYMENT) if placed[_key(one)] is None]
    return tuple(roots)


def branch(trees: tuple[Node, ...], target: Object) -> tuple[Node, ...]:
    """Return the trees that an object is in, pruned to it, what is above it and what is below it."""
    return tuple(kept for tree in trees if (kept := _pruned(tree, target)) is not None)


def _pruned(node: Node, target: Object) -> Node | None:
    if (node.kind, node.namespace, node.name) == (target["kind"], namespace(target), name(target)):
        return node
    kept = tuple(child for one in node.children if (child := _pruned(one, target)) is not None)
    if not kept:
        return None
    return Node(
        kind=node.kind,
        name=node.name,
        namespace=node.namespace,
        state=node.state,
        reason=node.reason,
        text=node.text,
        children=kept,
    )


Key = tuple[str, str, str]


def _key(obj: Object) -> Key:
    return obj["kind"], namespace(obj), name(obj)


def _parent(snapshot: Snapshot, deployment: Object) -> Key | None:
    stable = status(deployment).get("stable") or {}
    origin = snapshot.origin(deployment, stable.get("modelVersion"))
    runs = snapshot.runs_of_model(deployment)
    if origin is not None or runs:
        return _key(origin if origin is not None else runs[-1])
    retraining = deployment["spec"].get("retraining") or {}
    reference = retraining.get("template", {}).get("datasetRef", {}).get("name", "")
    dataset = snapshot.get(DATASET, namespace(deployment), reference)
    return None if dataset is None else _key(dataset)


def _children(snapshot: Snapshot, parent: Object, placed: Mapping[Key, Key | None]) -> tuple[Node, ...]:
    return tuple(
        _deployment(snapshot, one) for one in snapshot.of_kind(MODEL_DEPLOYMENT) if placed[_key(one)] == _key(parent)
    )


def _dataset(snapshot: Snapshot, dataset: Object, placed: Mapping[Key, Key | None]) -> Node:
    runs = tuple(
        _run(snapshot, run, placed)
        for run in sorted(
            snapshot.of_kind(TRAINING_RUN, namespace(dataset)),
            key=lambda run: run["metadata"].get("creationTimestamp", ""),
        )
        if run["spec"]["datasetRef"]["name"] == name(dataset)
    )
    version = status(dataset).get("version") or {}
    text = ""
    if version:
        text = f"version {version['ordinal']} · {version['rows']:,} rows · {version['digest'][:19]}…"
        text += f" · to {_day(version['to'])}" if version.get("to") else ""
    return _node(dataset, text, children=(*runs, *_children(snapshot, dataset, placed)))


def _run(snapshot: Snapshot, run: Object, placed: Mapping[Key, Key | None]) -> Node:
    told = status(run)
    parts = [
        f"model {run['spec']['model']['name']}" + (f" version {told['modelVersion']}" if "modelVersion" in told else "")
    ]
    gate = told.get("gate") or {}
    if gate.get("verdict"):
        parts.append(f"gate {gate['verdict']}" + "".join(_regression(result) for result in gate.get("results") or ()))
    if told.get("dataset"):
        parts.append(f"data {told['dataset']['digest'][:19]}…")
    return _node(run, " · ".join(parts), children=_children(snapshot, run, placed))


def _regression(result: Mapping[str, Any]) -> str:
    if result.get("value") is None:
        return ""
    against = f" (champion {result['baseline']})" if result.get("baseline") is not None else ""
    return f", {result['name']} {result['value']}{against}"


def _deployment(snapshot: Snapshot, deployment: Object) -> Node:
    told = status(deployment)
    children = [*_slots(snapshot, deployment)]
    children += [_finding(slo) for slo in told.get("slos") or ()]
    retraining = _retraining(told.get("retraining") or {})
    if retraining is not None:
        children.append(retraining)
    text = f"model {deployment['spec']['model']['name']}"
    promises = condition(deployment, "SLOsMet")
    if promises is not None and told.get("stable") and promises.reason != reasons.NO_OUTCOME_SLO:
        words = {"True": "promises kept", "False": "promise broken"}
        text += f" · {words.get(promises.status, 'promises not judged yet')}"
    return _node(deployment, text, children=tuple(children))


def _slots(snapshot: Snapshot, deployment: Object) -> Iterator[Node]:
    told = status(deployment)
    canary, stable, previous = told.get("canary") or {}, told.get("stable") or {}, told.get("previous") or {}
    weight = (canary.get("weight") or {}).get("verified")
    if stable:
        share = "" if canary and weight is None else f"{100 - (weight or 0)} %"
        text = " · ".join(part for part in (_version(snapshot, deployment, stable), share) if part)
        ready = stable.get("readyReplicas", 0)
        wanted = (stable.get("server") or {}).get("replicas", 1)
        state_ = State.OK if ready >= wanted else State.WARNING if ready else State.BAD
        yield Node(
            kind="Slot", name=stable["slot"], state=state_, reason="stable", text=f"{text} · {ready}/{wanted} ready"
        )
    if canary:
        yield _canary(snapshot, deployment, canary)
    if previous:
        yield Node(
            kind="Slot",
            name=previous["slot"],
            state=State.NONE,
            reason="previous",
            text=f"{_version(snapshot, deployment, previous)} · {_kept(previous)}",
        )


def _kept(previous: Mapping[str, Any]) -> str:
    """Say how long the version before has pods, and till when it can be gone back to."""
    warm = "no pods" if previous.get("scaledDown") else f"kept warm until {_minute(previous['scaleDownTime'])}"
    back = previous.get("rollbackUntil")
    return f"{warm}, can be gone back to until {_minute(back)}" if back else warm


def _canary(snapshot: Snapshot, deployment: Object, canary: Mapping[str, Any]) -> Node:
    steps = (deployment["spec"].get("canary") or {}).get("steps") or ()
    weight = canary.get("weight") or {}
    if canary.get("step", 0) == 0:
        share = "getting ready"
    else:
        live = weight.get("verified")
        share = f"step {canary['step']}{f' of {len(steps)}' if steps else ''} · {weight.get('desired', 0)} %"
        share += "" if live == weight.get("desired") else f" ({'not confirmed' if live is None else f'{live} % live'})"
    evidence = tuple(_finding(slo) for slo in canary.get("slos") or ())
    verdicts = {child.state for child in evidence}
    state_ = State.BAD if State.BAD in verdicts else State.WAITING
    text = f"{_version(snapshot, deployment, canary)} · {share}"
    return Node(kind="Slot", name=canary["slot"], state=state_, reason="canary", text=text, children=evidence)


def _finding(found: Mapping[str, Any]) -> Node:
    """Say what was found of a promise: the rate, its interval, on how much, and what more decides, or why."""
    parts = []
    if found.get("value") is not None:
        interval = f" [{found['low']}, {found['high']}]" if found.get("low") and found.get("high") else ""
        parts.append(f"{found['value']}{interval}" + (f" of {found['samples']:,}" if found.get("samples") else ""))
    if found.get("needed") is not None:
        eta = f", {_span(found['etaSeconds'])}" if found.get("etaSeconds") is not None else ""
        parts.append(f"about {found['needed']:,} more{eta}")
    elif found.get("message"):
        parts.append(found["message"])
    text = " · ".join(parts)
    return Node(kind="SLO", name=found["name"], state=_judged(found), reason=found["verdict"], text=text)


def _retraining(told: Mapping[str, Any]) -> Node | None:
    if told.get("currentRun"):
        return Node(
            kind="Retraining", name="", state=State.WAITING, reason="running", text=f"TrainingRun {told['currentRun']}"
        )
    decisions = told.get("decisions") or ()
    if not decisions:
        return None
    last = decisions[0]
    state_ = State.OK if last["decision"] == "Passed" else State.NONE
    text = f"{last['trigger']} · {last['reason']} · {_minute(last['time'])}"
    return Node(kind="Retraining", name="", state=state_, reason=last["decision"].lower(), text=text)


def _node(obj: Object, text: str, *, children: tuple[Node, ...]) -> Node:
    state_, said = state(obj), summary(obj) if state(obj) is State.OK else trouble(obj)
    if state_ is not State.OK and said.message:
        text = f"{text} · {said.message}" if text else said.message
    return Node(
        kind=obj["kind"],
        name=name(obj),
        namespace=namespace(obj),
        state=state_,
        reason=said.reason,
        text=text,
        children=children,
    )


def _version(snapshot: Snapshot, deployment: Object, slot: Mapping[str, Any]) -> str:
    """Say which version a slot has; where two slots have the same model, the hash tells the servers apart."""
    told = status(deployment)
    slots = [told[key]["modelVersion"] for key in ("stable", "canary", "previous") if told.get(key)]
    text = f"model version {slot['modelVersion']}"
    text += f" ({slot['version']})" if slots.count(slot["modelVersion"]) > 1 else ""
    origin = snapshot.origin(deployment, slot.get("modelVersion"))
    return text + (f" from {name(origin)}" if origin is not None else "")


def _judged(slo: Mapping[str, Any]) -> State:
    return VERDICTS.get(slo.get("verdict", ""), State.WARNING)


def _day(time: str) -> str:
    return time[:10]


def _minute(time: str) -> str:
    return time[:16].replace("T", " ")


def _span(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"≈ {round(seconds / size)} {unit}"
    return f"≈ {round(seconds)} s"
