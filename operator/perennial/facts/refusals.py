"""Why a Job has no pods: what its controller was told when it wanted to make them.

A Deployment says it in a condition; a Job says it in Events alone, which nobody watches: a cluster has very many. So
they are asked for by name, and only for Jobs that have had no pod for some seconds: in a healthy cluster never.
"""

from asyncio import Task, create_task, gather, sleep
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from perennial.facts.errors import OutsideError
from perennial.facts.transport import Transport
from perennial.manifests.manifest import Manifest
from perennial.plan.observed import Fact

REASON: Final = "FailedCreate"
"""The Job controller's word: pkg/controller/job/job_controller.go."""
PREFIX: Final = "Error creating: "


@dataclass(slots=True)
class _Followed:
    fact: Fact[str]
    task: Task[None]


class Refusals:
    """Facts about Jobs without pods: the API server's sentence on why none may be created; no value: it said nothing.

    Args:
        api: speaks with the Kubernetes API, as the operator.
        on_change: called, in the event loop, with a Job whose fact has changed.
        has_no_pods: tells whether a Job is still there, and still has none.
        patience_seconds: how long a Job is without pods before anybody asks why.
        period_seconds: how often it is asked then.
    """

    def __init__(
        self,
        api: Transport,
        on_change: Callable[[Manifest], None],
        has_no_pods: Callable[[Manifest], bool],
        *,
        patience_seconds: float = 5.0,
        period_seconds: float = 15.0,
    ) -> None:
        self._api = api
        self._on_change = on_change
        self._has_no_pods = has_no_pods
        self._patience = patience_seconds
        self._period = period_seconds
        self._followed: dict[str, _Followed] = {}

    def get(self, job: Manifest) -> Fact[str]:
        """Return what is known of a Job that has no pods; it is followed from the first question until it has one."""
        uid = job["metadata"]["uid"]
        if uid not in self._followed:
            task = create_task(self._follow(job), name=f"refusals of {job['metadata']['name']}")
            self._followed[uid] = _Followed(Fact(), task)
        return self._followed[uid].fact

    async def close(self) -> None:
        """Stop asking."""
        tasks = [each.task for each in self._followed.values()]
        for task in tasks:
            task.cancel()
        await gather(*tasks, return_exceptions=True)

    async def _follow(self, job: Manifest) -> None:
        uid = job["metadata"]["uid"]
        try:
            await sleep(self._patience)
            while self._has_no_pods(job):
                fact = await self._read(job)
                if fact != self._followed[uid].fact:
                    self._followed[uid].fact = fact
                    self._on_change(job)
                await sleep(self._period)
        finally:
            del self._followed[uid]

    async def _read(self, job: Manifest) -> Fact[str]:
        metadata = job["metadata"]
        query = {"fieldSelector": f"involvedObject.uid={metadata['uid']},reason={REASON}"}
        try:
            answer = await self._api.ask("GET", f"api/v1/namespaces/{metadata['namespace']}/events", query=query)
        except OutsideError as error:
            return Fact(value=self._followed[metadata["uid"]].fact.value, error=str(error))
        return Fact(value=_newest(answer.get("items") or ()))


def _newest(events: Iterable[Mapping[str, Any]]) -> str | None:
    """Return what the newest of some Events says."""
    newest = max(events, key=_moment, default=None)
    return None if newest is None else str(newest.get("message", "")).removeprefix(PREFIX)


def _moment(event: Mapping[str, Any]) -> str:
    series = event.get("series") or {}
    return str(series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime") or "")
