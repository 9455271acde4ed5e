"""Conditions, as Kubernetes' API conventions and kstatus want them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from perennial.terms import reasons
from perennial.terms.kube import Condition

Truth = Literal["True", "False", "Unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What a planner says of one condition; `settle` adds the times."""

    type: str
    status: Truth
    reason: str
    message: str


def mark(type_: str, status: Truth | bool, reason: str, message: str) -> Mark:
    """Return a mark; True and False stand for themselves."""
    return Mark(type=type_, status=str(status) if isinstance(status, bool) else status, reason=reason, message=message)  # type: ignore[arg-type]


def settle(
    before: Iterable[Condition], marks: Iterable[Mark], *, now: datetime, generation: int
) -> tuple[Condition, ...]:
    """Return the conditions after some marks, sorted by type.

    `lastTransitionTime` moves only when the status does, so that saying the same twice writes nothing. Conditions that
    are not marked vanish: a planner always says the whole of it.
    """
    known = {condition.type: condition for condition in before}
    settled = []
    for said in sorted(marks, key=lambda item: item.type):
        old = known.get(said.type)
        since = old.last_transition_time if old is not None and old.status == said.status else now
        settled.append(
            Condition(
                type=said.type,
                status=said.status,
                reason=said.reason,
                message=said.message,
                last_transition_time=since,
                observed_generation=generation,
            )
        )
    return tuple(settled)


def progress(
    *, reconciling: tuple[str, str] | None = None, stalled: tuple[str, str] | None = None
) -> tuple[Mark, Mark]:
    """Return kstatus' two conditions from (reason, message) pairs.

    Reconciling: on the way, no hand needed. Stalled: nothing will change until somebody does something.
    """
    return (
        mark("Reconciling", True, *reconciling)
        if reconciling
        else mark("Reconciling", False, reasons.SETTLED, "Nothing is on its way."),
        mark("Stalled", True, *stalled) if stalled else mark("Stalled", False, reasons.FREE, "Nothing is in the way."),
    )


def repeat(known: Condition) -> Mark:
    """Return the mark that says again what a condition says."""
    return Mark(type=known.type, status=known.status, reason=known.reason, message=known.message)


def condition(conditions: Iterable[Condition], type_: str) -> Condition | None:
    """Return the condition of a type, or None."""
    return next((item for item in conditions if item.type == type_), None)
