"""Tables of ticks for tests, one second each: candidate total/bad beside stable total/bad."""

from collections.abc import Iterable, Sequence

from perennial.stats.evidence import Evidence, Promise, Setting
from perennial.stats.judge import Judgement, Levels, judge
from perennial.stats.ticks import ANSWERED, REJECTED, REQUESTS, UNFINISHED, Arm, Key, Row, Tick, Ticks

BEGAN = 1_800_000_000.0
Pair = tuple[float, float]


def tick(
    second: float,
    candidate: Pair,
    stable: Pair | None = (90, 0),
    *,
    step: int = 1,
    weight: int | None = 100,
    rejected: Pair | None = None,
    unfinished: Pair | None = None,
) -> Tick:
    """Return a tick; `rejected` and `unfinished` are of the candidate and of stable."""
    rows: dict[Key, Row] = {Key(REQUESTS, "candidate"): Row.of(*candidate)}
    arms: tuple[Arm, ...] = ("candidate",)
    if stable is not None:
        rows[Key(REQUESTS, "stable")] = Row.of(*stable)
        arms = ("candidate", "stable")
    for i, arm in enumerate(arms):
        started = rows[Key(REQUESTS, arm)].n
        if rejected is not None:
            rows[Key(REJECTED, arm)] = Row.of(started, rejected[i])
        if unfinished is not None:
            rows[Key(UNFINISHED, arm)] = Row(unfinished[i])
    return Tick(BEGAN + second, step, weight, rows)


def hanging(seconds: int, started: Pair, bad: Pair, hang: Pair, timeout: int, weight: int = 100) -> list[Tick]:
    """Return ticks in which some of each arm's requests run until they time out; the others are answered at once."""
    found = []
    for second in range(seconds):
        late = [hang[i] if second >= timeout else 0.0 for i in range(2)]
        running = [hang[i] * min(second + 1, timeout) for i in range(2)]
        made = tick(
            second, (started[0], bad[0] + late[0]), (started[1], bad[1] + late[1]), weight=weight,
            unfinished=(running[0], running[1]),
        )  # fmt: skip
        answered = {
            Key(ANSWERED, arm): Row(started[i] - hang[i] + late[i]) for i, arm in enumerate(("candidate", "stable"))
        }
        found.append(Tick(made.time, made.step, made.weight, {**made.rows, **answered}))  # type: ignore[dict-item]
    return found


def judged(
    rows: Sequence[Tick],
    *,
    limit: float | None = None,
    ratio: float | None = None,
    step: int = 1,
    promises: int = 1,
    attempt: int = 1,
    setting: Setting | None = None,
) -> Judgement:
    """Judge a table by a promise about requests at a risk of 5 % both ways."""
    promise = promised(limit, ratio)
    evidence = Evidence.none(promise, setting or Setting()).fold(promise, Ticks.of(rows))
    levels = Levels.of(0.05, 0.05, promises, attempt)
    return judge(promise, evidence, levels, step, rows[-1].time if rows else BEGAN)


def promised(limit: float | None = None, ratio: float | None = None) -> Promise:
    """Return what an SLO about requests stands for."""
    return Promise(signal=REQUESTS, limit=limit, ratio=ratio, beside=(REJECTED,))


def looks(rows: Iterable[Tick], **how: object) -> list[Judgement]:
    """Return the verdict after each tick."""
    listed = list(rows)
    return [judged(listed[: end + 1], **how) for end in range(len(listed))]  # type: ignore[arg-type]
