"""The faults themselves: for each, the variants that strike a scenario whose reference is known."""

from collections import Counter
from collections.abc import Callable, Iterator

from operator_faults.campaign import Reference, Variant
from operator_faults.proxy import Cut, Fault, Request
from operator_faults.run import Run


class Moment:
    """One write of a reference: the n-th to its path by its method, wherever it comes in the order of a run.

    Two writes of different objects may come in another order in the next run; so a write is not known by its number.
    And some status is written in one go or in two, as it happens: where a run has fewer, the last one is taken.
    """

    def __init__(self, method: str, path: str, nth: int, number: int) -> None:
        self.method, self.path, self.nth, self.number = method, path, nth, number

    def __str__(self) -> str:
        again = f" ({self.nth}.)" if self.nth > 1 else ""
        return f"write {self.number}, {self.method} {self.path}{again}"

    def trigger(self, run: Run) -> Callable[[Request], bool]:
        """Return what says of each request of a run whether it is this write."""
        seen = 0

        def settle() -> None:
            self.nth = max(1, min(self.nth, seen))

        def is_it(request: Request) -> bool:
            nonlocal seen
            if run.settle is None or not request.writes or (request.method, run.named(request.path)) != self._what:
                return False
            seen += 1
            if seen == self.nth:
                run.settle = None
                return True
            return False

        run.settle = settle
        return is_it

    @property
    def _what(self) -> tuple[str, str]:
        return (self.method, self.path)


def moments(reference: Reference) -> Iterator[Moment]:
    """Yield every write of a reference."""
    seen: Counter[tuple[str, str]] = Counter()
    for number, (method, path) in enumerate(reference.writes, 1):
        seen[method, path] += 1
        yield Moment(method, path, seen[method, path], number)


def kills(reference: Reference) -> Iterator[Variant]:
    """F1: SIGKILL before each write reaches the API server, and after it has answered."""
    for moment in moments(reference):
        for done, when in ((False, "before"), (True, "after")):
            yield Variant(name=f"killed {when} {moment}", set_up=_killing(moment, done=done))


def _killing(moment: Moment, *, done: bool) -> Callable[[Run], None]:
    def set_up(run: Run) -> None:
        is_it = moment.trigger(run)
        run.proxy.rule = lambda request: Cut(done=done, then=run.kill) if is_it(request) else None

    return set_up


def double_kills(reference: Reference, sample: int = 50) -> Iterator[Variant]:
    """F2: the next process is killed at its first write, too."""
    found = [(moment, done) for moment in moments(reference) for done in (False, True)]
    step = max(1, -(-len(found) // sample))
    for moment, done in found[::step]:
        for again, when in ((False, "before"), (True, "after")):
            yield Variant(
                name=f"killed {'after' if done else 'before'} {moment}, and {when} the first write after",
                set_up=_killing_twice(moment, done=done, again=again),
            )


def _killing_twice(moment: Moment, *, done: bool, again: bool) -> Callable[[Run], None]:
    def set_up(run: Run) -> None:
        is_it = moment.trigger(run)
        struck: set[str] = set()

        def rule(request: Request) -> Fault:
            if is_it(request):
                struck.add(request.who)
                return Cut(done=done, then=run.kill)
            if request.writes and len(struck) == 1 and request.who not in struck:
                struck.add(request.who)
                return Cut(done=again, then=run.kill)
            return None

        run.proxy.rule = rule

    return set_up


def lost_replies(reference: Reference) -> Iterator[Variant]:
    """F3: each write is done, and its reply is lost."""
    for moment in moments(reference):
        yield Variant(name=f"reply lost of {moment}", set_up=_once(moment, Cut(done=True)))


def _once(moment: Moment, fault: Fault) -> Callable[[Run], None]:
    def set_up(run: Run) -> None:
        is_it = moment.trigger(run)
        run.proxy.rule = lambda request: fault if is_it(request) else None

    return set_up
