"""Whatever fails between the operator and the API server, and wherever it is killed: the same end, nothing twice."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from kubernetes.aio.client import Configuration
from operator_faults.proxy import Answer, Cut, Fault, FaultProxy, Late, Line, Request, WatchRule, error_line
from operator_faults.upstream import upstream
from test_runtime_operator import Cluster, Running, quiet, running, settings_of
from waiting import eventually
from widgets import WIDGET, Registry

from cluster.apiserver import ControlPlane
from perennial.manifests.resources import CONFIG_MAP
from perennial.runtime.connection import Connection
from perennial.runtime.operator import OperatorSettings

pytestmark = [pytest.mark.api, pytest.mark.usefixtures("widgets")]


@pytest.fixture
def cluster(control_plane: ControlPlane, namespace: str) -> Cluster:
    return Cluster(control_plane, namespace)


@pytest_asyncio.fixture
async def line(control_plane: ControlPlane) -> AsyncIterator[FaultProxy]:
    async with faulty(control_plane) as line:
        yield line


@contextlib.asynccontextmanager
async def faulty(control_plane: ControlPlane) -> AsyncIterator[FaultProxy]:
    async with upstream(control_plane.kubeconfig) as api, FaultProxy(api).running() as line:
        yield line


def connection_to(line: FaultProxy) -> Connection:
    """Return an operator's way through this line. Its URL has a path, as where many clusters share an address."""
    configuration = Configuration()
    configuration.host = line.address("operator")
    configuration.verify_ssl = False
    return Connection(configuration)


def asked(line: FaultProxy) -> list[Request]:
    return [each.request for each in line.log]


def created(line: FaultProxy, name: str) -> int:
    """Return how often a ConfigMap of this name came into being."""
    return sum(each.status == 201 and f"/configmaps/{name}" in each.request.path for each in line.log)


def settings(cluster: Cluster, **more: Any) -> OperatorSettings:
    return settings_of(cluster.namespace, max_backoff_seconds=1.0, **more)


async def story(cluster: Cluster, name: str) -> None:
    """What happens to one Widget: made, made smaller, made blue."""
    cluster.create(name, parts=2)
    await eventually("two parts", cluster.ready(name, 2))
    cluster.update(name, parts=1)
    await eventually("one part", cluster.ready(name, 1))
    await eventually("the other is gone", lambda: set(parts(cluster, name)) == {f"{name}-0"})
    cluster.update(name, parts=1, colour="blue")
    await eventually("it is blue", lambda: parts(cluster, name)[f"{name}-0"]["data"]["colour"] == "blue")
    await eventually("and says so", cluster.ready(name, 1))


def parts(cluster: Cluster, name: str) -> dict[str, Any]:
    return {part: manifest for part, manifest in cluster.parts().items() if part.startswith(f"{name}-")}


def judge(cluster: Cluster, line: FaultProxy, registry: Registry, name: str) -> None:
    """The end is the one without faults, and nothing was done twice on the way."""
    seen = cluster.get(name)
    assert seen["status"]["parts"] == [f"{name}-0"]
    assert seen["status"]["observedGeneration"] == seen["metadata"]["generation"] == 3
    assert [each["type"] for each in seen["status"]["conditions"]] == ["Ready"], "a passing fault left a trace"
    assert registry.made == [seen["metadata"]["uid"]], "a second run was made"
    assert seen["status"]["runId"] == "run-1"
    assert created(line, f"{name}-0") == 1
    assert created(line, f"{name}-1") == 1, "a part that was deleted came back"


async def test_an_api_server_whose_url_has_a_path_is_watched_from_the_start(cluster: Cluster, line: FaultProxy) -> None:
    """Such a server's watches were taken for nobody's, and the cache was filled a minute later."""
    async with running(connection_to(line), settings(cluster)) as one:
        async with asyncio.timeout(20):
            await one.operator.leading.wait()
        cluster.create("w", parts=1)
        await eventually("it is ready", cluster.ready("w", 1), seconds=10)
        assert {request.who for request in asked(line)} == {"operator"}


async def writes_of_the_story(cluster: Cluster, control_plane: ControlPlane) -> int:
    """Learn how many requests that write the story takes when nothing fails."""
    registry = Registry()
    async with (
        faulty(control_plane) as line,
        running(connection_to(line), settings(cluster), registry) as one,
    ):
        await story(cluster, "plain")
        await quiet(one)
        judge(cluster, line, registry, "plain")
        return line.writes


async def test_killed_before_and_after_every_write(cluster: Cluster, control_plane: ControlPlane) -> None:
    """For the API server, a killed operator is one that is silent from that moment on; its memory is lost.

    Killed before a write is killed after the one before it.
    """
    writes = await writes_of_the_story(cluster, control_plane)
    assert writes >= 8
    await kill_at(cluster, control_plane, "w0", 1, done=False)
    for number in range(1, writes + 1):
        await kill_at(cluster, control_plane, f"w{number}", number, done=True)


async def kill_at(cluster: Cluster, control_plane: ControlPlane, name: str, number: int, *, done: bool) -> None:
    registry = Registry()
    async with faulty(control_plane) as line:
        dead = asyncio.Event()

        def fault(request: Request) -> Fault:
            if dead.is_set():
                return Cut(done=False)
            return Cut(done=done, then=dead.set) if request.number == number else None

        line.rule = fault
        telling = asyncio.create_task(story(cluster, name))
        await one_life(line, cluster, registry, until=dead)
        line.rule = lambda _: None
        async with running(connection_to(line), settings(cluster), registry) as one:
            await telling
            await quiet(one)
        judge(cluster, line, registry, name)


async def one_life(line: FaultProxy, cluster: Cluster, registry: Registry, *, until: asyncio.Event) -> None:
    """Run an operator until it is killed."""
    async with contextlib.AsyncExitStack() as stack:
        one = await stack.enter_async_context(running(connection_to(line), settings(cluster), registry))
        async with asyncio.timeout(60):
            await until.wait()
        one.task.cancel()
        await asyncio.gather(one.task, return_exceptions=True)
        stack.pop_all()  # it is not stopped: it is dead


FAULTS: dict[str, Callable[[], Fault]] = {
    "the reply is lost": lambda: Cut(done=True),
    "the request is lost": lambda: Cut(done=False),
    "409 Conflict": lambda: Answer(409, "Conflict"),
    "409 AlreadyExists": lambda: Answer(409, "AlreadyExists"),
    "404": lambda: Answer(404, "NotFound"),
    "429": lambda: Answer(429, "TooManyRequests", headers={"Retry-After": "1"}),
    "500": lambda: Answer(500, "InternalError"),
    "503": lambda: Answer(503, "ServiceUnavailable"),
    "quota": lambda: Answer(403, "Forbidden exceeded quota"),
    "slow": lambda: Late(1.0),
}


@pytest.mark.parametrize("what", FAULTS)
async def test_each_write_fails_once(cluster: Cluster, line: FaultProxy, what: str) -> None:
    """The first try of every distinct write fails; the next passes."""
    failed: set[tuple[str, str]] = set()

    def fault(request: Request) -> Fault:
        if not request.writes or (request.method, request.path) in failed:
            return None
        failed.add((request.method, request.path))
        return FAULTS[what]()

    line.rule = fault
    registry = Registry()
    async with running(connection_to(line), settings(cluster, resync_seconds=5), registry) as one:
        await story(cluster, "w")
        await quiet(one)
    assert len(failed) >= 4
    judge(cluster, line, registry, "w")


async def test_an_outage_costs_few_requests_and_ends_when_it_ends(cluster: Cluster, line: FaultProxy) -> None:
    registry = Registry()
    async with running(connection_to(line), settings(cluster), registry) as one:
        async with asyncio.timeout(20):
            await one.operator.leading.wait()
        cluster.create("before", parts=1)
        await eventually("it works", cluster.ready("before", 1))
        line.rule = lambda request: Answer(503, "ServiceUnavailable") if request.writes else None
        for number in range(5):
            cluster.create(f"w{number}", parts=1)
        figures, controller = one.operator.metrics.registry, {"controller": "Widget"}
        errors = "controller_runtime_reconcile_errors_total"
        await eventually("they failed", lambda: (figures.get_sample_value(errors, controller) or 0) >= 5)
        before, started = len(asked(line)), asyncio.get_running_loop().time()
        await eventually("some time has passed", lambda: asyncio.get_running_loop().time() - started > 4)
        costs = [request for request in asked(line)[before:] if "leases" not in request.path]
        assert len(costs) <= 5 * 4 * 4, "more than about a request a second and key, at a longest back-off of 1 s"
        line.rule = lambda _: None
        for number in range(5):
            await eventually("it recovers", cluster.ready(f"w{number}", 1), seconds=15)


async def test_a_terminating_namespace_is_left_in_peace(cluster: Cluster, line: FaultProxy) -> None:
    causes = {"causes": [{"reason": "NamespaceTerminating", "message": "going", "field": "metadata.namespace"}]}

    def fault(request: Request) -> Fault:
        return Answer(403, "Forbidden", details=causes) if request.writes and "configmaps" in request.path else None

    line.rule = fault
    async with running(connection_to(line), settings(cluster)) as one:
        cluster.create("w", parts=1)
        await eventually(
            "it was tried", lambda: [request for request in asked(line) if "configmaps/w-0" in request.path]
        )
        await quiet(one)
        assert "status" not in cluster.get("w"), "nobody will read it"
        assert {request.path.rsplit("/", 1)[-1] for request in asked(line) if request.writes} == {"w-0"}
        assert sum(request.writes for request in asked(line)) <= 3, "once for each report, not again and again"


# Watches.


def lines_of(plural: str, change: Callable[[bytes], AsyncIterator[Line]]) -> WatchRule:
    """Change the lines of one resource's watches; the others pass."""

    async def watched(request: Request, line: bytes) -> AsyncIterator[Line]:
        if request.plural != plural:
            yield line
            return
        async for changed in change(line):
            yield changed

    return watched


async def twice(
    one: Running, cluster: Cluster, line: FaultProxy, change: Callable[[bytes], AsyncIterator[Line]]
) -> None:
    """Make a Widget that is seen, disturb the watch on Widgets from the next event on, and make one more."""
    async with asyncio.timeout(20):
        await one.operator.leading.wait()
    cluster.create("first", parts=1)
    await eventually("the first is ready", cluster.ready("first", 1))
    await quiet(one)
    line.watched = lines_of(WIDGET.plural, change)
    cluster.create("second", parts=1)
    await eventually("the second is ready", cluster.ready("second", 1), seconds=60)
    line.watched = None
    cluster.create("third", parts=1)
    await eventually("the third is ready", cluster.ready("third", 1), seconds=60)


@pytest.mark.parametrize(("code", "reason"), [(410, "Expired"), (500, "InternalError"), (504, "Timeout")])
async def test_a_watch_that_tells_of_an_error_is_begun_anew(
    cluster: Cluster, line: FaultProxy, code: int, reason: str
) -> None:
    told: list[int] = []

    async def change(original: bytes) -> AsyncIterator[Line]:
        if told:
            yield original
            return
        told.append(code)
        yield error_line(code, reason)

    async with running(connection_to(line), settings(cluster)) as one:
        await twice(one, cluster, line, change)
        assert told == [code]


async def test_a_watch_that_ends_in_the_middle_of_a_line_is_begun_anew(cluster: Cluster, line: FaultProxy) -> None:
    told: list[int] = []

    async def change(original: bytes) -> AsyncIterator[Line]:
        if told:
            yield original
            return
        told.append(1)
        yield original[: len(original) // 2]
        yield None

    async with running(connection_to(line), settings(cluster)) as one:
        await twice(one, cluster, line, change)
        assert told


async def test_a_deletion_that_no_watch_tells_of_is_found_by_a_list(cluster: Cluster, line: FaultProxy) -> None:
    async def change(original: bytes) -> AsyncIterator[Line]:
        if json.loads(original)["type"] != "DELETED":
            yield original

    async with running(connection_to(line), settings(cluster, resync_seconds=4)) as one:
        cluster.create("w", parts=2)
        await eventually("it is ready", cluster.ready("w", 2))
        await quiet(one)
        line.watched = lines_of(CONFIG_MAP.plural, change)
        uid = cluster.parts()["w-1"]["metadata"]["uid"]
        cluster.control_plane.api.call("DELETE", CONFIG_MAP.path(cluster.namespace, "w-1"))
        new = await eventually("the part is made again", lambda: cluster.parts().get("w-1"))
        assert new["metadata"]["uid"] != uid


async def test_a_watch_that_lives_and_says_nothing_is_found_out_and_begun_anew(
    cluster: Cluster, line: FaultProxy
) -> None:
    """The zombie: the connection is alive, bookmarks may even come, and changes do not."""
    dead = {"is": False}
    swallowed: list[bytes] = []

    async def change(original: bytes) -> AsyncIterator[Line]:
        if dead["is"]:
            swallowed.append(original)
        else:
            yield original

    line.watched = lines_of(WIDGET.plural, change)
    async with running(connection_to(line), settings(cluster, resync_seconds=1)) as one:
        async with asyncio.timeout(20):
            await one.operator.leading.wait()
        cluster.create("w", parts=1)
        await eventually("it is ready", cluster.ready("w", 1))
        watches = [request for request in asked(line) if request.watch and request.path.endswith(WIDGET.plural)]
        dead["is"] = True
        for number in range(2, 40):
            cluster.update("w", parts=number)
            await eventually("a list found the change", cluster.ready("w", number))
            again = [request for request in asked(line) if request.watch and request.path.endswith(WIDGET.plural)]
            if len(again) > len(watches):
                break
        assert swallowed
        assert len(again) > len(watches), "the dead watch was left as it was"


async def test_a_watch_that_hangs_is_made_up_for_in_time_and_fails_liveness_until_it_is_back(
    cluster: Cluster, line: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All in a twelfth of the time: watches that last 4 s, are dead after 6 and stay so after 15."""
    monkeypatch.setattr("perennial.runtime.source.WATCH_SECONDS", 4)
    monkeypatch.setattr("perennial.runtime.watches.SILENT_SECONDS", 6.0)
    monkeypatch.setattr("perennial.runtime.watches._STAYS_DEAD_SECONDS", 15.0)

    def watching(request: Request) -> bool:
        return request.watch and request.path.endswith(f"/{WIDGET.plural}")

    def hang(request: Request) -> Fault:
        return Late(3600) if watching(request) else None

    async with running(connection_to(line), settings(cluster)) as one, aiohttp.ClientSession() as session:

        async def health() -> str:
            async with session.get(f"http://127.0.0.1:{one.operator.ports['health']}/healthz") as response:
                return await response.text()

        async with asyncio.timeout(20):
            await one.operator.leading.wait()
        assert await health() == "ok\n"
        line.rule = hang
        hung = len([request for request in asked(line) if watching(request)])
        await eventually("a watch hangs", lambda: len([each for each in asked(line) if watching(each)]) > hung)
        cluster.create("w", parts=1)
        await eventually("a list brings what the watch does not", cluster.ready("w", 1), seconds=6 + 4)
        async with asyncio.timeout(30):
            while (said := await health()) == "ok\n":
                await asyncio.sleep(0.1)
        assert "though the API answers" in said
        line.rule = lambda _: None
        async with asyncio.timeout(60):
            while await health() != "ok\n":
                await asyncio.sleep(0.1)
        cluster.create("after", parts=1)
        await eventually("the watch is back", cluster.ready("after", 1), seconds=5)


async def test_events_in_any_order_and_twice_are_taken_as_they_are(cluster: Cluster, line: FaultProxy) -> None:
    held: list[bytes] = []

    async def change(original: bytes) -> AsyncIterator[Line]:
        """Tell every event again after the next one: late and twice."""
        yield original
        for late in held:
            yield late
        held[:] = [original]

    line.watched = lines_of(CONFIG_MAP.plural, change)
    registry = Registry()
    async with running(connection_to(line), settings(cluster), registry) as one:
        await story(cluster, "w")
        await quiet(one)
    judge(cluster, line, registry, "w")
