"""Leader election in virtual time: never two, soon one, whatever the network and the processes do."""

import asyncio
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_api import MemoryApi, Request
from virtual_time import VirtualClock, run

from perennial.runtime.errors import LeadershipLost, Terminal, Unavailable
from perennial.runtime.leader import Leader, LeaseSettings
from perennial.runtime.resources import Key

KEY = Key("Lease", "ns", "perennial")


def settings_of(identity: str) -> LeaseSettings:
    return LeaseSettings(namespace="ns", name="perennial", identity=identity)


@dataclass
class Candidate:
    """A process that wants to lead: it acquires, holds, and notes when it may write."""

    api: MemoryApi
    identity: str
    away: bool = False
    led: list[bool] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.leader = Leader(
            _Line(self, self.api).client(), settings_of(self.identity), VirtualClock(), on_change=self.led.append
        )
        self.task = asyncio.create_task(self._live())

    async def _live(self) -> None:
        await self.leader.acquire()
        await self.leader.hold()

    @property
    def may_write(self) -> bool:
        return self.leader.leading and not self.task.done()

    async def leads(self, within: float) -> None:
        async with asyncio.timeout(within):
            while not self.leader.leading:
                await asyncio.sleep(0.1)


class _Line(MemoryApi):
    """One candidate's line to the shared API server."""

    def __init__(self, candidate: Candidate, api: MemoryApi) -> None:
        super().__init__()
        self.__dict__ = {**api.__dict__}
        self._candidate, self._api = candidate, api

    async def asked(self, verb: str, kind: str, name: str) -> None:
        if self._candidate.away:
            await asyncio.sleep(1)
            raise Unavailable("the API", "no route")
        await self._api.asked(verb, kind, name)

    def _store(self, key: Key, manifest: dict[str, object]) -> dict[str, object]:
        return self._api._store(key, manifest)


async def end(*candidates: Candidate) -> None:
    for each in candidates:
        each.task.cancel()
    await asyncio.gather(*(each.task for each in candidates), return_exceptions=True)


def test_the_first_leads_and_costs_one_request_a_period() -> None:
    async def story() -> None:
        api = MemoryApi()
        one = Candidate(api, "one")
        await one.leads(1)
        assert one.led == [False, True]
        await asyncio.sleep(10)
        api.requests.clear()
        await asyncio.sleep(100)
        assert 50 <= len(api.requests) <= 100
        assert {request.verb for request in api.requests} == {"update"}
        await end(one)

    run(story())


def test_a_lease_that_is_refused_is_asked_for_again_and_lost_in_time() -> None:
    async def story() -> None:
        refused = Terminal("Invalid", "spec.holderIdentity: must not be longer than it is")
        api = MemoryApi(fail=lambda _: refused)
        one = Candidate(api, "one")
        await asyncio.sleep(60)
        assert not one.task.done()
        api.fail = lambda _: None
        await one.leads(5)
        api.fail = lambda _: refused
        with pytest.raises(LeadershipLost):
            async with asyncio.timeout(20):
                await one.task
        assert one.led == [False, True, False]

    run(story())


def test_a_second_waits_while_the_first_renews() -> None:
    async def story() -> None:
        api = MemoryApi()
        one = Candidate(api, "one")
        await one.leads(1)
        two = Candidate(api, "two")
        await asyncio.sleep(300)
        assert one.may_write
        assert not two.may_write
        assert api.objects[KEY]["spec"]["leaseTransitions"] == 0
        await end(one, two)

    run(story())


def test_a_crash_is_made_up_for_within_the_leases_duration_and_half_a_period() -> None:
    async def story() -> None:
        api = MemoryApi()
        one = Candidate(api, "one")
        await one.leads(1)
        two = Candidate(api, "two")
        await asyncio.sleep(60)
        await end(one)
        crashed = asyncio.get_running_loop().time()
        await two.leads(16.1)
        assert asyncio.get_running_loop().time() - crashed >= 12, "earlier than the first was bound to have stopped"
        assert api.objects[KEY]["spec"]["leaseTransitions"] == 1
        await end(two)

    run(story())


def test_a_clean_stop_hands_over_within_half_a_period() -> None:
    async def story() -> None:
        api = MemoryApi()
        one = Candidate(api, "one")
        await one.leads(1)
        two = Candidate(api, "two")
        await asyncio.sleep(60)
        await one.leader.release()
        assert not one.leader.leading
        await two.leads(1)
        await asyncio.sleep(60)
        assert one.task.done(), "it went on renewing"
        assert one.task.exception() is None, "stepping down was taken for a loss"
        assert two.may_write
        await end(one, two)

    run(story())


def test_a_release_in_the_middle_of_a_renewal_still_gives_the_lease_back() -> None:
    async def story() -> None:
        api = MemoryApi(seconds=0.5)
        one = Candidate(api, "one")
        await one.leads(5)
        while len(api.requests) < 5 or api.requests[-1].verb != "update":
            await asyncio.sleep(0.1)
        await one.leader.release()
        assert api.objects[KEY]["spec"]["holderIdentity"] == ""
        await asyncio.sleep(60)
        assert api.objects[KEY]["spec"]["holderIdentity"] == "", "it took the lease again"
        await end(one)

    run(story())


def test_without_the_api_the_leader_stops_before_anybody_else_may_start() -> None:
    async def story() -> None:
        loop = asyncio.get_running_loop()
        api = MemoryApi()
        one = Candidate(api, "one")
        await one.leads(1)
        two = Candidate(api, "two")
        await asyncio.sleep(60)
        one.away = True
        gone = loop.time()
        with pytest.raises(LeadershipLost):
            await one.task
        stopped = loop.time()
        assert stopped - gone <= 10.01
        await two.leads(17)
        assert loop.time() > stopped
        assert one.led == [False, True, False]
        await end(two)

    run(story())


def test_a_short_outage_costs_nobody_the_lead() -> None:
    async def story() -> None:
        api = MemoryApi()
        one = Candidate(api, "one")
        await one.leads(1)
        one.away = True
        await asyncio.sleep(6)
        one.away = False
        await asyncio.sleep(60)
        assert one.may_write
        await end(one)

    run(story())


def test_whoever_finds_another_holder_stops_at_the_next_look() -> None:
    async def story() -> None:
        api = MemoryApi()
        one = Candidate(api, "one")
        await one.leads(1)
        lease = api.objects[KEY]
        api.seed({**lease, "spec": {**lease["spec"], "holderIdentity": "usurper"}})
        with pytest.raises(LeadershipLost, match="usurper holds it"):
            async with asyncio.timeout(5):
                await one.task

    run(story())


def test_a_lease_that_somebody_deletes_is_made_again_by_its_holder() -> None:
    async def story() -> None:
        api = MemoryApi()
        one = Candidate(api, "one")
        await one.leads(1)
        del api.objects[KEY]
        await asyncio.sleep(8)
        assert one.may_write
        assert api.objects[KEY]["spec"]["holderIdentity"] == "one"
        await end(one)

    run(story())


def test_the_fence_closes_by_itself_while_the_process_does_not_run() -> None:
    """Frozen for longer than the deadline, then thawed: a write comes before the leader's task has woken up."""

    async def story() -> None:
        one = Candidate(MemoryApi(), "one")
        await one.leads(1)
        one.leader.check()
        asyncio.get_running_loop().moment += 11  # type: ignore[attr-defined]
        with pytest.raises(LeadershipLost):
            one.leader.check()
        await end(one)

    run(story())


@pytest.mark.parametrize(("duration", "deadline", "period"), [(10, 10, 2), (15, 4, 2), (15, 10, 0)])
def test_settings_under_which_two_could_lead_are_refused(duration: float, deadline: float, period: float) -> None:
    with pytest.raises(ValueError, match="must hold"):
        LeaseSettings(
            namespace="ns",
            name="n",
            identity="i",
            duration_seconds=duration,
            renew_deadline_seconds=deadline,
            retry_period_seconds=period,
        )


steps = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["cut", "mend", "kill", "stop", "lose"]), st.integers(0, 20)),
    max_size=15,
)


class Cast:
    """Three processes; one that ends is started again, under another name, as a pod would be."""

    def __init__(self) -> None:
        self.api = MemoryApi(seconds=0.05, fail=self._fail)
        self.lost_until = 0.0
        self.candidates = [Candidate(self.api, f"c{number}") for number in range(3)]

    def _fail(self, _: Request) -> Exception | None:
        lost = asyncio.get_running_loop().time() < self.lost_until
        return Unavailable("the API", "overloaded") if lost else None

    async def act(self, number: int, what: str, seconds: int) -> None:
        one = self.candidates[number]
        match what:
            case "cut" | "mend":
                one.away = what == "cut"
            case "kill":
                await end(one)
            case "stop":
                await one.leader.release()
                await end(one)
            case _:
                self.lost_until = asyncio.get_running_loop().time() + seconds

    def replace_the_dead(self) -> None:
        for number, each in enumerate(self.candidates):
            if each.task.done():
                if not each.task.cancelled():
                    each.task.exception()
                self.candidates[number] = Candidate(self.api, f"{each.identity}'", away=each.away)

    async def watch(self) -> None:
        """Look ten times a second whether two may write; a mistake here lasts for seconds."""
        while True:
            writers = [each.identity for each in self.candidates if each.may_write]
            assert len(writers) <= 1, f"{writers} may write at {asyncio.get_running_loop().time()}"
            await asyncio.sleep(0.1)


@settings(max_examples=60, deadline=None)
@given(steps=steps)
def test_never_two_may_write_and_at_last_one_does(steps: list[tuple[int, str, int]]) -> None:
    async def story() -> None:
        cast = Cast()
        watching = asyncio.create_task(cast.watch())
        for number, what, seconds in steps:
            await cast.act(number, what, seconds)
            cast.replace_the_dead()
            await asyncio.sleep(seconds)
        cast.replace_the_dead()
        for each in cast.candidates:
            each.away = False
        cast.lost_until = 0.0
        await asyncio.sleep(40)
        assert sum(each.may_write for each in cast.candidates) == 1
        assert not watching.done(), watching.exception()
        watching.cancel()
        await end(*cast.candidates)

    run(story())
