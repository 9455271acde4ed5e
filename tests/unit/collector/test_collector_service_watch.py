"""What the collector finds of the version that answers by itself, and what trials take from it: bursts."""

from datetime import UTC, datetime

import pytest
from collector_room import Room, Slow, Steady, answer, list_pods, policy

from perennial.api.messages.policy import Policy, SloPolicy, Watch
from perennial.collector.service import PRUNE_SECONDS, SLOW_SECONDS
from perennial.families.slos import Requests
from perennial.terms import reasons
from perennial.terms.words import Verdict

EARLIER = Watch(since=datetime.fromtimestamp(4000, UTC))


async def test_the_version_that_answers_is_judged_by_itself_and_so_are_the_looks_before_a_kill(
    room: Room, steady: Steady
) -> None:
    await room.collector.put_policy(policy(None, watch=EARLIER))
    await answer(room, steady, 5, bad=1)
    (found,) = (await room.collector.state()).watch
    assert (found.slo, found.verdict, found.reason) == ("errors", Verdict.PASS, reasons.REQUESTS_LIMIT_KEPT)
    revision = (await room.collector.state()).revision
    await answer(room, steady, 5, bad=90)
    state = await room.collector.state()
    (found,) = state.watch
    assert (found.verdict, found.reason) == (Verdict.FAIL, reasons.REQUESTS_LIMIT_EXCEEDED)
    assert state.revision != revision
    await room.again()
    assert room.collector.watch() == (found,)


async def test_a_step_of_a_canary_begins_no_watch_anew_and_other_promises_do(room: Room, steady: Steady) -> None:
    await room.collector.put_policy(policy(step=1, watch=EARLIER))
    await answer(room, steady, 5, bad=1)
    before = room.collector.watched
    await room.collector.put_policy(policy(step=2, weight=500, watch=EARLIER))
    assert room.collector.watched is before
    other = SloPolicy(name="errors", requests=Requests(max="0.005"))
    asked = policy(step=2, weight=500, watch=EARLIER)
    await room.collector.put_policy(Policy(**{**dict(asked), "revision": "other", "slos": (other,)}))
    (found,) = room.collector.watch()
    (past,) = before.verdicts() if before is not None else ()
    assert found.candidate == past.candidate, "the ticks that were kept are judged by the new promise"
    assert found.log_e_harm != past.log_e_harm


async def test_what_a_version_did_when_it_answered_before_is_not_what_it_does_now(room: Room, steady: Steady) -> None:
    await room.collector.put_policy(policy(None, watch=EARLIER))
    await answer(room, steady, 5, bad=90)
    assert room.collector.watch()[0].verdict is Verdict.FAIL
    since = Watch(since=datetime.fromtimestamp(5000 + 60, UTC))
    steady.now += 60
    await room.collector.put_policy(policy(None, watch=since))
    assert room.collector.watch()[0].verdict is Verdict.NO_DATA
    await room.collector.put_policy(policy(None))
    assert room.collector.watch() == ()


async def test_bursts_are_learned_before_a_trial_and_not_in_it(
    room: Room, steady: Steady, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow(monkeypatch)
    looks = iter(range(10_000))

    async def look_on(seconds: int) -> None:
        for _ in range(seconds):
            list_pods(room, next(looks), 50)
            slow.passes(SLOW_SECONDS)
            steady.now += 1.0
            await room.collector.tick()

    await room.collector.put_policy(policy(None))
    await look_on(200)
    known = room.collector.bursts
    assert known.phi > 5
    await room.collector.put_policy(policy("c"))
    trial = room.collector.trial
    assert trial is not None
    assert {each.evidence.setting.phi for each in trial.promised} == {known.phi}
    await look_on(50)
    assert room.collector.bursts == known
    await room.again()
    assert room.collector.bursts.phi == known.phi
    again = room.collector.trial
    assert again is not None
    assert {each.evidence.setting.phi for each in again.promised} == {known.phi}


async def test_what_is_known_of_bursts_outlives_a_kill_between_trials(
    room: Room, steady: Steady, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow(monkeypatch)
    await room.collector.put_policy(policy(None))
    for look in range(100):
        list_pods(room, look, 50)
        slow.passes(PRUNE_SECONDS)
        steady.now += 1.0
        await room.collector.tick()
    known = room.collector.bursts.phi
    assert known > 5
    await room.again()
    assert room.collector.bursts.phi == pytest.approx(known)
