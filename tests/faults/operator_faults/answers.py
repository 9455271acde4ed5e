"""Faults of the API server and of the line to it: refusals, outages, delays, broken watches, stale reads (F4 to F8)."""

import asyncio
import itertools
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

from operator_faults.campaign import Failed, Reference, Variant, converged, nothing_twice, requests_of
from operator_faults.faults import Moment, moments
from operator_faults.proxy import RESET, Answer, Cut, Exchange, Fault, Late, Line, Request, error_line
from operator_faults.run import Run, Scenario, operated

_TERMINATING = {"causes": [{"reason": "NamespaceTerminating", "message": "going", "field": "metadata.namespace"}]}
REFUSALS: Final[dict[str, Answer]] = {
    "409 Conflict": Answer(409, "Conflict"),
    "409 AlreadyExists": Answer(409, "AlreadyExists"),
    "422 Invalid": Answer(422, "Invalid"),
    "403 Forbidden": Answer(403, "Forbidden"),
    "404 NotFound": Answer(404, "NotFound"),
    "403 namespace terminating": Answer(403, "Forbidden", details=_TERMINATING),
}
OUTAGES: Final[dict[str, Answer]] = {
    "429": Answer(429, "TooManyRequests", headers={"Retry-After": "1"}),
    "500": Answer(500, "InternalError"),
    "502": Answer(502, "BadGateway"),
    "503": Answer(503, "ServiceUnavailable"),
    "504": Answer(504, "Timeout"),
}
_RECOVERY_SECONDS: Final = 15.0
_MOST_REQUESTS: Final = 3
_RESUMED_SECONDS: Final = 75.0
_MOST_TRIES: Final = 4
"""Of one write in four seconds."""

Says = Callable[[Run], Any]
"""Awaitable: whether the object says why it does not go on."""


def some(reference: Reference, number: int) -> list[Moment]:
    """Return so many moments, spread over all."""
    found = list(moments(reference))
    step = max(1, len(found) // number)
    return found[step // 2 :: step][:number]


def refusals(reference: Reference, says: Says, sample: int = 12) -> Iterator[Variant]:
    """F4: a write is refused; and the first try of every write is. It converges or says why, and does not hammer."""
    for what, answer in REFUSALS.items():
        yield Variant(name=f"{what} to the first try of each write", set_up=_first_tries(answer), drive=_or_says(says))
    refused = itertools.cycle(REFUSALS.items())
    for moment in some(reference, sample):
        what, answer = next(refused)
        yield Variant(name=f"{what} to {moment}", set_up=_struck(moment, answer), drive=_or_says(says))


def _first_tries(answer: Answer) -> Callable[[Run], None]:
    def set_up(run: Run) -> None:
        tried: set[tuple[str, str]] = set()

        def rule(request: Request) -> Fault:
            what = (request.method, request.path)
            if not request.writes or what in tried:
                return None
            tried.add(what)
            return answer

        run.proxy.rule = rule

    return set_up


def _struck(moment: Moment, fault: Fault) -> Callable[[Run], None]:
    def set_up(run: Run) -> None:
        is_it = moment.trigger(run)
        run.proxy.rule = lambda request: fault if is_it(request) else None

    return set_up


def _or_says(says: Says) -> Any:
    async def drive(run: Run, scenario: Scenario, reference: Reference) -> None:
        started = time.monotonic()
        async with operated(run):
            playing = asyncio.create_task(_played(run, scenario, reference))
            saying = asyncio.create_task(run.until("the object says why", lambda: says(run), 100))
            try:
                await asyncio.wait((playing, saying), return_when=asyncio.FIRST_COMPLETED)
                if not playing.done():
                    # It may well be tried again, and succeed; what must not be is that it is tried all the time.
                    before = len(run.proxy.log)
                    await asyncio.wait((playing,), timeout=4)
                    refused = Counter(each.request.path for each in run.proxy.log[before:] if each.fault)
                    if most := [path for path, times in refused.items() if times > _MOST_TRIES]:
                        raise Failed(f"{refused[most[0]]} tries of {most[0]} in 4 s after it said why")
                if playing.done():
                    playing.result()
            finally:
                for task in (playing, saying):
                    task.cancel()
                await asyncio.gather(playing, saying, return_exceptions=True)
        most = 2 * reference.requests + (time.monotonic() - started) * 3  # three keys, a request a second each
        if requests_of(run) > most:
            raise Failed(f"{requests_of(run)} requests, {most:.0f} at most")

    return drive


async def _played(run: Run, scenario: Scenario, reference: Reference) -> None:
    await scenario.play(run)
    await converged(run, scenario, reference)
    nothing_twice(run, reference)


def outages(reference: Reference) -> Iterator[Variant]:
    """F5: everything is answered with an error for some time. It is over soon after, and costs few requests."""
    found = some(reference, 9)
    ways = itertools.cycle(OUTAGES.items())
    for number, seconds in enumerate([1.0, 1.0, 1.0, 1.0, 1.0, 10.0, 10.0, 10.0, 60.0]):
        what, answer = next(ways)
        moment = found[number % len(found)]
        yield Variant(
            name=f"{what} for {seconds:g} s from {moment} on",
            drive=_outage(moment, answer, seconds),
            seconds=240,
            expects_exit=True,
        )


def _outage(moment: Moment, answer: Answer, seconds: float) -> Any:
    async def drive(run: Run, scenario: Scenario, reference: Reference) -> None:
        is_it = moment.trigger(run)
        begun: list[float] = []

        def rule(request: Request) -> Fault:
            if not begun and is_it(request):
                begun.append(time.monotonic())
            return answer if begun and time.monotonic() < begun[0] + seconds else None

        run.proxy.rule = rule
        async with operated(run):
            await scenario.play(run)
            if begun:
                left = begun[0] + seconds + _RECOVERY_SECONDS + reference.seconds - time.monotonic()
                if left < 0:
                    raise Failed(f"it ended {-left:.1f} s later than {_RECOVERY_SECONDS:g} s after the outage")
            await converged(run, scenario, reference)
            nothing_twice(run, reference)
        if requests_of(run) > _MOST_REQUESTS * reference.requests:
            raise Failed(f"{requests_of(run)} requests instead of {reference.requests}")

    return drive


def delays(reference: Reference) -> Iterator[Variant]:
    """F6: everything is late; writes are very late; one is so late that others may have given up."""

    def all_late(run: Run) -> None:
        run.proxy.rule = lambda _: Late(0.1)

    def writes_late(run: Run) -> None:
        run.proxy.rule = lambda request: Late(2.0) if request.writes else None

    yield Variant(name="all requests 0.1 s late", set_up=all_late)
    yield Variant(name="all writes 2 s late", set_up=writes_late, seconds=200)
    (moment,) = some(reference, 1)
    yield Variant(name=f"30 s late: {moment}", set_up=_struck(moment, Late(30.0)), seconds=200)


Break = Callable[[bytes], AsyncIterator[Line]]


async def _gone(_: bytes) -> AsyncIterator[Line]:
    yield error_line(410, "Expired")


async def _error(_: bytes) -> AsyncIterator[Line]:
    yield error_line(500, "InternalError")


async def _closed(_: bytes) -> AsyncIterator[Line]:
    yield None


async def _reset(_: bytes) -> AsyncIterator[Line]:
    yield RESET


async def _half(line: bytes) -> AsyncIterator[Line]:
    yield line[: len(line) // 2]
    yield None


BREAKS: Final[dict[str, Break]] = {
    "410 Gone": _gone,
    "ERROR 500": _error,
    "closed": _closed,
    "connection reset": _reset,
    "half a line": _half,
}


def broken_watches(reference: Reference) -> Iterator[Variant]:
    """F7: each watch breaks once, at its first event after the middle of the story, which is lost; or falls silent."""
    for name, how in BREAKS.items():
        yield Variant(name=f"every watch: {name}", set_up=_breaking(reference, how), seconds=200)
    yield Variant(
        name="every watch: silent", set_up=_silent(reference), drive=_resumed, seconds=300, expects_exit=False
    )


def _breaking(reference: Reference, how: Break) -> Callable[[Run], None]:
    half = max(1, len(reference.writes) // 2)

    def set_up(run: Run) -> None:
        broken: set[str] = set()

        async def watched(request: Request, line: bytes) -> AsyncIterator[Line]:
            if run.proxy.writes < half or request.plural in broken:
                yield line
                return
            broken.add(request.plural)
            async for changed in how(line):
                yield changed

        run.proxy.watched = watched

    return set_up


def _silent(reference: Reference) -> Callable[[Run], None]:
    """All watches that are open at the middle of the story say nothing any more; the next ones do."""
    half = max(1, len(reference.writes) // 2)

    def set_up(run: Run) -> None:
        deaf: list[float] = []

        async def watched(request: Request, line: bytes) -> AsyncIterator[Line]:
            if not deaf and run.proxy.writes >= half:
                deaf.append(time.time())
            opened = next(each.at for each in run.proxy.log if each.request is request)
            if not deaf or opened > deaf[0]:
                yield line

        run.proxy.watched = watched
        run.facts["silent since"] = deaf

    return set_up


async def _resumed(run: Run, scenario: Scenario, reference: Reference) -> None:
    async with operated(run):
        await scenario.play(run)
        await converged(run, scenario, reference)
        nothing_twice(run, reference)
        since = run.facts["silent since"]
        if since and time.time() > since[0] + _RESUMED_SECONDS + reference.seconds + _RECOVERY_SECONDS:
            raise Failed(f"it took {time.time() - since[0]:.0f} s to go on after all watches had fallen silent")


def stale_reads(reference: Reference) -> Iterator[Variant]:
    """F8: a process that was killed and started anew sees lists of some writes ago; and watches that lag behind."""
    found = some(reference, 6)
    for moment in found:
        for ago in (1, 4):
            if moment.number > ago:
                yield Variant(
                    name=f"killed after {moment}; its successor's first lists are {ago} writes old",
                    set_up=_travel(moment, ago),
                )
    for seconds in (1.0, 3.0):
        yield Variant(name=f"all watches lag by {seconds:g} s", set_up=_lagging(seconds), seconds=200)


def _travel(moment: Moment, ago: int) -> Callable[[Run], None]:
    def set_up(run: Run) -> None:
        is_it = moment.trigger(run)
        old: dict[tuple[str, str], bytes] = {}
        served: set[tuple[str, str]] = set()
        taking: list[asyncio.Task[None]] = []

        async def take() -> None:
            lists = {(each.request.path, each.request.query) for each in run.proxy.log if each.request.lists}
            for path, query in lists:
                answer = await run.api.get(f"{path}?{query}" if query else path)
                old[path, query] = json.dumps(answer).encode()

        def seen(exchange: Exchange) -> None:
            if exchange.request.number == max(1, moment.number - ago) and not taking:
                taking.append(asyncio.create_task(take()))

        def rule(request: Request) -> Fault:
            if is_it(request):
                return Cut(done=True, then=run.kill)
            what = (request.path, request.query)
            if request.who != "operator-1" and request.lists and what in old and what not in served:
                served.add(what)
                return Answer(200, "stale", body=old[what])
            return None

        run.proxy.seen = seen
        run.proxy.rule = rule

    return set_up


def _lagging(seconds: float) -> Callable[[Run], None]:
    def set_up(run: Run) -> None:
        async def watched(_: Request, line: bytes) -> AsyncIterator[Line]:
            await asyncio.sleep(seconds)
            yield line

        run.proxy.watched = watched

    return set_up
