"""Why a Job has no pods: asked for by name, only where it must be, and told when it changes."""

from collections.abc import Mapping
from typing import Any

import pytest
from eventually import until

from perennial.facts import Refusals, Unavailable
from perennial.manifests.manifest import Manifest
from perennial.plan.observed import Fact

JOB: Mapping[str, Any] = {"metadata": {"name": "run-1-train", "namespace": "ml", "uid": "u-1"}}


def event(message: str, **moment: Any) -> dict[str, Any]:
    return {"message": f"Error creating: {message}", **moment}


class Api:
    """Stands for the API server's list of Events."""

    def __init__(self, *events: dict[str, Any]) -> None:
        self.events: list[dict[str, Any]] | None = list(events)
        self.asked: list[tuple[str, str, Mapping[str, str]]] = []

    async def ask(self, method: str, path: str, *, query: Mapping[str, str]) -> Any:
        self.asked.append((method, path, query))
        if self.events is None:
            raise Unavailable("the Kubernetes API", "no answer")
        return {"items": self.events}


class Follower:
    """A `Refusals` with what it tells and asks."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.without_pods = True
        self.looks = 0
        self.changed: list[Manifest] = []
        self.refusals = Refusals(
            api,  # type: ignore[arg-type]
            self.changed.append,
            self.has_no_pods,
            patience_seconds=0.0,
            period_seconds=0.0,
        )

    def has_no_pods(self, job: Manifest) -> bool:
        assert job == JOB
        self.looks += 1
        return self.without_pods

    async def followed(self, looks: int) -> Fact[str]:
        """Return the fact after so many further looks."""
        fact, wanted = self.refusals.get(JOB), self.looks + looks
        await until(lambda: self.looks >= wanted)
        return self.refusals.get(JOB) if self.without_pods else fact


async def test_the_newest_event_is_told_once() -> None:
    old = event("exceeded quota: old", lastTimestamp="2026-03-01T11:00:00Z")
    new = event("exceeded quota: new", series={"lastObservedTime": "2026-03-01T12:00:00.000000Z"})
    follower = Follower(Api(new, old))
    assert follower.refusals.get(JOB) == Fact()
    assert await follower.followed(4) == Fact(value="exceeded quota: new")
    assert follower.changed == [JOB]
    method, path, query = follower.api.asked[0]
    assert (method, path) == ("GET", "api/v1/namespaces/ml/events")
    assert query == {"fieldSelector": "involvedObject.uid=u-1,reason=FailedCreate"}
    await follower.refusals.close()


async def test_nobody_is_asked_about_a_job_that_has_its_pods_by_then() -> None:
    follower = Follower(Api(event("exceeded quota: q")))
    follower.without_pods = False
    assert await follower.followed(1) == Fact()
    await follower.refusals.close()
    assert (follower.api.asked, follower.changed) == ([], [])


async def test_what_is_over_is_forgotten() -> None:
    follower = Follower(Api(event("exceeded quota: q")))
    assert await follower.followed(3) == Fact(value="exceeded quota: q")
    follower.without_pods = False
    await follower.followed(1)
    await until(lambda: follower.refusals.get(JOB) == Fact())
    await follower.refusals.close()


async def test_an_outage_changes_nothing_that_is_known() -> None:
    follower = Follower(Api(event("exceeded quota: q")))
    await follower.followed(3)
    follower.api.events = None
    await until(lambda: follower.refusals.get(JOB).error is not None)
    assert follower.refusals.get(JOB).value == "exceeded quota: q"
    await follower.refusals.close()


@pytest.mark.parametrize("events", [(), (event(""),)])
async def test_no_event_is_no_reason(events: tuple[dict[str, Any], ...]) -> None:
    follower = Follower(Api(*events))
    fact = await follower.followed(3)
    assert not fact.value
    await follower.refusals.close()
