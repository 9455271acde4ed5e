"""The pods behind the routers, as each Envoy lists them: who gets a slot's requests, and how each has answered."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import get_args

from perennial.terms.words import Slot

_LINE = re.compile(
    r"^(?P<slot>[ab])::(?P<address>[\d.]+):\d+::(?:(?P<name>rq_error|rq_success)::(?P<n>\d{1,15})|"
    r"health_flags::(?P<health>\w+))$",
    re.MULTILINE,
)

Half = tuple[int, int]
"""Requests that were answered, and those of them that failed (5xx, lost or refused connections)."""


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of a slot as one router knows it: what it has answered since the router began."""

    answered: int = 0
    failed: int = 0
    healthy: bool = False


Listed = Mapping[tuple[Slot, str], Pod]
"""A router's pods by slot and address."""


def parse_pods(text: str) -> Listed:
    """Read Envoy's list of clusters."""
    found: dict[tuple[Slot, str], Pod] = {}
    for line in _LINE.finditer(text):
        key: tuple[Slot, str] = ("a" if line["slot"] == "a" else "b", line["address"])
        pod = found.get(key, Pod())
        number = int(line["n"] or 0)
        found[key] = Pod(
            pod.answered + number,
            pod.failed + (number if line["name"] == "rq_error" else 0),
            pod.healthy or line["health"] == "healthy",
        )
    return found


def members(listed: Iterable[Listed | None]) -> Mapping[Slot, tuple[str, ...]] | None:
    """Return the addresses that every router has for each slot; None while they disagree or one did not answer.

    Envoy learns of pods by DNS, some seconds after they are ready, and of their end as late: a slot whose pods were
    just changed must not get requests before every router means the new ones.
    """
    told = {None if pods is None else _healthy(pods) for pods in listed}
    agreed = told.pop() if len(told) == 1 else None
    return None if agreed is None else dict(agreed)


def _healthy(pods: Listed) -> tuple[tuple[Slot, tuple[str, ...]], ...]:
    return tuple(
        (slot, tuple(sorted(address for (of, address), pod in pods.items() if of == slot and pod.healthy)))
        for slot in get_args(Slot)
    )


class Halves:
    """A slot's requests by two halves of its pods, from look to look.

    The halves run the same version beside each other, under the same requests: what sets them apart more than chance
    does, sets a candidate apart from stable as well, without any harm in it.
    """

    def __init__(self) -> None:
        self._before: Mapping[str, Listed] = {}

    def since(self, listed: Mapping[str, Listed | None], slot: Slot) -> tuple[Half, Half] | None:
        """Return both halves' requests since the last look; None if there are none, or fewer than two pods.

        Pods are dealt to the halves in turns, in the order of their addresses. A router that was not reached before and
        now, or that began anew, is left out of this look.
        """
        before, now = self._before, {router: pods for router, pods in listed.items() if pods is not None}
        self._before = now
        halves: list[Half] = [(0, 0), (0, 0)]
        for router, pods in now.items():
            for number, address in enumerate(sorted(address for of, address in pods if of == slot)):
                old, new = before.get(router, {}).get((slot, address)), pods[slot, address]
                if old is not None and new.answered >= old.answered and new.failed >= old.failed:
                    answered, failed = halves[number % 2]
                    halves[number % 2] = (answered + new.answered - old.answered, failed + new.failed - old.failed)
        first, second = halves
        return (first, second) if first[0] and second[0] else None
