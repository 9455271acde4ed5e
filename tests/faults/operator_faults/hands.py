"""What people and other programs do meanwhile: two operators (F10), children changed by hand (F11), deletions (F12)."""

import asyncio
import json
import re
import signal
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from operator_faults.answers import some
from operator_faults.campaign import (
    Failed,
    Reference,
    Variant,
    converged,
    nothing_twice,
    quiet,
    whole_state,
)
from operator_faults.faults import Moment
from operator_faults.nursery import Child
from operator_faults.proxy import Answer, Cut, Fault, Request
from operator_faults.run import Run, Scenario, differences, operated

CRASH_SECONDS: Final = 17.0
CLEAN_SECONDS: Final = 2.0
_REPAIRED_SECONDS: Final = 10.0
_GONE_SECONDS: Final = 60.0
_TIMES: Final = re.compile(rb'"(acquireTime|renewTime)":"([^"]+)"')

Ends = Callable[[Run, Child, Child], None]
"""Does to the first of two operators what the variant is about."""


def two_operators(reference: Reference, lease: str) -> Iterator[Variant]:
    """F10: two operators; the one that leads crashes, stops, is cut off from its lease, or another takes it."""
    _, moment, later = some(reference, 3)  # the first writes may come before there are two
    yield Variant(
        name=f"crashed after {moment}, another stands by",
        drive=_two(moment, lease, lambda run, one, _: _crash(run, one), CRASH_SECONDS),
    )
    yield Variant(
        name=f"stopped after {moment}, another stands by",
        drive=_two(moment, lease, lambda _, one, __: one.send(signal.SIGTERM), CLEAN_SECONDS),
    )
    yield Variant(
        name=f"cut off from its lease from {later} on", drive=_two(later, lease, _cut_off, CRASH_SECONDS), seconds=150
    )
    yield Variant(name="the standby's view of the lease is an hour old", drive=_skewed(lease, -3600), seconds=150)
    yield Variant(name="the standby's view of the lease is an hour ahead", drive=_skewed(lease, 3600), seconds=150)


def _crash(run: Run, one: Child) -> None:
    run.proxy.silence("operator-1")
    one.send(signal.SIGKILL)


def _cut_off(run: Run, *_: Child) -> None:
    run.proxy.rule = lambda request: (
        Answer(503, "ServiceUnavailable") if request.who == "operator-1" and "/leases" in request.path else None
    )


async def _both(run: Run, lease: str) -> tuple[Child, Child]:
    """Start two operators; the first leads, the second is ready to."""
    path = lease.format(namespace=run.namespace)
    one = await run.start("operator-1")

    async def leads() -> bool:
        return bool((await run.api.get(path)).get("spec", {}).get("holderIdentity"))

    await run.until("the first operator leads", leads)
    two = await run.start("operator-2")

    async def asks() -> bool:
        return any(each.request.who == "operator-2" and "/leases" in each.request.path for each in run.proxy.log)

    await run.until("the second operator waits for the lease", asks)
    return one, two


def _two(moment: Moment, lease: str, end: Ends, seconds: float) -> Any:
    async def drive(run: Run, scenario: Scenario, reference: Reference) -> None:
        children = await _both(run, lease)
        path = lease.format(namespace=run.namespace)
        is_it = moment.trigger(run)
        ended: list[float] = []

        def rule(request: Request) -> Fault:
            if not ended and is_it(request):
                ended.append(time.time())
                return Cut(done=True, then=lambda: end(run, *children)) if end is not _cut_off else None
            return None

        run.proxy.rule = rule
        before = (await run.api.get(path))["spec"]["holderIdentity"]
        playing = asyncio.create_task(scenario.play(run))
        try:
            await _until_struck(run, playing, ended)
            if ended:
                if end is _cut_off:
                    _cut_off(run)
                await _taken_over(run, path, before, seconds, ended[0])
            await playing
            await converged(run, scenario, reference)
            nothing_twice(run, reference)
            _one_at_a_time(run)
        finally:
            playing.cancel()
            for child in children:
                child.kill()
                await child.exit

    return drive


async def _until_struck(run: Run, playing: asyncio.Task[None], ended: list[float]) -> None:
    async def struck() -> bool:
        return bool(ended) or playing.done()

    await run.until("the moment to strike has come", struck, 90)


async def _taken_over(run: Run, path: str, before: str, seconds: float, since: float) -> None:
    async def taken() -> bool:
        holder = (await run.api.get(path))["spec"].get("holderIdentity")
        return bool(holder) and holder != before

    await run.until("the other operator has the lease", taken, 60)
    took = next(
        each.at + each.seconds - since
        for each in run.proxy.log
        if each.request.who == "operator-2" and each.request.path == path and each.request.method != "GET"
    )
    if took > seconds:
        raise Failed(f"the other operator led after {took:.1f} s, {seconds:g} s at most")


def _one_at_a_time(run: Run) -> None:
    """Hold that the first operator's last write was over before the second's first."""
    writes = [each for each in run.proxy.log if each.request.writes and each.status]
    first = [each.at + each.seconds for each in writes if each.request.who == "operator-1"]
    second = [each.at for each in writes if each.request.who == "operator-2"]
    if first and second and max(first) > min(second):
        raise Failed(f"the first operator still wrote {max(first) - min(second):.2f} s after the second had begun")


def _skewed(lease: str, seconds: float) -> Any:
    """The second operator's clock is wrong, which is the lease's times being wrong for it: it must not matter."""

    async def drive(run: Run, scenario: Scenario, reference: Reference) -> None:
        def altered(request: Request, content: bytes) -> bytes:
            if request.who != "operator-2" or "/leases" not in request.path:
                return content
            return _TIMES.sub(lambda found: b'"%s":"%s"' % (found[1], _moved(found[2], seconds)), content)

        run.proxy.altered = altered
        one, two = await _both(run, lease)
        try:
            await scenario.play(run)
            await converged(run, scenario, reference)
            nothing_twice(run, reference)
            wrote = {each.request.who for each in run.proxy.log if each.request.writes}
            if wrote != {"operator-1"}:
                raise Failed(f"there were two leaders: {sorted(wrote)} wrote")
            if not one.alive:
                raise Failed("the leader ended")
        finally:
            for child in (one, two):
                child.kill()
                await child.exit

    return drive


def _moved(stamp: bytes, seconds: float) -> bytes:
    moved = datetime.fromisoformat(stamp.decode()) + timedelta(seconds=seconds)
    return moved.strftime("%Y-%m-%dT%H:%M:%S.%fZ").encode()


Edit = Callable[[dict[str, Any]], dict[str, Any] | None]
"""Returns the patch by which somebody spoils a child; None: such a child is nobody's to repair."""


def spoilt_children(reference: Reference, edit: Edit) -> Iterator[Variant]:
    """F11: each child that is kept is deleted by hand, and changed by hand. It is as it was, soon."""
    if any(_is_child(each) and edit(each) for each in reference.state.values() if isinstance(each, dict)):
        yield Variant(name="each child deleted by hand", drive=_spoil(edit, delete=True), seconds=400)
        yield Variant(name="each child changed by hand", drive=_spoil(edit, delete=False), seconds=400)


def _is_child(found: Any) -> bool:
    return bool(found.get("metadata", {}).get("ownerReferences"))


def _spoil(edit: Edit, *, delete: bool) -> Any:
    async def drive(run: Run, scenario: Scenario, reference: Reference) -> None:
        async with operated(run):
            await scenario.play(run)
            await converged(run, scenario, reference)
            for template in run.subject.collections:
                path = template.format(namespace=run.namespace)
                for item in await run.api.items(path):
                    patch = edit(item) if _is_child(item) else None
                    if patch is None:
                        continue
                    where = f"{path}/{item['metadata']['name']}"
                    await (run.api.delete(where) if delete else run.api.merge(where, patch))
                    await _repaired(run, scenario, reference, where)
            await quiet(run)

    return drive


async def _repaired(run: Run, scenario: Scenario, reference: Reference, where: str) -> None:
    deadline = time.monotonic() + _REPAIRED_SECONDS
    while different := differences(reference.state, await whole_state(run, scenario)):
        if time.monotonic() > deadline:
            raise Failed(f"{where} is not repaired after {_REPAIRED_SECONDS:g} s: {different[:3]}")
        await asyncio.sleep(0.2)


def deletions(reference: Reference, path: str, sample: int = 6) -> Iterator[Variant]:
    """F12: the object is deleted in every phase, and its namespace. It goes, with all that was made for it.

    `path` is the object's, with `{namespace}` in it.
    """
    for moment in some(reference, sample):
        yield Variant(name=f"deleted after {moment}", drive=_deleted(moment, path))
    (moment,) = some(reference, 1)
    yield Variant(
        name=f"its namespace deleted after {moment}", drive=_deleted(moment, ""), seconds=150, expects_exit=True
    )


def _deleted(moment: Moment, path: str) -> Any:
    async def drive(run: Run, scenario: Scenario, _: Reference) -> None:
        is_it = moment.trigger(run)
        struck: list[float] = []

        def rule(request: Request) -> Fault:
            if not struck and is_it(request):
                struck.append(time.time())
            return None

        run.proxy.rule = rule
        async with operated(run):
            playing = asyncio.create_task(scenario.play(run))
            await _until_struck(run, playing, struck)
            playing.cancel()
            await asyncio.gather(playing, return_exceptions=True)
            await delete(run, path)

    return drive


async def delete(run: Run, path: str) -> None:
    """Delete an object (without a path: the namespace) and wait until nothing is left of it, nor comes again."""
    where = (path or "/api/v1/namespaces/{namespace}").format(namespace=run.namespace)
    found = await run.api.get(where)
    await run.api.delete(where, propagationPolicy="Background")

    async def left() -> list[str]:
        if await run.api.find(where) is not None:
            return [where]
        if not path:
            return []
        items = [
            item
            for template in run.subject.collections
            for item in await run.api.items(template.format(namespace=run.namespace))
        ]
        return [item["metadata"]["name"] for item in items if found["metadata"]["uid"] in json.dumps(item)]

    async def gone() -> bool:
        return not await left()

    await run.until(f"{where} is gone with all its children", gone, _GONE_SECONDS)
    await quiet(run)
    again = await left()
    if again:
        raise Failed(f"made again after the deletion: {again}")
