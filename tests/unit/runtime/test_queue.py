"""The work queue keeps client-go's promises."""

import asyncio
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from virtual_time import run

from perennial.runtime.queue import WorkQueue


def test_a_key_that_is_added_often_is_given_out_once() -> None:
    async def story() -> None:
        queue: WorkQueue[str] = WorkQueue()
        for _ in range(100):
            queue.add("a")
        assert len(queue) == 1
        assert await queue.get() == "a"
        queue.done("a")
        assert queue.idle

    run(story())


def test_a_key_added_while_it_is_worked_on_comes_back_afterwards_and_only_then() -> None:
    async def story() -> None:
        queue: WorkQueue[str] = WorkQueue()
        queue.add("a")
        await queue.get()
        queue.add("a")
        queue.add("a")
        assert len(queue) == 0, "another worker would get it"
        queue.done("a")
        assert await queue.get() == "a"
        queue.done("a")
        assert queue.idle

    run(story())


def test_keys_are_given_out_in_the_order_in_which_they_were_added() -> None:
    async def story() -> None:
        queue: WorkQueue[str] = WorkQueue()
        for key in "cab":
            queue.add(key)
        assert [await queue.get() for _ in range(3)] == ["c", "a", "b"]

    run(story())


def test_what_changed_overtakes_what_is_only_looked_at_once_more() -> None:
    async def story() -> None:
        queue: WorkQueue[str] = WorkQueue()
        for key in "abcd":
            queue.add(key, hurried=False)
        queue.add("x")
        queue.add("c")  # it waited already: now it changed
        queue.add("x", hurried=False)
        assert len(queue) == 5
        assert [await queue.get() for _ in range(5)] == ["x", "c", "a", "b", "d"]

    run(story())


def test_a_key_that_changes_while_it_is_worked_on_overtakes_too() -> None:
    async def story() -> None:
        queue: WorkQueue[str] = WorkQueue()
        queue.add("a", hurried=False)
        await queue.get()
        queue.add("b", hurried=False)
        queue.add("a", hurried=False)
        queue.add("a")
        queue.done("a")
        assert await queue.get() == "a"
        queue.add("a", hurried=False)
        queue.done("a")
        assert [await queue.get() for _ in range(2)] == ["b", "a"], "what was hurried once is not for ever"

    run(story())


def test_of_two_delays_the_one_that_ends_first_counts() -> None:
    async def story() -> None:
        loop = asyncio.get_running_loop()
        for delays in ((30, 10), (10, 30)):
            queue: WorkQueue[str] = WorkQueue()
            started = loop.time()
            for delay in delays:
                queue.add_after("a", delay)
            await queue.get()
            assert loop.time() - started == 10
            queue.done("a")
            await asyncio.sleep(100)
            assert queue.idle, "the longer delay brought it again"

    run(story())


def test_back_off_doubles_up_to_its_maximum_and_begins_anew_after_a_success() -> None:
    async def story() -> None:
        queue: WorkQueue[str] = WorkQueue(base_delay=1, max_delay=10, jitter=lambda: 0.0)
        assert [queue.add_rate_limited("a") for _ in range(6)] == [1, 2, 4, 8, 10, 10]
        assert queue.failures("a") == 6
        queue.forget("a")
        assert queue.add_rate_limited("a") == 1
        queue.close()

    run(story())


def test_jitter_takes_off_at_most_half_and_a_wish_of_the_server_is_kept() -> None:
    async def story() -> None:
        queue: WorkQueue[str] = WorkQueue(base_delay=4, max_delay=4, jitter=lambda: 0.999)
        assert 2 <= queue.add_rate_limited("a") < 2.01
        assert queue.add_rate_limited("b", at_least=30) == 30
        queue.close()

    run(story())


def test_thousands_of_failures_do_not_overflow() -> None:
    async def story() -> None:
        queue: WorkQueue[str] = WorkQueue(max_delay=12, jitter=lambda: 0.0)
        delays = {queue.add_rate_limited("a") for _ in range(5000)}
        assert max(delays) == 12
        queue.close()

    run(story())


def test_closing_drops_what_waits() -> None:
    async def story() -> None:
        queue: WorkQueue[str] = WorkQueue()
        queue.add("a")
        queue.add("c", hurried=False)
        queue.add_after("b", 5)
        queue.close()
        await asyncio.sleep(60)
        assert len(queue) == 0

    run(story())


class Notes:
    """Queue metrics that keep everything."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.depths: list[tuple[int, int]] = []
        self.waited: list[float] = []
        self.worked: list[float] = []

    def added(self) -> None:
        self.counts["added"] += 1

    def retried(self) -> None:
        self.counts["retried"] += 1

    def depth(self, changed: int, unhurried: int) -> None:
        self.depths.append((changed, unhurried))

    def started(self, waited_seconds: float) -> None:
        self.waited.append(waited_seconds)

    def finished(self, worked_seconds: float) -> None:
        self.worked.append(worked_seconds)


def test_it_reports_depth_waiting_and_working() -> None:
    async def story() -> None:
        notes = Notes()
        queue: WorkQueue[str] = WorkQueue(metrics=notes)
        queue.add("a")
        queue.add("a")
        queue.add("b", hurried=False)
        await asyncio.sleep(3)
        key = await queue.get()
        await asyncio.sleep(2)
        assert queue.unfinished() == [2]
        queue.done(key)
        assert queue.unfinished() == []
        assert notes.counts == {"added": 2}
        assert notes.depths == [(1, 0), (1, 1), (0, 1)]
        assert notes.waited == [3]
        assert notes.worked == [2]

    run(story())


adds = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["add", "unhurried", "after", "limited"]), st.integers(0, 5)),
    max_size=40,
)


@settings(max_examples=200, deadline=None)
@given(adds=adds, workers=st.integers(1, 4), seconds=st.integers(0, 4))
def test_no_key_is_worked_on_twice_at_a_time_and_none_is_lost(
    adds: list[tuple[str, str, int]], workers: int, seconds: int
) -> None:
    """Whatever is added while workers work: each change is followed by a whole run that began after it."""

    async def story() -> None:
        loop = asyncio.get_running_loop()
        queue: WorkQueue[str] = WorkQueue(base_delay=0.5, max_delay=3)
        working: set[str] = set()
        began: dict[str, float] = {}
        wanted: dict[str, float] = {}

        async def work() -> None:
            while True:
                key = await queue.get()
                assert key not in working, "two workers have the same key"
                working.add(key)
                began[key] = loop.time()
                await asyncio.sleep(seconds)
                working.discard(key)
                queue.done(key)

        tasks = [asyncio.create_task(work()) for _ in range(workers)]
        for key, how, delay in adds:
            await asyncio.sleep(delay % 3)
            wanted[key] = loop.time()
            match how:
                case "add":
                    queue.add(key)
                case "unhurried":
                    queue.add(key, hurried=False)
                case "after":
                    queue.add_after(key, delay)
                case _:
                    queue.add_rate_limited(key)
        await asyncio.sleep(1000)
        assert queue.idle
        assert {key for key in wanted if began.get(key, 0) >= wanted[key]} == set(wanted), "a change was not acted on"
        for task in tasks:
            assert not task.done(), task.exception()
            task.cancel()

    run(story())
