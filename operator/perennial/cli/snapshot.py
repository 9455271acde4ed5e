"""The objects of Perennial that were read at one moment, and how to find one's way among them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from perennial.cli.errors import CliError
from perennial.terms import names, reasons
from perennial.terms.names import KIND_LABEL, NAME_LABEL

Object = Mapping[str, Any]

DATASET: Final = names.DATASET.kind
TRAINING_RUN: Final = names.TRAINING_RUN.kind
MODEL_DEPLOYMENT: Final = names.MODEL_DEPLOYMENT.kind
SUMMARY: Final = {each.kind: each.summary for each in names.KINDS}
"""The condition that sums a kind up."""


class State(StrEnum):
    """How an object is, in one word."""

    OK = "Ok"
    WARNING = "Warning"
    WAITING = "Waiting"
    PAUSED = "Paused"
    BAD = "Bad"
    NONE = "None"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A condition, as far as it is there."""

    status: str = "Unknown"
    reason: str = ""
    message: str = ""


def name(obj: Object) -> str:
    """Return an object's name."""
    return str(obj["metadata"]["name"])


def namespace(obj: Object) -> str:
    """Return an object's namespace."""
    return str(obj["metadata"].get("namespace", ""))


def status(obj: Object) -> Mapping[str, Any]:
    """Return an object's status, empty if there is none."""
    found: Mapping[str, Any] = obj.get("status") or {}
    return found


def condition(obj: Object, type_: str) -> Condition | None:
    """Return a condition of an object, or None."""
    for item in status(obj).get("conditions") or ():
        if item.get("type") == type_:
            return Condition(
                status=item.get("status", "Unknown"), reason=item.get("reason", ""), message=item.get("message", "")
            )
    return None


def summary(obj: Object) -> Condition:
    """Return the condition that sums an object up; where the operator has not looked yet, one that says so."""
    known = condition(obj, SUMMARY[obj["kind"]])
    if known is None:
        return Condition(reason=reasons.NOT_SEEN, message="The operator has not looked at it yet: see whether it runs.")
    if status(obj).get("observedGeneration", 0) < obj["metadata"].get("generation", 0):
        return Condition(
            reason=reasons.NOT_SEEN,
            message="The operator has not looked at the latest change yet: see whether it runs.",
        )
    return known


def state(obj: Object) -> State:
    """Return how an object is: its summary, and whether something stands in the way that needs a person."""
    said, stalled = summary(obj), condition(obj, "Stalled")
    stuck = stalled is not None and stalled.status == "True"
    if stuck and stalled is not None and stalled.reason == reasons.SUSPENDED:
        return State.PAUSED
    if said.status == "True":
        promises = condition(obj, "SLOsMet")
        broken = promises is not None and promises.status == "False"
        return State.WARNING if stuck or broken else State.OK
    if said.status == "Unknown":
        return State.WAITING
    moving = condition(obj, "Reconciling")
    return State.WAITING if moving is not None and moving.status == "True" and not stuck else State.BAD


def trouble(obj: Object) -> Condition:
    """Return the condition that says most: the summary unless it is True, what is in the way, broken promises."""
    said = summary(obj)
    if said.status != "True":
        fetched = condition(obj, "Fetched")
        behind = said.reason == reasons.NO_VERSION and fetched is not None and fetched.status != "True"
        return fetched if behind and fetched is not None else said
    for type_, bad in (("Stalled", "True"), ("SLOsMet", "False")):
        found = condition(obj, type_)
        if found is not None and found.status == bad:
            return found
    return said


def kind_of(text: str) -> str:
    """Return the kind that somebody means by `mdep`, `modeldeployments.perennial.dev` and so on.

    Raises:
        CliError: none of the three.
    """
    plain = text.lower().split(".", 1)[0]
    for each in names.KINDS:
        if plain in {each.singular, each.plural, each.short}:
            return each.kind
    raise CliError(f"{text!r} must be {_either(names.KINDS)}.")


def _either(kinds: Sequence[names.KindName]) -> str:
    """Return `a, b or c (or x, y, z)` of some kinds and their short names."""
    *others, last = (each.singular for each in kinds)
    return f"{', '.join(others)} or {last} (or {', '.join(each.short for each in kinds)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All objects of the three kinds and, where they were read, their Jobs and pods; sorted by namespace and name."""

    objects: tuple[Object, ...]
    children: tuple[Object, ...] = ()

    @classmethod
    def of(cls, objects: Iterable[Object], children: Iterable[Object] = ()) -> "Snapshot":
        """Return a snapshot of what was read, in any order."""
        return cls(objects=_sorted(objects), children=_sorted(children))

    def of_kind(self, kind: str, within: str | None = None) -> tuple[Object, ...]:
        """Return the objects of a kind, of one namespace or of all."""
        return tuple(obj for obj in self.objects if obj["kind"] == kind and within in {None, namespace(obj)})

    def get(self, kind: str, within: str, called: str) -> Object | None:
        """Return an object, or None."""
        return next((obj for obj in self.of_kind(kind, within) if name(obj) == called), None)

    def find(self, text: str) -> Object:
        """Return the object that somebody means by KIND/NAME, or by a NAME that only one has.

        Raises:
            CliError: there is none, or several.
        """
        kind, slash, called = text.partition("/")
        wanted = kind_of(kind) if slash else None
        found = [
            obj for obj in self.objects if name(obj) == (called if slash else text) and wanted in {None, obj["kind"]}
        ]
        if not found:
            raise CliError(f"There is no {wanted or 'Dataset, TrainingRun or ModelDeployment'} {called or text} here.")
        if len(found) > 1:
            several = ", ".join(f"{obj['kind'].lower()}/{name(obj)} in {namespace(obj)}" for obj in found)
            raise CliError(f"{text!r} must mean one object, and may be any of: {several}.")
        return found[0]

    def runs_of_model(self, deployment: Object) -> tuple[Object, ...]:
        """Return the TrainingRuns of a ModelDeployment's namespace that train its model, oldest first."""
        model = deployment["spec"]["model"]["name"]
        runs = [
            run for run in self.of_kind(TRAINING_RUN, namespace(deployment)) if run["spec"]["model"]["name"] == model
        ]
        return tuple(sorted(runs, key=_age))

    def origin(self, deployment: Object, model_version: str | None) -> Object | None:
        """Return the TrainingRun that a model version comes from, or None."""
        runs = self.runs_of_model(deployment)
        return next((run for run in runs if model_version and status(run).get("modelVersion") == model_version), None)

    def jobs(self, owner: Object) -> tuple[Object, ...]:
        """Return the Jobs of an object, oldest first."""
        return tuple(sorted((job for job in self.children if job["kind"] == "Job" and _owned(job, owner)), key=_age))

    def pods(self, owner: Object, component: str | None = None) -> tuple[Object, ...]:
        """Return an object's pods (by Perennial's labels, or by its uid), oldest first."""
        pods = [pod for pod in self.children if pod["kind"] == "Pod" and (_owned(pod, owner) or _labelled(pod, owner))]
        return tuple(
            sorted((pod for pod in pods if component in {None, _label(pod, "app.kubernetes.io/component")}), key=_age)
        )


def _sorted(objects: Iterable[Object]) -> tuple[Object, ...]:
    return tuple(sorted(objects, key=lambda obj: (namespace(obj), obj["kind"], name(obj))))


def _age(obj: Object) -> tuple[str, str]:
    return str(obj["metadata"].get("creationTimestamp", "")), name(obj)


def _owned(obj: Object, owner: Object) -> bool:
    references: Sequence[Object] = obj["metadata"].get("ownerReferences") or ()
    return any(reference.get("uid") == owner["metadata"].get("uid") for reference in references)


def _label(obj: Object, key: str) -> str | None:
    value = (obj["metadata"].get("labels") or {}).get(key)
    return None if value is None else str(value)


def _labelled(pod: Object, owner: Object) -> bool:
    return (namespace(pod), _label(pod, KIND_LABEL), _label(pod, NAME_LABEL)) == (
        namespace(owner),
        owner["kind"],
        name(owner),
    )
